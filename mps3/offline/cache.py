"""The cache of states and of objects that never change, in one SQLite file that may be deleted at any time."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sqlite3
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import aiosqlite

from ..errors import CorruptionError, FormatError
from ..support.sqlite import close, connect, error_of, is_locked
from ..types import Ref
from .schema import upgrade

CACHE_BYTES: Final = 256 * 2**20
"""The most bytes of cached objects."""
MMAP_BYTES: Final = 256 * 2**20
LOCK_WAIT: Final = 5.0
"""Seconds that SQLite waits for the lock of another process."""

_FIRST: Final = (
    """
    CREATE TABLE states (
        bucket TEXT, manifest TEXT, stamp REAL NOT NULL, state BLOB NOT NULL, crc INTEGER NOT NULL,
        PRIMARY KEY (bucket, manifest)
    )
    """,
    "CREATE TABLE needed (bucket TEXT, manifest TEXT, object_bucket TEXT, object_key TEXT)",
    # The body is the last column, so that the others are read without it.
    """
    CREATE TABLE objects (
        id INTEGER PRIMARY KEY, bucket TEXT, key TEXT, version TEXT, size INTEGER NOT NULL, used INTEGER NOT NULL,
        crc INTEGER NOT NULL, body BLOB NOT NULL, UNIQUE (bucket, key, version)
    )
    """,
    "CREATE INDEX objects_by_use ON objects (used, size)",
)
SCHEMAS: Final = (_FIRST,)
LARGE: Final = 64 * 2**10
"""Bytes above which a body is not read by the query of its row."""
_FIND: Final = """
    SELECT id, crc, CASE WHEN size < ? THEN body END FROM objects WHERE bucket = ? AND key = ? AND version = ?
"""
_ADD: Final = """
    INSERT OR REPLACE INTO objects (bucket, key, version, size, used, crc, body) VALUES (?, ?, ?, ?, ?, ?, ?)
"""
_KEEP: Final = """
    INSERT INTO states (bucket, manifest, stamp, state, crc) VALUES (:bucket, :manifest, :stamp, :state, :crc)
    ON CONFLICT DO UPDATE SET stamp = excluded.stamp, state = excluded.state, crc = excluded.crc
    WHERE excluded.stamp >= states.stamp
"""
# Least recently used first, until enough bytes are free. Only whole objects are needed, not parts of them.
_EVICT: Final = """
    DELETE FROM objects WHERE id IN (
        SELECT id FROM (
            SELECT id, bucket, key, sum(size) OVER (ORDER BY used, id) - size AS before FROM objects
            WHERE version != '' OR (bucket, key) NOT IN (SELECT object_bucket, object_key FROM needed)
        ) WHERE before < ?
    )
