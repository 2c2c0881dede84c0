"""The client: what users call."""

from __future__ import annotations

import asyncio
import math
import os
import warnings
from collections.abc import Generator, Iterable, Mapping
from datetime import datetime, timedelta, timezone
from functools import partial
from types import TracebackType
from typing import Any, Final, Self, TypeVar, overload

from ..collect.background import collect_in_background
from ..collect.collector import collect
from ..collect.options import GRACE, RETENTION, seconds
from ..collect.options import options as collecting
from ..collect.report import Collected, Progress
from ..content.store import Content, Contents
from ..errors import ClosedError, ConfigurationError, CorruptionError, UnavailableError
from ..format.document import FORMAT, Kind
from ..format.entries import FileEntry
from ..format.names import LONGEST_MANIFEST, check_bucket, check_buckets, check_key, name_in
from ..format.values import load
from ..journal.choose import choose_journal, known_journal
from ..journal.protocol import Journal
from ..manifest.context import ManifestContext
from ..manifest.manifest import Manifest
from ..manifest.reconnect import OnReconnect
from ..manifest.transaction import TransactionRunner
from ..observability.events import Hook
from ..observability.observer import Observer, check_hooks
from ..observability.requests import ObservedStorage
from ..observability.statistics import Statistics
from ..offline.cache import CACHE
from ..offline.directory import FileDirectory
from ..offline.protocol import OfflineDirectory, Store, StoredSession
from ..offline.queue import OutboxQueue
from ..storage.cached import CachedStorage
from ..storage.clocked import ClockedStorage
from ..storage.identity import identity_of
from ..storage.locate import described, locate, s3
from ..storage.protocol import Storage
from ..storage.switch import OfflineSwitch
from ..storage.url import parse
from ..support.environment import Environment
from ..support.loop_affinity import LoopAffinity
from ..text import printable
from ..types import JSON, Auth, JournalKind, Ref, Status
from .connection import Connection
from .lifetime import lifetime
from .presence import BEATS, EXPIRES_IN, Presence
from .reads import Reads
from .rejected import Rejected
from .status_changes import StatusChanges
from .subscription import Subscription, ValueSubscription
from .transactions import Transactions
from .typed import Conversion
from .writes import Writes

D = TypeVar("D")
T = TypeVar("T")

FLUSH: Final = 30.0
"""Seconds that closing waits for pending writes."""
FLUSH_UNREACHABLE: Final = 3.0
"""Seconds that closing waits for them while the store does not answer."""


