"""Expiry: the listeners of a key are notified when it expires, even if nothing else happens."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterable
from typing import Final

from ..content.value import PendingValue
from ..format.expiry import Expiries
from ..format.file_entry import FileEntry, expires_of
from ..storage.clock import StoreClock
from ..support.environment import wait_for_event
from .listeners import Listeners
from .state import ManifestState
from .tasks import BackgroundTasks

LONGEST_WAIT: Final = 3600.0
"""The most seconds between two checks whether something has expired."""
SHORTEST_WAIT: Final = 0.001


class ExpiryTimer:
    """Notifies listeners of keys that expire. Its task starts once a key is to expire."""

    def __init__(self, state: ManifestState, listeners: Listeners, clock: StoreClock, tasks: BackgroundTasks) -> None:
        self._state = state
        self._listeners = listeners
        self._clock = clock
        self._tasks = tasks
        self._expiries = Expiries()
        self._changed = asyncio.Event()
        self._running = False

    def expire(self) -> float:
        """Notify the listeners of keys that have expired.

        Returns:
            The time up to which they were notified: seconds since 1970 by the store's clock, or ``-inf``.
        """
        if self._expiries.update(self._state.view):
            self._changed.set()
        self._start()
        if names := self._expiries.take(self._clock.now()):
            self._listeners.expire(names)
        return self._expiries.until

    def expect(self, found: Iterable[tuple[str, PendingValue | FileEntry | None]]) -> dict[str, None]:
        """Notify the listeners of keys when they expire: they were looked up, wherever they were found.

        Returns:
            Those of which the listeners were notified before.
        """
        shown = ((name, file) for name, file in found if not isinstance(file, PendingValue))
        return self.expect_at((moment, name) for name, file in shown if (moment := expires_of(file)) is not None)

    def expect_at(self, ends: Iterable[tuple[float, str]]) -> dict[str, None]:
        """Do the same for keys that expire at some moments, by the store's clock."""
        before, over = self._expiries.next, dict[str, None]()
        for moment, name in ends:
            if moment > self._expiries.until:
                self._expiries.add(name, moment)
            else:
                over[name] = None
        if self._expiries.next < before:
            self._changed.set()
            self._start()
        return over

    def clock_changed(self) -> None:
        """Compute anew how long to wait: the time of the store may be known better."""
        if self._expiries.next < math.inf:
            self._changed.set()

    def _start(self) -> None:
        if self._expiries.next < math.inf and self._tasks.active and not self._running:
            self._running = True
            self._tasks.start(self._run(), "expiry")

    async def _run(self) -> None:
        while True:
            self._changed.clear()
            until = self.expire()
            wait = LONGEST_WAIT if until == -math.inf else min(self._expiries.next - until, LONGEST_WAIT)
            await wait_for_event(self._changed, max(SHORTEST_WAIT, wait))
