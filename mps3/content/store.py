"""The values of a client: stored, fetched and held in memory."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from ..errors import ConfigurationError, MPS3Error, UnavailableError
from ..format import limits
from ..format.commit_age import refresh_age
from ..format.file_entry import FileEntry, nests_deep
from ..format.names import LONGEST
from ..format.operations import Step
from ..format.schema import LATEST
from ..format.values import encode, encode_all
from ..observability.observer import Observer
from ..storage.protocol import KeyRefusedError, Storage, Stored
from ..support.environment import Environment, wait_for_event
from ..support.steps import in_steps
from ..types import DELETE, JSON, Ref
from .cache import ValueCache
from .fetcher import ValueFetcher
from .many import ManyValues
from .owner_metadata import owner_metadata
from .patch import PendingPatch, encode_steps
from .tasks import TaskSet
from .value import MINTED, PendingValue, sha256_of

LOOK: Final = 1.0
"""Seconds between two checks of whether the client is online, if nothing signals it."""
CONCURRENCY: Final = 32
"""Values that are sent at once."""
AT_ONCE: Final = 2 * CONCURRENCY
"""Values whose storing is in progress at once. Some of them wait for a free slot, or for a retry."""

INLINE: Final = 1024
"""Bytes of the largest value that is part of a commit unless told otherwise."""
ORIGIN: Final = 16
"""Characters of a version of an inline value that all versions of a client have in common, and of no other client."""
SHORTEST: Final = 0.001
"""Seconds until a restored value expires at the least; its time may be over by now."""


class ValueStore:
    """The values of one client, for all of its manifests.

    Args:
        storage: Where they are stored.
        environment: The clock, random numbers and unique names.
        checksums: Whether to send and verify SHA-256 checksums.
        inline: Bytes of the largest value that becomes part of a commit; 0: none does.
        contact: Told of each answer of the store (``None``) and each failure to get one.
        tried: Told of each value that waits to be stored again, and why (``None``: it does not wait any more).
        is_offline: Returns whether values have to wait.
        now: Returns the time by the store's clock, in seconds since 1970; ``-inf`` if it is not known.
        observer: Told of retries.
    """

    def __init__(
        self,
        storage: Storage,
        environment: Environment,
        *,
        checksums: bool,
        inline: int = INLINE,
        contact: Callable[[MPS3Error | None], None],
        tried: Callable[[object, MPS3Error | None], None],
        is_offline: Callable[[], bool] = lambda: False,
        now: Callable[[], float] = lambda: -math.inf,
        observer: Observer | None = None,
    ) -> None:
        self._now = now
        self.inline = inline
        self._origin = ""
        self._minted = 0
        self._storage = storage
        self._observer = observer or Observer()
        self._is_offline = is_offline
        self._environment = environment
        self._checksums = checksums
        self._contact = contact
        self._tried = tried
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
        *,
        may_be_inline: bool = False,
    ) -> PendingValue:
        """Encode a value to be stored later.

        Args:
            bucket: The bucket to store it in.
            key: The key to store it under.
            value: The value.
            manifests: The manifests that the write commits to, with their buckets.
            expires_in: Seconds until it expires, from when it is stored; ``None`` if it does not expire.
            until: Instead: when it expires, by the store's clock, in seconds since 1970.
            may_be_inline: Whether it may be part of the commit, if it is small.

        Raises:
            TypeError: It is not JSON.
            ValueError: It is not JSON.
        """
        if until is not None:
            left = until - self._now()
            expires_in = min(max(left, SHORTEST), float(LATEST))
        body = encode(value, key)
        inline = may_be_inline and len(body) <= self.inline and not nests_deep(body)
        return PendingValue(bucket, key, body, manifests, expires_in, until, inline=inline)

    def prepare_patch(
        self,
        bucket: str,
        key: str,
        steps: Sequence[Step],
        manifests: tuple[Ref, ...],
        expires_in: float | None = None,
    ) -> PendingPatch:
        """Encode a change of a value, to become part of a commit.

        Args:
            bucket: The bucket of the value.
            key: The key of the value.
            steps: The steps of the change.
            manifests: The manifests that the write commits to, with their buckets.
            expires_in: Seconds until the key expires, from when it is committed; ``None``: it keeps its expiry.

        Raises:
            ValueError: It is too large, or nests too deep.
        """
        content = PendingPatch(bucket, key, encode_steps(steps, key), manifests, expires_in)
        content.version = self._mint()
        return content

    def prepare_many(self, bucket: str, values: Mapping[str, Any], manifests: tuple[Ref, ...]) -> ManyValues | None:
        """Encode the values of many keys of one bucket at once. They do not expire; `DELETE` deletes.

        Returns:
            ``None`` if one of them cannot be part of the commit; then use `prepare` for each.

        Raises:
            TypeError: One is not JSON.
            ValueError: One is not JSON.
        """
        deleted = [key for key, value in values.items() if value is DELETE]
        if deleted:
            encoded = encode_all({key: value for key, value in values.items() if value is not DELETE})
        else:
            encoded = encode_all(values)
        most = min(self.inline, limits.INLINE)
        longest = max(map(len, encoded.values()), default=0)
        if longest > most or (longest > limits.INLINE_DEPTH and any(map(nests_deep, encoded.values()))):
            return None
        bodies = {key: encoded.get(key) for key in values} if deleted else encoded
        return ManyValues(bucket, bodies, manifests)

    async def store_many(self, contents: ManyValues) -> None:
        """Give the values of a large write their versions: they are stored with its commit."""
        versions = iter(self._mint, None)
        async for names in in_steps(name for name in contents if name not in contents.versions):
            contents.set_versions(names, versions)

    async def versioned(self, bucket: str) -> bool:
        """Return whether a bucket has versioning. Concurrent calls share a request, and the answer is remembered.

        Raises:
            MPS3Error: The store does not answer, or refuses to.
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

    async def store(self, content: PendingValue) -> None:
        """Store a value; return when it is durable. Retries while the store does not answer.

        Concurrent calls for the same value share a request. An inline value only gets its version: it is stored with
        its commit.

        Raises:
            MPS3Error: The value cannot be stored.
        """
        if content.version is not None:
            return
        expires = content.expires_in is not None and content.until is None
        if content.inline and expires and self._now() == -math.inf and not isinstance(content, PendingPatch):
            content.inline = False  # the answer to storing it tells what time it is
        if content.inline:
            content.version = self._mint()
            return
        if content.storing is None:
            content.storing = self._tasks.spawn(self._store(content))
        await asyncio.shield(content.storing)

    async def store_again(self, content: PendingValue) -> None:
        """Store a value again, as a new version: the previous one may be collected soon (R1).

        Raises:
            UnavailableError: The store does not answer.
            MPS3Error: The value cannot be stored.
        """
        async with self._puts:
            await self._put(content)

    def is_too_old(self, content: PendingValue, clock: float | None) -> bool:
        """Return whether a stored value is too old to be committed.

        Args:
            content: The value.
            clock: The last known time of the store, which unlike this machine's clock does not stop in sleep.
        """
        if content.until is None and content.expires is not None and content.expires <= self._now():
            return True  # its time counts from when others can read it
        by_store = 0.0 if clock is None or content.stored is None else clock - content.stored
        return max(by_store, self._environment.monotonic() - content.stored_at) > refresh_age()

    async def _store(self, content: PendingValue) -> None:
        attempt = 0
        try:
            while True:
                try:
                    async with self._puts:
                        await self._put(content)
                except UnavailableError as error:
                    attempt += 1
                    self._tried(content, error)
                    self._contact(error)
                    wait = self._environment.backoff(attempt)
                    self._observer.value_retried(content.bucket, content.key, attempt, wait, error)
                    await wait_for_event(self._reached, wait)
                else:
                    self._contact(None)
                    return
        finally:
            content.storing = None
            self._tried(content, None)

    async def wait_until_online(self) -> None:
        """Wait until the client is online."""
        while self._is_offline():
            await wait_for_event(self._reached, LOOK)

    def reached(self) -> None:
        """Retry at once what waits for the store, which answers again."""
        self._reached.set()
        self._reached = asyncio.Event()

    async def _put(self, content: PendingValue) -> None:
        if self._checksums and content.digest is None:
            content.digest = await sha256_of(content.body)
        started = self._environment.monotonic()
        if await self.versioned(content.bucket) and not _is_directory(content):
            try:
                version, stored = await self._put_version(content)
            except KeyRefusedError as error:
                try:
                    version, stored = await self._put_minted(content)
                except ConfigurationError:
                    raise error from None
        else:
            version, stored = await self._put_minted(content)
        self._cache.add((content.bucket, content.key, version), content.body)
        content.version = version
        content.stored, content.stored_at = stored.modified, started
        self.set_expiry(content)

    async def _put_version(self, content: PendingValue) -> tuple[str, Stored]:
        """Store a value as a version of its key; return the version."""
        stored = await self._put_at(content, content.key)
        if stored.version is None:
            self._versioned[content.bucket] = False
            raise UnavailableError(
                f"bucket {content.bucket} no longer keeps versions; the value is stored in another way",
                bucket=content.bucket,
                key=content.key,
                operation="PutObject",
            )
        return stored.version, stored

    async def _put_minted(self, content: PendingValue) -> tuple[str, Stored]:
        """Store a value as an object of its own, whose key ends with a generated version; return the version."""
        version = MINTED + self._environment.name()
        _check_length(content, version)
        return version, await self._put_at(content, f"{content.key}@{version}")

    def _mint(self) -> str:
        """Return a version for an inline value, that no other value has. It is in every commit, so it is short."""
        if not self._origin:
            self._origin = self._environment.name()[:ORIGIN]
        self._minted += 1
        return f"{self._origin}-{self._minted:x}"

    def set_expiry(self, content: PendingValue) -> None:
        """Compute when a value expires that is stored, or leaves with its commit, now.

        Raises:
            ConfigurationError: The store does not tell the time.
        """
        if content.until is not None:
            content.expires = content.until
        elif content.expires_in is not None:
            content.expires = self._expiry(content.expires_in, content)

    def _expiry(self, expires_in: float, content: PendingValue) -> float:
        now = max(self._now(), -math.inf if content.stored is None else content.stored)
        if now == -math.inf:
            raise ConfigurationError(
                f"the store does not tell the time, so {content.key!r} cannot expire: put it without expires_in",
                bucket=content.bucket,
                key=content.key,
                operation="PutObject",
            )
        return min(now + expires_in, float(LATEST))

    async def _put_at(self, content: PendingValue, key: str) -> Stored:
        try:
            return await self._storage.put(
                content.bucket,
                key,
                content.body,
                sha256=content.digest,
                metadata=owner_metadata(content.manifests, content.bucket, key),
            )
        except MPS3Error as error:
            error.maybe_written = False  # no manifest names it, so it is not visible whether or not it is stored
            raise

    @property
    def cached_bytes(self) -> int:
        """The size in bytes of all values that are held in memory."""
        return self._cache.size

    def cached(self, bucket: str, key: str, file: FileEntry) -> bytes | None:
        """Return the bytes of a value, if it is in memory, or inline."""
        return self._fetcher.cached(bucket, key, file)

    async def fetch(self, bucket: str, key: str, file: FileEntry) -> bytes:
        """Fetch a value, as `ValueFetcher.fetch` does."""
        return await self._fetcher.fetch(bucket, key, file)

    async def aclose(self) -> None:
        """Stop all requests."""
        await self._tasks.aclose()


def _is_directory(content: PendingValue) -> bool:
    """Return whether a store that keeps objects in directories may take the key of a value for one of them.

    SeaweedFS stores nothing under a key that ends with a slash, and says that it did. MinIO no longer lists what is
    below an object, which could be the manifest.
    """
    key = content.key
    return key.rpartition("/")[2] in {"", ".", ".."} or any(
        manifest.bucket == content.bucket and manifest.key.startswith(f"{key}/") for manifest in content.manifests
    )


def _check_length(content: PendingValue, version: str) -> None:
    longest = LONGEST - len(version) - 1
    if len(content.key.encode()) > longest:
        raise ConfigurationError(
            f"the key {content.key[:40]!r}… has {len(content.key.encode())} bytes of UTF-8; in a bucket without "
            f"versioning, where its version becomes part of the object's key, at most {longest} are possible",
            bucket=content.bucket,
            key=content.key,
            operation="PutObject",
        )
