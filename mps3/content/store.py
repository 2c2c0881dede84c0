"""The values of a client: stored, fetched and held in memory."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from typing import Final

from ..errors import ConfigurationError, MPS3Error, UnavailableError
from ..format.entries import FileEntry
from ..format.freshness import fresh
from ..format.names import LONGEST
from ..format.shape import LATEST
from ..format.values import encode
from ..observability.observer import Observer
from ..storage.protocol import Storage, Stored
from ..support.environment import Environment, wait_for_event
from ..types import JSON, Ref
from .cache import ValueCache
from .fetcher import ValueFetcher
from .ownership import describe
from .tasks import TaskSet
from .value import MINTED, Content, sha256_of

LOOK: Final = 1.0
"""Seconds between two looks whether the store can be reached again, if nobody says so."""
CONCURRENCY: Final = 32
"""Values that are sent at once."""
AT_ONCE: Final = 2 * CONCURRENCY
"""Values that are looked after at once: some wait for their turn, or for another try."""

SHORTEST: Final = 0.001
"""Seconds that are left to a value at least whose time may be over by now."""


class Contents:
    """The values of all manifests of one client.

    Args:
        storage: Where they are kept.
        environment: Time, chance and names.
        checksums: Whether to send and verify SHA-256 checksums.
        contact: Told of each answer of the store (``None``) and each failure to get one.
        away: Whether it is known that nothing can be stored now.
        now: The store's clock, in seconds since 1970; ``-inf`` if nobody knows.
        observer: Told of values that have to be stored again.
    """

    def __init__(
        self,
        storage: Storage,
        environment: Environment,
        *,
        checksums: bool,
        contact: Callable[[MPS3Error | None], None],
        away: Callable[[], bool] = lambda: False,
        now: Callable[[], float] = lambda: -math.inf,
        observer: Observer | None = None,
    ) -> None:
        self._now = now
        self._storage = storage
        self._observer = observer or Observer()
        self._away = away
        self._environment = environment
        self._checksums = checksums
        self._contact = contact
        self._cache = ValueCache()
        self._reached = asyncio.Event()
        self._puts = asyncio.Semaphore(CONCURRENCY)
        self._versioned: dict[str, bool] = {}
        self._asking: dict[str, asyncio.Task[bool]] = {}
        self._tasks = TaskSet()
        self._fetcher = ValueFetcher(storage, self._cache, self._tasks, checksums=checksums, contact=contact)

    def prepare(
        self,
        bucket: str,
        key: str,
        value: JSON,
        manifests: tuple[Ref, ...],
        expires_in: float | None = None,
        until: float | None = None,
    ) -> Content:
        """Encode a value to be stored later.

        Args:
            bucket: Where it goes.
            key: Where it goes.
            value: The value.
            manifests: The manifests that it is written for, with their buckets.
            expires_in: Seconds that it is to be there after it was stored; ``None`` for ever.
            until: Instead: the store's clock when its time is over, in seconds since 1970.

        Raises:
            TypeError: It is not JSON.
            ValueError: It is not JSON.
        """
        if until is not None:
            left = until - self._now()
            expires_in = min(max(left, SHORTEST), float(LATEST))
        return Content(bucket, key, encode(value, key), manifests, expires_in, until)

    async def versioned(self, bucket: str) -> bool:
        """Whether a bucket keeps versions. Asked once a bucket, for all who want to know at the same time.

        Raises:
            MPS3Error: It cannot be found out now.
        """
        if bucket not in self._versioned:
            if bucket not in self._asking:
                self._asking[bucket] = self._tasks.spawn(self._ask_versioned(bucket))
            return await asyncio.shield(self._asking[bucket])
        return self._versioned[bucket]

    async def _ask_versioned(self, bucket: str) -> bool:
        try:
            versioning = (await self._storage.capabilities(bucket)).versioning
        finally:
            del self._asking[bucket]
        self._versioned[bucket] = versioning == "enabled"
        return self._versioned[bucket]

    async def store(self, content: Content) -> None:
        """Store a value; return when it is durable. Tries until it works, or can never work.

        Whoever calls for the same content at the same time waits for the same request.

        Raises:
            MPS3Error: It can never work.
        """
        if content.version is not None:
            return
        if content.storing is None:
            content.storing = self._tasks.spawn(self._store(content))
        await asyncio.shield(content.storing)

    async def store_again(self, content: Content) -> None:
        """Store a value once more, as a version of its own: the one that is there may be collected soon (R1).

        Raises:
            UnavailableError: It could not be stored now.
            MPS3Error: It can never work.
        """
        async with self._puts:
            await self._put(content)

    def aged(self, content: Content, clock: float | None) -> bool:
        """Whether a stored value is too old for being committed.

        Args:
            content: The value.
            clock: The store's clock as it was seen last. It goes on while this machine sleeps.
        """
        if content.until is None and content.expires is not None and content.expires <= self._now():
            return True  # its time counts from when it can be seen
        by_store = 0.0 if clock is None or content.stored is None else clock - content.stored
        return max(by_store, self._environment.monotonic() - content.stored_at) > fresh()

    async def _store(self, content: Content) -> None:
        attempt = 0
        try:
            while True:
                try:
                    async with self._puts:
                        await self._put(content)
                except UnavailableError as error:
                    attempt += 1
                    self._contact(error)
                    wait = self._environment.backoff(attempt)
                    self._observer.storing_again(content.bucket, content.key, attempt, wait, error)
                    await wait_for_event(self._reached, wait)
                else:
                    self._contact(None)
                    return
        finally:
            content.storing = None

    async def passable(self) -> None:
        """Wait until it makes sense to store something."""
        while self._away():
            await wait_for_event(self._reached, LOOK)

    def reached(self) -> None:
        """The store answers again: what waited for another try need not wait longer."""
        self._reached.set()
        self._reached = asyncio.Event()

    async def _put(self, content: Content) -> None:
        if self._checksums and content.digest is None:
            content.digest = await sha256_of(content.body)
        started = self._environment.monotonic()
        if await self.versioned(content.bucket):
            stored = await self._put_at(content, content.key)
            version = stored.version
            if version is None:
                self._versioned[content.bucket] = False
                raise UnavailableError(
                    f"bucket {content.bucket} no longer keeps versions; the value is stored in another way",
                    bucket=content.bucket,
                    key=content.key,
                    operation="PutObject",
                )
        else:
            version = MINTED + self._environment.name()
            _check_length(content, version)
            stored = await self._put_at(content, f"{content.key}@{version}")
        self._cache.add((content.bucket, content.key, version), content.body)
        content.version = version
        content.stored, content.stored_at = stored.modified, started
        if content.until is not None:
            content.expires = content.until
        elif content.expires_in is not None:
            content.expires = self._end_of(content.expires_in, content)

    def _end_of(self, lifetime: float, content: Content) -> float:
        now = max(self._now(), -math.inf if content.stored is None else content.stored)
        if now == -math.inf:
            raise ConfigurationError(
                f"the store does not tell the time, so {content.key!r} cannot expire: put it without expires_in",
                bucket=content.bucket,
                key=content.key,
                operation="PutObject",
            )
        return min(now + lifetime, float(LATEST))

    async def _put_at(self, content: Content, key: str) -> Stored:
        try:
            return await self._storage.put(
                content.bucket,
                key,
                content.body,
                sha256=content.digest,
                metadata=describe(content.manifests, content.bucket, key),
            )
        except MPS3Error as error:
            error.maybe_written = False  # a value that no manifest names does not exist, whether or not it is stored
            raise

    @property
    def cached_bytes(self) -> int:
        """The size in bytes of all values that are held in memory."""
        return self._cache.size

    def cached(self, bucket: str, key: str, file: FileEntry) -> bytes | None:
        """Return the bytes of a value, if it is in memory."""
        return self._fetcher.cached(bucket, key, file)

    async def fetch(self, bucket: str, key: str, file: FileEntry) -> bytes:
        """Fetch a value, as `ValueFetcher.fetch` does."""
        return await self._fetcher.fetch(bucket, key, file)

    async def aclose(self) -> None:
        """Stop all requests."""
        await self._tasks.aclose()


def _check_length(content: Content, version: str) -> None:
    longest = LONGEST - len(version) - 1
    if len(content.key.encode()) > longest:
        raise ConfigurationError(
            f"the key {content.key[:40]!r}… has {len(content.key.encode())} bytes of UTF-8; in a bucket without "
            f"versioning, where its version becomes part of the object's key, at most {longest} are possible",
            bucket=content.bucket,
            key=content.key,
            operation="PutObject",
        )
