"""A wall clock that never goes back: it goes on even when this machine's clock is set back."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from typing import Final
from weakref import WeakKeyDictionary

TOLERANCE: Final = 1e-6
"""Seconds that two equal clocks may differ by, because times since 1970 are rounded."""


class MonotonicWallClock:
    """The clock of a store that has only this machine's clock.

    It follows the machine's clock. When that is set back or stands still, it goes on from the last time shown, by the
    clock of the event loop, which is never set.

    Args:
        clock: The machine's clock, in seconds since 1970.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._last = -math.inf
        # How far the time is ahead of each loop's clock: the clocks of two loops are unrelated.
        self._ahead: WeakKeyDictionary[asyncio.AbstractEventLoop, float] = WeakKeyDictionary()

    def __call__(self) -> float:
        """Return the time, in seconds since 1970."""
        shown = self._clock()
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self._last = max(self._last, shown)
            return self._last
        here = loop.time()
        moved = here + self._ahead.get(loop, -math.inf)
        self._last = max(self._last, shown if moved <= shown + TOLERANCE else moved)
        if self._last > moved + TOLERANCE:
            self._ahead[loop] = self._last - here
        return self._last

    def copy(self) -> MonotonicWallClock:
        """Return an independent clock that shows the same time now."""
        copied = MonotonicWallClock(self._clock)
        copied._last = self._last
        copied._ahead = self._ahead.copy()
        return copied
