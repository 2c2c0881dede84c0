"""``mps3 ls``."""

from __future__ import annotations

import click

from .base.command import Call, store_command
from .base.text import safe, size


@store_command("[PREFIX]")
@click.option("-l", "--long", is_flag=True, help="With the size and the version of each value.")
async def command(call: Call, prefix: str | None, *, long: bool) -> None:
    """List keys, all or those that begin with PREFIX."""
    async with call.client() as client:
        files = (await client.snapshot()).files(prefix or "")
    if not call.out.human:
        for file in files:
            call.out.json({"key": file.key, "version": file.version, "size": file.size})
    elif long:
        rows = [("" if one.size is None else size(one.size), safe(one.version), safe(one.key)) for one in files]
        call.out.table(("size", "version", "key"), rows, right=[0])
    else:
        for file in files:
            call.out.plain(safe(file.key))
