"""What is measured over HTTP, beside raw requests of the SDK in the same run."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, Final

from dataset import load
from meter import MANIFEST, Meter, MeteredStorage, Tally
from results import Row
from virtual import Place
from wire import CONCURRENCY, Server, Wire

from mps3 import MPS3
from mps3.storage.s3.storage import S3Storage
from scenarios.contention import contend

PACE: Final = 0.4
"""Seconds between two puts, so that the log is equally long however quick the store is."""
PUTS: Final = 30
CHANGES: Final = 3
CALM: Final = 5.0
"""Seconds: more than the window, so that audits are over and nothing is in the log."""


async def script(
    make: Callable[[], MPS3], other: Callable[[], MPS3], take: Callable[[], Tally], keys: Sequence[str], *, where: str
) -> list[Row]:
    """The same work, to be counted in two ways.

    Args:
        make: Makes a client whose requests are counted.
        other: Makes one whose requests are not.
        take: The requests since it was called last.
        keys: What is in the manifest.
        where: How they are counted.
    """
    clock = asyncio.get_running_loop().time
    row = partial(Row, keys=len(keys), where=where)
    async with other() as settling:  # what the load left to settle, which took longer on the wire than at the seam
        for number in range(3):
            await settling.put(keys[number], -number)
            await asyncio.sleep(CALM)
    take()
    async with make() as client:
        await client.get(keys[0])
        rows = [row("agreement: open", tally=take())]
        await client.put(keys[0], "warm")
        await asyncio.sleep(CALM)
        tally, seconds = Tally(), 0.0
        take()
        for number in range(PUTS):
            started = clock()
            await client.put(keys[number], number)
            tally, seconds = tally + take().without_polls(), seconds + clock() - started
            await asyncio.sleep(max(0.0, started + PACE - clock()))
            take()
        rows.append(row("agreement: put", tally=tally, operations=PUTS, seconds=seconds))
        tally = Tally()
        seen = client.subscribe(keys[0])
        await anext(seen)
        async with other() as writer:
            for number in range(CHANGES):
                await asyncio.sleep(CALM)
                take()
                await writer.put(keys[0], f"change {number}")
                assert await anext(seen) == f"change {number}"
                tally += take().without_polls()
        rows.append(row("agreement: change", tally=tally, operations=CHANGES))
    return rows


async def agreement(server: Server, wire: Wire, keys: Sequence[str]) -> list[Row]:
    """The script over HTTP."""
    async with server.bucket() as bucket:
        async with MPS3(bucket, MANIFEST, journal="merge", s3_config=server.config()) as loader:
            await load(loader, keys)
            await asyncio.sleep(CALM)
        make = partial(MPS3, bucket, MANIFEST, journal="merge", s3_config=server.config(wire.url))
        other = partial(MPS3, bucket, MANIFEST, journal="merge", s3_config=server.config())
        return await script(make, other, wire.take, keys, where="wire")


def agreement_at_the_seam(place: Place, keys: Sequence[str]) -> list[Row]:
    """The script over a store that has these keys."""
    meter = place.meter()
    return place.run(
        lambda: script(lambda: place.client(meter), lambda: place.client(place.meter()), meter.take, keys, where="seam")
    )


async def one_put(server: Server, wire: Wire, keys: Sequence[str], count: int) -> list[Row]:
    """An awaited put, and its own three requests made raw, in turn."""
    async with (
        server.bucket() as bucket,
        server.raw(wire.url) as s3,
        MPS3(bucket, MANIFEST, journal="merge", s3_config=server.config(wire.url), poll_interval=600) as client,
    ):
        await load(client, keys)
        ours, theirs = _Timed(), _Timed()
        size = 0

        async def raw(number: int) -> None:
            key = keys[number % len(keys)]
            await s3.put_object(Bucket=bucket, Key=f"raw/{key}", Body=b"%d" % number, ContentType="application/json")
            await s3.put_object(Bucket=bucket, Key=f"raw/{MANIFEST}", Body=b" " * size, ContentType="application/json")
            await s3.list_object_versions(Bucket=bucket, Prefix=f"raw/{MANIFEST}", MaxKeys=wire.max_keys)

        tally = Tally()
        for number in range(-10, count):  # ten to warm up
            wire.take()
            await ours.time(client.put(keys[number], number))
            made = wire.take()
            size = made.select("PUT", "manifest").up // max(1, made.count("PUT", "manifest"))
            await theirs.time(raw(number))
            if number >= 0:
                tally += made.without_polls()
    ours.forget(10)
    theirs.forget(10)
    row = partial(Row, keys=len(keys), operations=count, where="wire")
    return [
        row("one put", tally=tally, seconds=count * ours.median, facts={"CPU, ms": 1000 * ours.cpu}),
        row("one put, raw", seconds=count * theirs.median, facts={"CPU, ms": 1000 * theirs.cpu}),
    ]


class _Timed:
    """Times of the same thing, done over and over."""

    def __init__(self) -> None:
        self._walls: list[float] = []
        self._cpus: list[float] = []

    async def time(self, work: Awaitable[Any]) -> None:
        wall, cpu = time.perf_counter(), time.process_time()
        await work
        self._walls.append(time.perf_counter() - wall)
        self._cpus.append(time.process_time() - cpu)

    def forget(self, first: int) -> None:
        del self._walls[:first], self._cpus[:first]

    @property
    def median(self) -> float:
        return statistics.median(self._walls)

    @property
    def cpu(self) -> float:
        return statistics.fmean(self._cpus)


async def many_puts(server: Server, wire: Wire, count: int, rounds: int) -> list[Row]:
    """Very many puts fired at once, and as many raw ones, in turn."""
    url = wire.url
    async with (
        server.bucket() as bucket,
        server.raw(url) as s3,
        MPS3(bucket, MANIFEST, journal="merge", s3_config=server.config(url), poll_interval=600) as client,
    ):
        ours, theirs = _Timed(), _Timed()
        limit = asyncio.Semaphore(CONCURRENCY)

        async def raw(number: int) -> None:
            async with limit:
                await s3.put_object(
                    Bucket=bucket, Key=f"raw/{number}", Body=b"%d" % number, ContentType="application/json"
                )

        async def fire(puts: int) -> None:
            await asyncio.gather(*[client.put(f"many/{number}", number) for number in range(puts)])

        async def fire_raw(puts: int) -> None:
            await asyncio.gather(*map(raw, range(puts)))

        await fire(2 * CONCURRENCY)  # connections
        await fire_raw(2 * CONCURRENCY)
        tally = Tally()
        for _ in range(rounds):
            wire.take()
            await ours.time(fire(count))
            tally += wire.take()
            await theirs.time(fire_raw(count))
    row = partial(Row, operations=rounds * count, where="wire", keys=count)
    return [
        row("many puts", tally=tally, seconds=rounds * ours.median, facts={"CPU, ms": 1000 * ours.cpu / count}),
        row("many puts, raw", seconds=rounds * theirs.median, facts={"CPU, ms": 1000 * theirs.cpu / count}),
    ]


async def contention(server: Server, wire: Wire, journal: str, writers: int, commits: int) -> Row:
    """Many writers over HTTP, all in this process, over one client of the SDK."""
    async with server.bucket(versioning=journal == "merge") as bucket:
        storage = MeteredStorage(S3Storage(server.config(wire.url)))
        make = partial(MPS3, bucket, MANIFEST, storage=storage, journal=journal)  # type: ignore[arg-type]
        row = await contend(make, [_WireMeter(wire)], journal, writers, commits)
    return Row("contention", row.keys, row.tally, row.operations, row.seconds, journal, "wire", row.facts)


class _WireMeter(Meter):
    """The meter of a proxy."""

    def __init__(self, wire: Wire) -> None:
        super().__init__()
        self._wire = wire

    def take(self) -> Tally:
        return self._wire.take()
