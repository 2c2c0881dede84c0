"""What the guide says of how long a write waits, and what becomes of it."""

from __future__ import annotations

import asyncio
import logging

import pytest
from helpers import COMMIT, MANIFEST, Unreliable, eventually, memory_client, soon

from mps3 import ClosedError, MemoryStorage, UnavailableError, WithdrawnError
from mps3.testing import FaultyStorage


async def limited(write: object, seconds: float = 0.2) -> None:
    async with asyncio.timeout(seconds):
        await write  # type: ignore[misc]


async def test_a_timeout_around_an_awaited_write_ends_the_waiting_only():
    storage = Unreliable()
    async with memory_client(storage, inline=0) as one:
        await one.put("key", 0)
        storage.hold("put", "key")
        write = one.put("key", 1)
        with pytest.raises(TimeoutError):
            await limited(write)
        assert write.pending and await one.get("key") == 1
        storage.release()
        await soon(write)
        assert not write.pending and await one.get("key") == 1


async def test_what_has_not_left_can_be_withdrawn_after_the_timeout():
    storage = Unreliable()
    async with memory_client(storage, inline=0) as one:
        await one.put("key", 0)
        storage.hold("put", "key")
        write = one.put("key", 1)
        with pytest.raises(TimeoutError):
            await limited(write)
        assert write.withdraw()
        with pytest.raises(WithdrawnError) as caught:
            await write
        assert not caught.value.maybe_written
        storage.release()
        assert await one.get("key") == 0


async def test_what_has_left_cannot_be_withdrawn_after_the_timeout():
    storage = Unreliable()
    async with memory_client(storage) as one:
        await one.put("key", 0)
        storage.hold("put", COMMIT)
        write = one.put("key", 1)
        await eventually(lambda: storage.hang("put", MANIFEST) and storage.calls[-1] == ("put", MANIFEST))
        with pytest.raises(TimeoutError):
            await limited(write)
        assert not write.withdraw() and write.pending
        storage.release()
        await soon(write)


@pytest.mark.parametrize("versioning", [True, False])
@pytest.mark.parametrize("kind", ["a value", "a commit"])
async def test_the_status_says_why_a_write_waits_though_polls_are_answered(kind, versioning):
    storage = FaultyStorage(MemoryStorage(versioning=versioning))
    async with memory_client(storage, journal="merge" if versioning else "log", poll_interval=0.02, inline=0) as one:
        await one.put("key", 0)
        fault = storage.fail(None, operation="PutObject", key="key" if kind == "a value" else None)
        write = one.put("key", 1)
        await fault.wait()
        polls = one.statistics().polls
        await eventually(lambda: one.statistics().polls > polls + 5)
        # Each failure makes it offline, and each poll that is answered online again.
        await eventually(lambda: one.status().online)
        status = one.status()
        assert status.pending == 1
        assert isinstance(status.last_error, UnavailableError) and status.last_error.operation == "PutObject"
        changes = one.status_changes()
        await anext(changes)
        fault.end()
        await soon(write)
        assert (await soon(anext(changes))).pending == 0
        assert one.status().last_error is None


@pytest.mark.usefixtures("mps3_clock")
async def test_closing_with_unsent_writes_raises_nothing_and_logs_an_error(caplog):
    storage = Unreliable()
    caplog.set_level(logging.ERROR, "mps3")
    async with memory_client(storage) as one:
        await one.put("key", 0)
        storage.down()
        await eventually(lambda: not one.status().online)
        awaited, forgotten = one.put("awaited", 1), one.put("forgotten", 1)
        waiting = asyncio.ensure_future(asyncio.wait_for(awaited, 60))
        await asyncio.sleep(0)
    with pytest.raises(ClosedError):
        await waiting
    assert not forgotten.pending
    logged = [record.getMessage() for record in caplog.records]
    assert [text for text in logged if "put 'forgotten'" in text and "closed" in text]
    assert not [text for text in logged if "put 'awaited'" in text]
