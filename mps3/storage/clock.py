"""An estimate of the store's clock from its answers, independent of this machine's wall clock."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from .protocol import Object, Storage, Stored, VersionPage
from .wrapper import StorageWrapper

T = TypeVar("T")

SPAN: Final = 60.0
"""Seconds for which an answer is used at least: long enough for several whole-second time stamps, and too short for
clock drift to matter."""


class StoreClock:
    """A lower bound of the store's clock. It is behind by at most the latency and the rounding of an answer.

    An answer of the store contains a time of the store's clock. That time, plus the seconds that have passed on this
    machine's monotonic clock since the answer, is a lower bound. The highest of these bounds is used. It never
    decreases.

    Args:
        monotonic: This machine's monotonic clock, in seconds.
        read: Returns the store's time without a request, where the storage can tell.
    """

    def __init__(self, monotonic: Callable[[], float], read: Callable[[], float | None] = lambda: None) -> None:
        self._monotonic = monotonic
        self._read = read
        # How far the store's clock is ahead of the monotonic clock, by the answers of this span and of the last one.
        self._since = -math.inf
        self._ahead = self._before = -math.inf
        self._last = -math.inf

    def observe(self, time: float | None) -> None:
        """Record a time that the store's clock has shown, in seconds since 1970."""
        if time is not None:
            self._observe(time, self._monotonic())

    def _observe(self, time: float, here: float) -> None:
        if here - self._since > SPAN:
            self._since, self._before, self._ahead = here, self._ahead, -math.inf
        self._ahead = max(self._ahead, time - here)

    def now(self) -> float:
        """Return the lower bound, in seconds since 1970; ``-inf`` before the first answer."""
        here, time = self._monotonic(), self._read()
        if time is not None:
            self._observe(time, here)
        ahead = max(self._ahead, self._before)
        if ahead > -math.inf:
            self._last = max(self._last, here + ahead)
        return self._last


class ClockedStorage(StorageWrapper):
    """A storage that estimates the store's clock from its answers.

    Args:
        storage: The store.
        monotonic: This machine's monotonic clock, in seconds.

    Attributes:
        time: The estimate.
    """

    def __init__(self, storage: Storage, monotonic: Callable[[], float]) -> None:
        super().__init__(storage)
        self.time = StoreClock(monotonic, self.clock)

    async def _ask(
        self, operation: str, bucket: str, key: str | None, request: Callable[[], Awaitable[T]], *, sent: int = 0
    ) -> T:
        answer = await super()._ask(operation, bucket, key, request, sent=sent)
        if isinstance(answer, Object | Stored):
            self.time.observe(answer.modified)
        elif isinstance(answer, VersionPage):
            self.time.observe(answer.answered)
            self.time.observe(max((version.modified for version in answer.versions), default=None))
        return answer
