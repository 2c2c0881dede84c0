"""Objects in a directory of this machine: versions, conditions and all, safe between processes and after a crash.

Every call is one SQL statement, run whole by the thread of one connection. SQLite makes each atomic, so
that whoever is cancelled, killed or ahead, no transaction stays open and no lock is held.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import sqlite3
import sys
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar

import aiosqlite

from ..errors import ClosedError, ConfigurationError, FormatError
from ..support.loop_affinity import LoopAffinity
from ..support.sqlite import PATIENCE, close, connect, error_of, is_locked, value
from .local_clock import ADOPT, NEWEST_STAMP, TIME, SharedClock, uptime
from .memory import NULL_VERSION, PAGE_SIZE, check_names, checked_etag, conflict, page_size, too_large
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
from .rising_clock import RisingClock

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

T = TypeVar("T")
Rows: TypeAlias = list[Any]

FILE_NAME: Final = "objects.sqlite3"
SCHEMA: Final = 2
"""1: without `metadata`."""
LOCK_WAIT: Final = 0.5
"""Seconds that SQLite waits in one go; in between it can be seen that nobody wants the answer any more."""
LOCK_PAUSE: Final = 0.01
"""Seconds before asking SQLite again."""
LARGE: Final = 1 << 16
"""Bytes from which hashing would be felt on the event loop."""

# Rows are in the order of their ids, which are never used twice. A delete marker is a row without an ETag.
_CREATE: Final = (
    "CREATE TABLE store (versioning INTEGER NOT NULL)",
    """
    CREATE TABLE objects (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        bucket BLOB NOT NULL,
        key BLOB NOT NULL,
        version TEXT,
        modified REAL NOT NULL,
        etag TEXT,
        size INTEGER NOT NULL,
        body BLOB NOT NULL,
        metadata TEXT
    )
    """,
    "CREATE INDEX objects_by_key ON objects (bucket, key)",
    "CREATE UNIQUE INDEX objects_by_version ON objects (version)",
    # Without versions, this is what makes INSERT OR REPLACE replace.
    "CREATE UNIQUE INDEX objects_unversioned ON objects (bucket, key) WHERE version IS NULL",
)
_NEWEST: Final = "SELECT etag FROM objects WHERE bucket = :bucket AND key = :key ORDER BY id DESC LIMIT 1"
# The stamps go on though the clock be set back: who lists back to a stamp must not miss what is newer.
_STAMP: Final = f"max(:now, {TIME}, {NEWEST_STAMP} + 0.0002)"
_PUT: Final = f"""
    INSERT OR REPLACE INTO objects (bucket, key, version, modified, etag, size, body, metadata)
    SELECT :bucket, :key, :version, {_STAMP}, :etag, :size, :body, :metadata
    WHERE (:if_match IS NULL OR :if_match = ({_NEWEST})) AND (NOT :if_none_match OR ({_NEWEST}) IS NULL)
    RETURNING modified
"""
_MARK: Final = f"""
    INSERT INTO objects (bucket, key, version, modified, etag, size, body)
    SELECT :bucket, :key, :version, {_STAMP}, NULL, 0, x'' WHERE ({_NEWEST}) IS NOT NULL
"""
_DELETE: Final = "DELETE FROM objects WHERE bucket = :bucket AND key = :key AND version IS :version"
_GET: Final = """
    SELECT version, modified, etag, size,
        CASE WHEN etag = :if_none_match OR size > :limit THEN NULL ELSE body END AS body
    FROM objects WHERE bucket = :bucket AND key = :key
"""
_GET_NEWEST: Final = f"{_GET} ORDER BY id DESC LIMIT 1"
_GET_VERSION: Final = f"{_GET} AND version = :version"
_HEAD: Final = """
    SELECT modified, etag, size, metadata FROM objects
    WHERE bucket = :bucket AND key = :key AND (:version IS NULL OR version = :version) ORDER BY id DESC LIMIT 1
"""
_SCAN: Final = """
    SELECT id, key, version, modified, etag, size FROM objects
    WHERE bucket = :bucket AND key >= :first AND key < :end
        AND (key > :after OR (key = :after AND id < :before))
    ORDER BY key, id DESC LIMIT :limit
"""
_VERSIONS: Final = """
    SELECT id, version, modified, etag, size FROM objects
    WHERE bucket = :bucket AND key = :key AND id < :start ORDER BY id DESC LIMIT :limit
