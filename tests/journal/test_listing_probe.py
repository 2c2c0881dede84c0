"""The merge journal needs complete listings of versions: a store whose listings are not is refused."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace
from typing import Any

import pytest
from collect.garbage import everything
from helpers import BUCKET, MANIFEST, soon

from mps3 import MPS3, AccessError, ConfigurationError, MemoryStorage
from mps3.doctor.diagnosis import Diagnosis, diagnose
from mps3.journal.listing_trial import lacking_listing
from mps3.support.environment import Environment


class Jumbled(MemoryStorage):
    """Fills a page with versions of keys in an order of its own, as SeaweedFS does, and continues after them."""

    jumbled = True

    async def versions(self, bucket: str, key: str, *, limit: int | None = None, **options: Any) -> Any:
        page = await super().versions(bucket, key, limit=limit, **options)
        others = sum(
            len(found) for name, found in self._buckets.get(bucket, {}).items() if name.startswith(f"{key}.runs/")
        )
        if not self.jumbled or limit is None or len(page.versions) + others <= limit:
            return page
        left = max(0, limit + 1 - others)
        return replace(page, versions=page.versions[:left], next=None)


async def doctor(storage: MemoryStorage, journal: Any = "auto") -> Diagnosis:
    return await diagnose(
        storage, BUCKET, MANIFEST, journal=journal, poll_interval=1.0, environment=Environment()
    )  # fmt: skip


@pytest.mark.usefixtures("mps3_clock")
async def test_a_client_refuses_a_listing_that_leaves_versions_out():
    storage = Jumbled()
    with pytest.raises(ConfigurationError, match="it lists 1 of 2 new versions") as refusal:
        await MPS3(BUCKET, storage=storage, journal="merge").open()
    assert 'journal="log"' in str(refusal.value)
    assert await everything(storage) == []


async def test_the_log_journal_does_not_need_it():
    async with MPS3(BUCKET, storage=Jumbled()) as one:
        await soon(one.put("key", 1))


@pytest.mark.usefixtures("mps3_clock")
async def test_the_doctor_says_the_same():
    storage = Jumbled()
    found = await doctor(storage)
    assert (found.journal, found.healthy) == ("log", True)
    (listing,) = (finding for finding in found.findings if finding.what == "listing beside longer keys")
    assert listing.good is None and "only the log journal" in listing.result
    found = await doctor(storage, "merge")
    assert (found.journal, found.healthy) == (None, False)


@pytest.mark.usefixtures("mps3_clock")
async def test_the_doctor_refuses_it_also_where_there_is_a_manifest():
    storage = Jumbled()
    storage.jumbled = False
    async with MPS3(BUCKET, storage=storage, journal="merge") as one:
        await soon(one.put("key", 1))
    assert (await doctor(storage)).healthy
    storage.jumbled = True
    found = await doctor(storage)
    assert (found.journal, found.healthy) == ("merge", False)


async def test_a_version_more_after_a_lost_answer_is_no_incomplete_listing(monkeypatch):
    class Repeated(MemoryStorage):
        """Each PUT arrives twice: its first answer was lost."""

        async def put(self, bucket: str, key: str, body: bytes, **options: Any) -> Any:
            stored = await super().put(bucket, key, body, **options)
            await super().put(bucket, key, body, **options)
            return stored

    monkeypatch.setattr("mps3.journal.listing_trial.VISIBLE", 0.0)
    assert await lacking_listing(Repeated(), BUCKET, MANIFEST, Environment()) is None


class Slow(MemoryStorage):
    """Holds up one of its calls."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.left = number
        self.reached, self.switch = asyncio.Event(), asyncio.Event()

    async def _pass(self) -> None:
        self.left -= 1
        if self.left == 0:
            self.reached.set()
            await self.switch.wait()

    async def put(self, *arguments: Any, **options: Any) -> Any:
        stored = await super().put(*arguments, **options)
        await self._pass()
        return stored

    async def versions(self, *arguments: Any, **options: Any) -> Any:
        await self._pass()
        return await super().versions(*arguments, **options)


@pytest.mark.parametrize("number", range(1, 6))
async def test_it_leaves_nothing_when_it_is_interrupted(number):
    storage = Slow(number)
    task = asyncio.ensure_future(lacking_listing(storage, BUCKET, MANIFEST, Environment()))
    await soon(storage.reached.wait())
    task.cancel()
    await asyncio.sleep(0)
    storage.switch.set()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    await asyncio.sleep(0.05)
    assert await everything(storage) == []


async def test_who_may_not_write_is_not_refused():
    class ReadOnly(MemoryStorage):
        async def put(self, *arguments: Any, **options: Any) -> Any:
            raise AccessError("read only", operation="PutObject")

    async with MPS3(BUCKET, storage=ReadOnly(), journal="merge") as one:
        assert await one.get("key") is None
