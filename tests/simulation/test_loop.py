"""Virtual time, and processes that stall and die."""

from __future__ import annotations

import asyncio
import random
import time

import pytest

from .loop import DeadlockError, EndlessError, Process, run
from .store import SimStorage, SimStore


def test_time_jumps():
    async def main():
        loop = asyncio.get_running_loop()
        begun = loop.time()
        await asyncio.gather(asyncio.sleep(3600), asyncio.sleep(60))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(60):
                await asyncio.Event().wait()
        return loop.time() - begun

    begun = time.monotonic()
    outcome = run(main)
    assert outcome.result == 3660
    assert outcome.complaints == []
    assert time.monotonic() - begun < 5


def test_time_goes_on_after_years():
    async def main():
        loop = asyncio.get_running_loop()
        await asyncio.sleep(1e9)
        for _ in range(100):
            await asyncio.sleep(0.001)
        return loop.time()

    assert run(main, most_time=2e9, most_turns=10_000).result == pytest.approx(1e9 + 0.1)


def test_standing_still_is_an_error():
    async def main():
        await asyncio.Event().wait()

    outcome = run(main)
    assert isinstance(outcome.error, DeadlockError)


def test_going_on_for_ever_is_an_error():
    async def main():
        while True:
            await asyncio.sleep(100)

    assert isinstance(run(main, most_time=1000).error, EndlessError)


def test_what_is_left_over_is_reported():
    async def left():
        await asyncio.sleep(1000)

    async def fails():
        raise ValueError("nobody looks")

    async def main():
        tasks = [asyncio.create_task(left()), asyncio.create_task(fails())]
        await asyncio.sleep(1)
        del tasks

    complaints = run(main).complaints
    assert any("task left over" in complaint and "left" in complaint for complaint in complaints)
    assert any("nobody looks" in complaint for complaint in complaints)


def process_of(**options):
    return Process("p", random.Random(1), **options)


def test_nothing_runs_in_a_dead_process():
    done = []

    async def child():
        try:
            await asyncio.sleep(5)
            done.append("slept")
        finally:
            await asyncio.sleep(1)
            done.append("cleaned up")

    async def work():
        async with asyncio.TaskGroup() as group:
            group.create_task(child())
            group.create_task(child())

    async def main():
        process = process_of()
        process.spawn(work())
        await asyncio.sleep(2)
        process.kill()
        await process.death
        await asyncio.sleep(100)

    outcome = run(main)
    assert outcome.complaints == []
    assert done == []


def test_a_process_dies_at_any_step():
    steps = []

    async def work():
        while True:
            await asyncio.sleep(1)
            steps.append(1)

    async def main():
        process = process_of(dies_at=7)
        process.spawn(work())
        await process.death

    assert run(main).complaints == []
    assert len(steps) == 5  # the first step only begins the task, the seventh never is


def test_a_stall_delays_and_loses_nothing():
    async def work(results):
        for number in range(20):
            await asyncio.sleep(0.1)
            results.append(number)
        try:
            async with asyncio.timeout(1):
                await asyncio.sleep(10)
        except TimeoutError:
            results.append("timeout")

    async def main():
        results = []
        process = process_of(stall=0.2, longest_stall=60)
        await process.spawn(work(results))
        return results, asyncio.get_running_loop().time()

    results, taken = run(main).result
    assert results == [*range(20), "timeout"]
    assert taken > 20


def test_a_write_may_outlive_its_client():
    async def main():
        landed = 0
        for seed in range(50):
            store = SimStore(random.Random(seed))
            process = process_of()
            process.spawn(SimStorage(store, "c", random.Random(seed)).put("b", "k", b"x"))
            await asyncio.sleep(0)
            process.kill()
            await asyncio.sleep(1)
            landed += ("b", "k") in store.objects
        return landed

    assert 10 < run(main).result < 50


def test_versions_are_listed_newest_first_page_by_page():
    async def main():
        store = SimStore(random.Random(1), page=2)
        storage = SimStorage(store, "c", random.Random(1))
        written = [(await storage.put("b", "k", bytes([number]))).version for number in range(5)]
        await storage.put("b", "k2", b"another key")
        await storage.delete("b", "k")
        listed, start = [], None
        while True:
            page = await storage.versions("b", "k", start=start)
            listed += page.versions
            if (start := page.next) is None:
                break
        assert [version.version for version in listed[1:]] == written[::-1]
        assert [version.deleted for version in listed] == [True] + [False] * 5

    assert run(main).complaints == []
