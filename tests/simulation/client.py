"""What one client of a history does in one of its lives: a random mix of all the library can do."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
from itertools import count
from typing import TYPE_CHECKING, Any

import mps3.support.environment
from mps3 import DELETE, MPS3
from mps3.content.value import PendingValue
from mps3.errors import CorruptionError, ExpiredError, MPS3Error, UnavailableError, UnknownOutcomeError, WithdrawnError

from .crowd import add_ahead
from .disk import Disk, SimDirectory
from .history import (
    Acknowledged,
    Batched,
    Failed,
    Final,
    Invoked,
    Kept,
    Observed,
    Opened,
    Recovered,
    State,
    Told,
    Unknown,
    Watched,
    Withdrawing,
    Withdrawn,
)
from .loop import Process
from .patching import Patching, said
from .store import SimStorage, at_once
from .transacting import Transacting

if TYPE_CHECKING:
    from .histories import Person, World

ABSENT = object()
NEVER = 100_000.0
"""Seconds after which a value expires when everything is over."""


class Book:
    """What a client was told by watches of everything, kept over its lives.

    Attributes:
        number: Of the watcher, which is another whenever it had to begin with the present again.
        cursor: Where to go on.
        listing: Whether the present is not complete.
        values: What is committed.
        shown: The same with pending changes; it does not outlive a watch.
        pending: Keys of pending changes, which may be taken back.
    """

    def __init__(self) -> None:
        self.number = 0
        self.begin()

    def begin(self) -> None:
        self.number += 1
        self.cursor: str | None = None
        self.listing = False
        self.values: dict[str, str] = {}
        self.shown: dict[str, str] = {}
        self.pending: set[str] = set()

    def take(self, batch: Any) -> None:
        if batch.initial and not self.listing:
            self.begin()
        self.listing = batch.initial and not batch.end_of_initial
        for change in batch.changes:
            if change.pending:
                self.pending.add(change.key)
            for values in (self.shown,) if change.pending else (self.values, self.shown):
                if change.value is DELETE:
                    values.pop(change.key, None)
                else:
                    values[change.key] = said(change.key, change.value)
        self.cursor = batch.cursor


class Life:
    """One session of one client: opens it, works, reads everything in the end, closes it."""

    def __init__(
        self,
        environment: World,
        name: str,
        process: Process,
        storage: SimStorage,
        dice: random.Random,
        disk: Disk,
        before: str | None,
        book: Book,
        *,
        collects: bool = False,
    ) -> None:
        self.disk = disk
        self.before = before
        self.environment = environment
        self.name = name
        self.process = process
        self.storage = storage
        self.dice = dice
        self.book = book
        self.transacting = Transacting(self)
        self.patching = Patching(self)
        self.watching: asyncio.Task[None] | None = None
        self.watch: Any = None
        self.client: Any = None
        self.made: list[Any] = []
        self.count = 0
        self.waiting: list[asyncio.Task[None]] = []
        self.readers: list[asyncio.Task[None]] = []
        self.watched: dict[int, Watched] = {}
        self.closing = False
        self.withdrawn: set[str] = set()
        self.seen: Any = None
        self.fate = random.Random(f"{environment.seed} {name} expiry")
        self.views: list[tuple[Any, int]] = []  # all that it has seen, and the events at which it had
        self.known = 0
        self.collects = collects
        self.collector: asyncio.Task[None] | None = None

    def now(self) -> float:
        return asyncio.get_running_loop().time()

    def record(self, event: Any) -> None:
        if not self.process.dead:
            self.environment.record(event)

    # Its life.

    async def open(self) -> None:
        for attempt in count():
            since = len(self.environment.history)
            inline = self.environment.dice(f"{self.name} inline {attempt}").random() < self.environment.options.inline
            client = MPS3(
                "bucket",
                storage=self.storage,
                journal="merge" if self.environment.options.versioning else "auto",
                inline=1024 if inline else 0,
                poll_interval=self.environment.options.poll_interval,
                offline=SimDirectory(self.disk) if self.environment.options.durable else None,
                environment=mps3.support.environment.Environment(
                    random.Random(f"{self.environment.seed} {self.name} library {attempt}")
                ),
            )
            self.made.append(client)
            try:
                await client.__aenter__()
            except UnavailableError:
                await asyncio.sleep(self.dice.random())
            else:
                break
        self.client = client
        self.storage.before_each = self.look
        # Opened without the store it shows what its disk knows; nothing newer was promised.
        online = client._manifests[client._default]._state.verified
        self.record(Opened(self.now(), self.name, since if online else 0))
        if self.before is not None:
            self.recover(self.before)
        if self.collects:
            self.collector = asyncio.create_task(self.collect_for_ever())
        if self.environment.options.watchers:
            self.watching = asyncio.create_task(self.follow())

    def recover(self, before: str) -> None:
        """Follow the writes that the life before this one left to it."""
        pendings = self.client._manifests[self.client._default]._outbox._pending
        rows = {pending: self.environment.rows.get((pending.session.name, pending.stored_id)) for pending in pendings}
        names = {name: pending for pending, name in rows.items() if name is not None}
        self.record(Recovered(self.now(), self.name, before, tuple(names)))
        for name, pending in names.items():
            self.waiting.append(asyncio.create_task(self.outcome(name, asyncio.shield(pending.outcome))))
        for pending in pendings:
            if op := self.environment.patches.get((pending.session.name, pending.stored_id)):
                outcome = self.patching.outcome(op, asyncio.shield(pending.outcome))
                self.waiting.append(asyncio.create_task(outcome))

    async def work(self, person: Person) -> None:
        await self.open()
        while person.left:
            person.left -= 1
            options = self.environment.options
            await asyncio.sleep(options.pause * self.dice.random() ** 2)
            if not self.environment.calm and self.dice.random() < options.offline:
                self.storage.offline_until = self.now() + 20 * self.dice.random()
            await self.operation()
            if options.expiring and self.fate.random() < options.expiring:
                await self.put_for_a_while()
            self.look()
        while self.environment.options.durable and self.client.status().pending:
            await asyncio.sleep(0.5)
        if self.waiting:
            await asyncio.gather(*self.waiting)
        self.look()

    async def visit(self) -> None:
        """Come, write once, and go."""
        await self.open()
        self.write([self.a_key()])
        await asyncio.gather(*self.waiting)
        await self.close()

    async def read_all(self) -> None:
        keys = sorted(
            {key for event in self.environment.history if isinstance(event, Invoked) for key in event.changes}
        )
        values = await asyncio.gather(*(self.surely(key) for key in keys))
        found = {key: value["write"] for key, value in zip(keys, values, strict=True) if value is not ABSENT}
        self.look()
        self.record(Final(self.now(), self.name, found))
        if self.environment.options.transactions:
            self.record(self.transacting.state(self.seen, final=True))
        if self.environment.options.patches:
            await self.patching.read_all()
        for watched in self.watched.values():
            self.record(watched)
        if self.watching is None:
            return
        # A watch that has not said everything by then is judged by what it has said.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(300):
                while not self.told():
                    await asyncio.sleep(0.5)
        self.record_told(last=True)

    async def close(self) -> None:
        self.closing = True
        for reader in self.readers[::2]:
            reader.cancel()
        if self.collector is not None:
            self.collector.cancel()
            await asyncio.wait((self.collector,))
        await self.client.aclose()
        await self.client.aclose()
        if self.readers:
            await asyncio.wait(self.readers, timeout=60)
        watching = [] if self.watching is None else [self.watching]
        if watching:
            await asyncio.wait(watching, timeout=60)
        for task in [*self.readers, *watching]:
            if not task.cancelled() and task.done():
                task.result()
            assert task.done(), "a subscription does not end with its client"

    async def collect(self) -> None:
        options = self.environment.options
        collected = await self.client.collect(retention=options.retention, grace=options.grace)
        self.environment.collected += collected.deleted
        self.environment.store.note(self.name, "COLLECTED", "", str(collected))

    async def collect_at_last(self) -> None:
        """Collect, again where another collection, that has begun before, has deleted what this one goes by."""
        while True:
            try:
                return await self.collect()
            except UnavailableError:
                await asyncio.sleep(1.0)

    async def collect_for_ever(self) -> None:
        dice = random.Random(f"{self.environment.seed} {self.name} collector")
        while True:
            await asyncio.sleep(dice.random() * self.environment.options.rest)
            # If nobody can tell whether it was announced, it has deleted nothing.
            with contextlib.suppress(UnavailableError, UnknownOutcomeError):
                await self.collect()

    def forget(self) -> None:
        """A killed client closes nothing, and nobody is to be warned of that."""
        for client in self.made:
            client._state = "closed"

    # What it does.

    async def sleep(self) -> None:
        """The device is put away for a while, in the middle of something."""
        self.client.go_offline()
        for _ in range(self.dice.randint(0, 3)):
            self.write(self.some_keys())
            await asyncio.sleep(self.dice.random() * 0.05)
        await asyncio.sleep(self.dice.random() * self.environment.options.longest_nap)
        await self.get(self.a_key())
        self.client.go_online()

    async def put_for_a_while(self) -> None:
        """Put a value that expires; perhaps again and again, as if somebody were here; perhaps gone before that."""
        dice, key, seconds = self.fate, self.a_key(), self.fate.choice([1.5, 4.0, 10.0, 10.0, 30.0, NEVER])
        for _ in range(dice.choice([1, 1, 3, 6])):
            self.write([key], own=False, expires_in=seconds)
            await asyncio.sleep(min(seconds, 10.0) * dice.choice([0.1, 0.3, 0.3, 0.9]))
        if dice.random() < 0.3:
            await self.get(key)

    async def operation(self) -> None:
        dice = self.dice
        if self.environment.options.transactions and dice.random() < 0.6:
            self.transacting.operation()
            return
        if self.environment.options.patches and self.patching.dice.random() < 0.6:
            await self.patching.operation()
            return
        if self.environment.options.sessions is not None and self.fate.random() < 0.5:
            # What has a key of its own can be recognised by that for ever.
            await self.perhaps_wait(self.write([self.a_key()], own=False))
            return
        if self.environment.options.durable and dice.random() < 0.15:
            await self.sleep()
            return
        kind = dice.choices(
            ["put_all", "put", "plain put", "delete", "burst", "get", "reply", "subscribe", "withdraw", "restart"],
            [30, 8, 5, 8, 8, 12, 12, 9, 4, 4],
        )[0]
        match kind:
            case "put_all":
                await self.perhaps_wait(self.write(self.some_keys()))
            case "put":
                await self.perhaps_wait(self.write([]))
            case "plain put":
                await self.perhaps_wait(self.write([self.a_key()], own=False))
            case "delete":
                await self.perhaps_wait(self.write([self.a_key()], own=dice.random() < 0.5, delete=True))
            case "burst":
                for _ in range(dice.randint(2, 4)):
                    self.write(self.some_keys())
            case "get":
                await self.get(self.a_key())
            case "reply":
                await self.get(self.a_key())
                await self.perhaps_wait(self.write(self.some_keys()))
            case "subscribe":
                self.readers.append(asyncio.create_task(self.read(self.a_key(), len(self.readers))))
            case "withdraw":
                await self.withdraw()
            case "restart":
                await self.cancelled_get(self.a_key())

    def a_key(self) -> str:
        return "abcdef"[self.dice.randrange(self.environment.options.keys)]

    def some_keys(self) -> list[str]:
        keys = list("abcdef"[: self.environment.options.keys])
        return self.dice.sample(keys, self.dice.randint(1, min(3, len(keys))))

    def write(self, keys: list[str], *, own: bool = True, delete: bool = False, expires_in: float | None = None) -> Any:
        name = f"{self.name}/{self.count}"
        self.count += 1
        changes = dict.fromkeys(keys, not delete)
        if own:
            changes[f"only/{name}"] = True
        self.record(Invoked(self.now(), self.name, name, changes, expires_in))
        values = {key: {"write": name, "key": key} if put else DELETE for key, put in changes.items()}
        if len(values) == 1 and self.dice.random() < 0.7:
            ((key, value),) = values.items()
            delete = value is DELETE
            pending = self.client.delete(key) if delete else self.client.put(key, value, expires_in=expires_in)
        else:
            pending = self.client.put_all(values, expires_in=expires_in)
        self.waiting.append(asyncio.create_task(self.outcome(name, pending)))
        if self.environment.options.durable:
            ((_, part),) = pending._parts
            self.environment.rows[part.session.name, part.stored_id] = name
            self.waiting.append(asyncio.create_task(self.kept(name, pending)))
        return name, pending

    async def kept(self, name: str, pending: Any) -> None:
        try:
            await pending.kept()
        except MPS3Error:
            return
        if name not in self.withdrawn:
            self.record(Kept(self.now(), self.name, name))

    async def outcome(self, name: str, pending: Any) -> None:
        try:
            commit = await pending
        except WithdrawnError:
            pass
        except UnknownOutcomeError:
            self.record(Unknown(self.now(), self.name, name))
        except MPS3Error as error:
            self.record(Failed(self.now(), self.name, name, repr(error)))
        else:
            self.record(Acknowledged(self.now(), self.name, name, commit.id))
            self.look()

    async def perhaps_wait(self, written: tuple[str, Any]) -> None:
        _, pending = written
        if self.dice.random() < 0.5:
            # Giving up on waiting does not give up the write.
            try:
                async with asyncio.timeout(self.dice.random() * 5):
                    await pending
            except (TimeoutError, MPS3Error):
                pass

    async def withdraw(self) -> None:
        written = [self.write(self.some_keys()) for _ in range(self.dice.randint(1, 3))]
        name, pending = self.dice.choice(written)
        if pending.withdraw():
            self.withdrawn.add(name)
            if self.environment.options.durable:
                self.record(Withdrawing(self.now(), self.name, name))
                await self.client._outbox_queues[0].submit()  # after all that was submitted before
            self.record(Withdrawn(self.now(), self.name, name))

    # What it sees.

    def look(self) -> None:
        """At its whole state, as resolved, whenever that is another than before."""
        view = self.client._manifests[self.client._default]._state.view
        if view is not self.seen:
            self.seen = view
            if self.environment.options.watchers:
                self.views.append((view, len(self.environment.history)))
            files = at_once(self.environment.store, lambda: dict(view.items()))
            values = {key: self.environment.write_of(key, file) for key, file in files.items()}
            ids, versions = ([getattr(commit, name) for commit in view.commits] for name in ("id", "version"))
            add_ahead(self.client._manifests[self.client._default], values, ids, versions)
            self.record(State(self.now(), self.name, values, ids, versions))
            if self.environment.options.transactions:
                self.record(self.transacting.state(view))
            if self.environment.options.patches:
                self.record(self.patching.state(view))

    def observed(self, how: str, key: str, value: Any, since: int, begun: float | None = None) -> None:
        write = None if value is ABSENT else value["write"]
        if write is not None and value["key"] != key:
            write = f"the value of {value['key']}"
        self.record(Observed(self.now(), self.name, how, key, write, since, begun))

    async def get(self, key: str) -> None:
        since, begun = len(self.environment.history), self.now()
        try:
            value = await self.surely(key)
        except UnavailableError:
            calm = max(self.environment.calm_from(), self.process.awake_from)
            assert begun < calm, "nothing fails any more, yet a read does"
        else:
            self.observed("get", key, value, since, begun)

    async def surely(self, key: str) -> Any:
        """A value may be collected while this client sleeps, or knows of nothing newer; but not again and again."""
        attempt = 0
        while True:
            try:
                return await self.client.get(key, ABSENT)
            except CorruptionError as error:
                if not self.environment.options.collectors:
                    raise
                self.environment.store.note(self.name, "MISSING", key, str(error))
                attempt += 1
                if attempt == 6:
                    self.environment.missing(self.name, key, error)
                    return ABSENT
            await asyncio.sleep(self.dice.random() * 10)

    async def cancelled_get(self, key: str) -> None:
        reading = asyncio.create_task(self.surely(key))
        await asyncio.sleep(self.dice.random() * 0.1)
        reading.cancel()
        await asyncio.wait((reading,))

    async def read(self, key: str, number: int) -> None:
        """Subscribe: fast or slow, to the end, for some values, or until cancelled."""
        dice = random.Random(f"{self.environment.seed} {self.name} reader {number}")
        most = dice.choice([1, 3, 1000, 1000, 1000])
        slow = dice.choice([0.0, 0.0, 0.5, 8.0])
        if dice.random() < 0.3:
            asyncio.get_running_loop().call_later(dice.random() * 20, asyncio.current_task().cancel)
        since = len(self.environment.history)
        try:
            async with self.client.subscribe(key, ABSENT) as values:
                async for value in values:
                    self.observed(f"subscription {number}", key, value, since)
                    self.look()
                    self.watched[number] = Watched(self.now(), self.name, key, self.written(value))
                    most -= 1
                    if not most:
                        break
                    await asyncio.sleep(slow * dice.random())
                    since = len(self.environment.history)
                else:
                    assert self.closing, "a subscription ended by itself"
        except CorruptionError:
            if not self.environment.options.collectors:
                raise
            await self.surely(key)
        finally:
            self.watched.pop(number, None)

    async def follow(self) -> None:
        """Watch everything; now and then begin anew after what was told last."""
        dice = random.Random(f"{self.environment.seed} {self.name} watch")
        slow = dice.choice([0.0, 0.0, 0.5, 8.0])
        while not self.closing:
            most = dice.choice([1, 5, 1000, 1000])
            self.book.shown, self.book.pending = dict(self.book.values), set()
            try:
                async with self.client.watch(since=self.book.cursor) as self.watch:
                    async for batch in self.watch:
                        self.tell(batch)
                        most -= 1
                        if not most:
                            break
                        await asyncio.sleep(0.0 if self.environment.calm else slow * dice.random())
                    else:
                        assert self.closing, "a watch ended by itself"
            except ExpiredError:
                # Without versions, the log is all there is; and what is collected is gone.
                options = self.environment.options
                assert not options.versioning or options.faults.crawl or options.collectors
                self.book.begin()

    @property
    def watcher(self) -> str:
        return f"{self.name.partition('.')[0]}~{self.book.number}"

    def tell(self, batch: Any) -> None:
        book = self.book
        deleted = [change.key for change in batch.changes if change.value is DELETE and not change.pending]
        repeated = tuple(key for key in deleted if not (batch.id or key in book.values or key in book.pending))
        book.take(batch)
        commit = None if batch.initial else batch.id
        told = batch.end_of_initial, batch.skipped, repeated
        self.record(Batched(self.now(), self.name, self.watcher, commit, *told))
        if not book.listing and batch.id is not None:
            # It is a state like any other, if not of now.
            if not (self.watch._steps or self.watch._ready):
                self.known = next(
                    (at for view, at in self.views if view is self.watch._view), len(self.environment.history)
                )
            self.record(State(self.now(), self.watcher, dict(book.values), since=self.known))
        if self.told():
            self.record_told()

    def told(self) -> bool:
        """Whether the watch has said all there is to say."""
        watch, manifest = self.watch, self.client._manifests[self.client._default]
        if watch is None or watch._closed or watch._ready or watch._steps or watch._initial or self.book.listing:
            return False
        view, told, listener = manifest.state()[0], watch._view, watch._watcher
        return bool(
            not listener.touched
            and not listener.expired
            and told
            and (view.head, view.commits) == (told.head, told.commits)
        )

    def record_told(self, *, last: bool = False) -> None:
        view, overlay = self.client._manifests[self.client._default].state()
        view = view.at(self.watch._moment)
        store = self.environment.store
        resolved = at_once(store, lambda: {key: self.environment.said(key, file) for key, file in view.items()})
        read = dict(resolved)
        for key, content in at_once(store, lambda: dict(overlay)).items():
            if content is None:
                read.pop(key, None)
            elif isinstance(content, PendingValue):
                read[key] = said(key, json.loads(content.body))
            else:
                read[key] = self.environment.said(key, content)
        book = self.book
        self.record(
            Told(self.now(), self.name, self.watcher, dict(book.values), resolved, dict(book.shown), read, last)
        )

    @staticmethod
    def written(value: Any) -> str | None:
        return None if value is ABSENT else value["write"]
