"""A machine's clock made fit for a store: it never goes back, and it goes on though the machine's is set back."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from typing import Final
from weakref import WeakKeyDictionary

TOLERANCE: Final = 1e-6
"""Seconds by which two clocks may differ that run alike: what rounding makes of times since 1970."""


class RisingClock:
    """The time of a store that has no clock but this machine's.

    It shows what the machine's clock shows. Where that is set back or stands still, the time goes on from what was
    shown last, by the clock of the event loop, which nobody sets.

    Args:
        clock: The machine's clock, in seconds since 1970.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._last = -math.inf
        # How far ahead of each loop's clock the time is: the clocks of two loops have nothing in common.
        self._ahead: WeakKeyDictionary[asyncio.AbstractEventLoop, float] = WeakKeyDictionary()

    def __call__(self) -> float:
        """What time it is, in seconds since 1970."""
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

    def copy(self) -> RisingClock:
        """Another one that shows the same time now, and goes on by itself."""
        copied = RisingClock(self._clock)
        copied._last = self._last
        copied._ahead = self._ahead.copy()
        return copied