"""
# Steps from key to key: a key may have a hundred thousand versions.
_LIST: Final = """
    WITH RECURSIVE keys (key) AS (
        SELECT min(key) FROM objects WHERE bucket = :bucket AND key >= :first AND key > :start AND key < :end
        UNION ALL
        SELECT (SELECT min(key) FROM objects WHERE bucket = :bucket AND key > keys.key AND key < :end)
        FROM keys WHERE keys.key IS NOT NULL
    )
    SELECT keys.key, modified, size FROM keys JOIN objects ON objects.id = (
        SELECT id FROM objects WHERE bucket = :bucket AND key = keys.key ORDER BY id DESC LIMIT 1
    )
    WHERE etag IS NOT NULL LIMIT :limit
"""


_left_alone: Final[list[object]] = []


class LocalStorage:
    """Objects in a directory of this machine, shared by all processes that use the same directory.

    They are kept in one SQLite file, ``objects.sqlite3``. Buckets need not be created. What a ``put`` has
    acknowledged survives the end of the process and of the power. The directory must not be on a
    network file system.

    Args:
        path: The directory. `open` creates it if need be.
        versioning: Whether buckets keep every version of an object. It is settled for good when the
            directory is first used.

    Attributes:
        url: What to call it, and how `MPS3.from_url` finds it.
    """

    def __init__(self, path: str | os.PathLike[str], *, versioning: bool = True) -> None:
        self._file = Path(path) / FILE_NAME
        self.url = Path(path).absolute().as_uri()
        self._versioning = versioning
        self._reader: aiosqlite.Connection | None = None
        self._writer: aiosqlite.Connection | None = None
        self._opening = asyncio.Lock()
        self._turn = asyncio.Lock()
        self._users = 0
        self._process = os.getpid()
        self._home = LoopAffinity("store")
        self._shared = SharedClock(_wall)
        # By the time of the event loop, too, which a test may have jump.
        self._rising = RisingClock(self._shared)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.url}>"

    def identity(self) -> str:
        """As `mps3.storage.identity.Identified.identity`: the directory, however it is reached."""
        return f"file {os.path.realpath(self._file.parent)}"

    async def open(self) -> None:
        """Create the directory if need be, and start two threads: one reads, one writes.

        Every user of the storage calls it, and `aclose` in the end.

        Raises:
            ConfigurationError: The directory cannot be one, or was made with another ``versioning``; or others have
                it open in another event loop.
            AccessError: It may not be written to.
            CorruptionError: Its file is not a database.
            FormatError: Its file was written by a newer mps3.
            UnavailableError: The disk is full, or another process keeps the file locked.
        """
        if self._process != os.getpid():
            self._leave_to_the_parent()
        if self._users == 0 or self._home.is_gone:
            # Once waited for, a lock belongs to its event loop.
            self._opening, self._turn = asyncio.Lock(), asyncio.Lock()
            self._home.settle()
        self._home.check()
        self._users += 1
        try:
            async with self._opening:
                if self._writer is None:
                    self._writer = await self._patiently("open", None, None, self._connect)
                if self._reader is None:
                    self._reader = await self._patiently("open", None, None, self._connect)
        except BaseException:
            await self.aclose()
            raise

    async def aclose(self) -> None:
        """With the last user, finish the statements under way and stop the threads, though it be cancelled."""
        if self._process != os.getpid():
            return
        self._users = max(0, self._users - 1)
        if self._users == 0:
            connections, self._reader, self._writer = (self._reader, self._writer), None, None
            await close(*filter(None, connections))

    def clock(self) -> float:
        """What time it is, in seconds since 1970.

        It is what this machine's clock shows. Where that is set back or stands still, the time goes on all the same,
        alike for all processes that share the directory.
        """
        return self._rising()

    def _now(self) -> dict[str, float]:
        return {"now": self.clock(), "uptime": uptime()}

    async def capabilities(self, bucket: str) -> Capabilities:  # noqa: ARG002 - all buckets are alike
        """What the constructor was told."""
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
        """Read an object, as `mps3.storage.Storage.get` says.

        Raises:
            CorruptionError: It is larger than ``limit``, or the file is damaged.
            UnavailableError: The file could not be read.
        """
        check_names(bucket, key, "GetObject")
        newest = version is None or (version == NULL_VERSION and not self._versioning)
        rows = await self._read(
            "GetObject",
            _GET_NEWEST if newest else _GET_VERSION,
            bucket,
            key,
            version=version,
            if_none_match=if_none_match,
            limit=sys.maxsize if limit is None else limit,
        )
        for found, modified, etag, size, body in rows:
            if etag is None:
                return ABSENT
            if etag == if_none_match:
                return UNCHANGED
            if limit is not None and size > limit:
                raise too_large(bucket, key, found, size, limit)
            return Object(body=body, version=found, etag=etag, modified=modified)
        return ABSENT

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
        """Write an object, as `mps3.storage.Storage.put` says.

        Raises:
            ConflictError: The condition did not hold; nothing was written.
            ConfigurationError: The body is larger than SQLite takes (some 1,000,000,000 bytes).
            CorruptionError: ``body`` does not have the digest ``sha256``, or the file is damaged.
            UnavailableError: The disk is full, or other processes did not let this one write for 30 seconds.
        """
        check_names(bucket, key, "PutObject")
        if len(body) < LARGE:
            etag = checked_etag(body, sha256, bucket, key)
        else:
            etag = await asyncio.to_thread(checked_etag, body, sha256, bucket, key)
        version = secrets.token_urlsafe(24) if self._versioning else None
        written = await self._write(
            "PutObject",
            _PUT,
            bucket,
            key,
            version=version,
            **self._now(),
            etag=etag,
            size=len(body),
            body=body,
            if_match=if_match,
            if_none_match=if_none_match,
            metadata=json.dumps(dict(metadata)) if metadata else None,
        )
        if not written:
            raise conflict(bucket, key, if_match)
        return Stored(version=version, etag=etag, modified=written[0][0])

    async def head(self, bucket: str, key: str, *, version: str | None = None) -> Head | Absence:
        """Look at an object, as `mps3.storage.Storage.head` says.

        Raises:
            UnavailableError: The file could not be read.
        """
        check_names(bucket, key, "HeadObject")
        newest = version is None or (version == NULL_VERSION and not self._versioning)
        for modified, etag, size, metadata in await self._read(
            "HeadObject", _HEAD, bucket, key, version=None if newest else version
        ):
            if etag is None:
                return ABSENT
            return Head(metadata=json.loads(metadata) if metadata else {}, size=size, modified=modified)
        return ABSENT

    async def delete(self, bucket: str, key: str, *, version: str | None = None) -> None:
        """Delete an object or a version, as `mps3.storage.Storage.delete` says.

        Raises:
            UnavailableError: The file could not be written; whether it was is not known.
        """
        check_names(bucket, key, "DeleteObject")
        if self._versioning and version is None:
            marker = secrets.token_urlsafe(24)
            await self._write("DeleteObject", _MARK, bucket, key, version=marker, **self._now())
        else:
            stored = None if version == NULL_VERSION and not self._versioning else version
            await self._write("DeleteObject", _DELETE, bucket, key, version=stored)

    async def versions(
        self, bucket: str, key: str, *, start: str | None = None, limit: int | None = None
    ) -> VersionPage:
        """List the versions of a key, as `mps3.storage.Storage.versions` says.

        Raises:
            UnavailableError: The file could not be read.
        """
        check_names(bucket, key, "ListObjectVersions")
        size = page_size(limit)
        before = sys.maxsize if start is None else int(start)
        rows = await self._read("ListObjectVersions", _VERSIONS, bucket, key, start=before, limit=size + 1)
        versions = tuple(
            Version(NULL_VERSION if version is None else version, modified, etag, length, deleted=etag is None)
            for _, version, modified, etag, length in rows[:size]
        )
        # The stamps may be ahead: two versions never have the same one.
        answered = max([self.clock(), *(version.modified for version in versions)])
        return VersionPage(versions, str(rows[size - 1][0]) if len(rows) > size else None, answered)

    async def scan(self, bucket: str, prefix: str = "", *, start: str | None = None) -> Scan:
        """List all versions of many objects, as `mps3.storage.Storage.scan` says.

        Raises:
            UnavailableError: The file could not be read.
        """
        check_names(bucket, prefix or "any", "ListObjectVersions")
        first = prefix.encode()
        after, _, before = (start or "").rpartition("/")
        rows = await self._read(
            "ListObjectVersions",
            _SCAN,
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

    async def list(self, bucket: str, prefix: str = "", *, start: str | None = None) -> Page:
        """List current objects, as `mps3.storage.Storage.list` says.

        Raises:
            UnavailableError: The file could not be read.
        """
        check_names(bucket, prefix or "any", "ListObjects")
        first = prefix.encode()
        rows = await self._read(
            "ListObjects",
            _LIST,
            bucket,
            None,
            first=first,
            end=_end(first),
            start=b"" if start is None else start.encode(),
            limit=PAGE_SIZE + 1,
        )
        entries = tuple(ListedObject(key.decode(), modified, size) for key, modified, size in rows[:PAGE_SIZE])
        return Page(entries=entries, next=entries[-1].key if len(rows) > PAGE_SIZE else None)

    async def _read(self, operation: str, sql: str, bucket: str, key: str | None, **arguments: Any) -> Rows:
        names = _names(bucket, key)
        await self._set_clock()

        async def fetch() -> Rows:
            return list(await self._open_one(self._reader).execute_fetchall(sql, names | arguments))

        return await self._patiently(operation, bucket, key, fetch)

    async def _write(self, operation: str, sql: str, bucket: str, key: str, **arguments: Any) -> Rows:
        names = _names(bucket, key)
        await self._set_clock()

        async def execute() -> Rows:
            # In one go on the thread, so that nothing is left open that would hold the lock.
            return list(await self._open_one(self._writer).execute_fetchall(sql, names | arguments))

        # One at a time, so that what was cancelled or comes too late for aclose() never reaches the thread.
        async with self._turn:
            return await self._patiently(operation, bucket, key, execute)

    def _leave_to_the_parent(self) -> None:
        # The child of a fork has connections without their threads; to close them would disturb the parent.
        _left_alone.append((self._reader, self._writer))
        self._reader = self._writer = None
        self._users, self._process = 0, os.getpid()

    def _open_one(self, connection: aiosqlite.Connection | None) -> aiosqlite.Connection:
        if connection is None or self._process != os.getpid():
            raise ClosedError(f"{self._file} is not open in this process: call open() first")
        self._home.check()
        return connection

    async def _patiently(
        self, operation: str, bucket: str | None, key: str | None, call: Callable[[], Awaitable[T]]
    ) -> T:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + PATIENCE
        while True:
            try:
                return await call()
            except (sqlite3.Error, OSError, ValueError, OverflowError) as error:
                if not is_locked(error) or loop.time() > deadline:
                    raise error_of(error, self._file, bucket, key, operation) from error
            await asyncio.sleep(LOCK_PAUSE)

    async def _connect(self) -> aiosqlite.Connection:
        return await connect(
            self._file,
            partial(_prepare, file=self._file, versioning=self._versioning, clock=self._shared),
            timeout=LOCK_WAIT,
        )

    async def _set_clock(self) -> None:
        """Keep what time it is, where this machine's clock was put forward: before anybody is told so."""
        if not self._shared.is_behind or self._writer is None or self._turn.locked():
            return
        self._shared.put_off()
        async with self._turn:
            try:
                moment = await self._open_one(self._writer).execute_fetchall(ADOPT, self._shared.parameters())
            except (sqlite3.Error, OSError, ValueError):
                return  # somebody else writes, perhaps: it is tried again
            self._shared.adopted(list(moment))


