"""``mps3 ls``."""

from __future__ import annotations

import click

from ..text import printable
from .base.command import store_command
from .base.context import CommandContext
from .base.formatting import size


@store_command("[PREFIX]")
@click.option("-l", "--long", is_flag=True, help="With the size and the version of each value.")
async def command(context: CommandContext, prefix: str | None, *, long: bool) -> None:
    """List all keys, or those that begin with PREFIX."""
    async with context.client() as client:
        files = (await client.snapshot()).files(prefix or "")
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
