"""What an hour of typical uses costs: their requests, counted in virtual time, at the list prices of a store.

::

    python benchmarks/costs.py                  # a few minutes; prints the tables of docs/costs.md
    python benchmarks/costs.py --only presence

Each client is a real one, over a store in memory whose requests take 30 ms. The first minute, in which everybody opens,
is not counted.
"""

from __future__ import annotations

import argparse
import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from typing import Any, Final, Literal

from mps3 import MPS3, ConflictError, MemoryStorage
from mps3.testing import FaultyStorage, VirtualClock, VirtualEnvironment, VirtualLoop

LATENCY: Final = 0.03
HOUR: Final = 3600
PUT_PRICE: Final = 5e-6
"""Dollars a PUT or a listing."""
GET_PRICE: Final = 0.4e-6
"""Dollars a GET."""
JOB: Final = 60
"""Seconds that a job takes."""

Open = Callable[..., Awaitable[MPS3]]
Scenario = Callable[[Open, asyncio.TaskGroup], Awaitable[None]]


async def idle(open_client: Open, tasks: asyncio.TaskGroup) -> None:
    """A client that follows, and nothing happens"""
    client = await open_client()
    tasks.create_task(_follow(client))


async def patient(open_client: Open, tasks: asyncio.TaskGroup) -> None:
    """The same with `poll_interval=10`"""
    client = await open_client(poll_interval=10)
    tasks.create_task(_follow(client))


async def settings(open_client: Open, tasks: asyncio.TaskGroup) -> None:
    """20 processes that follow settings, of which one changes every ten minutes"""
    clients = [await open_client() for _ in range(20)]
    for client in clients:
        tasks.create_task(_follow(client))
    tasks.create_task(_every(600, lambda: clients[0].put("settings/limit", 10)))


async def presence(open_client: Open, tasks: asyncio.TaskGroup) -> None:
    """10 people who are here (`presence`)"""
    for number in range(10):
        tasks.create_task(_be_here(await open_client(), str(number)))


async def chat(open_client: Open, tasks: asyncio.TaskGroup) -> None:
    """10 people who chat, a message of somebody every 10 s"""
    clients = [await open_client() for _ in range(10)]
    for client in clients:
        tasks.create_task(_follow(client))
    dice, count = random.Random(1), iter(range(HOUR))
    tasks.create_task(_every(10, lambda: dice.choice(clients).put(f"chat/{next(count)}", "hello")))


async def jobs(open_client: Open, tasks: asyncio.TaskGroup) -> None:
    """10 workers, and 360 jobs of a minute, each claimed with `update`"""
    for number in range(10):
        tasks.create_task(_work(await open_client(), number))
    boss, count = await open_client(), iter(range(HOUR))
    tasks.create_task(_every(10, lambda: boss.put(f"jobs/{next(count)}", {"worker": None, "done": False})))


async def _every(seconds: float, act: Callable[[], Awaitable[Any]]) -> None:
    while True:
        await asyncio.sleep(seconds)
        await act()


async def _follow(client: MPS3) -> None:
    async for _ in client.watch():
        pass


async def _be_here(client: MPS3, name: str) -> None:
    async with client.presence("room", name) as here:
        async for _ in here:
            pass


async def _work(client: MPS3, worker: int) -> None:
    free: set[str] = set()
    news = asyncio.Event()

    async def follow() -> None:
        async for batch in client.watch("jobs/"):
            for change in batch.changes:
                job: Any = change.value
                (free.add if job["worker"] is None else free.discard)(change.key)
            news.set()

    def claim(job: dict[str, Any]) -> dict[str, Any]:
        if job["worker"] is not None:
            raise LookupError
        return job | {"worker": worker}

    following = asyncio.create_task(follow())
    try:
        while True:
            while not free:
                news.clear()
                await news.wait()
            key = free.pop()
            try:
                job = await client.update(key, claim)
            except (LookupError, ConflictError):
                continue  # somebody else does it
            await asyncio.sleep(JOB)
            await client.put(key, job | {"done": True})
    finally:
        following.cancel()


SCENARIOS: Final[tuple[Scenario, ...]] = (idle, patient, settings, presence, chat, jobs)


async def measure(scenario: Scenario, journal: Literal["merge", "log"]) -> dict[str, int]:
    """The requests of an hour.

    Args:
        scenario: What happens.
        journal: What orders the commits.
    """
    clock = VirtualClock()
    store = FaultyStorage(MemoryStorage(versioning=journal == "merge", clock=clock.time))
    store.delay(LATENCY)
    seeds = iter(range(1000))
    async with AsyncExitStack() as stack:

        async def open_client(**options: Any) -> MPS3:
            environment = VirtualEnvironment(seed=next(seeds))
            return await stack.enter_async_context(
                MPS3("bucket", storage=store, journal=journal, environment=environment, **options)
            )

        async def run(counted: dict[str, int]) -> None:
            async with asyncio.TaskGroup() as tasks:
                await scenario(open_client, tasks)
                await clock.advance(60)
                before = _counts(store)
                await clock.advance(HOUR)
                counted.update({kind: count - before[kind] for kind, count in _counts(store).items()})
                raise asyncio.CancelledError  # it would go on for ever

        counted: dict[str, int] = {}
        with suppress(asyncio.CancelledError):
            await run(counted)
        return counted


def _counts(store: FaultyStorage) -> dict[str, int]:
    return {
        "PUT": store.count("PutObject"),
        "listings": store.count("ListObjects") + store.count("ListObjectVersions"),
        "GET": store.count("GetObject"),
    }


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=[scenario.__name__ for scenario in SCENARIOS])
    only = parser.parse_args().only
    for journal in ("log", "merge"):
        print(f"| {journal} journal | requests an hour | an hour | 720 hours |")
        print("|---|---|---|---|")
        for scenario in SCENARIOS:
            if only in (None, scenario.__name__):
                with asyncio.Runner(loop_factory=VirtualLoop) as runner:
                    counted = runner.run(measure(scenario, journal))
                price = (counted["PUT"] + counted["listings"]) * PUT_PRICE + counted["GET"] * GET_PRICE
                requests = ", ".join(f"{count:,} {kind}" for kind, count in counted.items() if count)
                print(f"| {scenario.__doc__} | {requests} | ${price:.4f} | ${720 * price:.2f} |", flush=True)
        print()


if __name__ == "__main__":
    main()