def _wall() -> float:
    return time.time()


def _end(first: bytes) -> bytes:
    """What follows all keys that start so."""
    # No UTF-8 has a byte 0xff, so this bounds all keys, and adding one to the last byte never overflows.
    return first[:-1] + bytes([first[-1] + 1]) if first else b"\xff"


def _names(bucket: str, key: str | None) -> dict[str, Any]:
    # As bytes: they compare as on S3, and may hold NUL.
    return {"bucket": bucket.encode(), "key": None if key is None else key.encode()}


def _prepare(connection: sqlite3.Connection, file: Path, *, versioning: bool, clock: SharedClock) -> None:
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA fullfsync = ON")
    schema = value(connection, "PRAGMA user_version")
    if schema > SCHEMA:
        raise FormatError(
            f"{file} was written by a newer mps3 (its schema is {schema}, this version reads up to {SCHEMA}): upgrade"
        )
    if schema == 0:
        _create(connection, file, versioning=versioning)
    elif schema == 1:
        _add_metadata(connection)
    if bool(value(connection, "SELECT versioning FROM store")) != versioning:
        raise ConfigurationError(
            f"{file} was made with versioning={not versioning}: open it so, or choose another directory"
        )
    clock.open(connection)


def _create(connection: sqlite3.Connection, file: Path, *, versioning: bool) -> None:
    if value(connection, "SELECT count(*) FROM sqlite_master"):
        # Or another process has just made them.
        if value(connection, "PRAGMA user_version") == SCHEMA:
            return
        raise ConfigurationError(f"{file} holds the tables of another program: choose another directory")
    if value(connection, "PRAGMA journal_mode = WAL") != "wal":
        raise ConfigurationError(f"SQLite cannot keep a write-ahead log beside {file}: choose another file system")
    connection.execute("BEGIN IMMEDIATE")
    if value(connection, "PRAGMA user_version") == 0:
        for statement in _CREATE:
            connection.execute(statement)
        connection.execute("INSERT INTO store VALUES (?)", [versioning])
        connection.execute(f"PRAGMA user_version = {SCHEMA}")
    connection.execute("COMMIT")


def _add_metadata(connection: sqlite3.Connection) -> None:
    connection.execute("BEGIN IMMEDIATE")
    if value(connection, "PRAGMA user_version") == 1:  # or another process has just done it
        connection.execute("ALTER TABLE objects ADD COLUMN metadata TEXT")
        connection.execute(f"PRAGMA user_version = {SCHEMA}")
    connection.execute("COMMIT")
