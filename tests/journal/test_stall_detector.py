"""A commit that can never succeed ends with an error, and one that others only delay does not."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any
from unittest.mock import patch

import orjson
import pytest
from aiohttp import web
from commits import is_slot
from helpers import BUCKET, MANIFEST, client, eventually, memory_client, soon
from in_memory_s3 import InMemoryS3, error

from mps3 import ConfigurationError, ConflictError, CorruptionError, MemoryStorage
from mps3.format.slot import slot_key
from mps3.journal import stall_detector
from mps3.journal.attempt import Attempt
from mps3.journal.merge.journal import MergeJournal
from mps3.manifest import committer as committing
from mps3.storage import Object, Stored, VersionPage
from mps3.support.environment import Environment


@pytest.fixture
def hasty() -> Iterator[None]:
    """Give up after some tries, however quickly they were made."""
    with (
        patch.object(stall_detector, "SECONDS", 0.0),
        patch.object(stall_detector, "OLD", 0.0),
        patch.object(stall_detector, "TRIES", 6),
        patch.object(committing, "LONGEST_CONFLICT", 0.1),
    ):
        yield


def weak(etag: str) -> str:
    return f"W/{etag}"


async def test_a_proxy_that_makes_etags_weak_on_get_changes_nothing():
    async with (
        InMemoryS3(versioning="Off", etag_of_get=weak) as server,
        client(BUCKET, server.s3_config) as one,
        client(BUCKET, server.s3_config) as two,
    ):
        for number in range(4):
            await soon(one.put("key", number))
            await soon(two.update("key", lambda value: value + 10))
            await soon(two.put(f"other {number}", number))
        assert await one.get("key") == await two.get("key") == 13
        entries = await one.log()
        assert len(entries) == 12
        assert one.status().last_error is None
        server.asked.clear()
        # Where both were at it, there may be a filler among them.
        following = f"GET {slot_key(MANIFEST, entries[0].slot + 1)}"
        await eventually(lambda: server.asked[following] > 3)


async def test_weak_etags_of_any_storage():
    class Weak(MemoryStorage):
        async def get(self, bucket: str, key: str, *, if_none_match: str | None = None, **options: Any) -> Any:
            found = await super().get(bucket, key, if_none_match=(if_none_match or "")[2:] or None, **options)
            if isinstance(found, Object):
                return replace(found, etag=weak(found.etag or ""))
            return found

    storage = Weak(versioning=False)
    async with memory_client(storage) as one, memory_client(storage) as two:
        for number in range(3):
            await soon(one.put("key", number))
            await soon(two.put("key", -number))


def refuse_slots(server: InMemoryS3, request: web.BaseRequest, key: str) -> web.Response | None:
    if is_slot(key) and request.method == "PUT":
        server.asked["refused"] += 1
        return error(412, "PreconditionFailed")
    return None


@pytest.mark.parametrize("write", ["put", "update", "if_version"])
async def test_a_commit_that_is_refused_though_nobody_else_commits_is_no_endless_retry(write, hasty, caplog):
    writes: dict[str, Callable[[Any], Any]] = {
        "put": lambda one: one.put("key", 2),
        "update": lambda one: one.update("key", lambda value: value + 1),
        "if_version": lambda one: one.put("new", 1, if_version=None),
    }
    caplog.set_level(logging.WARNING, "mps3")
    async with InMemoryS3(versioning="Off") as server, client(BUCKET, server.s3_config) as one:
        await soon(one.put("key", 1))
        server.answer = refuse_slots
        with pytest.raises(ConfigurationError, match="has refused"):
            await soon(writes[write](one))
        assert server.asked["refused"] <= 10
        assert "though nobody else has committed" in caplog.text
        server.answer = lambda *_: None
        await soon(one.put("key", 5))
        assert await one.get("key") == 5


async def test_that_others_commit_is_no_standstill(hasty):
    class Contended(MemoryStorage):
        """Somebody else is faster, many times."""

        losses = 8

        async def put(self, bucket: str, key: str, body: bytes, **options: Any) -> Stored:
            if is_slot(key) and self.losses:
                self.losses -= 1
                theirs = {**orjson.loads(body), "session": f"somebody {self.losses}", "update": {}}
                await super().put(bucket, key, orjson.dumps(theirs), **options)
            return await super().put(bucket, key, body, **options)

    storage = Contended(versioning=False)
    async with memory_client(storage) as one:
        storage.losses = 0
        await soon(one.put("key", 1))
        storage.losses = 8
        await soon(one.put("key", 2))
        assert await one.get("key") == 2


async def test_time_stamps_that_are_minutes_late_are_no_endless_retry(hasty):
    """What is stamped later than its deadline does not count (R16), and neither would any other try."""
    async with InMemoryS3(stamp=1200.0) as server:
        async with client(BUCKET, server.s3_config, inline=0, journal="merge") as one:
            with pytest.raises(ConfigurationError, match="clocks"):
                await soon(one.put("key", 1))
        async with client(BUCKET, server.s3_config, "log.json", inline=0, journal="log") as one:
            await soon(one.put("key", 1))  # it has no deadline


@pytest.mark.parametrize(("seconds", "message"), [(1.0, "clocks of the store"), (400.0, "this client takes minutes")])
async def test_who_is_too_late_because_of_itself_is_told_so(seconds, message, monkeypatch):
    clock = Clock()
    monkeypatch.setattr(Environment, "monotonic", lambda self: clock.now)
    monkeypatch.setattr(stall_detector, "SLOW", 10_000.0)
    journal = MergeJournal(MemoryStorage(), BUCKET, MANIFEST, Environment())
    late = ConflictError("it came so late", version="1")
    with pytest.raises(ConfigurationError, match=message):
        for number in range(100):
            assert number < 30
            journal._not_moved(Attempt(1, {}), late)
            clock.now += seconds
    assert number >= (15 if seconds == 1.0 else 25)


class Clock:
    now = 0.0


@pytest.mark.usefixtures("mps3_clock")
async def test_a_listing_without_what_was_stored_is_no_endless_retry(hasty):
    class Forgetful(MemoryStorage):
        """Its listing of versions stays as it was."""

        frozen: VersionPage | None = None

        async def versions(self, bucket: str, key: str, **options: Any) -> VersionPage:
            return self.frozen or await super().versions(bucket, key, **options)

    storage = Forgetful()
    async with memory_client(storage) as one:
        await soon(one.put("key", 1))
        storage.frozen = await storage.versions(BUCKET, MANIFEST)
        with pytest.raises(ConfigurationError, match="shows none of them") as caught:
            await soon(one.put("key", 2))
        assert caught.value.maybe_written
        assert len((await MemoryStorage.versions(storage, BUCKET, MANIFEST)).versions) < 20


@pytest.mark.parametrize("versioning", [True, False])
@pytest.mark.usefixtures("mps3_clock")
async def test_a_transaction_whose_value_is_gone_is_no_endless_retry(versioning):
    """Though an earlier try of it was made: it is certain first that that one does not count."""
    storage = MemoryStorage(versioning=versioning)
    async with memory_client(storage, inline=0) as one, memory_client(storage, inline=0) as two:
        await one.put("key", 1)
        runs = 0

        async def change(value: int) -> int:
            nonlocal runs
            runs += 1
            if runs == 1:
                version = (await two.put("key", 5)).versions["key"]
                if versioning:
                    await storage.delete(BUCKET, "key", version=version)
                else:
                    await storage.delete(BUCKET, f"key@{version}")
            return value + 1

        with pytest.raises(CorruptionError, match="missing"):
            await soon(one.update("key", change))
        await soon(one.put("key", 7))
        assert await soon(one.update("key", lambda value: value + 1)) == 8
