"""Virtual time: it jumps to what happens next, and a run repeats itself."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from datetime import timedelta

import pytest

from mps3 import MPS3, LocalStorage, MemoryStorage
from mps3.testing import (
    FaultyStorage,
    StuckError,
    VirtualClock,
    VirtualEnvironment,
    VirtualLoop,
)

HOUR = 3600


def run(main, **options):
    with asyncio.Runner(loop_factory=lambda: VirtualLoop(**options)) as runner:
        return runner.run(main)


def test_time_jumps():
    async def main():
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(2 * HOUR):
            await asyncio.gather(asyncio.sleep(HOUR), asyncio.sleep(60))
        assert loop.time() == HOUR
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await asyncio.Event().wait()
        assert loop.time() == HOUR + 0.5

    before = time.monotonic()
    run(main())
    assert time.monotonic() - before < 60


def test_things_happen_in_the_order_of_their_times():
    seconds = [random.Random(1).random() * 1e6 for _ in range(1000)]
    woken = []

    async def sleep(span):
        await asyncio.sleep(span)
        woken.append((span, asyncio.get_running_loop().time()))

    async def main():
        await asyncio.gather(*map(sleep, seconds))

    run(main(), longest=1e6)
    assert [span for span, _ in woken] == sorted(seconds)
    assert all(abs(span - at) < 1e-6 for span, at in woken)


def test_a_little_after_a_very_long_time():
    async def main():
        await VirtualClock().advance(timedelta(days=36500))
        for _ in range(10):
            await asyncio.sleep(1e-9)

    run(main())


def test_time_waits_for_threads():
    async def main():
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(0.001):
            await asyncio.to_thread(time.sleep, 0.1)
        woken = asyncio.Event()
        thread = threading.Thread(target=lambda: loop.call_soon_threadsafe(woken.set))
        thread.start()
        await woken.wait()
        thread.join()
        assert loop.time() == 0

    run(main())


def test_waiting_for_nothing_is_an_error():
    async def main():
        await asyncio.Event().wait()

    with pytest.raises(StuckError, match="nothing will ever happen"):
        run(main())


def test_waiting_for_what_does_not_happen_is_an_error():
    async def main():
        async with MPS3("b", storage=MemoryStorage(), environment=VirtualEnvironment(), poll_interval=10) as client:
            subscription = client.subscribe("k")
            await anext(subscription)
            await anext(subscription)

    with pytest.raises(StuckError, match="still waiting after"):
        run(main(), longest=1000)


async def test_the_clock_says_what_is_wrong_without_its_loop():
    with pytest.raises(RuntimeError, match="VirtualLoop"):
        VirtualClock().now()


async def test_advancing(mps3_clock):
    begun, stamp = mps3_clock.now(), mps3_clock.time()
    happened = []

    async def later():
        for number in range(3):
            await asyncio.sleep(10)
            happened.append(number)
            await asyncio.sleep(0)
            happened.append("done")

    task = asyncio.create_task(later())
    await mps3_clock.settle()
    assert happened == []
    await mps3_clock.advance(10)
    assert happened == [0, "done"]
    await mps3_clock.advance(timedelta(seconds=20))
    assert happened == [0, "done", 1, "done", 2, "done"]
    assert mps3_clock.now() - begun == timedelta(seconds=30)
    assert mps3_clock.time() - stamp == 30
    await mps3_clock.advance(timedelta(days=400))
    await mps3_clock.advance(0)
    with pytest.raises(ValueError, match="positive"):
        await mps3_clock.advance(-1)
    await task


async def test_clients_in_virtual_time(mps3_clock, mps3_client):
    async with mps3_client(poll_interval=60) as ann, mps3_client(poll_interval=60) as bob:
        await mps3_clock.advance(600)  # both poll slowly by now
        scores = bob.subscribe("score", 0)
        assert await anext(scores) == 0
        await mps3_clock.advance(600)
        await ann.put("score", 1)
        following = asyncio.create_task(anext(scores))
        await mps3_clock.settle()
        assert not following.done()
        await mps3_clock.advance(60)
        assert following.done() and await following == 1
        assert (await ann.history("score"))[0].time == mps3_clock.now() - timedelta(seconds=60)
        assert bob.status().last_contact <= mps3_clock.now()


async def test_collecting_after_weeks(mps3_clock, mps3_client):
    async with mps3_client(retention=timedelta(days=7), poll_interval=HOUR * 12, inline=0) as client:
        await client.put("k", "old")
        await mps3_clock.advance(timedelta(days=1))
        await client.put("k", "new")
        await mps3_clock.advance(timedelta(days=8))
        assert (
            await client.collect()
        ).values.deleted == 0  # it begins with a checkpoint, from which the next one counts
        await mps3_clock.advance(timedelta(days=8))
        assert (await client.collect()).values.deleted == 1
        assert await client.get("k") == "new"


async def test_keys_expire_in_virtual_time(mps3_clock, mps3_client):
    async with mps3_client() as ann, mps3_client() as bob:
        changes = bob.subscribe("k", "gone")
        assert await anext(changes) == "gone"
        await ann.put("k", 1, expires_in=60)
        assert await anext(changes) == 1
        await mps3_clock.advance(50)
        assert await bob.get("k") == 1
        await mps3_clock.advance(15)
        assert await bob.get("k", "gone") == await anext(changes) == "gone"


def test_a_run_repeats_itself():
    def once():
        seen = []

        async def main():
            store, environment = (
                FaultyStorage(MemoryStorage(versioning=False, clock=VirtualClock().time)),
                VirtualEnvironment(7),
            )
            async with (
                MPS3("b", storage=store, environment=environment, hooks=[seen.append]) as one,
                MPS3("b", storage=store, environment=environment, hooks=[seen.append]) as two,
            ):
                for number in range(5):
                    await asyncio.gather(one.put("k", number), two.put("k", number))
                store.lose_answers(3, operation="PutObject")
                await asyncio.gather(one.put("k", 6), two.put("k", 6))
                await asyncio.sleep(60)

        run(main())
        return [
            (type(event).__name__, getattr(event, "commit", None), getattr(event, "seconds", None)) for event in seen
        ]

    first = once()
    assert first == once()
    assert any(kind == "Conflicted" for kind, *_ in first)


async def test_the_directory_of_a_client_in_virtual_time(mps3_clock, mps3_client, tmp_path):
    async with mps3_client() as other:
        async with mps3_client(offline=tmp_path) as client:
            await client.put("k", 1)
            client.go_offline()
            await client.put("k", 2).kept()
            await mps3_clock.advance(HOUR)
        async with mps3_client(offline=tmp_path) as client:
            changes = other.subscribe("k")
            assert await anext(changes) in (1, 2)
            while await other.get("k") != 2:
                await asyncio.sleep(1)
            assert client.status().pending == 0
    assert mps3_clock.now().hour == 1


async def test_a_store_in_a_directory_in_virtual_time(mps3_clock, tmp_path):
    async with (
        MPS3("b", storage=LocalStorage(tmp_path), environment=VirtualEnvironment()) as ann,
        MPS3("b", storage=LocalStorage(tmp_path), environment=VirtualEnvironment(1)) as bob,
    ):
        changes = bob.subscribe("k")
        assert await anext(changes) is None
        await ann.put("k", "x" * 2**21)  # hashed in a thread
        assert len(await anext(changes)) == 2**21
