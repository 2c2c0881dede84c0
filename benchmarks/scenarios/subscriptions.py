"""Very many subscriptions on one client."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Sequence

from meter import MeteredStorage, Tally
from results import Row
from virtual import Place

from mps3 import MPS3, Subscription

MINUTES = 2
COMMITS = 30
SETTLED = 0.3
"""Seconds for those woken in vain to come back, too."""


async def _listen(client: MPS3, keys: Sequence[str]) -> list[asyncio.Task[object]]:
    """A task for each key, which waits for its next change."""
    subscriptions = [client.subscribe(key) for key in keys]
    await asyncio.gather(*map(anext, subscriptions))
    return [asyncio.create_task(_next(subscription)) for subscription in subscriptions]


async def _next(subscription: Subscription[object]) -> object:
    return await anext(subscription)


async def _drop(tasks: list[asyncio.Task[object]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def polls(place: Place, keys: Sequence[str]) -> Row:
    """What they cost while nothing happens, and who wakes when another client commits one key. In virtual time."""

    async def main() -> Row:
        meter = place.meter()
        async with place.client(meter) as client, place.client(place.meter()) as other:
            tasks = await _listen(client, keys)
            await asyncio.sleep(60)
            meter.take()
            await asyncio.sleep(60 * MINUTES)
            tally = meter.take()
            await other.put(keys[0], "news")
            await asyncio.sleep(5)
            news = meter.take()
            woken = sum(task.done() for task in tasks)
            await _drop(tasks)
        polled = tally.count("GET", "manifest")
        facts = {
            "subscriptions": len(keys),
            "requests a poll": tally.count() / polled,
            "values fetched after a commit of one": news.count("GET", "value"),
            "subscriptions that yielded": woken,
        }
        return Row("subscriptions", len(keys), tally, polled, 60.0 * MINUTES, place.journal, facts=facts)

    return place.run(main)


def commits(place: Place, keys: Sequence[str]) -> Row:
    """What a commit of one key takes the processor, with the subscriptions and without. In real time, no latency."""

    async def measure(subscribed: Sequence[str]) -> float:
        meter = MeteredStorage(place.storage)
        async with place.client(meter, poll_interval=600) as client:
            tasks = await _listen(client, subscribed)
            taken = []
            for number in range(COMMITS):
                await asyncio.sleep(0.1)  # at a steady pace: the log is as long in both cases
                began = time.process_time()
                await client.put(keys[-1], number)
                taken.append(time.process_time() - began)
            await _drop(tasks)
        return statistics.median(taken)

    async def main() -> Row:
        without = await measure(())
        with_them = await measure(keys[:-1])
        facts = {"CPU, ms": 1000 * with_them, "CPU without subscriptions, ms": 1000 * without}
        return Row("commit among subscriptions", len(keys), Tally(), COMMITS, journal=place.journal, facts=facts)

    return asyncio.run(main())
