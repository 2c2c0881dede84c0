"""The option ``--limit`` of lists: by default a pipe gets all lines, and a terminal 20 and a note if there are more."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import click

from .output import Output, say

T = TypeVar("T")

TERMINAL_LIMIT: Final = 20

limit_option: Final = click.option(
    "-n",
    "--limit",
    type=click.IntRange(0),
    metavar="N",
    help=f"How many at the most; 0: all. Without it {TERMINAL_LIMIT} on a terminal, and all elsewhere.",
)


class Limit:
    """How many entries a command lists.

    Args:
        given: The value of the option.
    """

    def __init__(self, given: int | None) -> None:
        self._on_terminal = sys.stdout.isatty()
        self._most = (TERMINAL_LIMIT if self._on_terminal else None) if given is None else given or None
        self._more = False

    async def newest(self, ask: Callable[[int | None], Awaitable[list[T]]]) -> list[T]:
        """Return the newest entries. ``ask`` is called with how many to read at the most; ``None``: all."""
        # On a terminal, one more tells whether there are more.
        found = await ask(self._most if self._most is None or not self._on_terminal else self._most + 1)
        self._more = self._most is not None and len(found) > self._most
        return found[: self._most]

    def tell_more(self, out: Output) -> None:
        """Print a note if there are more entries."""
        if self._more:
            note = f"there is more: these are the newest {self._most:,}; -n 0 lists all"
            (out.note if out.human else say)(note)
