"""A listing of versions that is read in pages while others commit without a pause (R3)."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from helpers import memory_client

from mps3 import MemoryStorage
from mps3.journal.merge.listing import NEWER
from mps3.storage import Object, VersionPage
from mps3.testing import VirtualClock, VirtualEnvironment, VirtualLoop


class Busy(MemoryStorage):
    """Gets so many new versions after each page, and shows no more in one than ``most``."""

    def __init__(self, newer: int, most: int = 1000) -> None:
        super().__init__(versioning=True, clock=VirtualClock().time)
        self.newer = newer
        self.most = most
        self.busy = False

    async def versions(self, bucket: str, key: str, *, limit: int = 1000, **options: Any) -> VersionPage:
        page = await super().versions(bucket, key, limit=min(limit, self.most), **options)
        for _ in range(self.newer if self.busy else 0):
            found = await super().get(bucket, key)
            assert isinstance(found, Object)
            await super().put(bucket, key, found.body)
        return page


def opened(store: Busy) -> None:
    async def go() -> None:
        async with memory_client(store, environment=VirtualEnvironment(seed=1)) as ann:
            for number in range(60):
                await ann.put("a", number)
        store.busy = True
        async with memory_client(store, environment=VirtualEnvironment(seed=2)) as bob:
            assert await bob.get("a") == 59

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(go())


@pytest.mark.parametrize("newer", [0, 1, NEWER - 1, NEWER, NEWER + 1, 5 * NEWER])
def test_a_store_is_opened_however_much_is_committed_meanwhile(newer):
    opened(Busy(newer))


def test_a_store_that_shows_little_at_once_is_opened():
    opened(Busy(0, most=7))
