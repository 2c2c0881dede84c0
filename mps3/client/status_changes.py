"""Iterators over the status of a client."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Self
from weakref import WeakSet

from ..support.loop_affinity import LoopAffinity
from ..types import Status


class StatusChanges(AsyncIterator[Status]):
    """An iterator over the status of a client: the status now, and the newest one after each change."""

    def __init__(self, status: Callable[[], Status], affinity: LoopAffinity) -> None:
        self._status = status
        self._affinity = affinity
        self._last: Status | None = None
        self._awake = asyncio.Event()
        self._awake.set()
        self._ended = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Status:
        """Wait for the next status. A later ``last_contact`` alone is not a change.

        Raises:
            ConfigurationError: The client is in another event loop.
        """
        self._affinity.check()
        while not self._ended:
            await self._awake.wait()
            self._awake.clear()
            status = self._status()
            if not self._ended and (self._last is None or _without_contact(status) != _without_contact(self._last)):
                self._last = status
                return status
        raise StopAsyncIteration

    def _notify(self, *, ended: bool = False) -> None:
        """Wake the iterator up, because the status may have changed or the client has closed."""
        self._ended = self._ended or ended
        self._awake.set()

    async def aclose(self) -> None:
        """End the iteration. A pending wait for the next status ends."""
        self._affinity.check()
        self._notify(ended=True)


class Watchers:
    """The iterators over the status of one client, held by weak references."""

    def __init__(self) -> None:
        self._watchers: WeakSet[StatusChanges] = WeakSet()

    def add(self, status: Callable[[], Status], affinity: LoopAffinity) -> StatusChanges:
        """Return a new iterator."""
        changes = StatusChanges(status, affinity)
        self._watchers.add(changes)
        return changes

    def notify(self, *, ended: bool = False) -> None:
        """Wake the iterators up."""
        if not self._watchers:
            return
        for watcher in list(self._watchers):
            watcher._notify(ended=ended)  # noqa: SLF001 - part of the client


def _without_contact(status: Status) -> Status:
    return replace(status, last_contact=None)
