"""Many writers on one manifest.

Every writer commits one key after another, each as soon as the one before is durable. Afterwards a new client reads
everything: whatever was acknowledged and is not there counts as lost.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import AsyncExitStack

from meter import Meter
from results import Row
from virtual import Place

from mps3 import MPS3


async def contend(make: Callable[[], MPS3], meters: list[Meter], journal: str, writers: int, commits: int) -> Row:
    """Let clients contend.

    Args:
        make: Makes a client.
        meters: Count the requests of the clients; there may be new ones after each call of ``make``.
        journal: Of the clients.
        writers: How many there are.
        commits: Of each.
    """
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(make()) for _ in range(writers)]
        await clients[0].put("first", 0)
        slowest = 0.0
        clock = asyncio.get_running_loop().time

        async def write(number: int) -> None:
            nonlocal slowest
            for turn in range(commits):
                began = clock()
                await clients[number].put(f"{number}/{turn}", turn)
                slowest = max(slowest, clock() - began)

        for meter in meters:
            meter.take()
        began, cpu = clock(), time.process_time()
        await asyncio.gather(*map(write, range(writers)))
        seconds = clock() - began
        cpu = time.process_time() - cpu
        tally = sum((meter.take() for meter in meters[1:]), meters[0].take())
    async with make() as reader:
        lost = 0
        for number in range(writers):
            for turn in range(commits):
                lost += await reader.get(f"{number}/{turn}") != turn
    writes = writers * commits
    facts = {
        "writers": writers,
        "commits a second": writes / seconds,
        "manifest PUTs": tally.count("PUT", "manifest") / writes,
        "slowest, seconds": slowest,
        "CPU, ms": 1000 * cpu / writes,
        "lost": lost,
    }
    return Row("contention", writes, tally, writes, seconds, journal, facts=facts)


def at_the_seam(place: Place, writers: int, commits: int) -> Row:
    """In virtual time, each client with its own way to the store."""
    meters: list[Meter] = []

    def make() -> MPS3:
        meter = place.meter()
        meters.append(meter)
        return place.client(meter)

    return place.run(lambda: contend(make, meters, place.journal, writers, commits))
