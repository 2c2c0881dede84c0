"""A store of objects that does all that a store may do to its clients, decided by one random generator.

Its nodes' clocks differ, versions become visible late, requests fail before or after they took effect or
long before they do, answers are lost. One :class:`SimStore` is the world; each client gets a
:class:`SimStorage` of its own, which is the ``Storage`` that the library sees.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import math
import random
from asyncio import get_running_loop
from bisect import insort
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from mps3.errors import ConflictError, CorruptionError, UnavailableError
from mps3.format.run import NotAtHandError, Run, open_run
from mps3.storage import (
    ABSENT,
    UNCHANGED,
    Absence,
    Capabilities,
    Head,
    ListedObject,
    ListedVersion,
    Object,
    Page,
    Scan,
    Stored,
    Version,
    VersionPage,
)
from mps3.storage.byte_ranges import part_of
from mps3.storage.clock import StoreClock

from .faults import Faults
from .loop import PROCESS

T = TypeVar("T")

EPOCH = 1_700_000_000.0
"""What the store's clocks show at virtual time 0."""


@dataclass(order=True)
class Kept:
    """One version. Ordered by stamp, as the store orders them."""

    stamp: float
    number: int
    name: str = field(compare=False)
    etag: str = field(compare=False)
    body: bytes | None = field(compare=False)  # None: a delete marker
    visible: float = field(compare=False)
    by: str = field(compare=False)
    metadata: dict[str, str] = field(compare=False, default_factory=dict)


@dataclass
class SimStore:
    """The objects, the nodes with their clocks, the faults, and the trace of all that happened.

    Attributes:
        versioning: Whether old versions stay.
        resolution: Of the time stamps shown, in seconds; they are rounded down.
        page: The most versions in one page of a listing.
        trace: ``(time, client, operation, key, outcome)`` in order.
    """

    random: random.Random
    faults: Faults = field(default_factory=Faults)
    versioning: bool = True
    resolution: float = 1.0
    page: int = 1000
    offset: float = 0.0
    objects: dict[tuple[str, str], list[Kept]] = field(default_factory=dict)
    ever: dict[tuple[str, str], list[Kept]] = field(default_factory=dict)  # also what was deleted or replaced
    trace: list[tuple[float, str, str, str, str]] = field(default_factory=list)
    busy_until: float = 0.0  # when the last request is over that a fault prolonged
    _count: int = 0

    def __post_init__(self) -> None:
        skew = self.faults.skew
        self.clocks = [0.0, 0.0, skew, -skew]
        self.ticks = random.Random()
        self.ticks.setstate(self.random.getstate())

    def note(self, client: str, operation: str, key: str = "", outcome: str = "") -> None:
        self.trace.append((get_running_loop().time(), client, operation, key, outcome))

    def clock(self) -> float:
        """What one of the nodes says in an answer; whole seconds, as over HTTP."""
        now = EPOCH + self.offset + get_running_loop().time() + self.ticks.choice(self.clocks)
        return math.floor(now)

    def shown(self, kept: Kept) -> float:
        return math.floor((EPOCH + self.offset + kept.stamp) / self.resolution) * self.resolution

    def newest(self, bucket: str, key: str, now: float) -> Kept | None:
        for kept in reversed(self.objects.get((bucket, key), ())):
            if kept.visible <= now:
                return kept
        return None

    def find(self, bucket: str, key: str, version: str) -> Kept | None:
        for kept in self.objects.get((bucket, key), ()):
            if kept.name == version:
                return kept
        return None

    def add(self, by: str, bucket: str, key: str, body: bytes | None, metadata: Any = None) -> Kept:
        """Stamp a version; it may become visible later."""
        now = get_running_loop().time()
        late = 0.0
        if self.versioning and self.faults.late and self.random.random() < self.faults.lateness:
            late = self.random.random() ** 2 * self.faults.late
        if self.versioning and self.faults.crawl and self.random.random() < self.faults.crawl:
            late = self.random.random() * self.faults.crawling
            self.busy_until = max(self.busy_until, now + late)
        self._count += 1
        kept = Kept(
            stamp=now + self.random.choice(self.clocks),
            number=self._count,
            name=f"{self.random.getrandbits(16):04x}v{self._count}",
            etag='"' + hashlib.md5(body or b"", usedforsecurity=False).hexdigest() + '"',
            body=body,
            visible=now + late,
            by=by,
            metadata=dict(metadata or {}),
        )
        insort(self.ever.setdefault((bucket, key), []), kept)
        if self.versioning:
            insort(self.objects.setdefault((bucket, key), []), kept)
        elif body is None:
            self.objects.pop((bucket, key), None)
        else:
            self.objects[bucket, key] = [kept]
        return kept

    def body(self, bucket: str, key: str, version: str) -> bytes | None:
        """What a manifest means by this version of this key, however late it is visible, and though it be gone."""
        kept = next((kept for kept in self.ever.get((bucket, key), ()) if kept.name == version), None)
        if kept is None:
            kept = next(iter(self.ever.get((bucket, f"{key}@{version}"), ())), None)
        return None if kept is None else kept.body


