"""What time it is at the store, as far as its answers tell. No clock of this machine says so, but how long ago."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

SPAN: Final = 60.0
"""Seconds that an answer counts at least, while others arrive: long enough to see the store's second change, and too
short for two clocks to drift apart."""


class StoreClock:
    """The store's clock: never ahead of it, and late by no more than an answer took, and was rounded.

    Whatever the store has said is a time that has passed there. The latest of these, each put forward by what this
    machine's monotonic clock has advanced since, is what time it is at least. It never goes back.

    Args:
        monotonic: This machine's monotonic clock, in seconds.
        told: What the store can be asked for without a request, if it can.
    """

    def __init__(self, monotonic: Callable[[], float], told: Callable[[], float | None] = lambda: None) -> None:
        self._monotonic = monotonic
        self._told = told
        # How far ahead of the monotonic clock it is: in this span of time, and in the one before.
        self._since = -math.inf
        self._ahead = self._before = -math.inf
        self._last = -math.inf

    def hear(self, time: float | None) -> None:
        """The store's clock has shown this time, in seconds since 1970."""
        if time is None:
            return
        here = self._monotonic()
        if here - self._since > SPAN:
            self._since, self._before, self._ahead = here, self._ahead, -math.inf
        self._ahead = max(self._ahead, time - here)

    def now(self) -> float:
        """What time it is there at least, in seconds since 1970; ``-inf`` if nobody knows."""
        self.hear(self._told())
        ahead = max(self._ahead, self._before)
        if ahead > -math.inf:
            self._last = max(self._last, self._monotonic() + ahead)
        return self._last