"""

_log = logging.getLogger("mps3")


class FileCache:
    """The cache of a directory, with at most ``most`` bytes of objects."""

    def __init__(self, file: Path, most: int = CACHE_BYTES) -> None:
        self._file = file
        self._most = most
        self._connection: aiosqlite.Connection | None = None
        self._lock = asyncio.Lock()
        self._large_connection: sqlite3.Connection | None = None
        self._large_lock = asyncio.Lock()
        self._adding: dict[tuple[str, str, str], bytes] = {}
        self._touched: dict[tuple[str, str, str], None] = {}
        self._flushing: asyncio.Task[None] | None = None
        self._used = 0
        self._bytes_added = most  # since the last check of the size; at first the size is unknown
        self._warned = False
        self._recreated = False

    async def open(self) -> None:
        """Open the file, or create it anew if it is damaged.

        Raises:
            FormatError: A newer mps3 wrote it.
        """
        try:
            await self._connect()
        except FormatError:
            raise
        except (sqlite3.Error, OSError, CorruptionError) as error:
            await self._handle_error(error)

    async def _connect(self) -> None:
        connection = await connect(self._file, lambda connection: _prepare(connection, self._file), timeout=LOCK_WAIT)
        self._connection = connection
        ((self._used,),) = await connection.execute_fetchall("SELECT coalesce(max(used), 0) FROM objects")

    async def _handle_error(self, error: Exception) -> None:
        """Log the first error, and go on without the cache; move a damaged file aside."""
        if not isinstance(error_of(error, self._file), CorruptionError):
            if not self._warned:
                self._warned = True
                _log.warning("the cache %s cannot be used: %s", self._file, error)
            return  # a full disk may have room again later, and can be read meanwhile
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(sqlite3.Error):
                await close(connection)
        if not self._recreated:
            self._recreated = True
            _log.warning("the cache %s is damaged, so it is moved aside and created anew: %s", self._file, error)
            with contextlib.suppress(sqlite3.Error, OSError):
                await asyncio.to_thread(_put_aside, self._file)
                await self._connect()

    async def aclose(self) -> None:
        """Write what is waiting, and close the file."""
        while self._flushing is not None:
            await asyncio.wait([self._flushing])
        if self._touched:
            await self._flush()
        connection, self._connection = self._connection, None
        async with self._large_lock:
            large, self._large_connection = self._large_connection, None
            if large is not None:
                await asyncio.to_thread(large.close)
        if connection is not None:
            await close(connection)

    async def state(self, manifest: Ref) -> bytes | None:
        """As `OfflineCache.state`."""
        rows = await self._read(
            "SELECT state, crc FROM states WHERE bucket = ? AND manifest = ?", (manifest.bucket, manifest.key)
        )
        return _verified(rows)

    async def manifests(self) -> list[Ref]:
        """Return the manifests that have a state in the cache."""
        rows = await self._read("SELECT manifest, bucket FROM states ORDER BY bucket, manifest", ())
        return [Ref(str(manifest), str(bucket)) for manifest, bucket in rows]

    async def keep_state(self, manifest: Ref, state: bytes, stamp: float, runs: Sequence[tuple[str, str]]) -> None:
        """As `OfflineCache.keep_state`."""
        named = {"bucket": manifest.bucket, "manifest": manifest.key}
        mine = (manifest.bucket, manifest.key)
        await self._flush()  # the runs before the state that needs them
        kept = {**named, "stamp": max(stamp, -1.0), "state": state, "crc": zlib.crc32(state)}
        await self._write(
            (_KEEP, [kept]),
            ("DELETE FROM needed WHERE bucket = ? AND manifest = ?", [mine]),
            ("INSERT INTO needed VALUES (?, ?, ?, ?)", [(*mine, *run) for run in runs]),
        )

    async def get(self, bucket: str, key: str, version: str) -> bytes | None:
        """As `ObjectCache.get`."""
        name = (bucket, key, version)
        if name in self._adding:
            return self._adding[name]
        rows = await self._read(_FIND, (LARGE, *name))
        if rows:
            self._touched[name] = None
        for number, crc, body in rows:
            if body is None:
                reading = asyncio.ensure_future(self._read_large(number, crc))
                return await asyncio.shield(reading)  # a cancelled caller must not stop it halfway
            return _verified([(body, crc)])
        return None

    def add(self, bucket: str, key: str, version: str, body: bytes) -> None:
        """As `ObjectCache.add`, in the background."""
        if len(body) > self._most or self._connection is None:
            return
        self._adding[bucket, key, version] = body
        if self._flushing is None:
            self._flushing = asyncio.get_running_loop().create_task(self._flush_all(), name="mps3 cache")

    async def _flush_all(self) -> None:
        try:
            while self._adding:
                await self._flush()
        finally:
            self._flushing = None

    async def _flush(self) -> None:
        adding, touched = dict(self._adding), self._touched
        self._touched = {}
        if not adding and not touched:
            return
        self._used += 1
        rows = [(*name, len(body), self._used, zlib.crc32(body), body) for name, body in adding.items()]
        used = [(self._used, *name) for name in touched]
        await self._write(
            (_ADD, rows), ("UPDATE objects SET used = ? WHERE bucket = ? AND key = ? AND version = ?", used)
        )
        for name, body in adding.items():
            if self._adding.get(name) is body:
                del self._adding[name]
        self._bytes_added += sum(map(len, adding.values()))
        if self._bytes_added > self._most // 16:
            size = sum(found for (found,) in await self._read("SELECT coalesce(sum(size), 0) FROM objects", ()))
            if size > self._most:
                await self._write((_EVICT, [(size - self._most,)]))
            self._bytes_added = 0

    async def _read_large(self, number: int, crc: int) -> bytes | None:
        """Read a body without the copies that a query makes of it."""
        try:
            async with self._large_lock:
                if self._connection is None:
                    return None
                if self._large_connection is None:
                    self._large_connection = await asyncio.to_thread(_connect_for_bodies, self._file)
                return await asyncio.to_thread(_body, self._large_connection, number, crc)
        except (sqlite3.Error, OSError):
            return None  # evicted since it was found; the next query reports any other error

    async def _read(self, sql: str, arguments: tuple[Any, ...]) -> list[Any]:
        try:
            async with self._lock:
                if self._connection is None:
                    return []
                return list(await self._connection.execute_fetchall(sql, arguments))
        except (sqlite3.Error, OSError, ValueError) as error:
            if not is_locked(error):
                await self._handle_error(error)
            return []

    async def _write(self, *steps: tuple[str, Sequence[Any]]) -> None:
        task = asyncio.ensure_future(self._transaction(steps))
        await asyncio.shield(task)  # a cancelled caller must leave no transaction open

    async def _transaction(self, steps: Sequence[tuple[str, Sequence[Any]]]) -> None:
        try:
            async with self._lock:
                connection = self._connection
                if connection is None:
                    return
                await connection.execute("BEGIN IMMEDIATE")
                try:
                    for sql, arguments in steps:
                        if arguments:
                            await connection.executemany(sql, arguments)
                    await connection.execute("COMMIT")
                except BaseException:
                    if connection.in_transaction:
                        await connection.execute("ROLLBACK")
                    raise
        except (sqlite3.Error, OSError, ValueError, OverflowError) as error:
            if not is_locked(error):
                await self._handle_error(error)


def _verified(rows: list[Any]) -> bytes | None:
    for body, crc in rows:
        if isinstance(body, bytes) and zlib.crc32(body) == crc:
            return body
    return None


def _connect_for_bodies(file: Path) -> sqlite3.Connection:
    # Used by one thread at a time, but not always the same one.
    connection = sqlite3.connect(file, check_same_thread=False, isolation_level=None)
    connection.execute(f"PRAGMA mmap_size = {MMAP_BYTES}")
    return connection


def _body(connection: sqlite3.Connection, number: int, crc: int) -> bytes | None:
    with connection.blobopen("objects", "body", number, readonly=True) as blob:
        body = blob.read()
    return body if zlib.crc32(body) == crc else None


def _prepare(connection: sqlite3.Connection, file: Path) -> None:
    # Runs have megabytes and are read at every start: large pages and mmap avoid copies.
    connection.execute("PRAGMA page_size = 32768")
    connection.execute(f"PRAGMA mmap_size = {MMAP_BYTES}")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    upgrade(connection, file, SCHEMAS, what="cache", advice="upgrade, or remove it: the store has all of its data")


def _put_aside(file: Path) -> None:
    file.replace(f"{file}.damaged")
    for suffix in ("-wal", "-shm"):
        with contextlib.suppress(OSError):
            Path(f"{file}{suffix}").unlink()
