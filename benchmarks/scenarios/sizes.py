"""What it costs to write, to open and to hear of a change, for a manifest of some size. In virtual time."""

from __future__ import annotations

import asyncio
import random
import statistics
from collections.abc import Sequence
from contextlib import AsyncExitStack

from meter import Tally
from results import Row
from virtual import Place

from .operations import VALUE

WARMING = 50
"""Commits that are made first, so that the log of the last seconds is as long as it stays."""
CALM = 10.0
"""Seconds without commits: more than the window, so that nothing of the former is in the log, and audits are over."""
CHANGES = 20
TRIM = 500
"""Commits after which the store's owner forgets old versions of the manifest."""


def put(place: Place, keys: Sequence[str], count: int) -> Row:
    """One key after another, as fast as one awaiting client can, at random places."""

    async def main() -> Row:
        dice = random.Random(len(keys))
        meter, clock = place.meter(), asyncio.get_running_loop().time
        async with place.client(meter) as client:
            for number in range(WARMING):
                await client.put(dice.choice(keys), number)
            tally, seconds = Tally(), 0.0
            each: list[tuple[int, int]] = []
            meter.take()
            for number in range(count):
                started = clock()
                await client.put(dice.choice(keys), VALUE)
                seconds += clock() - started
                made = meter.take()
                each.append((made.count(), made.select().up))
                tally += made
                if number % TRIM == TRIM - 1:
                    await place.trim()
            # What goes on beside the commits, such as compaction, belongs to them.
        tally += meter.take()
        requests, sent = (statistics.median(column) for column in zip(*each, strict=True))
        facts = {"requests, median": requests, "bytes sent, median": sent}
        return Row("put", len(keys), tally, count, seconds, place.journal, facts=facts)

    return place.run(main)


def put_slowly(place: Place, keys: Sequence[str], count: int) -> Row:
    """One key a second, as a person or a sensor might: the log is short, and the client polls in between."""

    async def main() -> Row:
        dice = random.Random(len(keys))
        meter = place.meter()
        async with place.client(meter) as client:
            await client.put(dice.choice(keys), 0)
            await asyncio.sleep(CALM)
            meter.take()
            tally, seconds = Tally(), 0.0
            for number in range(count):
                started = asyncio.get_running_loop().time()
                await client.put(dice.choice(keys), number)
                seconds += asyncio.get_running_loop().time() - started
                await asyncio.sleep(1)
                tally += meter.take().without_polls()
        return Row("put slowly", len(keys), tally, count, seconds, place.journal)

    return place.run(main)


def put_all(place: Place, keys: Sequence[str], together: int, count: int) -> Row:
    """Some keys with one `put_all`, one after another."""

    async def main() -> Row:
        dice = random.Random(len(keys))
        meter = place.meter()
        # In a manifest of ten keys, a hundred are mostly new.
        some = keys if len(keys) >= together else [*keys, *(f"more/{number}" for number in range(together))]
        async with place.client(meter) as client:
            for number in range(WARMING):
                await client.put(dice.choice(keys), number)
            meter.take()
            seconds = 0.0
            for number in range(count):
                started = asyncio.get_running_loop().time()
                await client.put_all(dict.fromkeys(dice.sample(some, together), number))
                seconds += asyncio.get_running_loop().time() - started
        tally = meter.take()
        return Row(f"put_all of {together}", len(keys), tally, count, seconds, place.journal)

    return place.run(main)


def cold_open(place: Place, keys: Sequence[str]) -> Row:
    """A client that knows nothing opens."""

    async def main() -> Row:
        meter, clock = place.meter(), asyncio.get_running_loop().time
        started = clock()
        async with place.client(meter) as client:
            row = Row("open", len(keys), meter.take(), 1, clock() - started, place.journal)
            assert await client.get(keys[-1]) is not None
        return row

    return place.run(main)


def change(place: Place, keys: Sequence[str]) -> Row:
    """What it costs a polling client to hear of another's commit, a calm while after the last."""

    async def main() -> Row:
        dice = random.Random(len(keys))
        mine, theirs = place.meter(), place.meter()
        key = dice.choice(keys)
        async with AsyncExitStack() as stack:
            writer = await stack.enter_async_context(place.client(theirs))
            reader = await stack.enter_async_context(place.client(mine))
            seen = reader.subscribe(key)
            await anext(seen)
            for number in range(3):  # whatever a load has left over
                await writer.put(key, -number)
                await asyncio.sleep(CALM)
                await anext(seen)
            tally, seconds, later = Tally(), 0.0, Tally()
            facts = {"manifest GETs, at most": 0, "listings, at most": 0, "value GETs, at most": 0}
            for number in range(CHANGES):
                mine.take()
                await writer.put(key, f"change {number}")
                durable = asyncio.get_running_loop().time()
                assert await anext(seen) == f"change {number}"
                seconds += asyncio.get_running_loop().time() - durable
                news = mine.take()
                for name, count in zip(
                    facts, (_fetched(news, "manifest"), news.count("LIST"), _fetched(news, "value")), strict=True
                ):
                    facts[name] = max(facts[name], count)
                tally += news.without_polls()
                await asyncio.sleep(CALM)
                later += mine.take().without_polls()
        return Row(
            "change",
            len(keys),
            tally,
            CHANGES,
            seconds,
            place.journal,
            facts={**facts, "requests afterwards": later.count() / CHANGES},
        )

    return place.run(main)


def _fetched(tally: Tally, target: str) -> int:
    return tally.count("GET", target, 200)


def idle(place: Place, keys: Sequence[str], minutes: int = 10) -> Row:
    """A client that subscribes to some keys, while nothing happens."""

    async def main() -> Row:
        meter = place.meter()
        async with place.client(meter) as client:
            subscriptions = [client.subscribe(key) for key in keys[:10]]
            for subscription in subscriptions:
                await anext(subscription)
            await asyncio.sleep(60)
            meter.take()
            await asyncio.sleep(60 * minutes)
            tally = meter.take()
        return Row("idle minute", len(keys), tally, minutes, 0.0, place.journal)

    return place.run(main)
