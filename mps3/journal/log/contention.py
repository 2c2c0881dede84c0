"""Which slot to try next, where several clients commit at the same moment (L4). Pure.

A client that loses a slot reads some of the next ones at once, which costs a twelfth of another PUT each, and goes on a
random distance behind the last that exists: as far as others get while it creates the next one. So writers spread,
instead of queueing for one slot.
"""

from __future__ import annotations

import random
from typing import Final

OFFSETS: Final = (1, 2, 3, 5, 8, 13, 21, 34)
"""Distances from a lost slot at which the next ones are looked for..."""
LEAST: Final = 3
"""...up to this one at the least,"""
LOOK: Final = 1.5
"""and up to this many times the slots that others create meanwhile."""
NEAREST: Final = 0.5
"""The shortest jump behind the tail, as a part of the slots that others create meanwhile..."""
SPREAD: Final = 1.25
"""...and by how much the longest one is longer."""
RISE: Final = 0.7
FALL: Final = 0.2
"""The weight of the last try in the estimate, if others have created more slots meanwhile than before, or fewer."""
BUSY: Final = 1.0
"""Slots from which on it is likely that a slot is lost."""
CROWDED: Final = 3.0
"""Slots from which on the first slot that is known to be free is taken by the time that it is created."""


class Crowd:
    """An estimate of how many slots others create while this client creates one."""

    def __init__(self) -> None:
        self._others = 0.0

    def saw(self, others: int, *, fresh: bool) -> None:
        """Record how many slots of others were found after one was created, or lost.

        Args:
            others: Slots behind the last that was known before.
            fresh: Whether that was known just before. Else they may have been there for long.
        """
        if not fresh and self._others < BUSY:
            self._others += (min(others, 1) - self._others) / 2
        else:
            self._others += (RISE if others > self._others else FALL) * (others - self._others)

    @property
    def others(self) -> int:
        """How many slots others create meanwhile."""
        return int(self._others)

    @property
    def is_dense(self) -> bool:
        """Whether the first free slot is not worth a try."""
        return self._others >= CROWDED

    def look_at(self) -> list[int]:
        """Return the distances from a lost slot at which to look."""
        furthest = max(LEAST, self._others * LOOK)
        return [offset for offset in OFFSETS if offset <= furthest]

    def look_beside(self, slot: int) -> list[int]:
        """Return the slots to look at while one is created: that one and some above it, unless nobody else commits."""
        return [slot, *(slot + offset for offset in self.look_at())] if self._others >= BUSY else []

    def jump(self, chance: random.Random) -> int:
        """Return how many slots to leave free behind the last that exists."""
        return int(self._others * (NEAREST + SPREAD * chance.random()))
