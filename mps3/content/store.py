"""Values: encoding, checksums, storing, fetching by version, and a cache of what was read."""

from __future__ import annotations

import asyncio
import hashlib
import math
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Hashable, Mapping
from typing import Any, Final, TypeVar

from ..errors import ClosedError, ConfigurationError, CorruptionError, MPS3Error, UnavailableError
from ..format import limits
from ..format.entries import FileEntry
from ..format.freshness import fresh
from ..format.names import LONGEST
from ..format.shape import LATEST, format_time
from ..format.values import decode, encode
from ..observability.observer import Observer
from ..storage.cached import CachedObject, keep
from ..storage.protocol import Absence, Object, Storage, Stored
from ..storage.verification import read_verified
from ..support.environment import Environment, wait_for_event
from ..types import JSON, Ref
from .ownership import describe

MINTED: Final = "mps3-"
"""What versions begin with that this library made up itself, for buckets that have none."""
LOOK: Final = 1.0
"""Seconds between two looks whether the store can be reached again, if nobody says so."""
CONCURRENCY: Final = 32
"""Values that are sent at once, and fetched at once."""
AT_ONCE: Final = 2 * CONCURRENCY
"""Values that are looked after at once: some wait for their turn, or for another try."""
CACHE: Final = 64 * 2**20
LARGE: Final = 2**20
"""Hashing more bytes than this would hold up the event loop; a thread does it."""

SHORTEST: Final = 0.001
"""Seconds that are left to a value at least whose time may be over by now."""

T = TypeVar("T")


class Content:
    """One value on its way to the store.

    Args:
        bucket: Where it goes.
        key: Where it goes.
        body: Its bytes.
        manifests: The manifests that it is written for.
        expires_in: Seconds that it is to be there after it was stored; ``None`` for ever.
        until: Instead: the store's clock when its time is over, in seconds since 1970, whenever it is stored.
            ``expires_in`` then is what is left of that, for those who keep it.

    Attributes:
        digest: Its SHA-256, once it is stored with one.
        version: Its version, once it is stored.
        stored: The store's clock when it was, in seconds since 1970, if the store tells.
        stored_at: This client's clock when that began.
        expires: The store's clock when its time is over, in seconds since 1970, once it is stored; ``None`` if
            it has no end.
    """

    __slots__ = (
        "body",
        "bucket",
        "digest",
        "expires",
        "expires_in",
        "key",
        "manifests",
        "stored",
        "stored_at",
        "storing",
        "until",
        "version",
    )

    def __init__(
        self,
        bucket: str,
        key: str,
        body: bytes,
        manifests: tuple[Ref, ...] = (),
        expires_in: float | None = None,
        until: float | None = None,
    ) -> None:
        self.expires_in = expires_in
        self.until = until
        self.expires: float | None = None
        self.bucket = bucket
        self.key = key
        self.body = body
        self.digest: bytes | None = None
        self.version: str | None = None
        self.manifests = manifests
        self.stored: float | None = None
        self.stored_at = -math.inf
        self.storing: asyncio.Task[None] | None = None

    @property
    def patch(self) -> dict[str, Any]:
        """What a commit says of it. A null takes away what an older value had."""
        return {
            "version": self.version,
            "sha256": self.digest.hex() if self.digest else None,
            "size": len(self.body),
            **({} if self.expires is None else {"expires": format_time(self.expires)}),
        }


class MissingError(CorruptionError):
    """There is no such version of a value: whoever reads of the past knows whether there has to be."""


