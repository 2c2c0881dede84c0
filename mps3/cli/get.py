"""``mps3 get``."""

from __future__ import annotations

import sys
from typing import Final

import click

from ..text import printable
from .base.command import store_command
from .base.context import CommandContext
from .base.exits import NO
from .base.formatting import compact, pretty, whole
from .base.output import say
from .base.point_in_time import Point, at_option, resolve_point

_ABSENT: Final = object()


@store_command("KEY")
@at_option
@click.option("-r", "--raw", is_flag=True, help="A text without quotes.")
async def command(context: CommandContext, key: str, at: Point | None, *, raw: bool) -> int | None:
    """Print the value of a key.

    Ends with 1 if there is no such key.
    """
    async with context.client() as client:
        value = await client.get(key, _ABSENT, at=None if at is None else await resolve_point(client, at))
    if value is _ABSENT:
        say(f"there is no key {key!r}" + ("" if at is None else " at that moment") + "; mps3 ls lists what there is")
        return NO
    if raw and isinstance(value, str):
        # A value must not move the cursor of a terminal, whatever the format is.
        shown = context.out.human or sys.stdout.isatty()
        context.out.plain("\n".join(map(printable, value.expandtabs().split("\n"))) if shown else value)
    elif context.out.human:
        from rich.highlighter import JSONHighlighter  # noqa: PLC0415 - takes a while to load
        from rich.text import Text  # noqa: PLC0415

        lines = [compact(value)] if isinstance(value, str) else pretty(value)
        context.out.console.print(JSONHighlighter()(Text("\n".join(lines))))
    else:
        context.out.json(whole(value))
    return None
