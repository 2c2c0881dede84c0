"""Only type-checked: what users' type checkers see."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, assert_never, assert_type

from mps3 import (
    DELETE,
    JSON,
    KEPT,
    MPS3,
    UNCHECKED,
    Append,
    Batch,
    Change,
    Collected,
    Collecting,
    Commit,
    FileInfo,
    Increment,
    LocalStorage,
    LogEntry,
    Maximum,
    MemoryStorage,
    Minimum,
    MPS3Error,
    Operation,
    PendingChange,
    Prepend,
    Presence,
    Query,
    Reconnect,
    Ref,
    Rejected,
    Remove,
    Revision,
    Snapshot,
    Statistics,
    Status,
    StatusChanges,
    Subscription,
    Tally,
    Transaction,
    TransactionBlock,
    Typed,
    Union,
    ValidationError,
    View,
    Write,
)
from mps3.observability.events import (
    Acknowledged,
    CameOnline,
    CommitSent,
    Conflicted,
    Event,
    Merged,
    Outcome,
    Polled,
    Problem,
    RequestMade,
    Retried,
    WentOffline,
    WriteFailed,
    WriteMade,
)
from mps3.observability.logging import LoggingHook
from mps3.observability.opentelemetry import OpenTelemetryHook
from mps3.testing import Fault, FaultyStorage, VirtualClock, VirtualEnvironment, VirtualLoop
from mps3.testing.fixtures import MakeClient
from mps3.types import Delete


class Missing:
    """A default of the user's own."""


async def reading(client: MPS3, default: Missing) -> None:
    """What is read is JSON, or the default."""
    assert_type(await client.get("k"), JSON)
    assert_type(await client.get(Ref("k")), JSON)
    assert_type(await client.get("k", default), JSON | Missing)
    assert_type(await client.get("k", default, bucket="b", manifest=Ref("m", "b")), JSON | Missing)
    assert_type(client.subscribe("k"), Subscription[JSON])
    assert_type(client.subscribe("k", default), Subscription[JSON | Missing])
    assert_type(await anext(client.subscribe("k")), JSON)
    async for value in client.subscribe("k", default, manifest="m"):
        assert_type(value, JSON | Missing)
    async with client.subscribe("k") as subscription:
        assert_type(subscription, Subscription[JSON])
    value = await client.get("k")
    if isinstance(value, Mapping):
        client.put("k", value["x"])


async def reading_many(client: MPS3, moment: datetime) -> None:
    """Keys are what was asked for; values are JSON."""
    assert_type(await client.keys("k/"), list[str])
    assert_type(await client.get_all(), dict[str, JSON])
    assert_type(await client.get_all(prefix="k/", manifest="m"), dict[str, JSON])
    assert_type(await client.get_all(["a", "b"]), dict[str, JSON])
    assert_type(await client.get_all({Ref("a")}, bucket="b"), dict[Ref, JSON])
    async for batch in client.watch("k/", since=None):
        assert_type(batch, Batch[JSON])
        assert_type(batch.changes, tuple[Change[JSON], ...])
        assert_type(batch.changes[0].value, JSON | Delete)
        assert_type(batch.cursor, str | None)
    revisions = await client.history(Ref("k"), limit=3)
    assert_type(revisions, list[Revision])
    assert_type(await revisions[0].value(), JSON | Delete)
    assert_type(revisions[0].expires, datetime | None)
    assert_type(await client.get("k", at=moment), JSON)
    assert_type(await client.get("k", 1, at="commit"), JSON | int)
    snapshot = await client.snapshot()
    assert_type(snapshot, Snapshot)
    assert_type(await snapshot.files("k/"), list[FileInfo])
    assert_type((await snapshot.files())[0].ref, Ref)
    assert_type((await snapshot.files())[0].expires, datetime | None)
    entries = await client.log("k/", limit=3, manifest="m")
    assert_type(entries, list[LogEntry])
    assert_type(entries[0].time, datetime | None)
    assert_type(entries[0].versions, Mapping[str, str | None])
    assert_type(await client.restore("k", revisions[0]), Commit)
    assert_type(await client.restore(Ref("k"), moment), Commit)
    assert_type(await client.restore("k", "commit", bucket="b", manifest="m"), Commit)
    assert_type(await client.restore_all(moment, prefix="k/"), Commit | None)


@dataclass
class Point:
    """A type of the user's own."""

    x: int