class ValueCache:
    """The values read or written last, by version.

    Args:
        most: Bytes to keep at the most.

    Attributes:
        size: Bytes that are kept.
    """

    def __init__(self, most: int = CACHE) -> None:
        self._most = most
        self.size = 0
        self._bodies: OrderedDict[Hashable, bytes] = OrderedDict()

    def get(self, name: Hashable) -> bytes | None:
        """The bytes kept under a name."""
        body = self._bodies.get(name)
        if body is not None:
            self._bodies.move_to_end(name)
        return body

    def add(self, name: Hashable, body: bytes) -> None:
        """Keep some bytes, and let go of those not used for longest."""
        self.size += len(body) - len(self._bodies.pop(name, b""))
        self._bodies[name] = body
        while self.size > self._most:
            self.size -= len(self._bodies.popitem(last=False)[1])


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
        self._gets = asyncio.Semaphore(CONCURRENCY)
        self._versioned: dict[str, bool] = {}
        self._asking: dict[str, asyncio.Task[bool]] = {}
        self._fetching: dict[Hashable, asyncio.Task[bytes]] = {}
        self._tasks: dict[asyncio.Task[Any], None] = {}

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
                self._asking[bucket] = self._spawn(self._ask_versioned(bucket))
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
            content.storing = self._spawn(self._store(content))
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
            content.digest = await _sha256(content.body)
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
        """How large the values are together that are held in memory."""
        return self._cache.size

    def cached(self, bucket: str, key: str, file: FileEntry) -> bytes | None:
        """The bytes of a value, if they are here."""
        return self._cache.get((bucket, key, file["version"]))

    async def fetch(self, bucket: str, key: str, file: FileEntry) -> bytes:
        """The bytes of a value, verified. Simultaneous calls for one value share a request.

        Args:
            bucket: Where it is.
            key: Where it is.
            file: What the manifest says of it.

        Raises:
            CorruptionError: It is missing, or not what the manifest says.
            UnavailableError: The store does not answer.
        """
        name = (bucket, key, file["version"])
        body = self._cache.get(name)
        if body is not None:
            return body
        task = self._fetching.get(name)
        if task is None:
            task = self._fetching[name] = self._spawn(self._fetch(bucket, key, file))
            task.add_done_callback(lambda _: self._fetching.pop(name, None))
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            waiting = asyncio.current_task()
            if task.cancelled() and waiting is not None and not waiting.cancelling():
                raise ClosedError("the client was closed") from None
            raise

    async def _fetch(self, bucket: str, key: str, file: Mapping[str, Any]) -> bytes:
        version: str = file["version"]
        where = (f"{key}@{version}", None) if version.startswith(MINTED) else (key, version)
        size = file.get("size")
        most = limits.VALUE if size is None else min(size, limits.VALUE)

        async def ask() -> Object | Absence:
            async with self._gets:
                found = await self._storage.get(bucket, where[0], version=where[1], limit=most)
            if not isinstance(found, CachedObject):
                self._contact(None)
            return found

        async def check(found: Object | Absence) -> Object:
            if not isinstance(found, Object):
                raise _corrupt(bucket, key, version, "it is missing, though the manifest names it", MissingError)
            await self._check(bucket, key, file, found.body)
            return found

        found = await read_verified(ask, check)
        keep(self._storage, bucket, where[0], where[1], found)
        self._cache.add((bucket, key, version), found.body)
        return found.body

    async def _check(self, bucket: str, key: str, file: Mapping[str, Any], body: bytes) -> None:
        """Make sure that a value is what the manifest says, as far as it says anything.

        Raises:
            CorruptionError: It is not.
        """
        version, size, sha256 = file["version"], file.get("size"), file.get("sha256")
        if size is not None and len(body) != size:
            raise _corrupt(bucket, key, version, f"it has {len(body)} bytes, the manifest says {size}")
        if not self._checksums or sha256 is None:
            if len(body) <= LARGE:
                decode(body, bucket, key, version)
            else:
                await asyncio.to_thread(decode, body, bucket, key, version)
        elif (await _sha256(body)).hex() != sha256:
            raise _corrupt(bucket, key, version, "its SHA-256 is not the one that the manifest names")

    def _spawn(self, coroutine: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks[task] = None
        task.add_done_callback(self._finished)
        return task

    def _finished(self, task: asyncio.Task[Any]) -> None:
        self._tasks.pop(task, None)
        if not task.cancelled():
            task.exception()  # whoever still waits gets it; nobody else needs to hear of it

    async def aclose(self) -> None:
        """Stop what is under way."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


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


async def _sha256(body: bytes) -> bytes:
    if len(body) <= LARGE:
        return hashlib.sha256(body).digest()
    return await asyncio.to_thread(lambda: hashlib.sha256(body).digest())


def _corrupt(
    bucket: str, key: str, version: str, why: str, kind: type[CorruptionError] = CorruptionError
) -> CorruptionError:
    return kind(
        f"cannot read s3://{bucket}/{key} (version {version}): {why}",
        bucket=bucket,
        key=key,
        operation="GetObject",
        version=version,
    )
