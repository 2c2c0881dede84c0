"""Many writers on one manifest.

Every writer commits one key after another, each as soon as the one before is durable. Afterwards a new client reads
everything: whatever was acknowledged and is not there counts as lost.
"""

from __future__ import annotations

import asyncio
import math
import random
import statistics
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Final, TypeVar, cast

from meter import Meter, MeteredStorage, Tally
from results import Row
from virtual import Place

from mps3 import MPS3, UnavailableError
from mps3.storage import Storage
from mps3.storage.s3.session import ATTEMPTS
from mps3.storage.wrapper import StorageWrapper
from mps3.support.environment import Environment

T = TypeVar("T")

HUMAN: Final = (2.0, 5.0)
"""Seconds between two commits of people who take turns: at least, at most."""
PACE: Final = 1.0
"""Seconds from one PUT of an object until the store takes the next."""


async def contend(
    make: Callable[[], MPS3],
    meters: list[Meter],
    writers: int,
    commits: int,
    round_trip: Callable[[], float],
    name: str = "contention",
) -> Row:
    """Let clients contend.

    Args:
        make: Makes a client.
        meters: Count the requests of the clients; there may be new ones after each call of ``make``.
        writers: How many there are.
        commits: Of each.
        round_trip: The seconds that a request took. Called when the commits are made.
        name: What the row is called, besides the number of writers.
    """
    times: list[float] = []
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(make()) for _ in range(writers)]
        await clients[0].put("first", 0)
        clock = asyncio.get_running_loop().time

        async def write(number: int) -> None:
            for turn in range(commits):
                began = clock()
                await clients[number].put(f"{number}/{turn}", turn)
                times.append(clock() - began)

        for meter in meters:
            meter.take()
        began, cpu = clock(), time.process_time()
        await asyncio.gather(*map(write, range(writers)))
        seconds = clock() - began
        cpu = time.process_time() - cpu
        tally = sum((meter.take() for meter in meters[1:]), meters[0].take())
    trip = round_trip()
    async with make() as reader:
        lost = 0
        for number in range(writers):
            for turn in range(commits):
                lost += await reader.get(f"{number}/{turn}") != turn
    writes = writers * commits
    facts = {
        "writers": writers,
        "commits a second": writes / seconds,
        "median": statistics.median(times) / trip,
        "p95": statistics.quantiles(times, n=20)[-1] / trip,
        "PUTs": tally.count("PUT") / writes,
        "reads": (tally.count("GET") + tally.count("LIST")) / writes,
        "slowest, seconds": max(times),
        "CPU, ms": 1000 * cpu / writes,
        "lost": lost,
    }
    return Row(f"{name} of {writers}", writes, tally, writes, seconds, facts=facts)


def at_the_seam(place: Place, writers: int, commits: int) -> Row:
    """In virtual time, each client with its own way to the store."""
    return _contend(place, place.storage, writers, commits, "contention")


def paced(place: Place, writers: int, commits: int) -> Row:
    """In virtual time, on a store that refuses to overwrite an object before a second is over."""
    return _contend(place, PacedStorage(place.storage), writers, commits, "paced")


def _contend(place: Place, storage: Storage, writers: int, commits: int, name: str) -> Row:
    meters: list[Meter] = []

    def make() -> MPS3:
        meter = MeteredStorage(storage, latency=place.latency, seed=len(meters))
        meters.append(meter)
        return place.client(RetryingStorage(cast("Storage", meter)))

    row = place.run(lambda: contend(make, meters, writers, commits, lambda: place.latency, name))
    row.journal = place.journal
    return row


def turns(place: Place, count: int) -> Row:
    """Two people change the same key, one after the other, some seconds apart. In virtual time."""

    async def main() -> Row:
        dice = random.Random(count)
        meters = place.meter(), place.meter()
        async with AsyncExitStack() as stack:
            ann = await stack.enter_async_context(place.client(meters[0]))
            await ann.put("shared", "first")  # bob finds a manifest
            bob = await stack.enter_async_context(place.client(meters[1]))
            tally, seconds, clock = Tally(), 0.0, asyncio.get_running_loop().time
            for number in range(count):
                await asyncio.sleep(dice.uniform(*HUMAN))
                meters[number % 2].take()
                began = clock()
                await (ann, bob)[number % 2].put("shared", number)
                seconds += clock() - began
                tally += meters[number % 2].take().without_polls()
        return Row("turns", 1, tally, count, seconds, place.journal)

    return place.run(main)


class PacedStorage(StorageWrapper):
    """A store that answers 429 to a PUT of an object whose last PUT is less than a second ago."""

    def __init__(self, storage: Storage) -> None:
        super().__init__(storage)
        self._last: dict[str, float] = {}

    async def _ask(
        self, operation: str, bucket: str, key: str | None, request: Callable[[], Awaitable[T]], *, sent: int = 0
    ) -> T:
        if operation == "PutObject" and key is not None:
            now = asyncio.get_running_loop().time()
            if now - self._last.get(key, -math.inf) < PACE:
                raise UnavailableError("429: slow down")
            self._last[key] = now
        return await super()._ask(operation, bucket, key, request, sent=sent)


class RetryingStorage(StorageWrapper):
    """Repeats a request that was refused, as often and as late as the storage of S3 does."""

    async def _ask(
        self, operation: str, bucket: str, key: str | None, request: Callable[[], Awaitable[T]], *, sent: int = 0
    ) -> T:
        environment = Environment()
        for attempt in range(1, ATTEMPTS):
            try:
                return await super()._ask(operation, bucket, key, request, sent=sent)
            except UnavailableError:
                await asyncio.sleep(environment.backoff(attempt, first=0.1, most=5.0))
        return await super()._ask(operation, bucket, key, request, sent=sent)
