"""``mps3 ls``."""

from __future__ import annotations

import click

from ..text import printable
from .base.command import store_command
from .base.context import CommandContext
from .base.formatting import size


@store_command("[PREFIX]")
@click.option("-l", "--long", is_flag=True, help="With the size and the version of each value.")
@click.option("-n", "--limit", type=click.IntRange(min=1), metavar="N", help="List at most N keys.")
@click.option("--after", metavar="KEY", help="List only keys that sort after KEY, such as the last one of a page.")
async def command(
    context: CommandContext, prefix: str | None, *, long: bool, limit: int | None, after: str | None
) -> None:
    """List all keys, or those that begin with PREFIX, in order."""
    async with context.client() as client:
        files = await (await client.snapshot()).files(prefix or "", limit=limit, after=after)
    if not context.out.human:
        for file in files:
            context.out.json({"key": file.key, "version": file.version, "size": file.size})
    elif long:
        rows = [
            ("" if one.size is None else size(one.size), printable(one.version), printable(one.key)) for one in files
        ]
        context.out.table(("size", "version", "key"), rows, right=[0])
    else:
        for file in files:
            context.out.plain(printable(file.key))
