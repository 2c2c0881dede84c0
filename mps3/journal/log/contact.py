"""How long ago the store last said something about the log, by the store's own clock (L9)."""

from __future__ import annotations

import math
from typing import Final

from ...format.commit_age import max_commit_age
from ...storage.protocol import Storage, TellsTime
from ...support.environment import Environment

BEHIND: Final = 60.0
"""Seconds after which an older state than before is no delayed answer any more."""


class LastContact:
    """When the store last answered about the log.

    What was deleted looks like what never was. So nothing is concluded from an absent slot, or from a created one, when
    the last answer before is so old that a collection may have deleted it: half of the shortest grace of a collection.

    Args:
        storage: Its clock is in its answers. The clock of a machine may stand still while that sleeps.
        environment: The clock of this machine.
    """

    def __init__(self, storage: Storage, environment: Environment) -> None:
        self._storage = storage if isinstance(storage, TellsTime) else None
        self._environment = environment
        self._heard = -math.inf
        self._behind_since = math.inf
        self.store_time = -math.inf

    def ask(self) -> tuple[float, float]:
        """Return the time by the store's clock and by this machine's, before a request is sent."""
        return self._store_time(), self._environment.monotonic()

    def heard(self, asked: tuple[float, float]) -> None:
        """Record that what is known was the newest state when something was asked."""
        self.store_time = max(self.store_time, asked[0])
        self._heard = max(self._heard, asked[1])
        self._behind_since = math.inf

    def restore(self, stamp: float) -> None:
        """Go on from an earlier life of the client, which heard at this time of the store."""
        self.store_time = stamp
        self._heard = self._environment.monotonic() if math.isfinite(stamp) else -math.inf

    def is_long_ago(self) -> bool:
        """Return whether a slot that was absent then may have been created, and collected, since."""
        by_store = self._store_time() - self.store_time if math.isfinite(self.store_time) else 0.0
        return max(by_store, self._environment.monotonic() - self._heard) > max_commit_age()

    def is_behind_for_long(self) -> bool:
        """Record that the store has shown an older state, and return whether it has for long."""
        now = self._environment.monotonic()
        self._behind_since = min(self._behind_since, now)
        return now - self._behind_since >= BEHIND

    def _store_time(self) -> float:
        known = None if self._storage is None else self._storage.clock()
        return -math.inf if known is None else known