def at_once(store: SimStore, function: Callable[[], T]) -> T:
    """What reads runs, with all of each run at hand that was ever stored; the client does not notice."""
    before: list[tuple[Run, Any]] = []
    try:
        while True:
            try:
                return function()
            except NotAtHandError as error:
                for run in error.wanted:
                    bodies = (kept.body for kept in store.ever["bucket", run.reference.key])
                    body = next(one for one in bodies if one is not None and len(one) == run.reference.size)
                    before.append((run, run.pieces))
                    run.pieces = open_run(run.reference, body, trusted=True).pieces
    finally:
        for run, pieces in before:
            run.pieces = pieces


@dataclass
class _Sent:
    """A write on its way: what the store did with it, once it did."""

    arrived: asyncio.Future[None]
    done: Kept | None = None
    conflict: bool = False
    clock: float = 0.0


class SimStorage:
    """One client's way to the store.

    Args:
        store: The store.
        client: Its name in the trace.
        dice: Decides about latencies and faults of this client's requests.
        sound: Whether none of its requests fails.

    Attributes:
        offline_until: Before that time no request gets through.
        before_each: Called before each request.
    """

    def __init__(self, store: SimStore, client: str, dice: random.Random, *, sound: bool = False) -> None:
        self._sound = sound
        self._store = store
        self._client = client
        self._dice = dice
        self.offline_until = 0.0
        self.before_each: Callable[[], None] = lambda: None
        self._time = StoreClock(lambda: get_running_loop().time())
        self._nodes = random.Random(f"nodes {client}")

    def clock(self) -> float | None:
        """What the answers said of the time."""
        now = self._time.now()
        return None if now == -math.inf else now

    async def open(self) -> None:
        self._store.note(self._client, "open")

    async def aclose(self) -> None:
        process = PROCESS.get()
        if process is None or not process.dead:
            self._store.note(self._client, "close")

    async def capabilities(self, bucket: str) -> Capabilities:
        await self._ask("CAPABILITIES", bucket, "")
        await self._answer("CAPABILITIES", bucket, "")
        return Capabilities("enabled" if self._store.versioning else "off", exclusive=True)

    async def get(
        self,
        bucket: str,
        key: str,
        *,
        version: str | None = None,
        if_none_match: str | None = None,
        limit: int | None = None,
        byte_range: tuple[int, int] | None = None,
    ) -> Object | Absence:
        await self._ask("GET", bucket, key)
        store, now = self._store, self._now()
        kept = store.newest(bucket, key, now)
        if version is not None:
            kept = store.find(bucket, key, version)
            kept = kept if kept is not None and kept.visible <= now else None
        if kept is None or kept.body is None:
            store.note(self._client, "GET", key, f"{version or 'head'} absent")
            await self._answer("GET", bucket, key)
            return ABSENT
        unchanged = kept.etag == if_none_match
        part = "" if byte_range is None else " {}-{}".format(*byte_range)
        what = f"{version or 'head ' + kept.name}{part}{' unchanged' if unchanged else ''}"
        store.note(self._client, "GET", key, what)
        await self._answer("GET", bucket, key)
        if unchanged:
            return UNCHANGED
        body = part_of(kept.body, byte_range)
        if limit is not None and len(body) > limit:
            raise CorruptionError(f"larger than {limit}", bucket=bucket, key=key, operation="GetObject")
        # Those who compare and swap judge by the stamp that readers see.
        modified = None if store.versioning else store.shown(kept)
        named = kept.name if store.versioning else None
        return Object(body, named, kept.etag, modified, partial=byte_range is not None)

    async def put(
        self,
        bucket: str,
        key: str,
        body: bytes,
        *,
        sha256: bytes | None = None,
        if_none_match: bool = False,
        metadata: Any = None,
    ) -> Stored:
        if sha256 is not None:
            assert hashlib.sha256(body).digest() == sha256, f"wrong digest for {key}"
        sent = _Sent(get_running_loop().create_future())
        body = bytes(body)

        def arrive() -> None:
            if if_none_match:
                current = self._store.newest(bucket, key, self._now())
                exists = current is not None and current.body is not None
                contended = current is not None and current.by != self._client
                spurious = contended and self._dice.random() < self._faults.conflict
                if spurious or exists:
                    self._store.note(self._client, "PUT", key, "conflict" + " (spurious)" * spurious)
                    sent.conflict = True
                    return
            sent.clock = self._store.clock()
            sent.done = kept = self._store.add(self._client, bucket, key, body, metadata)
            late = f" visible {kept.visible:.3f}" if kept.visible > self._now() else ""
            self._store.note(self._client, "PUT", key, f"{kept.name} stamp {kept.stamp:.3f}{late}")

        await self._write("PUT", bucket, key, arrive, sent)
        if sent.conflict:
            raise ConflictError("the condition does not hold", bucket=bucket, key=key, operation="PutObject")
        assert sent.done is not None
        return Stored(sent.done.name if self._store.versioning else None, sent.done.etag, sent.clock)

    async def head(self, bucket: str, key: str, *, version: str | None = None) -> Head | Absence:
        await self._ask("HEAD", bucket, key)
        store, now = self._store, self._now()
        kept = store.newest(bucket, key, now)
        if version is not None and store.versioning:
            kept = store.find(bucket, key, version)
            kept = kept if kept is not None and kept.visible <= now else None
        await self._answer("HEAD", bucket, key)
        if kept is None or kept.body is None:
            return ABSENT
        return Head(dict(kept.metadata), len(kept.body), store.shown(kept))

    async def delete(self, bucket: str, key: str, *, version: str | None = None) -> None:
        sent = _Sent(get_running_loop().create_future())

        def arrive() -> None:
            self._store.note(self._client, "DELETE", key, version or "")
            if version is None or not self._store.versioning:
                sent.done = self._store.add(self._client, bucket, key, None)
            elif (kept := self._store.find(bucket, key, version)) is not None:
                self._store.objects[bucket, key].remove(kept)

        await self._write("DELETE", bucket, key, arrive, sent)

    async def versions(
        self, bucket: str, key: str, *, start: str | None = None, limit: int | None = None
    ) -> VersionPage:
        await self._ask("VERSIONS", bucket, key)
        store, now = self._store, self._now()
        listed = [kept for kept in reversed(store.objects.get((bucket, key), ())) if kept.visible <= now]
        current = {id(listed[0])} if listed else set()
        if start is not None:
            stamp, number = start.split("/")
            listed = [kept for kept in listed if (kept.stamp, kept.number) < (float(stamp), int(number))]
        most = min(store.page, limit or store.page)
        page, more = listed[:most], len(listed) > most
        if not store.versioning:
            page = [kept for kept in page if id(kept) in current]
        answered = store.clock()
        store.note(self._client, "VERSIONS", key, " ".join(kept.name for kept in page) + (" ..." if more else ""))
        await self._answer("VERSIONS", bucket, key)
        return VersionPage(
            tuple(
                Version(
                    version=kept.name if store.versioning else "null",
                    modified=store.shown(kept),
                    etag=None if kept.body is None else kept.etag,
                    size=len(kept.body or b""),
                    deleted=kept.body is None,
                )
                for kept in page
            ),
            f"{page[-1].stamp!r}/{page[-1].number}" if more else None,
            answered,
        )

    async def scan(self, bucket: str, prefix: str = "", *, start: str | None = None) -> Scan:
        await self._ask("SCAN", bucket, prefix)
        store, now = self._store, self._now()
        listed = [
            (key, kept)
            for (its_bucket, key), versions in sorted(store.objects.items())
            for kept in reversed(versions)
            if its_bucket == bucket and key.startswith(prefix) and kept.visible <= now
        ]
        if start is not None:
            after, stamp, number = json.loads(start)
            listed = [
                (key, kept)
                for key, kept in listed
                if key > after or (key == after and (kept.stamp, kept.number) < (stamp, number))
            ]
        page, more = listed[: store.page], len(listed) > store.page
        store.note(self._client, "SCAN", prefix, f"{len(page)} versions" + (" ..." if more else ""))
        await self._answer("SCAN", bucket, prefix)
        found = tuple(
            ListedVersion(
                key,
                kept.name if store.versioning else "null",
                store.shown(kept),
                len(kept.body or b""),
                kept.body is None,
            )
            for key, kept in page
        )
        return Scan(found, json.dumps([page[-1][0], page[-1][1].stamp, page[-1][1].number]) if more else None)

    async def list(self, bucket: str, prefix: str = "", *, start: str | None = None, limit: int | None = None) -> Page:
        await self._ask("LIST", bucket, prefix)
        store, now = self._store, self._now()
        newest = {
            key: store.newest(bucket, key, now)
            for its_bucket, key in sorted(store.objects)
            if its_bucket == bucket and key.startswith(prefix) and (start is None or key > start)
        }
        entries = [
            ListedObject(key, store.shown(kept), len(kept.body))
            for key, kept in newest.items()
            if kept and kept.body is not None
        ]
        size = store.page if limit is None else min(limit, store.page)
        page, more = entries[:size], len(entries) > size
        store.note(self._client, "LIST", prefix, f"{len(page)} keys")
        await self._answer("LIST", bucket, prefix)
        return Page(tuple(page), page[-1].key if more else None)

    # How a request fares.

    def _now(self) -> float:
        return get_running_loop().time()

    @property
    def _faults(self) -> Faults:
        return self._store.faults.none() if self._sound else self._store.faults

    def _latency(self) -> float:
        faults, dice = self._faults, self._dice
        if faults.slow and dice.random() < faults.slow:
            return self._prolonged(dice.random() * faults.slowness)
        return 0.005 + dice.random() * 0.045

    def _prolonged(self, seconds: float) -> float:
        self._store.busy_until = max(self._store.busy_until, self._now() + seconds)
        return seconds

    def _failure(self, operation: str, bucket: str, key: str, why: str) -> UnavailableError:
        self._store.note(self._client, operation, key, f"FAILED: {why}")
        return UnavailableError(f"{operation} failed: {why}", bucket=bucket, key=key, operation=operation)

    async def _refusals(self, operation: str, bucket: str, key: str) -> None:
        """Failures that never reach the store."""
        process = PROCESS.get()
        if process is not None and process.dead:
            raise asyncio.CancelledError
        self.before_each()
        faults, dice = self._faults, self._dice
        if self._now() < self.offline_until:
            await asyncio.sleep(dice.random() * 3)
            raise self._failure(operation, bucket, key, "offline")
        if faults.refused and dice.random() < faults.refused:
            await asyncio.sleep(self._latency())
            raise self._failure(operation, bucket, key, "refused")
        if faults.hang and dice.random() < faults.hang:
            await asyncio.sleep(self._prolonged(dice.random() * faults.hanging))
            raise self._failure(operation, bucket, key, "timed out")

    async def _ask(self, operation: str, bucket: str, key: str) -> None:
        await self._refusals(operation, bucket, key)
        await asyncio.sleep(self._latency())

    async def _answer(self, operation: str, bucket: str, key: str) -> None:
        faults, dice = self._faults, self._dice
        node = self._nodes.choice(self._store.clocks)
        date = math.floor(EPOCH + self._store.offset + self._now() + node)
        if dice.random() < 0.5:  # else the store answers at once, and so does the network
            await asyncio.sleep(self._latency())
        if faults.lost and dice.random() < faults.lost:
            raise self._failure(operation, bucket, key, "answer lost")
        self._time.observe(date)

    async def _write(self, operation: str, bucket: str, key: str, arrive: Any, sent: _Sent) -> None:
        """Send a write. Once sent it takes effect, whatever becomes of the caller meanwhile."""
        await self._refusals(operation, bucket, key)
        loop, faults, dice = get_running_loop(), self._faults, self._dice
        ghost = faults.ghost and dice.random() < faults.ghost
        delay = self._prolonged(dice.random() * faults.ghost_delay) if ghost else self._latency()
        outlives = dice.random() < 0.7

        def carry_out() -> None:
            arrive()
            if not sent.arrived.done():
                sent.arrived.set_result(None)

        request = loop.call_later(delay, carry_out)
        try:
            if ghost:
                await asyncio.sleep(min(delay, self._latency()))
                raise self._failure(operation, bucket, key, f"connection lost, arrives {delay:.1f} s after it was sent")
            await sent.arrived
            if sent.done is not None and sent.done.visible > self._now():
                await asyncio.sleep(sent.done.visible - self._now())
        except asyncio.CancelledError:
            if not outlives:
                request.cancel()
            raise
        if faults.withheld and dice.random() < faults.withheld:
            await asyncio.sleep(self._prolonged(dice.random() * faults.withholding))
            raise self._failure(operation, bucket, key, "answer withheld")
        await self._answer(operation, bucket, key)
