"""What is measured over HTTP, beside raw requests of the SDK in the same run."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, TypeVar, cast

from dataset import load
from meter import MANIFEST, MeteredStorage, Tally
from results import Row
from wire import Server, Wire

from mps3 import MPS3
from mps3.storage.s3.storage import S3Storage
from mps3.storage.wrapper import StorageWrapper

from . import operations
from .contention import contend
from .operations import NEVER, VALUE

T = TypeVar("T")
WARMING = 10


async def the_operations(server: Server, wire: Wire, journal: str) -> list[Row]:
    """The script of `operations` over HTTP."""
    async with server.bucket(versioning=journal == "merge") as bucket:
        make = partial(_client, bucket, journal, server.config(wire.url))
        other = partial(_client, bucket, journal, server.config())
        return await operations.script(operations.Store(make, other, wire.take, journal, "wire"))


def _client(bucket: str, journal: str, s3_config: dict[str, Any], **options: Any) -> MPS3:
    return MPS3(bucket, MANIFEST, journal=journal, s3_config=s3_config, **options)  # type: ignore[arg-type]


async def one_put(server: Server, wire: Wire, journal: str, keys: Sequence[str], count: int) -> list[Row]:
    """An awaited put, and its own requests made raw, in turn."""
    async with (
        server.bucket(versioning=journal == "merge") as bucket,
        server.raw(wire.url) as s3,
        _client(bucket, journal, server.config(wire.url), poll_interval=NEVER) as client,
    ):
        await load(client, keys)
        ours, theirs = _Timed(), _Timed()
        put = partial(s3.put_object, Bucket=bucket, ContentType="application/json")

        async def raw(number: int, size: int) -> None:
            if journal == "log":
                await put(Key=f"raw/{number}", Body=b" " * size, IfNoneMatch="*")
            else:
                await put(Key=f"raw/{MANIFEST}", Body=b" " * size)
                await s3.list_object_versions(Bucket=bucket, Prefix=f"raw/{MANIFEST}", MaxKeys=wire.max_keys)

        tally = Tally()
        for number in range(-WARMING, count):
            wire.take()
            await ours.time(client.put(keys[number], VALUE))
            made = wire.take()
            await theirs.time(raw(number, made.select("PUT", "manifest").up))
            if number >= 0:
                tally += made.without_polls()
    ours.forget(WARMING)
    theirs.forget(WARMING)
    row = partial(Row, keys=len(keys), operations=count, journal=journal, where="wire")
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


async def contention(server: Server, latency: float, journal: str, writers: int, commits: int) -> Row:
    """Many writers over HTTP, all in this process, over one client of the SDK.

    They share two cores with the server, so that a request takes much longer than its latency: a round trip is the
    median of their requests. The latency is added here, and requests are counted here, so that no proxy needs a part of
    the two cores.
    """
    async with server.bucket(versioning=journal == "merge") as bucket:
        meter = MeteredStorage(S3Storage(server.config()), latency=latency)
        storage = _TimedStorage(cast("S3Storage", meter))
        make = partial(MPS3, bucket, MANIFEST, storage=storage, journal=journal)  # type: ignore[arg-type]
        row = await contend(make, [meter], writers, commits, lambda: statistics.median(storage.took))
    row.journal, row.where = journal, "wire"
    row.facts["round trip, ms"] = 1000 * statistics.median(storage.took)
    return row


class _TimedStorage(StorageWrapper):
    """A storage that remembers how long each request took."""

    def __init__(self, storage: S3Storage) -> None:
        super().__init__(storage)
        self.took: list[float] = []

    async def _ask(
        self, operation: str, bucket: str, key: str | None, request: Callable[[], Awaitable[T]], *, sent: int = 0
    ) -> T:
        began = asyncio.get_running_loop().time()
        try:
            return await super()._ask(operation, bucket, key, request, sent=sent)
        finally:
            self.took.append(asyncio.get_running_loop().time() - began)
