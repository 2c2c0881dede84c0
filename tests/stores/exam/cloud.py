"""The exam in a bucket of a cloud vendor: small, counted, and cleaned up after.

``python -m stores.exam.cloud run r2 BUCKET`` examines an empty bucket, and ``clean r2 BUCKET`` removes what a run that was
killed has left there. Keys, region and endpoint come from where the SDK looks for them (``AWS_ACCESS_KEY_ID``,
``AWS_ENDPOINT_URL_S3`` …). ``estimate`` runs the same exam in memory and in virtual time, and says what it costs.

A run begins only in an empty bucket, and then leaves a mark there; only a bucket with the mark is cleaned. The network
is real, and requests fail now and then on top of that, before they take effect or after.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from functools import partial
from random import Random
from typing import Any, Final

from mps3 import MPS3, MemoryStorage, UnavailableError
from mps3.doctor.diagnosis import Diagnosis, diagnose
from mps3.storage.protocol import Object, Storage
from mps3.storage.s3.storage import S3Storage
from mps3.support.environment import Environment
from mps3.testing import FaultyStorage, VirtualClock, VirtualEnvironment, VirtualLoop
from mps3.testing.conformance import check_storage
from mps3.types import JournalKind
from stores.exam.collection import collect
from stores.exam.doctor import told
from stores.exam.paper import problems_in
from stores.exam.transactions import contend

MARK: Final = "mps3-exam.mark"
CLIENTS: Final = 3
PUTS: Final = 1000  # of each client
AT_ONCE: Final = 8
TRANSACTIONS: Final = 5  # of each client, of each kind
WRITERS: Final = 8
COMMITS: Final = 5  # of each writer
POLL: Final = 1.0
LATENCY: Final = 0.05  # of a request in virtual time
FAILING: Final = 0.02  # of the requests
TIME_LIMIT: Final = 1200.0
DELETES: Final = 8  # at once
ROUNDS: Final = 5

KINDS: Final = {
    "GetBucketVersioning": "GET",
    "GetObject": "GET",
    "HeadObject": "GET",
    "PutObject": "PUT",
    "ListObjects": "list",
    "ListObjectVersions": "list",
    "DeleteObject": "DELETE",
}
PRICES: Final[Mapping[str, Mapping[str, float]]] = {
    "aws": {"PUT": 5e-6, "list": 5e-6, "GET": 0.4e-6},
    "r2": {"PUT": 4.5e-6, "list": 4.5e-6, "GET": 0.36e-6},
    "b2": {"PUT": 0, "list": 4e-6, "GET": 0.4e-6},
    "gcs": {"PUT": 5e-6, "list": 5e-6, "GET": 0.4e-6},
    "tigris": {"PUT": 5e-6, "list": 5e-6, "GET": 0.5e-6},
}
"""Dollars for a request, as the vendors' price lists say, without what is free each month; deletes are free."""


class RoughStorage(FaultyStorage):
    """A storage whose requests are counted, and fail now and then while it is ``rough``."""

    def __init__(self, storage: Storage, seed: int) -> None:
        super().__init__(storage)
        self.rough = False
        self.injected = 0
        self._random = Random(seed)

    @property
    def vendor(self) -> Any:
        return getattr(self.storage, "vendor", None)

    @property
    def server_headers(self) -> Mapping[str, str]:
        return getattr(self.storage, "server_headers", {})

    async def _ask(self, operation: str, bucket: str, key: str | None, request: Any, *, sent: int = 0) -> Any:
        async def ask() -> Any:
            return await super(RoughStorage, self)._ask(operation, bucket, key, request, sent=sent)

        chance = self._random.random() if self.rough else 1.0
        if chance >= FAILING:
            return await ask()
        self.injected += 1
        if chance < FAILING / 2:
            await ask()
        error = UnavailableError("it was told to fail", bucket=bucket, key=key, operation=operation)
        error.maybe_written = operation in {"PutObject", "DeleteObject"}
        raise error

    def requests_by_kind(self) -> dict[str, int]:
        counted = Counter(KINDS[request.operation] for request in self.requests)
        return {kind: counted[kind] for kind in ("PUT", "list", "GET", "DELETE")}


@dataclass
class CloudBucket:
    """A bucket to be examined in; it does for the parts of the exam what `stores.exam.bucket.Bucket` does."""

    store: RoughStorage
    name: str
    journal: JournalKind = "auto"
    environment: Callable[[], Environment] = Environment
    prefix: str = field(default="")

    def client(self, manifest: str, **options: Any) -> MPS3:
        return MPS3(
            self.name,
            f"{self.prefix}{manifest}",
            storage=self.store,
            environment=self.environment(),
            **{"poll_interval": POLL, "journal": self.journal, **options},
        )