class MPS3(Writes, Reads, Transactions):
    """A shared, live, durable key-value store in a bucket.

    Use it as an async context manager, one for the whole process.

    Args:
        default_bucket: The bucket of keys and manifests that name none.
        default_manifest: The key of the manifest that groups the keys, or a `Ref` to one in
            another bucket. It is created by the first write.
        s3_config: Keyword arguments for the S3 client, as aiobotocore's ``create_client("s3")`` takes
            them: ``endpoint_url``, ``region_name``, ``aws_access_key_id`` and so on. Without it
            everything comes from the environment and the profiles, as with other S3 tools.
        storage: Another kind of store than S3, such as ``LocalStorage(path)``.
        auth: Any ``httpx.Auth``, which then authorises the requests: they leave unsigned by the SDK, and
            pass through it. Needs the extra ``mps3[auth]``.
        journal: How commits get their order: ``"merge"`` needs a bucket with versioning, ``"conditional"`` a
            store that enforces conditional writes. ``"auto"`` follows the manifest, or else the bucket.
        poll_interval: Seconds between two looks for changes, while nothing happens. Each comes up to a fifth sooner,
            so that not all clients look at the same moment.
        checksums: Whether SHA-256 checksums are sent, recorded and verified.
        offline: A directory of this machine for what is to outlive the process: pending writes, and a cache of
            what was read. Any number of clients may share it. It must not be on a network file system.
        cache_bytes: How large the cached values may be together.
        online: Whether to use the network from the start; see `go_online`. ``False`` needs ``offline``.
        on_reconnect: Called with a `Reconnect` after a time without the store, before pending writes go out, if
            others have changed some of their keys meanwhile. Writes wait until it returns, or what it returns has
            been awaited. If it raises, they go on waiting, and it is called again.
        retention: Seconds, or a timedelta: how far back collecting keeps all states.
        collect_every: Seconds, or a timedelta: about how often the default manifest is collected in the
            background. ``None``, the default, for never. One client in a few is enough.
        collect_buckets: The ``buckets`` of these collections; see `collect`.
        hooks: Callables that receive each `mps3.observability.events.Event`, at once: a hook should return soon. If one raises,
            that is logged once.
        environment: Where time, chance and names come from; for simulations.

    Raises:
        TypeError: An argument is of the wrong type.
        ValueError: An argument has an impossible value.
        ConfigurationError: Arguments contradict each other.
    """

    def __init__(
        self,
        default_bucket: str,
        default_manifest: str | Ref = "manifest.json",
        *,
        s3_config: Mapping[str, Any] | None = None,
        storage: Storage | None = None,
        auth: Auth | None = None,
        journal: JournalKind = "auto",
        poll_interval: float = 1.0,
        checksums: bool = True,
        offline: str | os.PathLike[str] | OfflineDirectory | None = None,
        cache_bytes: int = CACHE,
        online: bool = True,
        on_reconnect: OnReconnect | None = None,
        retention: float | timedelta = RETENTION,
        collect_every: float | timedelta | None = None,
        collect_buckets: Iterable[str] = (),
        hooks: Iterable[Hook] = (),
        environment: Environment | None = None,
    ) -> None:
        self._retention = seconds(retention, "retention")
        self._collect_every = None if collect_every is None else seconds(collect_every, "collect_every")
        if self._collect_every == 0:
            raise ValueError("collect_every is a positive number of seconds; None for never")
        self._collect_buckets = check_buckets(collect_buckets)
        self._collector: asyncio.Task[None] | None = None
        self._bucket = check_bucket(default_bucket)
        self._default = self._manifest_ref(default_manifest)
        if storage is not None and (s3_config is not None or auth is not None):
            raise ConfigurationError("s3_config and auth are for S3, but storage is given instead of it")
        if not 0 < poll_interval < math.inf:
            raise ValueError(f"poll_interval is a positive number of seconds, not {poll_interval!r}")
        if journal not in ("auto", "merge", "conditional"):
            raise ValueError(f'journal is "auto", "merge" or "conditional", not {journal!r}')
        if not online and offline is None:
            raise ConfigurationError("online=False needs a directory to start from: offline=DIRECTORY")
        if cache_bytes < 0:
            raise ValueError(f"cache_bytes is a number of bytes, not {cache_bytes!r}")
        self._journal: JournalKind = journal
        self._environment = Environment() if environment is None else environment
        store = storage if storage is not None else s3(s3_config, self._environment, auth, checksums=checksums)
        self._source: Storage | None = storage
        self._store = store
        self._observer = Observer(check_hooks(hooks), self._environment.monotonic)
        self._storage: Storage
        self._switch = OfflineSwitch(ObservedStorage(store, self._observer, self._environment), shut=not online)
        self._storage = self._clocked = ClockedStorage(self._switch, self._environment.monotonic)
        self._directory: OfflineDirectory | None = None
        if offline is not None:
            if isinstance(offline, str | os.PathLike):
                offline = FileDirectory(offline, self._environment, cache_bytes=cache_bytes)
            self._directory = offline
            self._storage = CachedStorage(self._clocked, offline.cache, self._is_manifest)
        self._keepers: list[OutboxQueue] = []
        self._rejected: dict[Rejected, None] = {}
        self._on_reconnect = on_reconnect
        self._connection = Connection(
            self._default, self._switch, self._environment, self._observer, patient=offline is not None
        )
        self._interval = poll_interval
        self._contents = Contents(
            self._storage,
            self._environment,
            checksums=checksums,
            contact=self._connection.contact,
            away=self._connection.is_away,
            now=self._clocked.time.now,
            observer=self._observer,
        )
        self._manifests: dict[Ref, Manifest] = {}
        self._transactors: dict[Manifest, TransactionRunner] = {}
        self._state = "new"
        self._home = LoopAffinity()
        self._holds_storage = False

    @classmethod
    def from_url(cls, url: str, **options: Any) -> Self:
        """A client for a store named by a URL.

        Args:
            url: ``s3://bucket/manifest.json?endpoint_url=…&region_name=…``, ``file:///some/dir`` for a
                directory of this machine, or ``memory:`` for a store that the clients of this process share
                and that is empty again when the last of them has closed.
            **options: Further arguments of `MPS3`.

        Raises:
            ConfigurationError: The URL is not one of these.
        """
        location = parse(url)
        if location.scheme == "s3":
            options = {"s3_config": {**location.s3_config, **options.pop("s3_config", {})}, **options}
        elif "storage" not in options:
            options["storage"] = locate(location, options.get("environment") or Environment())
        return cls(location.bucket, location.manifest, **options)

    async def open(self) -> Self:
        """Open the client, as ``async with`` does; `aclose` closes it.

        Where there is no block to put it into, in a notebook or where a framework says when it starts and stops:
        ``client = await MPS3(…).open()``, or in short ``client = await MPS3(…)``.

        Returns:
            The client.

        Raises:
            ClosedError: It was opened before.
            ConfigurationError: There is no such bucket, or it cannot do what is needed.
            AccessError: The credentials do not permit it.
            CorruptionError: The manifest is not one.
            FormatError: A newer version of this library wrote the manifest.
            UnavailableError: The store does not answer, and the manifest has never been read with the directory
                that was given as ``offline``, or none was given.
        """
        if self._state != "new":
            raise ClosedError("this client was opened before: make a new one")
        self._state = "open"
        self._home.settle()
        if self._switch.shut:
            self._connection.switched()
        try:
            await self._open_storage()
            lines = await self._open_directory()
            manifests = {ref: self._make_manifest(ref) for ref in dict.fromkeys((self._default, *lines))}
            for ref, manifest in manifests.items():
                manifest.recover(lines.get(ref, ()))
            await manifests[self._default].open()
            for manifest in manifests.values():
                self._start(manifest)
            if self._collect_every is not None:
                collect = partial(self.collect, buckets=self._collect_buckets)
                every = collect_in_background(collect, self._collect_every, self._environment, str(self._default))
                self._collector = asyncio.create_task(every, name=f"mps3 collector {self._default}")
        except BaseException:
            await self._stop()
            raise
        return self

    def __await__(self) -> Generator[Any, Any, Self]:
        """Open the client, as `open` does."""
        return self.open().__await__()

    async def __aenter__(self) -> Self:
        """Open the client, as `open` does."""
        return await self.open()

    async def _open_storage(self) -> None:
        try:
            await self._storage.open()
            self._holds_storage = True
        except UnavailableError as error:
            if self._directory is None:
                raise
            self._holds_storage = True
            self._connection.contact(error)  # it is opened by the first request that can be

    async def _open_directory(self) -> dict[Ref, list[tuple[StoredSession, OutboxQueue]]]:
        """What clients that are no more have left to do, for each manifest."""
        if self._directory is None:
            return {}
        place = await asyncio.to_thread(identity_of, self._store)
        own, others = await self._directory.open(Store(place, self._bucket, self._default, FORMAT))
        self._keepers = [OutboxQueue(durable_outbox) for durable_outbox in (own, *others)]
        lines: dict[Ref, list[tuple[StoredSession, OutboxQueue]]] = {}
        for outbox_queue, durable_outbox in zip(self._keepers[1:], others, strict=True):
            for line in await durable_outbox.lines():
                lines.setdefault(line.manifest, []).append((line, outbox_queue))
        return lines

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Send what is pending, then stop everything.

        It waits for pending writes up to 30 seconds, and while the store does not answer up to 3. What
        is still pending then fails with a `ClosedError`, and is logged if nobody awaits it. With ``offline`` it
        waits only while the store answers: pending writes are kept, and the next client goes on with them.

        Raises:
            ConfigurationError: It was opened in another event loop.
        """
        if self._state != "open":
            return
        self._home.check()
        self._state = "closing"
        if self._collector is not None:
            self._collector.cancel()
        try:
            await self._flush()
        finally:
            await self._stop()

    async def _flush(self) -> None:
        drained = asyncio.gather(*(manifest.drained() for manifest in self._manifests.values()))
        patience = FLUSH_UNREACHABLE if self._directory is None else 0.0
        left, left_offline = FLUSH, patience
        step = 0.25
        try:
            while left > 0 and (left_offline > 0 or self._connection.is_online) and not drained.done():
                await asyncio.wait([drained], timeout=step)
                left -= step
                left_offline = patience if self._connection.is_online else left_offline - step
        finally:
            drained.cancel()
            await asyncio.gather(drained, return_exceptions=True)

    async def _stop(self) -> None:
        self._state = "closed"
        self._home.leave()
        try:
            if self._collector is not None:
                self._collector.cancel()
                await asyncio.gather(self._collector, return_exceptions=True)
            for transactor in self._transactors.values():
                await transactor.aclose()
            for manifest in self._manifests.values():
                await manifest.aclose()
            await self._contents.aclose()
        finally:
            self._connection.watchers.tell(ended=True)
            self._observer.closed()
            try:
                await self._close_directory()
            finally:
                if self._holds_storage:  # others may have it open, though it could not be opened for this one
                    await self._storage.aclose()

    async def _close_directory(self) -> None:
        keepers, self._keepers = self._keepers, []
        for outbox_queue in keepers:
            await outbox_queue.aclose()
        if self._directory is not None:
            await self._directory.aclose()

    def __del__(self) -> None:
        if getattr(self, "_state", "new") in ("open", "closing"):
            warnings.warn(
                f"{self!r} was not closed: use `async with`, or call `aclose()`",
                ResourceWarning,
                source=self,
                stacklevel=2,
            )

    def __repr__(self) -> str:
        return printable(f"<MPS3 {described(self._source, self._default)}, {self._state}>")

    # Reading

    @overload
    async def get(
        self,
        key: str | Ref,
        *,
        bucket: str | None = None,
        manifest: str | Ref | None = None,
        at: str | datetime | None = None,
    ) -> JSON: ...

    @overload
    async def get(
        self,
        key: str | Ref,
        default: D,
        *,
        bucket: str | None = None,
        manifest: str | Ref | None = None,
        at: str | datetime | None = None,
    ) -> JSON | D: ...

    async def get(
        self,
        key: str | Ref,
        default: Any = None,
        *,
        bucket: str | None = None,
        manifest: str | Ref | None = None,
        at: str | datetime | None = None,
    ) -> Any:
        """Read a key: at least as new as the moment of the call, and never older than this client's own writes.

        While the store cannot be reached, what is known is returned, if it is.

        Args:
            key: The key, or a `Ref` to one in another bucket.
            default: What to return if there is no such key.
            bucket: The key's bucket; the default bucket if ``None``.
            manifest: The manifest that names it; the default manifest if ``None``.
            at: Instead of the present: the id of a commit, or a time, as for `snapshot`.

        Raises:
            UnavailableError: The store does not answer, and the value is not known here.
            CorruptionError: What is stored is not what was written.
            ExpiredError: The moment ``at`` is not kept (any more).
            AccessError: The credentials do not permit it.
            ClosedError: The client is not open.
        """
        if at is not None:
            return await self._get_at(key, default, at, bucket, manifest)
        self._check_open()
        ref, place, literal = self._reading(key, bucket, manifest)
        opened = self._manifest(ref)
        name = name_in(ref, place, literal)
        if not opened.is_pending(name):
            await opened.refresh()
        found = opened.look_up(name)
        try:
            return await self._read(place, literal, found, default)
        except CorruptionError:
            # Superseded and collected in the meantime, perhaps: then there is a newer one.
            await opened.refresh()
            newer = opened.look_up(name)
            if newer is found or newer == found:
                raise
            return await self._read(place, literal, newer, default)

    @overload
    def subscribe(
        self, key: str | Ref, *, bucket: str | None = None, manifest: str | Ref | None = None
    ) -> Subscription[JSON]: ...

    @overload
    def subscribe(
        self, key: str | Ref, default: D, *, bucket: str | None = None, manifest: str | Ref | None = None
    ) -> Subscription[JSON | D]: ...

    @overload
    def subscribe(
        self, key: str | Ref, *, bucket: str | None = None, manifest: str | Ref | None = None, type: type[T]
    ) -> Subscription[T | None]: ...

    @overload
    def subscribe(
        self, key: str | Ref, default: D, *, bucket: str | None = None, manifest: str | Ref | None = None, type: type[T]
    ) -> Subscription[T | D]: ...

    def subscribe(
        self,
        key: str | Ref,
        default: Any = None,
        *,
        bucket: str | None = None,
        manifest: str | Ref | None = None,
        type: Any = None,  # noqa: A002 - what it is
    ) -> Subscription[Any]:
        """The value of a key now, and the newest one after each change, whoever makes it.

        Args:
            key: The key, or a `Ref` to one in another bucket.
            default: What stands for the value while there is no such key.
            bucket: The key's bucket; the default bucket if ``None``.
            manifest: The manifest that names it; the default manifest if ``None``.
            type: What to make of the values, as with `typed`; JSON if ``None``.

        Raises:
            ConfigurationError: The package that knows such a type is not installed.
            ClosedError: The client is not open.
        """
        return self._subscribe(key, default, bucket, manifest, None if type is None else Conversion(type))

    def _subscribe(
        self,
        key: str | Ref,
        default: object,
        bucket: str | None,
        manifest: str | Ref | None,
        conversion: Conversion | None,
    ) -> Subscription[Any]:
        self._check_open()
        ref, place, literal = self._reading(key, bucket, manifest)

        async def read(found: Content | FileEntry | None) -> Any:
            value = await self._read(place, literal, found, default)
            return value if conversion is None or found is None else conversion.load(self._label(place, literal), value)

        return ValueSubscription(self._manifest(ref), name_in(ref, place, literal), read, self._environment)

    def presence(
        self,
        prefix: str,
        member: str | None = None,
        info: JSON = None,
        *,
        expires_in: float | timedelta = EXPIRES_IN,
        every: float | timedelta | None = None,
        manifest: str | Ref | None = None,
    ) -> Presence:
        """Be among those who are here, and see who is: see `Presence`.

        Being here costs a `put` (two PUT and a listing) for each renewal, and everyone who looks at the same
        manifest sees each as a change. Renewals go out in one commit with what else is written at that moment.

        Args:
            prefix: What to be in, such as ``room/1``: the keys are ``room/1/<member>``.
            member: Who is here; ``None`` to see only who else is.
            info: Any JSON value: what the others are to know.
            expires_in: Seconds, or a timedelta, after which somebody who says nothing more is gone.
            every: Seconds, or a timedelta, between two renewals at the most; a third of ``expires_in`` if ``None``.
            manifest: The manifest that names the keys; the default manifest if ``None``.

        Raises:
            TypeError: The prefix or the member is not a text, or a time is not one.
            ValueError: One of them is empty or too long, or ``every`` is not less than ``expires_in``.
            ClosedError: The client is not open.
        """
        self._check_open()
        prefix = prefix if check_key(prefix, "prefix").endswith("/") else f"{prefix}/"
        if member is not None:
            check_key(prefix + check_key(member, "member"))
        span = lifetime(expires_in) or EXPIRES_IN
        beat = span / BEATS if every is None else seconds(every, "every")
        if not 0 < beat < span:
            raise ValueError(f"every is a positive number of seconds, less than expires_in ({span:g}), not {beat:g}")
        return Presence(
            self, self._environment, self._home, prefix, member, info, expires_in=span, every=beat, manifest=manifest
        )

    async def collect(
        self,
        *,
        retention: float | timedelta | None = None,
        grace: float | timedelta = GRACE,
        dry_run: bool = False,
        manifest: str | Ref | None = None,
        progress: Progress | None = None,
        rate: float | None = None,
        buckets: Iterable[str] = (),
    ) -> Collected:
        """Delete what no state of a manifest names any more: old versions of it, its unused runs, and old values.

        It may be cancelled at any time, and goes on where it was when it is called again. Nobody has to wait
        for it, and any number of clients may do it at once. Values are deleted that were written for this
        manifest, and that no other manifest needs; everything else in the bucket is left alone.

        Args:
            retention: Seconds, or a timedelta: everything is kept that a state younger than this names. The
                client's own ``retention`` if ``None``.
            grace: Seconds, or a timedelta: nothing younger is deleted. At least 20 minutes; what is more is for
                peace of mind.
            dry_run: Delete nothing, and say what would be deleted.
            manifest: The manifest; the default manifest if ``None``.
            progress: Called now and then with how far it has come.
            rate: The most objects a second to look at and delete, one by one.
            buckets: Other buckets than the manifest's own, in which values of this manifest are looked for and
                deleted, too, and whose manifests may be told of it. What a manifest or an object says is not enough:
                whoever may write it would decide where this client deletes.

        Returns:
            What was deleted, and what was kept.

        Raises:
            AccessError: The credentials do not permit it.
            CorruptionError: The manifest is not one, so nobody knows what it needs.
            UnavailableError: The store does not answer.
            ClosedError: The client is not open.
        """
        self._check_open()
        how = collecting(
            retention=self._retention if retention is None else retention,
            grace=grace,
            dry_run=dry_run,
            rate=rate,
            buckets=buckets,
        )
        ref = self._default if manifest is None else self._manifest_ref(manifest)
        return await collect(self._switch, self._environment, ref, self._manifests, self._make_manifest, how, progress)

    def status(self) -> Status:
        """How this client is doing.

        Raises:
            ConfigurationError: It is open in another event loop, or in another thread.
        """
        self._home.check_glance()
        oldest = [made for manifest in self._manifests.values() if (made := manifest.oldest_pending) is not None]
        return Status(
            online=self._connection.is_online,
            pending=sum(manifest.pending for manifest in self._manifests.values()),
            last_contact=self._connection.last_contact,
            last_error=self._connection.last_error,
            subscriptions=sum(len(manifest.listeners) for manifest in self._manifests.values()),
            manifests=tuple(self._manifests),
            oldest_pending=min(oldest, default=None),
        )

    def store_time(self) -> datetime | None:
        """What time it is at the store, as far as its answers tell; ``None`` if they do not. It makes no request.

        It is never ahead of the store's clock, and behind it by no more than an answer took, and was rounded.

        Raises:
            ClosedError: The client is not open.
            ConfigurationError: It is open in another event loop, or in another thread.
        """
        self._check_open()
        now = self._clocked.time.now()
        return None if now == -math.inf else datetime.fromtimestamp(now, timezone.utc)

    def statistics(self) -> Statistics:
        """What this client has done so far, in numbers.

        Raises:
            ConfigurationError: It is open in another event loop, or in another thread.
        """
        self._home.check_glance()
        manifests = self._manifests.values()
        return self._observer.counters.statistics(
            pending=sum(manifest.pending for manifest in manifests),
            subscriptions=sum(len(manifest.listeners) for manifest in manifests),
            buffered=sum(manifest.listeners.buffered for manifest in manifests),
            cached_bytes=self._contents.cached_bytes,
        )

    def status_changes(self) -> StatusChanges:
        """The status now, and then the newest one after each change, until the client closes.

        That there was another contact is no change by itself.

        Raises:
            ClosedError: The client is not open.
        """
        self._check_open()
        return self._connection.watchers.add(self.status, self._home)

    # Offline and online

    def go_offline(self) -> None:
        """Make no request from now on, until `go_online`. Those under way are finished.

        Reads and subscriptions go on with what is known, and writes wait.

        Raises:
            ClosedError: The client is not open.
        """
        self._check_open()
        self._switch.shut = True
        for manifest in self._manifests.values():
            manifest.pause()
        self._connection.switched()

    def go_online(self) -> None:
        """Use the network again, at once.

        Raises:
            ClosedError: The client is not open.
        """
        self._check_open()
        self._switch.shut = False
        for manifest in self._manifests.values():
            manifest.hurry()
        self._connection.switched()

    async def _read(self, bucket: str, key: str, found: Content | FileEntry | None, default: object) -> Any:
        if found is None:
            return default
        if isinstance(found, Content):
            return await load(found.body, bucket, key, found.version)
        return await load(await self._contents.fetch(bucket, key, found), bucket, key, found["version"])

    # Names, and what they stand for

    def _check_open(self) -> None:
        if self._state == "new":
            raise ClosedError(
                "the client is not open yet: use `async with MPS3(…) as client`, or `client = await MPS3(…)`"
            )
        if self._state != "open":
            raise ClosedError("the client is closed")
        self._home.check()

    def _place(self, key: str | Ref, bucket: str | None) -> tuple[str, str]:
        if isinstance(key, Ref):
            if key.bucket is not None:
                return check_bucket(key.bucket), check_key(key.key)
            key = key.key
        return self._bucket if bucket is None else check_bucket(bucket), check_key(key)

    def _label(self, bucket: str, key: str) -> str:
        return key if bucket == self._bucket else f"s3://{bucket}/{key}"

    def _manifest_ref(self, manifest: str | Ref) -> Ref:
        ref = manifest if isinstance(manifest, Ref) else Ref(manifest)
        return Ref(
            check_key(ref.key, "manifest", LONGEST_MANIFEST),
            self._bucket if ref.bucket is None else check_bucket(ref.bucket),
        )

    def _reading(self, key: str | Ref, bucket: str | None, manifest: str | Ref | None) -> tuple[Ref, str, str]:
        return (self._default if manifest is None else self._manifest_ref(manifest), *self._place(key, bucket))

    def _manifest(self, ref: Ref) -> Manifest:
        manifest = self._manifests.get(ref)
        if manifest is None or manifest.ended:
            manifest = self._make_manifest(ref)
            self._start(manifest)
        return manifest

    def _start(self, manifest: Manifest) -> None:
        self._manifests[manifest.ref] = manifest
        manifest.start()

    def _make_manifest(self, ref: Ref) -> Manifest:
        async def open_journal(known: Kind | None) -> Journal:
            where = self._storage, ref.bucket or self._bucket, ref.key
            if known is not None:
                return known_journal(*where, known, self._environment)
            return await choose_journal(*where, self._journal, self._environment)

        return Manifest(
            ref,
            open_journal,
            ManifestContext(
                self._contents,
                self._environment,
                self._interval,
                self._connection.contact,
                lambda: self._switch.shut,
                self._connection.watchers.tell,
                self._refuse,
                self._clocked.time,
                self._keepers[0] if self._keepers else None,
                None if self._directory is None else self._directory.cache,
                self._on_reconnect,
                observer=self._observer,
                home=self._home,
            ),
        )

    def _is_manifest(self, bucket: str, key: str) -> bool:
        ref = Ref(key, bucket)
        return ref == self._default or ref in self._manifests
