"""What a client does that follows many commits of others, and makes none itself."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from commits import is_slot, newest_checkpoint
from helpers import Unreliable, eventually, memory_client, no_task_left, soon

from mps3 import AccessError, ClosedError, UnavailableError
from mps3.journal.log import checkpoints

WRITER = {"poll_interval": 60.0, "journal": "log", "inline": 1024}


class ReadOnly(Unreliable):
    """The same store with a key that may only read."""

    def __init__(self, writable: Unreliable) -> None:
        super().__init__(versioning=False)
        self._buckets = writable._buckets
        self.refuse(AccessError("this key may only read", operation="PutObject"))


@pytest.fixture
def storage(monkeypatch) -> Unreliable:
    monkeypatch.setattr(checkpoints, "MOST", 8)
    monkeypatch.setattr(checkpoints, "KEPT", 4)
    monkeypatch.setattr("mps3.journal.levels.CHECKPOINT", 500)
    monkeypatch.setattr("mps3.journal.levels.CHECKPOINT_OVER_RUNS", 500)
    return Unreliable(versioning=False)


async def test_who_may_only_read_follows_a_large_store(storage):
    async with memory_client(storage, **WRITER) as ann:
        await ann.put("first", 1)
        async with memory_client(ReadOnly(storage), journal="log") as bob:
            await _follow(ann, bob)


async def test_who_follows_a_large_store_stores_nothing(storage, monkeypatch):
    monkeypatch.setattr("mps3.journal.log.tail.EVERY", 4)
    reading = ReadOnly(storage)
    async with memory_client(storage, **WRITER) as ann:
        await ann.put("first", 1)
        async with memory_client(reading, journal="log") as bob:
            await _follow(ann, bob)
    assert reading.count("put") == 0


async def _follow(ann, bob):
    for number in range(30):
        await ann.put(f"key/{number}", "x" * 100)
        await eventually(lambda: _has(bob, f"key/{number}"), within=5)  # noqa: B023


async def _has(client, key):
    return await client.get(key, None) is not None


async def test_writers_that_take_turns_write_checkpoints_however_they_were_opened(storage, monkeypatch):
    monkeypatch.setattr("mps3.journal.log.tail.EVERY", 4)
    monkeypatch.setattr(checkpoints, "LEFT", 3)
    async with memory_client(storage, **WRITER) as ann:
        await ann.get("a", None)
        async with memory_client(storage, **WRITER) as bob:
            for number in range(3):
                await bob.put("a", number)
        assert (await newest_checkpoint(storage))["sequence"] == 3
        await ann.get("a")
        monkeypatch.setattr(checkpoints, "LEFT", 1000)
        async with memory_client(storage, **WRITER) as carl:
            for number in range(20):
                await carl.get("a")
                await carl.put("a", number)
                await ann.get("a")
                await ann.put("a", number)
    assert (await newest_checkpoint(storage))["sequence"] > 30


async def test_the_manifests_of_a_client_are_closed_at_once(storage, monkeypatch):
    monkeypatch.setattr(checkpoints, "CLOSING", 0.3)
    async with memory_client(storage, **WRITER) as ann:
        for manifest in range(10):
            for number in range(checkpoints.LEFT):
                await ann.put("a", number, manifests=[f"{manifest}.json"])
        storage.hang = lambda operation, key: operation == "put" and key.endswith(".checkpoint")
        started = time.monotonic()
    assert time.monotonic() - started < 1.5
    storage.release()


class Deaf(Unreliable):
    """A connection that loses the answer to one PUT, late."""

    def __init__(self, store: Unreliable) -> None:
        super().__init__(versioning=False)
        self._buckets = store._buckets
        self.deaf = False

    async def put(self, bucket: str, key: str, body: bytes, **options: Any) -> Any:
        stored = await super().put(bucket, key, body, **options)
        if self.deaf and is_slot(key):
            self.deaf = False
            await self.switch.wait()
            raise UnavailableError("the answer was lost", operation="PutObject")
        return stored


async def test_a_checkpoint_is_written_though_the_next_is_due_by_now(storage, monkeypatch):
    monkeypatch.setattr("mps3.journal.log.tail.EVERY", 3)
    monkeypatch.setattr(checkpoints, "LEFT", 1000)
    line = Deaf(storage)
    storage.fail = lambda _, key: AccessError("not by bob") if key.endswith(".checkpoint") else None
    async with memory_client(line, **WRITER) as ann, memory_client(storage, **WRITER) as bob:
        await ann.put("a", 1)
        await ann.put("a", 2)
        line.deaf = True
        writing = ann.put("a", 3)
        await eventually(lambda: not line.deaf)
        for number in range(3):
            await bob.put("b", number)
        line.switch.set()
        await writing
        await eventually(lambda: newest_checkpoint(line), within=3)


async def test_closing_that_is_cancelled_leaves_nobody_waiting(storage, monkeypatch):
    monkeypatch.setattr("mps3.client.lifecycle.FLUSH_TIMEOUT", 0)
    async with no_task_left():
        ann = await memory_client(storage, **WRITER).open()
        for number in range(checkpoints.LEFT):
            await ann.put("a", number)
        storage.hold_all()
        write = ann.put("a", "not sent")
        closing = asyncio.ensure_future(ann.aclose())
        await eventually(lambda: any(key.endswith(".checkpoint") for _, key in storage.calls))
        closing.cancel()
        with pytest.raises(ClosedError):
            await soon(write, within=5)
        with pytest.raises(asyncio.CancelledError):
            await closing


@pytest.mark.parametrize("journal", ["log", "merge"])
async def test_what_is_tried_again_and_again_is_remembered_once(journal):
    store = Unreliable(versioning=journal == "merge")
    async with memory_client(store, journal=journal, poll_interval=60.0) as ann:
        ann._environment.backoff = lambda *_, **__: 0.0
        await ann.put("a", 0)
        store.refuse(UnavailableError("the disk is full", operation="PutObject"))
        write = ann.put_all({f"key/{number}": number for number in range(50)})
        await eventually(lambda: store.count("put") > 100)
        (commit,) = [ann._manifests[ann._default]._pipeline.sending]
        assert len(commit.attempt.sent_updates) > 10
        assert len({id(update) for update in commit.attempt.sent_updates}) < 3
        store.up()
        await soon(write)


async def test_checkpoints_that_cannot_be_written_are_a_warning_in_the_end(caplog):
    storage = Unreliable(versioning=False)
    async with memory_client(storage, poll_interval=3600) as one:
        await soon(one.put("k", 0))
        checkpoints = one._manifests[one._default]._state.journal._checkpoints
        storage.fail = lambda operation, key: (
            AccessError("no") if key.endswith(".checkpoint") and operation == "put" else None
        )
        for number in range(1, 5):
            await soon(one.put("k", number))
            await checkpoints._checkpoint(quiet=False)
        warnings = [record for record in caplog.records if record.levelname == "WARNING"]
        assert ["could not write a checkpoint" in record.getMessage() for record in warnings] == [True]
