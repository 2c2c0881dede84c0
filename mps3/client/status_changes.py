"""A status that is watched: the newest one after each change."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Self
from weakref import WeakSet

from ..support.loop_affinity import LoopAffinity
from ..types import Status


class StatusChanges(AsyncIterator[Status]):
    """What ``status_changes`` returns: the status now, and then the newest one after each change."""

    def __init__(self, status: Callable[[], Status], home: LoopAffinity) -> None:
        self._status = status
        self._home = home
        self._last: Status | None = None
        self._awake = asyncio.Event()
        self._awake.set()
        self._ended = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Status:
        """Wait for the next status. Only a later contact is no change.

        Raises:
            ConfigurationError: The client is in another event loop.
        """
        self._home.check()
        while not self._ended:
            await self._awake.wait()
            self._awake.clear()
            status = self._status()
            if not self._ended and (self._last is None or _essence(status) != _essence(self._last)):
                self._last = status
                return status
        raise StopAsyncIteration

    def tell(self, *, ended: bool = False) -> None:
        """The status may be another; or there will be no more."""
        self._ended = self._ended or ended
        self._awake.set()

    async def aclose(self) -> None:
        """End it; whoever waits for its next status stops waiting."""
        self._home.check()
        self.tell(ended=True)


class Watchers:
    """Those who watch the status of one client. They are held weakly: who is dropped is gone."""

    def __init__(self) -> None:
        self._watchers: WeakSet[StatusChanges] = WeakSet()

    def add(self, status: Callable[[], Status], home: LoopAffinity) -> StatusChanges:
        """One more."""
        changes = StatusChanges(status, home)
        self._watchers.add(changes)
        return changes

    def tell(self, *, ended: bool = False) -> None:
        """The status may be another; or there will be no more."""
        for watcher in list(self._watchers):
            watcher.tell(ended=ended)


def _essence(status: Status) -> Status:
    return replace(status, last_contact=None)
