"""The state that all calls of a client share, and the resolution of keys and manifests."""

from __future__ import annotations

import asyncio
import math
import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any, Final

from ..collect.options import RETENTION, seconds
from ..content.store import INLINE, ValueStore
from ..errors import ClosedError, ConfigurationError
from ..format import limits
from ..format.document import Kind
from ..format.names import LONGEST_MANIFEST, check_bucket, check_buckets, check_key
from ..journal import run_pieces
from ..journal.choose import choose_journal, known_journal
from ..journal.protocol import Journal
from ..manifest.context import ManifestContext
from ..manifest.manifest import Manifest
from ..manifest.pending import Pending
from ..manifest.reconnect import OnReconnect
from ..manifest.transaction import TransactionRunner
from ..observability.events import Hook
from ..observability.observer import Observer, check_hooks
from ..observability.requests import ObservedStorage
from ..offline.cache import CACHE_BYTES
from ..offline.directory import FileDirectory
from ..offline.protocol import OfflineDirectory, Refusal
from ..offline.queue import OutboxQueue
from ..storage.cached import CachedStorage
from ..storage.clock import ClockedStorage
from ..storage.locate import s3_storage
from ..storage.notifications import notifications_of
from ..storage.protocol import Storage
from ..storage.switch import OfflineSwitch
from ..support.environment import Environment
from ..support.loop_affinity import LoopAffinity
from ..types import Auth, JournalKind, Ref
from ..wake.hint import topic_of
from ..wake.protocol import Wake
from ..wake.store_waker import StoreWaker
from ..wake.waker import IDLE, AnyWaker, NoWaker, Waker
from .connection import Connection
from .rejected import Rejected
from .view import View

POLL_INTERVAL: Final = 1.0
"""Seconds between polls, unless told otherwise."""


