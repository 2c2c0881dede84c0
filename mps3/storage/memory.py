"""Objects in this process: the rules of a store in their plainest form, for tests and for trying things out.

The rules that `mps3.storage.local` follows too stand here as functions.
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
from .monotonic_clock import MonotonicWallClock
from .protocol import (
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

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

PAGE_SIZE = 1000
"""The most that one page lists, as on S3."""
NULL_VERSION = "null"
"""How S3 lists the only version of an object in a bucket without versions."""
LONGEST_KEY = 1024
"""In bytes of UTF-8, as on S3."""


def check_names(bucket: str, key: str, operation: str) -> None:
    """Refuse a bucket or a key that cannot be one.

    Raises:
        ConfigurationError: The bucket or the key is empty, not valid Unicode, or the key is too long.
    """
    try:
        acceptable = bucket.encode() and 0 < len(key.encode()) <= LONGEST_KEY
        cause = None
    except UnicodeEncodeError as error:
        acceptable, cause = False, error
    if not acceptable:
        raise ConfigurationError(
            f"{key!r} in bucket {bucket!r} cannot name an object: neither may be empty or hold lone surrogates, "
            f"and a key has at most {LONGEST_KEY} bytes of UTF-8",
            bucket=bucket,
            key=key,
            operation=operation,
        ) from cause


def etag_of(body: bytes) -> str:
    """The ETag that S3 gives to an object written in one piece."""
    return f'"{hashlib.md5(body, usedforsecurity=False).hexdigest()}"'


def checked_etag(body: bytes, sha256: bytes | None, bucket: str, key: str) -> str:
    """The ETag of ``body``.

    Raises:
        CorruptionError: ``body`` does not have the digest ``sha256``.
    """
    if sha256 is not None and hashlib.sha256(body).digest() != sha256:
        raise CorruptionError(
            f"The body for {key!r} does not have the SHA-256 digest that came with it: it was changed on its way here",
            bucket=bucket,
            key=key,
            operation="PutObject",
        )
    return etag_of(body)


def conflict(bucket: str, key: str, if_match: str | None) -> ConflictError:
    """The error of a condition that did not hold."""
    found = "there is such an object already" if if_match is None else f"it does not have the ETag {if_match}"
    return ConflictError(f"{key!r} was not written: {found}", bucket=bucket, key=key, operation="PutObject")


def too_large(bucket: str, key: str, version: str | None, size: int, limit: int) -> CorruptionError:
    """The error of an object that has more bytes than the reader accepts."""
    return CorruptionError(
        f"{key!r} has {size} bytes, and at most {limit} were expected: it is not what was written there",
        bucket=bucket,
        key=key,
        operation="GetObject",
        version=version,
    )


def page_size(limit: int | None) -> int:
    """How many to list for this ``limit``."""
    return PAGE_SIZE if limit is None else max(1, min(limit, PAGE_SIZE))


@dataclass(frozen=True, slots=True)
class _Row:
    number: int
    version: str | None
    modified: float
    etag: str | None  # None for a delete marker
    body: bytes
    metadata: Mapping[str, str] = field(default_factory=dict)

    def listed(self) -> Version:
        return Version(
            version=NULL_VERSION if self.version is None else self.version,
            modified=self.modified,
            etag=self.etag,
            size=len(self.body),
            deleted=self.etag is None,
        )


class MemoryStorage:
    """Objects in the memory of this process, gone with it.

    Buckets need not be created. Every call lets other tasks run once, then takes effect in one step.

    Args:
        versioning: Whether buckets keep every version of an object.
        clock: What stamps the versions, in seconds since 1970. Where it goes back or stands still, the stamps go on
            from the last one, by the clock of the event loop.

    Attributes:
        opened: How many users have it open. It works when that is none, too.
        url: What to call it.
    """

    def __init__(self, *, versioning: bool = True, clock: Callable[[], float] = time.time) -> None:
        self.opened = 0
        self.url = "memory:"
        self._versioning = versioning
        self._clock = MonotonicWallClock(clock)
        self._identity = f"memory: {secrets.token_hex(8)}"
        self._number = 0
        self._buckets: dict[str, dict[str, dict[str, _Row]]] = {}

    def copy(self) -> MemoryStorage:
        """Another store with the objects that this one has now. What is written to one is not in the other."""
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
        """As `mps3.storage.identity.Identified.identity`: each store of this kind is another one."""
        return self._identity

    async def open(self) -> None:
        """Count one user more."""
        self.opened += 1

    async def aclose(self) -> None:
        """Count one user less. The objects stay."""
        self.opened = max(0, self.opened - 1)

    def clock(self) -> float:
        """What time it is, in seconds since 1970."""
        return self._clock()

    async def capabilities(self, bucket: str) -> Capabilities:  # noqa: ARG002 - all buckets are alike
        """What the constructor was told."""
        await asyncio.sleep(0)
        return Capabilities(versioning="enabled" if self._versioning else "off", versionable=self._versioning)

    async def get(
        self,
        bucket: str,
        key: str,
        *,
        version: str | None = None,
        if_none_match: str | None = None,
        limit: int | None = None,
    ) -> Object | Absence:
        """Read an object, as `mps3.storage.Storage.get` says."""
        check_names(bucket, key, "GetObject")
        await asyncio.sleep(0)
        rows = self._rows(bucket, key)
        row = _newest(rows) if version is None else rows.get(version)
        if row is None or row.etag is None:
            return ABSENT
        if row.etag == if_none_match:
            return UNCHANGED
        if limit is not None and len(row.body) > limit:
            raise too_large(bucket, key, row.version, len(row.body), limit)
        return Object(body=row.body, version=row.version, etag=row.etag, modified=row.modified)

    async def put(
        self,
        bucket: str,
        key: str,
        body: bytes,
        *,
        sha256: bytes | None = None,
        if_match: str | None = None,
        if_none_match: bool = False,
        metadata: Mapping[str, str] | None = None,
    ) -> Stored:
        """Write an object, as `mps3.storage.Storage.put` says."""
        check_names(bucket, key, "PutObject")
        etag = checked_etag(body, sha256, bucket, key)
        await asyncio.sleep(0)
        newest = _newest(self._rows(bucket, key))
        current = None if newest is None else newest.etag
        if (if_none_match and current is not None) or (if_match is not None and if_match != current):
            raise conflict(bucket, key, if_match)
        row = self._append(bucket, key, etag, bytes(body), metadata)
        return Stored(version=row.version, etag=etag, modified=row.modified)

    async def head(self, bucket: str, key: str, *, version: str | None = None) -> Head | Absence:
        """Look at an object, as `mps3.storage.Storage.head` says."""
        check_names(bucket, key, "HeadObject")
        await asyncio.sleep(0)
        rows = self._rows(bucket, key)
        row = _newest(rows) if version is None else rows.get(version)
        if row is None or row.etag is None:
            return ABSENT
        return Head(metadata=dict(row.metadata), size=len(row.body), modified=row.modified)

    async def delete(self, bucket: str, key: str, *, version: str | None = None) -> None:
        """Delete an object or a version, as `mps3.storage.Storage.delete` says."""
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
        """List the versions of a key, as `mps3.storage.Storage.versions` says."""
        check_names(bucket, key, "ListObjectVersions")
        await asyncio.sleep(0)
        older = (row for row in _newest_first(self._rows(bucket, key)) if start is None or row.number < int(start))
        size = page_size(limit)
        rows = list(itertools.islice(older, size + 1))
        more = str(rows[size - 1].number) if len(rows) > size else None
        return VersionPage(versions=tuple(row.listed() for row in rows[:size]), next=more, answered=self._clock())

    async def list(self, bucket: str, prefix: str = "", *, start: str | None = None) -> Page:
        """List current objects, as `mps3.storage.Storage.list` says."""
        check_names(bucket, prefix or "any", "ListObjects")
        await asyncio.sleep(0)
        keys = sorted(
            key for key in self._buckets.get(bucket, {}) if key.startswith(prefix) and (start is None or key > start)
        )
        newest = ((key, _newest(self._rows(bucket, key))) for key in keys)
        current = ((key, row) for key, row in newest if row is not None and row.etag is not None)
        found = list(itertools.islice(current, PAGE_SIZE + 1))
        entries = tuple(ListedObject(key, row.modified, len(row.body)) for key, row in found[:PAGE_SIZE])
        return Page(entries=entries, next=entries[-1].key if len(found) > PAGE_SIZE else None)

    async def scan(self, bucket: str, prefix: str = "", *, start: str | None = None) -> Scan:
        """List all versions of many objects, as `mps3.storage.Storage.scan` says."""
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
    # The same in every run, so that a failure can be replayed, and in no order that anyone could come to rely on.
    return hashlib.blake2b(number.to_bytes(8), digest_size=16).hexdigest()


class _NamedStorage(MemoryStorage):
    """One that its last user empties: who comes later finds nothing, whether or not it was freed meanwhile."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self._identity = f"memory:{name}"

    async def aclose(self) -> None:
        await super().aclose()
        if not self.opened:
            self._buckets.clear()


_shared: WeakValueDictionary[str, _NamedStorage] = WeakValueDictionary()


def memory_storage(name: str) -> MemoryStorage:
    """The store in memory that everyone in this process who uses ``name`` shares.

    Args:
        name: Any string.

    Returns:
        The store, with versions. Its objects are gone when nobody has it open any more, or nobody holds it.
    """
    storage = _shared.get(name)
    if storage is None:
        storage = _shared[name] = _NamedStorage(name)
        storage.url = f"memory:{quote(name)}"
    return storage
