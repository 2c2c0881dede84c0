"""An estimate of the store's clock from its answers, independent of this machine's wall clock."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

SPAN: Final = 60.0
"""Seconds that an answer counts at least while others arrive: long enough to see the store's second change, and too
short for clock drift to matter."""


class StoreClock:
    """A lower bound of the store's clock. It lags by no more than the latency of an answer and the rounding of its time.

    Each time that the store sends has passed there. The bound is the latest of these times, each advanced by what this
    machine's monotonic clock has counted since. It never goes back.

    Args:
        monotonic: This machine's monotonic clock, in seconds.
        told: Returns the store's time without a request, where the storage can tell.
    """

    def __init__(self, monotonic: Callable[[], float], told: Callable[[], float | None] = lambda: None) -> None:
        self._monotonic = monotonic
        self._told = told
        # How far ahead of the monotonic clock it is: in this span of time, and in the one before.
        self._since = -math.inf
        self._ahead = self._before = -math.inf
        self._last = -math.inf

    def hear(self, time: float | None) -> None:
        """Record a time that the store's clock has shown, in seconds since 1970."""
        if time is None:
            return
        here = self._monotonic()
        if here - self._since > SPAN:
            self._since, self._before, self._ahead = here, self._ahead, -math.inf
        self._ahead = max(self._ahead, time - here)

    def now(self) -> float:
        """Return the lower bound, in seconds since 1970; ``-inf`` before the first answer."""
        self.hear(self._told())
        ahead = max(self._ahead, self._before)
        if ahead > -math.inf:
            self._last = max(self._last, self._monotonic() + ahead)
        return self._last
