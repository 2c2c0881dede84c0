"""A store in a directory of this machine, durable and safe for several processes.

Every call is one SQL statement, which the thread of a connection executes. SQLite makes it atomic: when a caller is
cancelled or killed, no transaction stays open and no lock stays held.
"""

from __future__ import annotations

import json
import os
import secrets
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from .byte_ranges import MAX_POSITION, check_byte_range, size_of_part
from .local_clock import SharedClock, uptime
from .local_database import LocalDatabase
from .local_notifications import LocalNotifications
from .local_schema import DELETE, GET_NEWEST, GET_VERSION, HEAD, LIST, PUT, PUT_DELETE_MARKER, SCAN, VERSIONS
from .memory import check_names, checked_etag, conflict, too_large
from .monotonic_clock import MonotonicWallClock
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
    from collections.abc import Mapping


FILE_NAME: Final = "objects.sqlite3"


class LocalStorage:
    """Objects in a directory of this machine, shared by all processes that use the same directory.

    They are in one SQLite file, ``objects.sqlite3``. Buckets need not be created. An acknowledged ``put`` survives a
    crash of the process and a power failure. The directory must not be on a network file system.

    The methods raise the errors of `mps3.storage.Storage`. Besides, they raise ``CorruptionError`` if the file is
    damaged, and ``UnavailableError`` if the disk is full, the file is inaccessible, or other processes hold its lock
    for 30 seconds.

    Args:
        path: The directory. `open` creates it if needed.
        versioning: Whether buckets keep every version of an object. The first use of the directory fixes it.

    Attributes:
        url: Its URL, for messages and `MPS3.from_url`.
        notifications: Its clients, in all processes, hear of each other's commits by these.
    """

    def __init__(self, path: str | os.PathLike[str], *, versioning: bool = True) -> None:
        self._file = Path(path) / FILE_NAME
        directory = Path(path).absolute()
        self.url = directory.as_uri()
        self.notifications = LocalNotifications(directory)
        self._versioning = versioning
        clock = SharedClock()
        # The loop's clock counts too: a test may move it.
        self._monotonic_clock = MonotonicWallClock(clock)
        self._database = LocalDatabase(self._file, versioning=versioning, clock=clock)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.url}>"

    def identity(self) -> str:
        """As `mps3.storage.identity.Identified.identity`: the directory, with links resolved."""
        return f"file {os.path.realpath(self._file.parent)}"

    async def open(self) -> None:
        """Create the directory if needed, and start two threads: one reads, one writes.

        Every user of the storage calls it, and `aclose` at the end.

        Raises:
            ConfigurationError: The directory is invalid, or was created with another ``versioning``; or the storage is
                open in another event loop.
            AccessError: The directory is not writable.
            CorruptionError: Its file is not a database.
            FormatError: A newer mps3 wrote its file.
        """
        await self._database.open()
        try:
            await self.notifications.open()
        except BaseException:
            await self.aclose()
            raise

    async def aclose(self) -> None:
        """If this is the last user, finish the statements under way and stop the threads, even when cancelled."""
        try:
            await self.notifications.aclose()
        finally:
            await self._database.aclose()

    def clock(self) -> float:
        """Return the time, in seconds since 1970.

        It follows this machine's clock. When that is set back or stands still, the time goes on, equally for all
        processes that use the directory.
        """
        return self._monotonic_clock()

    def _now(self) -> dict[str, float]:
        return {"now": self.clock(), "uptime": uptime()}

    async def capabilities(self, bucket: str) -> Capabilities:  # noqa: ARG002 - all buckets are alike
        """As `mps3.storage.Storage.capabilities`."""
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
        start, end = byte_range or (0, MAX_POSITION)
        newest = version is None or (version == NULL_VERSION and not self._versioning)
        rows = await self._database.read(
            "GetObject",
            GET_NEWEST if newest else GET_VERSION,
            bucket,
            key,
            version=version,
            if_none_match=if_none_match,
            limit=sys.maxsize if limit is None else limit,
            start=start,
            end=end,
            partial=byte_range is not None,
        )
        for found, modified, etag, size, body in rows:
            if etag is None:
                return ABSENT
            if etag == if_none_match:
                return UNCHANGED
            returned = size_of_part(size, byte_range)
            if limit is not None and returned > limit:
                raise too_large(bucket, key, found, returned, limit)
            return Object(body, found, etag, modified, partial=byte_range is not None)
        return ABSENT

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
        """As `mps3.storage.Storage.put`.

        Raises:
            ConfigurationError: The body is larger than SQLite accepts (about 1,000,000,000 bytes).
            CorruptionError: ``body`` does not have the digest ``sha256``.
        """
        check_names(bucket, key, "PutObject")
        etag = await checked_etag(body, sha256, bucket, key)
        version = secrets.token_urlsafe(24) if self._versioning else None
        written = await self._database.write(
            "PutObject",
            PUT,
            bucket,
            key,
            version=version,
            **self._now(),
            etag=etag,
            size=len(body),
            body=body,
            if_none_match=if_none_match,
            metadata=json.dumps(dict(metadata)) if metadata else None,
        )
        if not written:
            raise conflict(bucket, key)
        return Stored(version=version, etag=etag, modified=written[0][0])

    async def head(self, bucket: str, key: str, *, version: str | None = None) -> Head | Absence:
        """As `mps3.storage.Storage.head`."""
        check_names(bucket, key, "HeadObject")
        newest = version is None or (version == NULL_VERSION and not self._versioning)
        for modified, etag, size, metadata in await self._database.read(
            "HeadObject", HEAD, bucket, key, version=None if newest else version
        ):
            if etag is None:
                return ABSENT
            return Head(metadata=json.loads(metadata) if metadata else {}, size=size, modified=modified)
        return ABSENT

    async def delete(self, bucket: str, key: str, *, version: str | None = None) -> None:
        """As `mps3.storage.Storage.delete`."""
        check_names(bucket, key, "DeleteObject")
        if self._versioning and version is None:
            marker = secrets.token_urlsafe(24)
            await self._database.write("DeleteObject", PUT_DELETE_MARKER, bucket, key, version=marker, **self._now())
        else:
            stored = None if version == NULL_VERSION and not self._versioning else version
            await self._database.write("DeleteObject", DELETE, bucket, key, version=stored)

    async def versions(
        self, bucket: str, key: str, *, start: str | None = None, limit: int | None = None
    ) -> VersionPage:
        """As `mps3.storage.Storage.versions`."""
        check_names(bucket, key, "ListObjectVersions")
        size = page_size(limit)
        before = sys.maxsize if start is None else int(start)
        rows = await self._database.read("ListObjectVersions", VERSIONS, bucket, key, start=before, limit=size + 1)
        versions = tuple(
            Version(NULL_VERSION if version is None else version, modified, etag, length, deleted=etag is None)
            for _, version, modified, etag, length in rows[:size]
        )
        # The stamps may be ahead of the clock, because no two versions have the same stamp.
        answered = max([self.clock(), *(version.modified for version in versions)])
        return VersionPage(versions, str(rows[size - 1][0]) if len(rows) > size else None, answered)

    async def scan(self, bucket: str, prefix: str = "", *, start: str | None = None) -> Scan:
        """As `mps3.storage.Storage.scan`."""
        check_names(bucket, prefix or "any", "ListObjectVersions")
        first = prefix.encode()
        after, _, before = (start or "").rpartition("/")
        rows = await self._database.read(
            "ListObjectVersions",
            SCAN,
            bucket,
            None,
            first=first,
            end=_end(first),
            after=after.encode(),
            before=int(before or 0),
            limit=PAGE_SIZE + 1,
        )
        found = tuple(
            ListedVersion(
                key.decode(), NULL_VERSION if version is None else version, modified, size, deleted=etag is None
            )
            for _, key, version, modified, etag, size in rows[:PAGE_SIZE]
        )
        return Scan(found, f"{found[-1].key}/{rows[PAGE_SIZE - 1][0]}" if len(rows) > PAGE_SIZE else None)

    async def list(self, bucket: str, prefix: str = "", *, start: str | None = None, limit: int | None = None) -> Page:
        """As `mps3.storage.Storage.list`."""
        check_names(bucket, prefix or "any", "ListObjects")
        first, size = prefix.encode(), page_size(limit)
        rows = await self._database.read(
            "ListObjects",
            LIST,
            bucket,
            None,
            first=first,
            end=_end(first),
            start=b"" if start is None else start.encode(),
            limit=size + 1,
        )
        entries = tuple(ListedObject(key.decode(), modified, size) for key, modified, size in rows[:size])
        return Page(entries=entries, next=entries[-1].key if len(rows) > size else None)


def _end(first: bytes) -> bytes:
    """Return the upper bound of all keys with this prefix."""
    # UTF-8 has no byte 0xff, so this bounds all keys, and adding one to the last byte never overflows.
    return first[:-1] + bytes([first[-1] + 1]) if first else b"\xff"
