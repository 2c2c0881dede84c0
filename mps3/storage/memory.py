"""A store in the memory of this process, for tests and experiments.

The functions of this module are also the rules of `mps3.storage.local`.
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import secrets
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import quote
from weakref import WeakValueDictionary

from ..errors import ConfigurationError, ConflictError, CorruptionError
from .byte_ranges import check_byte_range, part_of, size_of_part
from .monotonic_clock import MonotonicWallClock
from .notifications import Notifications
from .pagination import PAGE_SIZE, page_size
from .protocol import (
    ABSENT,
    NULL_VERSION,
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

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

MAX_KEY_BYTES = 1024
"""The most bytes of a key in UTF-8, as on S3."""


def check_names(bucket: str, key: str, operation: str) -> None:
    """Refuse an invalid bucket or key.

    Raises:
        ConfigurationError: The bucket or the key is empty, not valid Unicode, or the key is too long.
    """
    try:
        acceptable = bucket.encode() and 0 < len(key.encode()) <= MAX_KEY_BYTES
        cause = None
    except UnicodeEncodeError as error:
        acceptable, cause = False, error
    if not acceptable:
        raise ConfigurationError(
            f"{key!r} in bucket {bucket!r} cannot name an object: neither may be empty or hold lone surrogates, "
            f"and a key has at most {MAX_KEY_BYTES} bytes of UTF-8",
            bucket=bucket,
            key=key,
            operation=operation,
        ) from cause


LARGE = 1 << 16
"""Bytes from which a thread hashes, because the event loop would stall."""


def etag_of(body: bytes) -> str:
    """Return the ETag that S3 gives to an object of a single PUT."""
    return f'"{hashlib.md5(body, usedforsecurity=False).hexdigest()}"'


async def checked_etag(body: bytes, sha256: bytes | None, bucket: str, key: str) -> str:
    """Return the ETag of ``body``; a thread computes that of a large one.

    Raises:
        CorruptionError: ``body`` does not have the digest ``sha256``.
    """

    def check() -> str:
        if sha256 is not None and hashlib.sha256(body).digest() != sha256:
            raise CorruptionError(
                f"The body for {key!r} does not have the SHA-256 digest that came with it: it was changed in transit",
                bucket=bucket,
                key=key,
                operation="PutObject",
            )
        return etag_of(body)

    return check() if len(body) < LARGE else await asyncio.to_thread(check)


def conflict(bucket: str, key: str) -> ConflictError:
    """Return the error for an object that should be created, and exists."""
    return ConflictError(
        f"{key!r} was not written: there is such an object already", bucket=bucket, key=key, operation="PutObject"
    )


def too_large(bucket: str, key: str, version: str | None, size: int, limit: int) -> CorruptionError:
    """Return the error for an object that has more bytes than the reader accepts."""
    return CorruptionError(
        f"{key!r} has {size} bytes, and at most {limit} were expected: it is not what was written there",
        bucket=bucket,
        key=key,
        operation="GetObject",
        version=version,
    )


@dataclass(frozen=True, slots=True)
class _Row:
    number: int
    version: str | None
    modified: float
    etag: str | None  # None for a delete marker
    body: bytes
    metadata: Mapping[str, str] = field(default_factory=dict)
    listed: Version = field(init=False)

    def __post_init__(self) -> None:
        # A version is listed more often than it is made.
        version = Version(
            version=NULL_VERSION if self.version is None else self.version,
            modified=self.modified,
            etag=self.etag,
            size=len(self.body),
            deleted=self.etag is None,
        )
        object.__setattr__(self, "listed", version)


class MemoryStorage:
    """A store in the memory of this process. Its objects end with the process.

    Buckets need not be created. Every call lets other tasks run once, then takes effect in one step.

    Args:
        versioning: Whether buckets keep every version of an object.
        clock: The clock of the time stamps, in seconds since 1970. When it goes back or stands still, the stamps go on
            from the last one, by the clock of the event loop.

    Attributes:
        opened: The number of users that have it open. It also works while it is closed.
        url: Its URL, for messages.
        notifications: Its clients hear of each other's commits by these.
    """

    def __init__(self, *, versioning: bool = True, clock: Callable[[], float] = time.time) -> None:
        self.opened = 0
        self.url = "memory:"
        self.notifications = Notifications()
        self._versioning = versioning
        self._clock = MonotonicWallClock(clock)
        self._identity = f"memory: {secrets.token_hex(8)}"
        self._number = 0
        self._buckets: dict[str, dict[str, dict[str, _Row]]] = {}

    def copy(self) -> MemoryStorage:
        """Return an independent store with the objects that this one has now."""
        copied = MemoryStorage(versioning=self._versioning)
        copied._clock = self._clock.copy()
        copied._number = self._number
        copied._buckets = {
            bucket: {key: dict(rows) for key, rows in keys.items()} for bucket, keys in self._buckets.items()
        }
        return copied

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.url}>"

    def identity(self) -> str:
        """As `mps3.storage.identity.Identified.identity`: it is different for each instance."""
        return self._identity

    async def open(self) -> None:
        """Count one more user."""
        self.opened += 1

    async def aclose(self) -> None:
        """Count one user less. The objects stay."""
        self.opened = max(0, self.opened - 1)

    def clock(self) -> float:
        """Return the time, in seconds since 1970."""
        return self._clock()

    async def capabilities(self, bucket: str) -> Capabilities:  # noqa: ARG002 - all buckets are alike
        """As `mps3.storage.Storage.capabilities`."""
        await asyncio.sleep(0)
        return Capabilities("enabled" if self._versioning else "off", versionable=self._versioning, exclusive=True)

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
        """As `mps3.storage.Storage.get`."""
        check_names(bucket, key, "GetObject")
        check_byte_range(byte_range, bucket, key)
        await asyncio.sleep(0)
        rows = self._rows(bucket, key)
        row = _newest(rows) if version is None else rows.get(version)
        if row is None or row.etag is None:
            return ABSENT
        if row.etag == if_none_match:
            return UNCHANGED
        size = size_of_part(len(row.body), byte_range)
        if limit is not None and size > limit:
            raise too_large(bucket, key, row.version, size, limit)
        body = part_of(row.body, byte_range)
        return Object(body, row.version, row.etag, row.modified, partial=byte_range is not None)

    async def put(
        self,
        bucket: str,
        key: str,
        body: bytes,
        *,
        sha256: bytes | None = None,
        if_none_match: bool = False,
        metadata: Mapping[str, str] | None = None,
    ) -> Stored:
        """As `mps3.storage.Storage.put`."""
        check_names(bucket, key, "PutObject")
        etag = await checked_etag(body, sha256, bucket, key)
        await asyncio.sleep(0)
        newest = _newest(self._rows(bucket, key))
        if if_none_match and newest is not None and newest.etag is not None:
            raise conflict(bucket, key)
        row = self._append(bucket, key, etag, bytes(body), metadata)
        return Stored(version=row.version, etag=etag, modified=row.modified)

    async def head(self, bucket: str, key: str, *, version: str | None = None) -> Head | Absence:
        """As `mps3.storage.Storage.head`."""
        check_names(bucket, key, "HeadObject")
        await asyncio.sleep(0)
        rows = self._rows(bucket, key)
        row = _newest(rows) if version is None else rows.get(version)
        if row is None or row.etag is None:
            return ABSENT
        return Head(metadata=dict(row.metadata), size=len(row.body), modified=row.modified)

    async def delete(self, bucket: str, key: str, *, version: str | None = None) -> None:
        """As `mps3.storage.Storage.delete`."""
        check_names(bucket, key, "DeleteObject")
        await asyncio.sleep(0)
        rows = self._rows(bucket, key)
        if version is not None or not self._versioning:
            rows.pop(NULL_VERSION if version is None else version, None)
            if not rows:
                self._buckets.get(bucket, {}).pop(key, None)
            return
        newest = _newest(rows)
        if newest is not None and newest.etag is not None:
            self._append(bucket, key, None, b"")

    async def versions(
        self, bucket: str, key: str, *, start: str | None = None, limit: int | None = None
    ) -> VersionPage:
        """As `mps3.storage.Storage.versions`."""
        check_names(bucket, key, "ListObjectVersions")
        await asyncio.sleep(0)
        older = (row for row in _newest_first(self._rows(bucket, key)) if start is None or row.number < int(start))
        size = page_size(limit)
        rows = list(itertools.islice(older, size + 1))
        more = str(rows[size - 1].number) if len(rows) > size else None
        return VersionPage(versions=tuple([row.listed for row in rows[:size]]), next=more, answered=self._clock())

    async def list(self, bucket: str, prefix: str = "", *, start: str | None = None, limit: int | None = None) -> Page:
        """As `mps3.storage.Storage.list`."""
        check_names(bucket, prefix or "any", "ListObjects")
        await asyncio.sleep(0)
        keys = sorted(
            key for key in self._buckets.get(bucket, {}) if key.startswith(prefix) and (start is None or key > start)
        )
        newest = ((key, _newest(self._rows(bucket, key))) for key in keys)
        current = ((key, row) for key, row in newest if row is not None and row.etag is not None)
        size = page_size(limit)
        found = list(itertools.islice(current, size + 1))
        entries = tuple(ListedObject(key, row.modified, len(row.body)) for key, row in found[:size])
        return Page(entries=entries, next=entries[-1].key if len(found) > size else None)

    async def scan(self, bucket: str, prefix: str = "", *, start: str | None = None) -> Scan:
        """As `mps3.storage.Storage.scan`."""
        check_names(bucket, prefix or "any", "ListObjectVersions")
        await asyncio.sleep(0)
        after, _, before = (start or "").rpartition("/")
        found: list[tuple[int, ListedVersion]] = []
        for key in sorted(key for key in self._buckets.get(bucket, {}) if key.startswith(prefix) and key >= after):
            for row in _newest_first(self._rows(bucket, key)):
                if start is not None and key == after and row.number >= int(before):
                    continue
                if len(found) == PAGE_SIZE:
                    number, last = found[-1]
                    return Scan(tuple(one for _, one in found), f"{last.key}/{number}")
                version = NULL_VERSION if row.version is None else row.version
                found.append((row.number, ListedVersion(key, version, row.modified, len(row.body), row.etag is None)))
        return Scan(tuple(one for _, one in found), None)

    def _rows(self, bucket: str, key: str) -> dict[str, _Row]:
        return self._buckets.get(bucket, {}).get(key, {})

    def _append(
        self, bucket: str, key: str, etag: str | None, body: bytes, metadata: Mapping[str, str] | None = None
    ) -> _Row:
        self._number = number = self._number + 1
        version = _version(number) if self._versioning else None
        rows = self._buckets.setdefault(bucket, {}).setdefault(key, {})
        row = _Row(number, version, self._clock(), etag, body, dict(metadata or {}))
        rows[NULL_VERSION if version is None else version] = row
        return row


def _newest_first(rows: dict[str, _Row]) -> Iterator[_Row]:
    return iter(reversed(rows.values()))


def _newest(rows: dict[str, _Row]) -> _Row | None:
    return next(_newest_first(rows), None)


def _version(number: int) -> str:
    # Deterministic, so that a failure can be replayed, and unordered, so that no caller can rely on an order.
    return hashlib.blake2b(number.to_bytes(8), digest_size=16).hexdigest()


class _NamedStorage(MemoryStorage):
    """A store that loses its objects when its last user closes it, whether or not it is freed then."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self._identity = f"memory:{name}"

    async def aclose(self) -> None:
        await super().aclose()
        if not self.opened:
            self._buckets.clear()


_shared: WeakValueDictionary[str, _NamedStorage] = WeakValueDictionary()


def memory_storage(name: str) -> MemoryStorage:
    """Return the store in memory that all users of ``name`` in this process share.

    It keeps versions. It loses its objects when its last user closes it.
    """
    storage = _shared.get(name)
    if storage is None:
        storage = _shared[name] = _NamedStorage(name)
        storage.url = f"memory:{quote(name)}"
    return storage
