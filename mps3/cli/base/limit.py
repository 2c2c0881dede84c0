"""The option ``--limit`` of lists: without it, a pipe gets all lines, and a terminal some and a note about more."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import click

from .output import Output, say

FIT: Final = 20
"""Lines on a terminal, unless one says otherwise."""


def limit_option() -> Callable[[Any], Any]:
    """The option ``--limit``."""
    said = f"How many at the most; 0: all. Without it {FIT} on a terminal, and all elsewhere."
    return click.option("-n", "--limit", type=click.IntRange(0), default=None, metavar="N", help=said)


@dataclass(frozen=True, slots=True)
class Limit:
    """How many are shown.

    Attributes:
        shown: How many at the most; ``None``: all.
        terminal: Whether somebody looks on a terminal, who is to know that there are more.
    """

    shown: int | None
    terminal: bool

    @classmethod
    def of(cls, given: int | None) -> Limit:
        """What the option says, or what fits."""
        terminal = sys.stdout.isatty()
        shown = (FIT if terminal else None) if given is None else given or None
        return cls(shown, terminal)

    @property
    def asked(self) -> int | None:
        """How many to ask for: one more tells whether there are more."""
        return self.shown if self.shown is None or not self.terminal else self.shown + 1

    def cut(self, found: list[Any]) -> tuple[list[Any], bool]:
        """Those that are shown, and whether there are more."""
        return found[: self.shown], self.shown is not None and len(found) > self.shown

    def tell(self, out: Output) -> None:
        """Say that there are more."""
        said = f"there is more: these are the newest {self.shown:,}; -n 0 lists all"
        if out.human:
            out.line((said, "dim"))
        else:
            say(said)
