"""A store whose time is virtual: hours of somebody's work pass in the time that the computing takes."""

from __future__ import annotations

import asyncio
import math
import sys
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar

from meter import BUCKET, JITTER, LATENCY, MANIFEST, MeteredStorage
from simulation.loop import VirtualLoop

from mps3 import MPS3, MemoryStorage
from mps3.storage.wrapper import StorageWrapper

START: Final = 1_767_225_600.0
"""The first of January 2026, in seconds since 1970."""
KEPT: Final = 60.0
"""Seconds that a superseded manifest version stays. Nobody lists further back than the window, 3 seconds."""

T = TypeVar("T")


class Place:
    """A store in memory, and its clock.

    Args:
        journal: With which the clients of it order commits.
        latency: Seconds that a request takes, on average.

    Attributes:
        storage: The store itself.
    """

    def __init__(self, journal: str = "log", *, latency: float = LATENCY) -> None:
        self.journal = journal
        self.latency = latency
        self.storage = MemoryStorage(versioning=journal == "merge", clock=self._now)
        self._base = START
        self._seed = 0

    def _now(self) -> float:
        return self._base + asyncio.get_running_loop().time()

    def run(self, main: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Run something in an event loop of its own, whose time is virtual and follows that of the last."""
        loop = VirtualLoop(math.inf, sys.maxsize)
        loop.set_task_factory(None)  # which would remember every task
        try:
            return loop.run_until_complete(main())
        finally:
            left = asyncio.all_tasks(loop)
            for task in left:
                task.cancel()
            if left:
                loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
            self._base += loop.now + KEPT
            loop.close()

    def meter(self, *, jitter: float = JITTER) -> MeteredStorage:
        """The store as one client sees it."""
        self._seed += 1
        return MeteredStorage(self.storage, latency=self.latency, jitter=jitter, seed=self._seed)

    def client(self, storage: MeteredStorage | StorageWrapper, **options: Any) -> MPS3:
        """A client of the store."""
        return MPS3(BUCKET, MANIFEST, storage=storage, journal=self.journal, **options)  # type: ignore[arg-type]

    async def trim(self) -> None:
        """Forget old manifest versions, uncounted: kept, they would only fill this process."""
        if self.journal != "merge":
            return
        start: str | None = None
        oldest = self._now() - KEPT
        while True:
            page = await self.storage.versions(BUCKET, MANIFEST, start=start)
            for version in page.versions:
                if version.modified < oldest:
                    await self.storage.delete(BUCKET, MANIFEST, version=version.version)
            if page.next is None:
                return
            start = page.next
