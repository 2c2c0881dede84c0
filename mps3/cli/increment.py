"""``mps3 increment``."""

from __future__ import annotations

import click

from ..text import printable
from .base.command import store_command
from .base.conditions import expected_version, if_absent_option, if_version_option, kept_expiry_option
from .base.context import CommandContext
from .base.values import parse_json
from .base.waiting import wait_committed


@store_command("KEY", creates=True)
@click.option("--by", default="1", metavar="NUMBER", help="What to add (1); it may be negative.")
@click.option("--path", default="", metavar="POINTER", help="Where the number is in the value, such as /votes.")
@if_version_option
@if_absent_option
@kept_expiry_option
async def command(
    context: CommandContext,
    key: str,
    *,
    by: str,
    path: str,
    if_version: str | None,
    if_absent: bool,
    expires_in: float | None,
) -> None:
    """Add to a number: the value of a key, or a part of it. Where there is none, it is 0.

    Whoever does so at the same moment, no increment is lost.
    """
    condition = expected_version(if_version, if_absent=if_absent)
    number = parse_json(by, "--by", example="it is a number, such as 1, -3 or 0.5")
    if isinstance(number, bool) or not isinstance(number, int | float):
        raise click.UsageError("--by is not a number, such as 1, -3 or 0.5")
    async with context.client(create=True) as client:
        write = client.increment(key, number, path=path, expires_in=expires_in, if_version=condition)
        commit = await wait_committed(write)
    context.out.commit("incremented", printable(key), commit)
