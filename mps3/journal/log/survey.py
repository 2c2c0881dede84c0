"""Which slots exist, as far as listings and a client's own requests tell, and which free one to try (L12). Pure.

Where many write at once, a client takes one of the first few slots that are free, whichever: so holes are filled by
commits. It chooses from one more after each slot that was lost, and from one fewer after each that was not: so it loses
about every other try, however many there are.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Iterable
from typing import Final

MOST: Final = 4
"""How many times as many slots as others create meanwhile are chosen from, at the most."""


class Survey:
    """Which slots of a log are known to exist.

    Attributes:
        floor: The last slot that is known to exist with all below it.
    """

    def __init__(self) -> None:
        self.floor = 0
        self._above: set[int] = set()
        self._choice = 1

    @property
    def above(self) -> frozenset[int]:
        """Slots above the floor that are known to exist."""
        return frozenset(self._above)

    def know(self, number: int) -> None:
        """Record that a slot exists, and all below it."""
        if number > self.floor:
            self.floor = number
            self._above = {one for one in self._above if one > number}
            self._rise()

    def saw(self, numbers: Iterable[int]) -> int:
        """Record that slots exist; return of how many that was not known."""
        before = len(self._above)
        self._above.update(number for number in numbers if number > self.floor)
        found = len(self._above) - before
        self._rise()
        return found

    def _rise(self) -> None:
        while self.floor + 1 in self._above:
            self.floor += 1
            self._above.remove(self.floor)

    def holes(self, below: int) -> list[int]:
        """Return the slots below one that are not known to exist."""
        return [number for number in range(self.floor + 1, below) if number not in self._above]

    def choose(self, chance: random.Random) -> int:
        """Return one of the first slots that are free."""
        skipped = chance.randrange(self._choice)
        number = self.floor + 1
        while skipped or number in self._above:
            skipped -= number not in self._above
            number += 1
        return number

    def expect(self, others: int) -> None:
        """Choose from as many slots at least as others create meanwhile, and not from many times as many."""
        self._choice = min(max(self._choice, 1, others), MOST * max(1, others))

    def won(self) -> None:
        """Record that the slot that was chosen was free."""
        self._choice = max(1, self._choice - 1)

    def lost(self) -> None:
        """Record that somebody else had taken it."""
        self._choice += 1


def lacks(listed: Collection[int], known: Collection[int]) -> bool:
    """Return whether a listing of the newest slots lacks one that was known before: it is not up to date."""
    least = min(listed, default=0)
    return any(number >= least and number not in listed for number in known)
