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
        table = call.out.table(("size", {"justify": "right"}), "version", ("key", {"overflow": "fold"}))
        for file in files:
            call.out.row(table, "" if file.size is None else size(file.size), safe(file.version), safe(file.key))
        call.out.console.print(table)
    else:
        for file in files:
            call.out.plain(safe(file.key))
