"""How soon a change is heard with wake-ups, what they cost, and what a live view costs."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import cast

from meter import BUCKET, MANIFEST, Tally
from results import Row
from virtual import Place
from wake.bell import Bell

from mps3 import JSON, Query, Ref
from mps3.wake.hint import Hint, topic_of

DELAY = 0.001
"""Seconds that a wake-up takes."""
CALM = 60.0
"""Seconds until wake-ups are known to work, and nothing else is under way."""
HOUR = 3600.0
RESTARTS = 10
FALSE = 10_000
"""False wake-ups a second."""
QUERIES = 1_000
COMMITS = 100
WARMING = 20


def heard(place: Place, count: int) -> Row:
    """From the call of `put` to the delivery in another process. In virtual time."""

    async def main() -> Row:
        bell, clock = Bell(DELAY), asyncio.get_running_loop().time
        meter, spans = place.meter(), []
        async with place.client(meter, wake=bell) as writer, place.client(place.meter(), wake=bell) as reader:
            await writer.put("k", -1)
            await asyncio.sleep(CALM)
            async with reader.subscribe("k") as values:
                await anext(values)
                for number in range(count):
                    await asyncio.sleep(1)
                    began = clock()
                    write = writer.put("k", number)
                    while await anext(values) != number:
                        pass
                    spans.append((clock() - began) / place.latency)
                    await write
        spans.sort()
        facts = {"median": statistics.median(spans), "p95": spans[int(len(spans) * 0.95)]}
        return Row("heard", 1, Tally(), count, sum(spans) * place.latency, place.journal, facts=facts)

    return place.run(main)


def idle(place: Place) -> Row:
    """An hour in which nothing happens. In virtual time."""

    async def main() -> Row:
        meter = place.meter()
        async with place.client(meter, wake=Bell(DELAY)) as client:
            await client.put("k", 1)
            await asyncio.sleep(2 * CALM)
            meter.take()
            await asyncio.sleep(HOUR)
            tally = meter.take()
        facts = {"requests an hour": float(tally.count())}
        return Row("idle with wake-ups", 1, tally, 1, HOUR, place.journal, facts=facts)

    return place.run(main)


def lied_to(place: Place, seconds: int) -> Row:
    """Somebody sends thousands of wake-ups that are not true. In virtual time."""

    async def main() -> Row:
        meter, bell = place.meter(), Bell(DELAY)
        async with place.client(meter, wake=bell) as client:
            await client.put("k", 1)
            await asyncio.sleep(CALM)
            meter.take()
            lie = Hint(topic_of(Ref(MANIFEST, BUCKET)), "999").encode()
            for _ in range(10 * seconds):
                for _ in range(FALSE // 10):
                    bell.ring(lie)
                await asyncio.sleep(0.1)
            tally = meter.take()
        facts = {"requests a second": tally.count() / seconds}
        return Row("false wake-ups", 1, tally, 1, float(seconds), place.journal, facts=facts)

    return place.run(main)


def lost(place: Place, commits: int) -> Row:
    """The service is killed and started ten times while somebody commits. In virtual time."""

    async def main() -> Row:
        bell, clock = Bell(DELAY), asyncio.get_running_loop().time
        async with (
            place.client(place.meter(), wake=bell) as writer,
            place.client(place.meter(), wake=bell) as reader,
        ):
            seen: list[int] = []
            late = [0.0]

            async def listen() -> None:
                async for batch in reader.watch():
                    for change in batch.changes:
                        number, at = cast("tuple[int, float]", change.value)
                        seen.append(number)
                        late.append(clock() - at)
                    if seen and seen[-1] == commits - 1:
                        return

            listening = asyncio.create_task(listen())
            every = commits // RESTARTS
            for number in range(commits):
                if number % every == every // 2:
                    bell.kill()
                if number % every == every * 3 // 4:
                    bell.down = False
                await writer.put("k", [number, clock()])
                await asyncio.sleep(0.2)
            await listening
        facts = {"missed": float(len(set(range(commits)) - set(seen))), "latest, seconds": max(late)}
        return Row("lost wake-ups", 1, Tally(), commits, journal=place.journal, facts=facts)

    return place.run(main)


def view(place: Place, keys: Sequence[str]) -> Row:
    """What a live view of all keys adds to a commit of one, and whom of its queries it wakes. In real time."""

    async def cpu(number: int, *, viewed: bool) -> float:
        async with place.client(place.meter(), poll_interval=600) as client, AsyncExitStack() as stack:
            if viewed:
                await (await stack.enter_async_context(client.view())).loaded()
            taken = []
            for count in range(WARMING + COMMITS):
                await asyncio.sleep(0.002)
                began = time.process_time()
                await client.put(keys[number], count)
                await asyncio.sleep(0)
                taken.append(time.process_time() - began)
        return statistics.median(taken[WARMING:])

    async def queries() -> tuple[int, float]:
        async with place.client(place.meter(), poll_interval=600) as client, client.view() as everything:
            await everything.loaded()
            woken: set[int] = set()

            def equal(number: int) -> Query[JSON]:
                return everything.where(lambda value: value == -number)

            async def follow(number: int) -> None:
                async for _ in equal(number):
                    woken.add(number)

            tasks = [asyncio.create_task(follow(number)) for number in range(1, QUERIES + 1)]
            while len(woken) < QUERIES:
                await asyncio.sleep(0.01)
            woken.clear()
            began = time.process_time()
            await client.put(keys[0], -7)
            await asyncio.sleep(0.05)
            spent = time.process_time() - began
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        return len(woken), spent

    async def main() -> Row:
        without, with_it = await cpu(0, viewed=False), await cpu(1, viewed=True)
        woken, spent = await queries()
        facts = {
            "CPU, ms": 1000 * with_it,
            "CPU without a view, ms": 1000 * without,
            "queries": float(QUERIES),
            "queries that yielded": float(woken),
            "CPU with queries, ms": 1000 * spent,
        }
        return Row("view", len(keys), Tally(), COMMITS, journal=place.journal, facts=facts)

    place.latency = 0.0
    return asyncio.run(main())