async def typed(client: MPS3) -> None:
    """Values are of that type."""
    points = client.typed(Point)
    assert_type(points, Typed[Point])
    assert_type(await points.get("k"), Point | None)
    assert_type(await points.get("k", 0), Point | int)
    assert_type(await points.get_all(prefix="k"), dict[str, Point])
    assert_type(points.put("k", Point(1), expires_in=1.5), Write)
    assert_type(points.put_all({"k": Point(1), "l": DELETE}), Write)
    assert_type(points.subscribe("k", 0), Subscription[Point | int])
    assert_type(client.subscribe("k", type=Point), Subscription[Point | None])
    assert_type(client.subscribe("k", Point(0), type=Point), Subscription[Point])
    async for batch in points.watch():
        assert_type(batch.changes[0].value, Point | Delete)
    points.put("k", 1)  # type: ignore[arg-type]


async def writing(client: MPS3, counts: dict[str, int], names: list[str]) -> None:
    """Concrete containers of JSON are JSON."""
    assert_type(client.put("k", {"a": [1, 2.0, None, True, "x"]}), Write)
    assert_type(await client.put("k", counts), Commit)
    assert_type(await client.put("k", names), Commit)
    assert_type(await client.put("k", DELETE), Commit)
    assert_type(client.put_all(counts), Write)
    assert_type(client.put_all({"a": 1, "b": DELETE}), Write)
    assert_type(client.put_all({Ref("a"): 1, "b": None}, manifests=["m", Ref("n")]), Write)
    assert_type(client.put("k", 1, expires_in=30), Write)
    assert_type(client.put_all(counts, expires_in=timedelta(minutes=1)), Write)
    client.put("k", 1, expires_in="1h")  # type: ignore[arg-type]
    write = client.delete("k", bucket="b", manifests=[Ref("m")])
    assert_type(write, Write)
    assert_type(write.pending, bool)
    assert_type(write.withdraw(), bool)
    commit = await write
    assert_type(commit.id, str)
    assert_type(commit.versions, Mapping[str, str | None])
    assert_type(commit.manifest, Ref)


async def patching(client: MPS3, changes: dict[str, int], titles: dict[str, str]) -> None:
    """Changes are JSON, operations, and mappings of both."""
    assert_type(client.patch("k", {"a": 1, "b": None, "c": DELETE, "d": {"e": [1]}}), Write)
    assert_type(client.patch("k", {"votes": Increment(1), "d": {"tags": Union("red", 1), "old": DELETE}}), Write)
    assert_type(client.patch(Ref("k"), changes, bucket="b", manifests=["m", Ref("n")]), Write)
    assert_type(client.patch("k", titles, if_version="v"), Write)
    assert_type(client.patch("k", {"a": Append(1, "x"), "b": Prepend(None), "c": Remove({"x": 1})}), Write)
    assert_type(client.patch("k", {"a": Maximum(1.5), "b": Minimum(1)}, expires_in=timedelta(hours=1)), Write)
    assert_type(client.patch_all({"k": {"a": Increment()}, "l": {"b": DELETE}}), Write)
    assert_type(client.patch_all({Ref("k"): titles, "l": titles}, expires_in=30), Write)
    assert_type(client.increment("k"), Write)
    assert_type(client.increment("k", 0.5, path="/votes", if_version=None, expires_in=30), Write)
    assert_type(await client.patch("k", {}), Commit)
    client.patch("k", [1])  # type: ignore[arg-type]
    client.patch("k", {"a": object()})  # type: ignore[dict-item]
    client.increment("k", "1")  # type: ignore[arg-type]
    Increment("1")  # type: ignore[arg-type]
    Increment(1).by = 2  # type: ignore[misc]
    operations: list[Operation] = [Increment(), Union("red")]
    assert_type(client.patch("k", {operation.name: operation for operation in operations}), Write)
    assert_type(Maximum(1).number, int | float)
    assert_type(Append(1).items, tuple[JSON, ...])
    assert_type(Append(1).operand, Any)
    points = client.typed(Point)
    assert_type(points.patch("k", {"x": Increment(1)}, expires_in=30), Write)
    assert_type(points.patch_all({Ref("k"): {"x": 1}}), Write)
    assert_type(points.increment("k", path="/x"), Write)
    async with client.transaction() as transaction:
        transaction.patch("k", {"a": Increment(1)}, expires_in=30)
        transaction.patch_all({"k": {"a": 1}})
        transaction.increment(Ref("k"), -1, path="/votes")


