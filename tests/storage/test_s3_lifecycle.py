"""Opening, sharing, closing and cancelling a storage on S3; it does not block the event loop."""

from __future__ import annotations

import asyncio
import gc
import random
import time
import warnings
from typing import TYPE_CHECKING, Any

import pytest
from blockbuster import blockbuster_ctx
from helpers import eventually
from scripted_s3 import HANG, HELLO, SLOW_DOWN, answer, version_xml, versions_xml
from storage.s3_storage import OPERATIONS, READS, talking_to

from mps3.errors import ClosedError, UnavailableError
from mps3.storage.s3.storage import S3Storage
from mps3.support.environment import Environment

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


# Life -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", OPERATIONS)
async def test_closed(fake, name):
    storage = S3Storage(fake.s3_config)
    await storage.aclose()
    with pytest.raises(ClosedError):
        await OPERATIONS[name](storage)
    await storage.open()
    await storage.aclose()
    await storage.aclose()
    with pytest.raises(ClosedError) as caught:
        await OPERATIONS[name](storage)
    assert caught.value.operation is not None
    assert fake.received == []


async def test_shared(fake):
    storage = S3Storage(fake.s3_config)
    await asyncio.gather(*(storage.open() for _ in range(3)))
    for _ in range(2):
        await storage.aclose()
        await storage.get("bucket", "key")
    await storage.aclose()
    with pytest.raises(ClosedError):
        await storage.get("bucket", "key")
    await storage.open()
    await storage.get("bucket", "key")
    await storage.aclose()


async def test_closing_ends_calls(fake):
    async with talking_to(fake, HANG) as storage:
        calls = [asyncio.ensure_future(call(storage)) for call in OPERATIONS.values()]
        await eventually(lambda: len(fake.received) == len(calls))
    for result in await asyncio.gather(*calls, return_exceptions=True):
        assert isinstance(result, (ClosedError, UnavailableError))


async def test_unclosed(fake):
    storage = S3Storage(fake.s3_config)
    await storage.open()
    connection = storage._session.connection
    with pytest.warns(ResourceWarning, match="unclosed <S3Storage open>"):
        del storage
    await connection.aclose()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        del connection
        S3Storage(fake.s3_config)
        gc.collect()


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("reply", [HANG, answer(200, b"hel", length=5, ETag='"1"') + b"", SLOW_DOWN], ids=range(3))
async def test_cancelled(fake, name, reply):
    environment = Environment(random.Random(3))
    environment.backoff = lambda *_, **__: 60.0
    async with talking_to(fake, reply, environment=environment) as storage:
        call = asyncio.ensure_future(OPERATIONS[name](storage))
        await eventually(lambda: fake.received)
        await asyncio.sleep(0.02)
        if not call.done():
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
            if reply is not SLOW_DOWN:
                await eventually(lambda: fake.open_connections == 0)
        else:
            call.exception()
        fake.answers = [HELLO]
        assert (await storage.get("bucket", "key")).body == b"hello"
    gc.collect()


async def test_cancelled_while_opening(fake):
    storage = S3Storage(fake.s3_config)
    opening = asyncio.ensure_future(storage.open())
    await asyncio.sleep(0.01)
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    with pytest.raises(ClosedError):
        await storage.get("bucket", "key")
    await storage.open()
    await storage.get("bucket", "key")
    await storage.aclose()


# The event loop -------------------------------------------------------------------------------------------------------


async def longest_block(work: Callable[[], Awaitable[Any]]) -> float:
    """How long the event loop stood still during some work, in seconds."""
    longest = 0.0

    async def beat() -> None:
        nonlocal longest
        last = time.perf_counter()
        while True:
            await asyncio.sleep(0.001)
            now = time.perf_counter()
            longest, last = max(longest, now - last - 0.001), now

    beating = asyncio.ensure_future(beat())
    await asyncio.sleep(0.005)
    await work()
    await asyncio.sleep(0.005)
    beating.cancel()
    return longest


async def test_the_loop_is_not_held_up(fake):
    opens, firsts = [], []
    for _ in range(3):
        storage = S3Storage(fake.s3_config)
        opens.append(await longest_block(storage.open))

        async def first(storage: S3Storage = storage) -> None:
            await OPERATIONS["put"](storage)
            await READS["get"](storage)

        firsts.append(await longest_block(first))
        await storage.aclose()
    # The best of three, because a busy machine holds everybody up.
    assert min(opens) < 0.05
    assert min(firsts) < 0.05


async def test_nothing_blocks(fake):
    with blockbuster_ctx():
        async with talking_to(fake, versions_xml(version_xml("1", 1)), HELLO) as storage:
            await storage.versions("bucket", "key")
            await storage.put("bucket", "key", b"x" * 100_000)
            await storage.get("bucket", "key")
