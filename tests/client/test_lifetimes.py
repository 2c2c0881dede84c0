"""Nothing leaks, nothing blocks, on every kind of event loop."""

from __future__ import annotations

import asyncio
import gc
import sys
import tracemalloc
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from blockbuster import blockbuster_ctx

from mps3 import MPS3, LocalStorage, MemoryStorage, Subscription

Scenario = Callable[[], Awaitable[None]]


async def everything(make: Callable[[], MPS3]) -> None:
    """Two clients, each thing once, and a look at what is left of it."""
    before = asyncio.all_tasks()
    async with make() as ann, make() as bob:
        news = bob.subscribe("a", "absent")
        assert await anext(news) == "absent"
        await asyncio.gather(*(ann.put("a", number) for number in range(50)))
        assert await anext(news) == 49
        ann.put_all({"b": 1, "c": "x" * 100_000})
        assert await bob.get("nothing") is None
        await ann.delete("a")
        assert await bob.get("a", "absent") == "absent"
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await anext(bob.subscribe("never", 1))
                await anext(waiting := bob.subscribe("never", 1))
                await anext(waiting)
        await bob.put("d", None)
    assert asyncio.all_tasks() == before


def in_memory() -> Callable[[], MPS3]:
    """With the journal that clients of a test have of their own accord."""
    storage = MemoryStorage()
    return lambda: MPS3("bucket", storage=storage, poll_interval=0.05)


def in_directory(path: Path) -> Callable[[], MPS3]:
    return lambda: MPS3("bucket", storage=LocalStorage(path), poll_interval=0.05)


LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {"asyncio": asyncio.new_event_loop}


def uvloop_loop() -> asyncio.AbstractEventLoop:
    uvloop = pytest.importorskip("uvloop", reason="uvloop is not installed")
    loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
    return loop


def eager_loop() -> asyncio.AbstractEventLoop:
    if sys.version_info < (3, 12):
        pytest.skip("eager tasks need Python 3.12")
    loop = asyncio.new_event_loop()
    loop.set_task_factory(asyncio.eager_task_factory)
    return loop


@pytest.mark.parametrize("make_loop", [asyncio.new_event_loop, uvloop_loop, eager_loop])
@pytest.mark.parametrize("debug", [False, True], ids=["", "debug"])
@pytest.mark.parametrize("store", ["memory", "directory"])
@pytest.mark.parametrize("journal", ["log", "merge"])
def test_every_loop(make_loop: Callable[[], Any], debug: bool, store: str, journal: str, tmp_path: Path) -> None:
    make = in_memory() if store == "memory" else in_directory(tmp_path)
    with asyncio.Runner(loop_factory=make_loop, debug=debug) as runner:
        runner.run(everything(make))


@pytest.mark.parametrize("store", ["memory", "directory"])
@pytest.mark.parametrize("journal", ["log", "merge"])
def test_nothing_blocks_the_loop(store: str, journal: str, tmp_path: Path) -> None:
    make = in_memory() if store == "memory" else in_directory(tmp_path)
    asyncio.run(everything(make))  # what is imported or loaded once
    with blockbuster_ctx():
        asyncio.run(everything(make))


@pytest.mark.server
@pytest.mark.parametrize("journal", ["log", "merge"])
def test_nothing_blocks_the_loop_on_s3(s3_config: dict[str, Any], make_bucket: Any, journal: str) -> None:
    bucket = make_bucket("Enabled")

    def make() -> MPS3:
        return MPS3(bucket, s3_config=s3_config, poll_interval=0.05)

    with blockbuster_ctx():
        asyncio.run(everything(make))


async def drop_by_break(client: MPS3, key: str) -> None:
    async for _ in client.subscribe(key):
        break


async def drop_by_cancel(client: MPS3, key: str) -> None:
    async def read() -> None:
        async for _ in client.subscribe(key):
            pass

    task = asyncio.create_task(read())
    await asyncio.sleep(0.001)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def drop_by_error(client: MPS3, key: str) -> None:
    with pytest.raises(ZeroDivisionError):
        async with client.subscribe(key) as news:
            async for _ in news:
                raise ZeroDivisionError


async def drop_by_close(client: MPS3, key: str) -> None:
    news = client.subscribe(key)
    await anext(news)
    await news.aclose()


async def drop_unread(client: MPS3, key: str) -> None:
    client.subscribe(key)


async def drop_in_a_circle(client: MPS3, key: str) -> None:
    circle: list[Subscription[Any] | list[Any]] = [client.subscribe(key)]
    circle.append(circle)


DROPS = [drop_by_break, drop_by_cancel, drop_by_error, drop_by_close, drop_unread, drop_in_a_circle]


async def test_ten_thousand_subscriptions_leave_nothing() -> None:
    async with MPS3("bucket", storage=MemoryStorage(), poll_interval=0.01) as client:
        await client.put("k0", 0)

        async def some(rounds: int) -> None:
            for number in range(rounds):
                await asyncio.gather(*(drop(client, f"k{number % 7}") for drop in DROPS for _ in range(10)))
            gc.collect()

        await some(5)
        tasks = len(asyncio.all_tasks())
        tracemalloc.start()
        try:
            await some(5)
            first, _ = tracemalloc.get_traced_memory()
            await some(10_000 // 60)
            last, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert client.status().subscriptions == 0
        assert len(asyncio.all_tasks()) == tasks
        assert last - first < 200_000, "memory grows with subscriptions that are gone"


async def test_writing_for_long_keeps_the_memory_flat() -> None:
    async with MPS3("bucket", storage=MemoryStorage(), poll_interval=0.01) as client:
        contents = client._contents
        for number in range(300):
            await asyncio.gather(*(client.put(f"k{index}", [number, index]) for index in range(5)))
        assert client.status().pending == 0
        assert not contents._tasks
        assert not contents._fetcher._fetching
