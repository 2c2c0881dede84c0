"""``mps3 put``."""

from __future__ import annotations

import re

import click

from ..text import printable
from .base.command import store_command
from .base.conditions import expected_version, if_absent_option, if_version_option
from .base.context import CommandContext
from .base.inline import inline_option
from .base.point_in_time import SECONDS
from .base.values import read_value
from .base.waiting import wait_committed


class _CommandWithNumber(click.Command):
    """A command whose last argument may be a negative number, which looks like an option."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Move negative numbers behind ``--``."""
        if "--" not in args and (numbers := [one for one in args if re.match(r"-\.?\d", one)]):
            args = [*(one for one in args if one not in numbers), "--", *numbers]
        return super().parse_args(ctx, args)


@store_command("KEY [VALUE]", _CommandWithNumber)
@click.option("-t", "--text", is_flag=True, help="VALUE is a text, and not JSON.")
@if_version_option
@if_absent_option
@click.option("--expires-in", type=SECONDS, metavar="SECONDS", help="The time after which the key expires.")
@inline_option
async def command(
    context: CommandContext,
    key: str,
    value: str | None,
    *,
    text: bool,
    if_version: str | None,
    if_absent: bool,
    expires_in: float | None,
    inline: int,
) -> None:
    """Set a key.

    VALUE is JSON: 7, '"red"', '{"x": 1}'. Without it, or with - for it, it is read from standard input.
    """
    condition = expected_version(if_version, if_absent=if_absent)
    content = await read_value(value, text=text)
    async with context.client(inline=inline, create=True) as client:
        commit = await wait_committed(client.put(key, content, expires_in=expires_in, if_version=condition))
    context.out.commit("put", printable(key), commit)
