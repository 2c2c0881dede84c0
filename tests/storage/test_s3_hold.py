"""PUTs that wait for each other with the last byte of their bodies."""

from __future__ import annotations

import asyncio

import pytest
from helpers import soon
from scripted_s3 import answer
from storage.s3_storage import talking_to

from mps3.storage import hold as holding
from mps3.storage.hold import HOLD, Hold
from mps3.storage.protocol import Stored
from mps3.storage.s3.storage import S3Storage

STORED = answer(200, ETag='"1"')


async def put(storage: S3Storage, body: bytes, hold: Hold) -> Stored:
    HOLD.set(hold)
    return await storage.put("bucket", "key", body)


async def test_puts_end_together(fake):
    hold = Hold(2)
    async with talking_to(fake, STORED) as storage:
        one = asyncio.create_task(put(storage, b"one", hold))
        await asyncio.sleep(0.1)
        assert not fake.received
        other = asyncio.create_task(put(storage, b"other", hold))
        await soon(asyncio.gather(one, other))
    assert sorted(received.body for received in fake.received) == [b"one", b"other"]
    assert all("transfer-encoding" not in received.headers for received in fake.received)


async def test_nobody_waits_for_a_put_that_is_over(fake):
    hold = Hold(2)
    async with talking_to(fake, STORED) as storage:
        one = asyncio.create_task(put(storage, b"one", hold))
        await asyncio.sleep(0.1)
        hold.leave()
        await soon(one)
    assert fake.received[0].body == b"one"


async def test_a_put_is_not_held_for_long(fake, monkeypatch: pytest.MonkeyPatch):
    """A store may not begin with one before another one has ended."""
    monkeypatch.setattr(holding, "LONGEST", 0.1)
    async with talking_to(fake, STORED) as storage:
        await soon(put(storage, b"one", Hold(2)))
    assert fake.received[0].body == b"one"