async def examine(bucket: CloudBucket, tell: Callable[[str], None]) -> dict[str, Any]:
    """The exam, without cleaning up."""
    found = await _see_doctor(bucket)
    result: dict[str, Any] = {"doctor": told(found), "problems": []}
    tell(f"the doctor says {'ready' if found.healthy else 'not ready'}, journal {found.journal}")
    if not found.healthy:
        return result
    report = await check_storage(bucket.store, bucket.name)
    await bucket.store.open()  # that has closed it for all
    failed = {one.check: one.detail for one in report.results if one.outcome == "failed"}
    result["conformance"] = {"failed": failed, "problems": [f"{name}: {why}" for name, why in failed.items()]}
    tell(f"conformance: failed {failed or 'nothing'}")
    versioned = any(one.what == "versioning" and one.result == "enabled" for one in found.findings)
    journals: list[Any] = [found.journal]
    if versioned and found.journal != "merge":
        journals.append("merge")
    result["journals"] = {}
    for journal in journals:
        one = CloudBucket(bucket.store, bucket.name, journal, bucket.environment, f"{journal}/")
        exercises: dict[str, Callable[[], Awaitable[dict[str, Any]]]] = {
            "writes": partial(write, one),
            "transactions": partial(contend, one, TRANSACTIONS),  # type: ignore[arg-type] - it does what a bucket does
            "collection": partial(collect, one),  # type: ignore[arg-type]
            "contention": partial(crowd, one),
        }
        result["journals"][str(journal)] = taken = {}
        for part, take in exercises.items():
            try:
                async with asyncio.timeout(TIME_LIMIT):
                    taken[part] = await take()
            except Exception as error:
                taken[part] = {"problems": [f"{type(error).__name__}: {error}"]}
            tell(f"{journal}: {part} {taken[part]}")
    return result


async def _see_doctor(bucket: CloudBucket) -> Diagnosis:
    await bucket.store.open()
    try:
        return await diagnose(
            bucket.store,
            bucket.name,
            "doctor.json",
            journal="auto",
            poll_interval=POLL,
            environment=bucket.environment(),
        )
    finally:
        await bucket.store.aclose()


async def write(bucket: CloudBucket) -> dict[str, Any]:
    """Let three clients put while requests fail; nothing that was acknowledged is lost."""
    acknowledged: dict[str, int] = {}
    clients = [bucket.client("writes.json") for _ in range(CLIENTS)]

    async def put(client: MPS3, name: int, numbers: Any) -> None:
        for number in numbers:
            await client.put_all({f"{name}/{number}": number, "shared": number})
            acknowledged[f"{name}/{number}"] = number

    try:
        for client in clients:
            await client.open()
        bucket.store.rough = True
        async with asyncio.TaskGroup() as tasks:
            for name, client in enumerate(clients):
                numbers = iter(range(PUTS))
                for _ in range(AT_ONCE):
                    tasks.create_task(put(client, name, numbers))
    finally:
        bucket.store.rough = False
        await asyncio.gather(*(client.aclose() for client in clients))
    async with bucket.client("writes.json") as fresh:
        stored = await fresh.get_all()
    lost = [key for key, value in acknowledged.items() if stored.get(key) != value]
    return {
        "acknowledged": len(acknowledged),
        "lost": len(lost),
        "faults": bucket.store.injected,
        "problems": [f"lost after it was acknowledged: {key}" for key in lost[:5]],
    }


async def crowd(bucket: CloudBucket) -> dict[str, Any]:
    """Let eight writers commit as fast as they can."""
    writers = [bucket.client("contended.json", poll_interval=3600.0) for _ in range(WRITERS)]
    try:
        for writer in writers:
            await writer.open()
        before, began = len(bucket.store.requests), time.monotonic()

        async def commit(writer: MPS3, name: int) -> None:
            for number in range(COMMITS):
                await writer.put(f"{name}/{number}", number)

        await asyncio.gather(*(commit(writer, name) for name, writer in enumerate(writers)))
        seconds, made = time.monotonic() - began, len(bucket.store.requests) - before
    finally:
        await asyncio.gather(*(writer.aclose() for writer in writers))
    async with bucket.client("contended.json") as fresh:
        found = len(await fresh.get_all())
    commits = WRITERS * COMMITS
    return {
        "commits": commits,
        "requests_per_commit": round(made / commits, 1),
        "commits_per_second": round(commits / max(seconds, 0.001), 1),
        "problems": [] if found == commits else [f"{commits} keys were put, and {found} are there"],
    }


# A bucket of its own --------------------------------------------------------------------------------------------------


async def everything(storage: Storage, bucket: str) -> list[tuple[str, str | None]]:
    """All objects with their versions, and delete markers, too."""
    found: list[tuple[str, str | None]] = []
    start = None
    versioned = (await storage.capabilities(bucket)).versioning != "off"
    while True:
        if versioned:
            scanned = await storage.scan(bucket, start=start)
            found += [(one.key, one.version) for one in scanned.found]
            start = scanned.next
        else:
            page = await storage.list(bucket, start=start)
            found += [(one.key, None) for one in page.entries]
            start = page.next
        if start is None:
            return found


