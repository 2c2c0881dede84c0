"""What attacks on the finished fixes found: sessions that were settled beyond a commit, tables and states out of bounds."""

from __future__ import annotations

import asyncio
import math
from unittest.mock import patch

import orjson
import pytest
from commits import read
from helpers import BUCKET, MANIFEST, memory_client, soon

from mps3 import ConfigurationError, MemoryStorage
from mps3.format import limits
from mps3.format.slot import slot_key
from mps3.journal import settle
from mps3.journal.log import contact
from mps3.storage.s3.redaction import public_url


@pytest.fixture
def short_window(monkeypatch):
    """What is older than a moment is settled at once."""
    merge, log = "mps3.journal.merge.journal.MergeJournal", "mps3.journal.log.journal.LogJournal"
    monkeypatch.setattr(f"{merge}.__init__.__kwdefaults__", {"window": 0.02})
    monkeypatch.setattr(
        f"{log}.__init__.__kwdefaults__", {"exists": False, "trusted": False, "contested": False, "window": 0.02}
    )


async def test_a_session_that_was_settled_far_beyond_its_commits_loses_none(short_window):
    """Somebody repeats a commit with a far sequence, honest commits settle it, and the owner has not looked since."""
    storage = MemoryStorage(versioning=False)
    async with memory_client(storage, poll_interval=3600) as owner:
        await owner.put("first", 1)
        document = await read(storage, slot_key(MANIFEST, 1))
        document["sequence"] = 10**6
        await storage.put(BUCKET, slot_key(MANIFEST, 2), orjson.dumps(document))
        async with memory_client(storage) as other:
            for number in range(200):
                await other.put("x", number)
        commit = await soon(owner.put("second", "v"))
        assert await soon(owner.update("third", lambda value: (value or 0) + 1)) == 1
        async with memory_client(storage) as fresh:
            assert await fresh.get("second", "absent") == "v"
            assert await fresh.get("third", "absent") == 1
            assert [revision.id for revision in await fresh.history("second")] == [commit.id]


async def test_a_table_of_very_many_sessions_can_always_be_written_again(short_window):
    storage = MemoryStorage()
    async with memory_client(storage) as client:
        await client.put("k", 1)
    document = orjson.loads((await storage.get(BUCKET, MANIFEST)).body)
    document["sessions"] = {f"{number:032x}": 1 for number in range(limits.SESSIONS)}
    await storage.put(BUCKET, MANIFEST, orjson.dumps(document))
    with patch.object(settle, "max_commit_age", lambda: 600.0):
        async with memory_client(storage) as client:
            for number in range(4):
                await soon(client.put("k", number))
                await asyncio.sleep(0.05)
                async with memory_client(storage) as other:
                    await soon(other.put(f"other/{number}", number))
            assert await client.get("k") == 3


async def test_a_log_that_went_back_for_good_is_no_endless_retry(monkeypatch):
    monkeypatch.setattr(contact, "BEHIND", 0.2)
    storage = MemoryStorage(versioning=False)
    async with memory_client(storage, poll_interval=3600) as client:
        for number in range(3):
            await client.put("k", number)
        for number in (2, 3):
            del storage._buckets[BUCKET][slot_key(MANIFEST, number)]
        client._manifests[client._default]._state.journal._contact._heard = -math.inf
        with pytest.raises(ConfigurationError, match="older state"):
            await soon(client.put("k", 3))


async def test_a_time_finds_the_revision_that_was_made_at_it():
    for versioning in (True, False):
        storage = MemoryStorage(versioning=versioning)
        async with memory_client(storage) as client:
            for number in range(20):
                await client.put("k", number)
                await asyncio.sleep(0.002)
            for revision in await client.history("k"):
                assert revision.time is not None
                seen = await client.get("k", at=revision.time)
                assert seen >= await revision.value()


@pytest.mark.parametrize(
    "url", ["u:PASSWORD@x", "//u:PASSWORD@x", "https:/u:PASSWORD@x", "https:u:PASSWORD@x", "u:a/PASSWORD@x:9000"]
)
def test_an_endpoint_without_a_scheme_hides_its_password(url):
    assert "PASSWORD" not in public_url(url)
    assert "x" in public_url(url)
