"""Which slot to try next, where several clients commit at the same moment (L4). Pure.

A client that loses a slot reads some of the next ones at once, which costs a twelfth of another PUT each, and goes on a
short and random distance behind the last that exists. So writers spread, instead of queueing for one slot.
"""

from __future__ import annotations

import random
from typing import Final

OFFSETS: Final = (1, 2, 3, 5, 8, 13, 21, 34)
"""Distances from a lost slot at which the next ones are looked for."""
LEAST: Final = 3
SPREAD: Final = 0.25
"""The jump behind the tail, as a part of the number of writers."""
MOST: Final = 64.0
BUSY: Final = 2.5
"""Writers from which on it is likely that a slot is lost."""


class Crowd:
    """An estimate of how many clients commit at the moment."""

    def __init__(self) -> None:
        self._size = 1.0

    def lost(self) -> None:
        """Record that somebody else was first."""
        self._size = min(MOST, self._size * 1.5 + 0.5)

    def won(self) -> None:
        """Record that a slot was won."""
        self._size = max(1.0, self._size * 0.8)

    def look_at(self) -> list[int]:
        """Return the distances from a lost slot at which to look."""
        furthest = max(LEAST, self._size * 1.5)
        return [offset for offset in OFFSETS if offset <= furthest]

    def look_beside(self, slot: int) -> list[int]:
        """Return the slots to look at while one is created: that one and some above it, unless nobody else commits."""
        return [slot, *(slot + offset for offset in self.look_at())] if self._size >= BUSY else []

    def jump(self, chance: random.Random) -> int:
        """Return how many slots to leave free behind the last that exists."""
        return int(chance.random() * max(1, int(self._size * SPREAD)))