async def transacting(client: MPS3) -> None:
    """Reading, changing and writing as one."""
    assert_type(client.put("k", 1, if_version=None), Write)
    assert_type(client.put("k", 1, if_version="v"), Write)
    assert_type(client.put("k", 1, if_version=UNCHECKED), Write)
    assert_type(client.delete("k", if_version="v", bucket="b"), Write)
    client.put("k", 1, if_version=1)  # type: ignore[arg-type]

    def more(value: int) -> int:
        return value + 1

    async def later(value: int) -> str:
        return str(value)

    assert_type(await client.update("k", more, 0), int)
    assert_type(await client.update("k", more, 0, expires_in=30), int)
    assert_type(await client.update("k", more, 0, expires_in=None), int)
    assert_type(await client.update("k", more, 0, expires_in=KEPT), int)
    assert_type(await client.update(Ref("k"), later, 0, bucket="b", manifest=Ref("m")), str)

    async def move(transaction: Transaction) -> float:
        assert_type(await transaction.get("a"), JSON)
        assert_type(await transaction.get("a", 0.0), JSON | float)
        assert_type(await transaction.get_all(["a", "b"]), dict[str, JSON])
        transaction.put("a", [1])
        transaction.put("a", [1], expires_in=KEPT)
        transaction.delete(Ref("b"), bucket="c")
        return 1.0

    assert_type(await client.transact(move, manifest="m"), float)
    block = client.transaction()
    assert_type(block, TransactionBlock)
    async with block as transaction:
        assert_type(transaction, Transaction)
    assert_type(block.commit, Commit | None)
    points = client.typed(Point)
    assert_type(points.put("k", Point(1), if_version=None), Write)
    assert_type(await points.update("k", lambda point: Point(point.x + 1), Point(0)), Point)
    assert_type(await points.update("k", lambda point: Point(point.x + 1), Point(0), expires_in=30), Point)
    client.put("k", 1, expires_in=KEPT)  # type: ignore[arg-type]


async def present(client: MPS3) -> None:
    """Who is here."""
    async with client.presence("room", "ann", {"color": "red"}, expires_in=timedelta(seconds=30), every=9) as here:
        assert_type(here, Presence)
        assert_type(here.members, Mapping[str, JSON])
        assert_type(here.update(["typing"]), Write)
        async for members in here:
            assert_type(members, Mapping[str, JSON])
    assert_type(await anext(client.presence("room", manifest=Ref("m"))), Mapping[str, JSON])


async def views(client: MPS3) -> None:
    """Live mappings."""
    async with client.view("users/", limit=10, manifest="m") as plain:
        assert_type(plain, View[JSON])
    view = client.view(type=Point)
    assert_type(await view.loaded(), View[Point])
    assert_type(view["k"], Point)
    assert_type(view.complete, bool)
    assert_type(view.under("k"), dict[str, Point])
    assert_type(view.invalid, Mapping[str, ValidationError])
    assert_type([(key, point.x) for key, point in view.items()], list[tuple[str, int]])
    async for change in view:
        assert_type(change, Change[Point])
    query = view.where(lambda point: point.x > 1).order_by(lambda point: point.x, reverse=True).first(3)
    assert_type(query, Query[Point])
    assert_type(query.result, dict[str, Point])
    async for result in view.first(1):
        assert_type(result, dict[str, Point])
    async for result in view.order_by(lambda point: point.x):
        assert_type(result, dict[str, Point])
    await view.aclose()
    view["k"] = Point(1)  # type: ignore[index]


async def refused(client: MPS3) -> None:
    """What a type checker finds before it is run; an unneeded ignore is an error too."""
    client.put("k", object())  # type: ignore[arg-type]
    client.put("k", {1, 2})  # type: ignore[arg-type]
    client.put(1, 1)  # type: ignore[arg-type]
    client.put("k")  # type: ignore[call-arg]
    client.put("k", 1, "bucket")  # type: ignore[call-arg]
    client.delete("k").id  # type: ignore[attr-defined]  # noqa: B018


async def collecting(client: MPS3) -> None:
    """Spans are seconds or timedeltas."""
    found = await client.collect(retention=timedelta(days=1), grace=3600, dry_run=True, manifest=Ref("m"), rate=10)
    assert_type(found, Collected)
    assert_type(found.values, Tally)
    assert_type(found.deleted, int)
    assert_type(found.since, datetime | None)

    def show(event: Collecting) -> None:
        assert_type(event.looked_at, int)

    await client.collect(progress=show)
    MPS3("b", retention=timedelta(days=30), collect_every=3600)
    await client.collect(retention="7d")  # type: ignore[arg-type]