class ClientCore(ABC):
    """The state of a client, from which the classes of its calls inherit. `MPS3` documents the arguments."""

    def __init__(
        self,
        default_bucket: str,
        default_manifest: str | Ref = "manifest.json",
        *,
        s3_config: Mapping[str, Any] | None = None,
        storage: Storage | None = None,
        auth: Auth | None = None,
        journal: JournalKind = "auto",
        poll_interval: float = POLL_INTERVAL,
        wake: Wake | None = None,
        idle_poll_interval: float | None = None,
        inline: int = INLINE,
        checksums: bool = True,
        offline: str | os.PathLike[str] | OfflineDirectory | None = None,
        cache_bytes: int = CACHE_BYTES,
        prefetch: float | None = None,
        memory_bytes: int | None = None,
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
            raise ConfigurationError("s3_config and auth are for S3, which storage replaces: leave them out")
        if not 0 < poll_interval < math.inf:
            raise ValueError(f"poll_interval is a positive number of seconds, not {poll_interval!r}")
        if journal not in ("auto", "log", "merge"):
            raise ValueError(f'journal is "auto", "log" or "merge", not {journal!r}')
        if not online and offline is None:
            raise ConfigurationError("online=False needs a directory with known states: offline=DIRECTORY")
        _check_bytes(inline, cache_bytes=cache_bytes, prefetch=prefetch, memory_bytes=memory_bytes)
        cache = run_pieces.PieceCache(run_pieces.CACHE if memory_bytes is None else memory_bytes)
        self._reading = run_pieces.RunReading(run_pieces.PREFETCH if prefetch is None else prefetch, cache)
        self._journal: JournalKind = journal
        self._environment = Environment() if environment is None else environment
        store = storage if storage is not None else s3_storage(s3_config, self._environment, auth, checksums=checksums)
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
        self._outbox_queues: list[OutboxQueue] = []
        self._rejected: dict[Rejected, None] = {}
        self._on_reconnect = on_reconnect
        self._connection = Connection(
            self._default, self._switch, self._environment, self._observer, wait_forever=offline is not None
        )
        self._poll_interval = poll_interval
        self._topics: dict[str, Manifest] = {}
        self._waker = self._waker_of(wake, poll_interval, idle_poll_interval)
        self._contents = ValueStore(
            self._storage,
            self._environment,
            checksums=checksums,
            inline=inline,
            contact=self._connection.record_response,
            tried=self._connection.record_try,
            is_offline=self._connection.should_defer,
            now=self._clocked.time.now,
            observer=self._observer,
        )
        self._manifests: dict[Ref, Manifest] = {}
        self._runners: dict[Manifest, TransactionRunner] = {}
        self._views: set[View[Any]] = set()
        self._state = "new"
        self._affinity = LoopAffinity()
        self._storage_opened = False

    def _check_open(self) -> None:
        if self._state == "new":
            raise ClosedError(
                "the client is not open yet: use `async with MPS3(…) as client`, or `client = await MPS3(…)`"
            )
        if self._state != "open":
            raise ClosedError("the client is closed")
        self._affinity.check()

    def _place(self, key: str | Ref, bucket: str | None) -> tuple[str, str]:
        if isinstance(key, Ref):
            if key.bucket is not None:
                return check_bucket(key.bucket), check_key(key.key)
            key = key.key
        return self._bucket if bucket is None else check_bucket(bucket), check_key(key)

    @staticmethod
    def _names_bucket(key: str | Ref, bucket: str | None) -> bool:
        """Whether a caller has named the bucket of a key."""
        return bucket is not None or (isinstance(key, Ref) and key.bucket is not None)

    def _label(self, bucket: str, key: str) -> str:
        return key if bucket == self._bucket else f"s3://{bucket}/{key}"

    def _manifest_ref(self, manifest: str | Ref | None) -> Ref:
        if manifest is None:
            return self._default
        ref = manifest if isinstance(manifest, Ref) else Ref(manifest)
        return Ref(
            check_key(ref.key, "manifest", LONGEST_MANIFEST),
            self._bucket if ref.bucket is None else check_bucket(ref.bucket),
        )

    def _resolve(self, key: str | Ref, bucket: str | None, manifest: str | Ref | None) -> tuple[Ref, str, str]:
        return (self._manifest_ref(manifest), *self._place(key, bucket))

    def _manifest(self, ref: Ref) -> Manifest:
        manifest = self._manifests.get(ref)
        if manifest is None or manifest.ended:
            manifest = self._make_manifest(ref)
            self._start(manifest)
        return manifest

    def _start(self, manifest: Manifest) -> None:
        self._manifests[manifest.ref] = self._topics[topic_of(manifest.ref)] = manifest
        manifest.start()

    def _waker_of(self, wake: Wake | None, poll_interval: float, idle_interval: float | None) -> AnyWaker:
        if idle_interval is not None and not 0 < idle_interval < math.inf:
            raise ValueError(f"idle_poll_interval is a positive number of seconds, not {idle_interval!r}")
        if wake is None:
            if (notifications := notifications_of(self._store)) is not None:
                return StoreWaker(notifications, idle_interval=idle_interval, hear=self._woken)
            if idle_interval is not None:
                raise ConfigurationError("idle_poll_interval is for clients with wake-ups: wake=…")
            return NoWaker()
        interval = IDLE * poll_interval if idle_interval is None else idle_interval
        return Waker(wake, self._environment, idle_interval=interval, hear=self._woken, changed=self._pace_changed)

    def _woken(self, topic: str, position: str) -> None:
        if (manifest := self._topics.get(topic)) is not None and not self._switch.shut:
            manifest.poller.hear(position)

    def _pace_changed(self) -> None:
        for manifest in self._manifests.values():
            manifest.poller.pace_changed()

    def _make_manifest(self, ref: Ref) -> Manifest:
        async def open_journal(known: Kind | None, *, early: bool = False) -> Journal:
            where = self._storage, ref.bucket or self._bucket, ref.key
            if known is not None:
                return known_journal(*where, known, self._environment, self._reading)
            return await choose_journal(*where, self._journal, self._environment, early=early, reading=self._reading)

        return Manifest(
            ref,
            open_journal,
            ManifestContext(
                self._contents,
                self._environment,
                self._poll_interval,
                self._connection.record_response,
                self._connection.record_try,
                lambda: self._switch.shut,
                self._connection.watchers.notify,
                self._refuse,
                self._clocked.time,
                self._outbox_queues[0] if self._outbox_queues else None,
                None if self._directory is None else self._directory.cache,
                self._on_reconnect,
                observer=self._observer,
                affinity=self._affinity,
                waker=self._waker,
            ),
        )

    @abstractmethod
    def _refuse(self, pending: Pending, refusal: Refusal) -> None:
        """Keep a write that failed permanently."""

    def _is_manifest(self, bucket: str, key: str) -> bool:
        ref = Ref(key, bucket)
        return ref == self._default or ref in self._manifests


def _check_bytes(inline: object, **others: float | None) -> None:
    if isinstance(inline, bool) or not isinstance(inline, int):
        raise TypeError(f"inline is a number of bytes, not {type(inline).__qualname__}")
    if not 0 <= inline <= limits.INLINE:
        raise ValueError(f"inline is a number of bytes up to {limits.INLINE}, not {inline!r}")
    for name, number in others.items():
        if number is not None and not number >= 0:
            raise ValueError(f"{name} is a number from 0, not {number!r}")