async def begin(storage: Storage, bucket: str) -> None:
    """Mark an empty bucket."""
    if found := await everything(storage, bucket):
        raise SystemExit(f"s3://{bucket} has {len(found)} objects or versions: give an empty one (or clean it first)")
    await storage.put(bucket, MARK, b"An exam of mps3 runs here, and removes all objects when it ends.")


async def clean(storage: Storage, bucket: str) -> int:
    """Remove everything from a bucket that `begin` has marked, and the mark at last; return how many there were.

    Some stores list an object only after another one is removed, whose key looks like the directory of it.
    """
    if not isinstance(await storage.get(bucket, MARK), Object):
        return 0
    at_once = asyncio.Semaphore(DELETES)
    removed = 0

    async def remove(key: str, version: str | None) -> None:
        async with at_once:
            await storage.delete(bucket, key, version=version)

    for _ in range(ROUNDS):
        found = await everything(storage, bucket)
        others = [(key, version) for key, version in found if key != MARK]
        if not others:
            break
        await asyncio.gather(*(remove(key, version) for key, version in others))
        removed += len(others)
    for key, version in found:
        if key == MARK:
            await storage.delete(bucket, key, version=version)
            removed += 1
    return removed


async def run(store: RoughStorage, bucket: str, tell: Callable[[str], None], **options: Any) -> dict[str, Any]:
    """Examine, and clean up, also after a failure."""
    await store.open()
    try:
        await begin(store, bucket)
        try:
            result = await examine(CloudBucket(store, bucket, **options), tell)
        finally:
            tell(f"removed {await clean(store, bucket)} objects and versions")
            if left := await everything(store, bucket):
                tell(f"left behind: {left[:5]}")
    finally:
        await store.aclose()
    return {**result, "requests": store.requests_by_kind(), "problems": problems_in(result)}


def as_tried(result: dict[str, Any], provider: str, day: str) -> dict[str, Any]:
    """The result as a record has it; a service has no version but its day."""
    versioned = result["doctor"]["findings"].get("versioning", {}).get("result") == "enabled"
    return {
        "version": f"of {day}",
        "source": "the service",
        "date": day,
        "command": f"nox -s cloud -- run {provider} BUCKET",
        "requests": result["requests"],
        "dollars": round(cost(provider, result["requests"]), 4),
        "buckets": {
            "versioned" if versioned else "plain": {
                name: part for name, part in result.items() if name not in {"requests", "problems"}
            }
        },
        "problems": result["problems"],
    }


def cost(provider: str, requests: Mapping[str, int]) -> float:
    """Dollars for so many requests."""
    return sum(PRICES[provider].get(kind, 0) * number for kind, number in requests.items())


# What it will cost ----------------------------------------------------------------------------------------------------


def estimate(*, versioned: bool) -> dict[str, int]:
    """The requests of a run, counted in memory and in virtual time."""

    async def scenario() -> dict[str, Any]:
        now = VirtualClock().time
        store = RoughStorage(MemoryStorage(versioning=versioned, clock=now), seed=0)
        store.delay(LATENCY)
        seeds = iter(range(1000))
        return await run(store, "bucket", lambda _: None, environment=lambda: VirtualEnvironment(seed=next(seeds)))

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        result = runner.run(scenario())
    assert result["problems"] == [], result["problems"]
    counted: dict[str, int] = result["requests"]
    return counted


def estimates() -> list[list[str]]:
    """The rows of the table of costs: the bucket, requests by kind in hundreds, and cents of each vendor, rounded up."""
    rows = []
    for versioned, bucket in {False: "without versions", True: "with versions, so both journals"}.items():
        counted = estimate(versioned=versioned)
        numbers = [f"{round(number, -2):,}" for number in counted.values()]
        rows.append([bucket, *numbers, *(f"{math.ceil(100 * cost(name, counted))} ¢" for name in PRICES)])
    return rows


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m stores.exam.cloud", description=__doc__)
    parser.add_argument("action", choices=["run", "clean", "estimate"])
    parser.add_argument("provider", nargs="?", choices=list(PRICES))
    parser.add_argument("bucket", nargs="?")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    if arguments.action == "estimate":
        for row in estimates():
            print(" | ".join(row))
        return 0
    if not arguments.bucket:
        parser.error("give a provider and a bucket")
    store = RoughStorage(S3Storage({}), arguments.seed)
    if arguments.action == "clean":
        print(f"removed {asyncio.run(_clean_only(store, arguments.bucket))} objects and versions")
        return 0
    result = asyncio.run(run(store, arguments.bucket, partial(print, file=sys.stderr, flush=True)))
    day = datetime.now(timezone.utc).date().isoformat()
    print(json.dumps(as_tried(result, arguments.provider, day), indent=2))
    for problem in result["problems"]:
        print(f"problem: {problem}", file=sys.stderr)
    return bool(result["problems"])


async def _clean_only(storage: Storage, bucket: str) -> int:
    await storage.open()
    try:
        return await clean(storage, bucket)
    finally:
        await storage.aclose()


if __name__ == "__main__":
    sys.exit(main())