async def opening(config: dict[str, Any]) -> None:
    """The ways to make a client."""
    async with MPS3("b", s3_config=config) as client:
        assert_type(client, MPS3)
        assert_type(client.status(), Status)
        assert_type(client.status().pending, int)
    async with MPS3.from_url("memory:", poll_interval=0.1) as client:
        assert_type(client, MPS3)
    MPS3("b", Ref("m", "c"), storage=LocalStorage("dir"), poll_interval=1, checksums=False)
    await MPS3("b", storage=MemoryStorage()).aclose()
    assert_type(MemoryStorage().url, str)
    assert_type(LocalStorage("dir").url, str)
    opened = await MPS3("b").open()
    assert_type(opened, MPS3)
    assert_type(await MPS3.from_url("memory:"), MPS3)
    await opened.aclose()
    assert_type(LocalStorage("dir").identity(), str)


def at_once(offer: Reconnect) -> None:
    """A decision that needs no waiting."""
    for write in offer.conflicts:
        assert_type(write.changes, Mapping[str, PendingChange])
        for key, change in write.changes.items():
            assert_type(change.current, JSON | Delete)
            write.replace({key: change.value})
        write.withdraw()


async def later(offer: Reconnect) -> None:
    """A decision that takes its time."""
    assert_type(offer.manifest, Ref)


async def offline(client: MPS3, path: Path) -> None:
    """Working without the store."""
    MPS3("b", offline=path, online=False, on_reconnect=at_once, cache_bytes=2**20)
    MPS3("b", offline="directory", on_reconnect=later)
    MPS3("b", offline=1)  # type: ignore[arg-type]
    await client.put("k", 1).kept()
    assert_type(client.status_changes(), StatusChanges)
    async for status in client.status_changes():
        assert_type(status, Status)
        assert_type(status.oldest_pending, datetime | None)
    for rejected in client.rejected():
        assert_type(rejected, Rejected)
        assert_type(rejected.values, Mapping[str, JSON | Delete])
        assert_type(rejected.error, MPS3Error)
        assert_type(rejected.retry(), Write)
        rejected.drop()


def hook(event: Event) -> None:
    """All kinds of events can be told apart."""
    match event:
        case RequestMade():
            assert_type(event.outcome, Outcome)
            assert_type(event.key, str | None)
        case Acknowledged(writes=writes, seconds=seconds):
            assert_type(writes, tuple[int, ...])
            assert_type(seconds, float | None)
        case WentOffline(error=error):
            assert_type(error, Problem | None)
        case Retried() | Polled() | Merged() | WriteMade() | WriteFailed() | CommitSent() | Conflicted() | CameOnline():
            pass
        case _:
            assert_never(event)


def observing(queue: asyncio.Queue[Event], events: list[Event]) -> None:
    """Whatever takes an event is a hook."""
    client = MPS3("b", hooks=[hook, queue.put_nowait, events.append, LoggingHook(), OpenTelemetryHook(polls=True)])
    MPS3("b", hooks=[LoggingHook("name", {RequestMade: None, Polled: 10})])
    MPS3("b", hooks=[print])
    MPS3("b", hooks=[len])  # type: ignore[list-item]
    MPS3("b", hooks=hook)  # type: ignore[arg-type]
    assert_type(client.store_time(), datetime | None)
    assert_type(client.statistics(), Statistics)
    assert_type(client.statistics().requests, Mapping[str, int])
    client.statistics().commits = 1  # type: ignore[misc]


async def testing(mps3_store: FaultyStorage, mps3_client: MakeClient, mps3_clock: VirtualClock) -> None:
    """What tests are made of."""
    async with mps3_client(Ref("m"), poll_interval=1) as client:
        assert_type(client, MPS3)
    fault = mps3_store.fail(2, operation="PutObject", key="k", error=MPS3Error("no"))
    assert_type(fault, Fault)
    with mps3_store.delay(1.5) as slow:
        assert_type(slow, Fault)
    await fault.wait()
    mps3_store.fail(operation="put")  # type: ignore[arg-type]
    assert_type(mps3_store.count("GetObject"), int)
    await mps3_clock.advance(timedelta(days=1))
    assert_type(mps3_clock.now(), datetime)
    MPS3("b", storage=FaultyStorage(LocalStorage("dir")), environment=VirtualEnvironment(seed=1))
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(mps3_clock.settle())
