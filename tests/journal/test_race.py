"""Stores that let several clients create one object at the same time are found out, and nothing is left of the trial."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from helpers import MANIFEST, memory_client, soon
from places import everything_in, manifest_of

from mps3 import ConfigurationError, ConflictError, UnavailableError
from mps3.journal import race
from mps3.journal.probe import lacking_creation
from mps3.storage.memory import MemoryStorage
from mps3.storage.protocol import ABSENT, Capabilities, Stored
from mps3.support.environment import Environment

BUCKET = "bucket"
PUTS = race.RACERS * race.RACES * race.ROUNDS


@pytest.fixture(autouse=True)
def no_race_where_none_is_lost() -> None:
    """Here they are run."""


class Unknown(MemoryStorage):
    """Does not say that one of several clients creates an object; ``failing`` is raised for who loses a race."""

    failing: type[Exception] = ConflictError

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.puts = 0

    async def capabilities(self, bucket: str) -> Capabilities:
        return Capabilities((await super().capabilities(bucket)).versioning)

    async def put(self, bucket: str, key: str, body: bytes, **options: Any) -> Stored:
        self.puts += 1
        try:
            return await super().put(bucket, key, body, **options)
        except ConflictError as error:
            raise self.failing(str(error), maybe_written=self.failing is UnavailableError) from error


class Gapped(Unknown):
    """Looks whether there is an object, and writes it a moment later, as S3Proxy and S3Mock do."""

    async def put(self, bucket: str, key: str, body: bytes, **options: Any) -> Stored:
        if options.pop("if_none_match", False) and await self.get(bucket, key) is not ABSENT:
            raise ConflictError("412 PreconditionFailed", bucket=bucket, key=key, operation="PutObject")
        await asyncio.sleep(0.01)
        return await super().put(bucket, key, body, **options)


@pytest.mark.parametrize("versioning", [True, False])
async def test_a_gap_between_the_look_and_the_write_is_found(versioning):
    storage = Gapped(versioning=versioning)
    lacking = await lacking_creation(storage, BUCKET, MANIFEST, Environment())
    assert lacking is not None and "at the same time" in lacking
    assert await everything_in(storage, BUCKET) == []


@pytest.mark.parametrize("journal", ["auto", "log"])
async def test_a_client_refuses_such_a_store(journal):
    storage = Gapped(versioning=False)
    with pytest.raises(ConfigurationError, match="commits would be lost"):
        await memory_client(storage, journal=journal).__aenter__()
    assert await everything_in(storage, BUCKET) == []


async def test_a_client_merges_where_such_a_store_keeps_versions():
    storage = Gapped(versioning=True)
    async with memory_client(storage, journal="auto") as one:
        await soon(one.put("key", 1))
    assert (await manifest_of(storage, BUCKET))["journal"] == "merge"


@pytest.mark.parametrize("failing", [ConflictError, ConfigurationError, UnavailableError])
@pytest.mark.parametrize("versioning", [True, False])
async def test_who_loses_a_race_may_be_told_so_by_any_error(failing, versioning):
    storage = Unknown(versioning=versioning)
    storage.failing = failing
    capabilities = await storage.capabilities(BUCKET)
    bodies = (b"1", b"2")
    lacking = race.lacking_exclusion(storage, BUCKET, "probe/", Environment(), bodies, capabilities)
    assert await lacking is None
    assert storage.puts == PUTS
    assert await everything_in(storage, BUCKET) == []


async def test_a_store_that_is_known_to_let_one_client_win_is_not_tried():
    class Known(Unknown):
        async def capabilities(self, bucket: str) -> Capabilities:
            return Capabilities("off", exclusive=True)

    storage = Known()
    assert await lacking_creation(storage, BUCKET, MANIFEST, Environment()) is None
    assert storage.puts == 2


async def test_a_race_that_is_interrupted_leaves_nothing():
    class Slow(Unknown):
        async def put(self, bucket: str, key: str, body: bytes, **options: Any) -> Stored:
            stored = await super().put(bucket, key, body, **options)
            if self.puts > 4:
                reached.set()
                await asyncio.sleep(0.1)
            return stored

    reached = asyncio.Event()
    storage = Slow(versioning=True)
    task = asyncio.ensure_future(lacking_creation(storage, BUCKET, MANIFEST, Environment()))
    await soon(reached.wait())
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    assert await everything_in(storage, BUCKET) == []
