"""The cache: states of manifests, and objects that never change, in one SQLite file that may be thrown away."""

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

CACHE: Final = 256 * 2**20
"""Bytes of values to keep at the most."""
MAPPED: Final = 256 * 2**20
LOCK_WAIT: Final = 5.0
"""Seconds that SQLite waits for others who are writing."""

_FIRST: Final = (
    """
    CREATE TABLE states (
        bucket TEXT, manifest TEXT, stamp REAL NOT NULL, state BLOB NOT NULL, crc INTEGER NOT NULL,
        PRIMARY KEY (bucket, manifest)
    )
    """,
    "CREATE TABLE needed (bucket TEXT, manifest TEXT, object_bucket TEXT, object_key TEXT)",
    # The body comes last, so that the rest of a row is read without it.
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
"""Bodies of more bytes than this are read apart from their rows."""
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
# Oldest first, until enough bytes are gone.
_EVICT: Final = """
    DELETE FROM objects WHERE id IN (
        SELECT id FROM (
            SELECT id, bucket, key, sum(size) OVER (ORDER BY used, id) - size AS before FROM objects
            WHERE (bucket, key) NOT IN (SELECT object_bucket, object_key FROM needed)
        ) WHERE before < ?
    )
"""

_log = logging.getLogger("mps3")


class FileCache:
    """The cache of a directory.

    Args:
        file: Where it is.
        most: Bytes of objects to keep at the most.
    """

    def __init__(self, file: Path, most: int = CACHE) -> None:
        self._file = file
        self._most = most
        self._connection: aiosqlite.Connection | None = None
        self._turn = asyncio.Lock()
        self._large: sqlite3.Connection | None = None
        self._large_turn = asyncio.Lock()
        self._adding: dict[tuple[str, str, str], bytes] = {}
        self._touched: dict[tuple[str, str, str], None] = {}
        self._flushing: asyncio.Task[None] | None = None
        self._used = 0
        self._grown = most  # bytes added since it was last made smaller: at first nobody knows
        self._complained = False
        self._renewed = False

    async def open(self) -> None:
        """Open it, or put one that is damaged aside and begin anew.

        Raises:
            FormatError: A newer mps3 wrote it.
        """
        try:
            await self._connect()
        except FormatError:
            raise
        except (sqlite3.Error, OSError, CorruptionError) as error:
            await self._trouble(error)

    async def _connect(self) -> None:
        connection = await connect(self._file, lambda connection: _prepare(connection, self._file), timeout=LOCK_WAIT)
        self._connection = connection
        ((self._used,),) = await connection.execute_fetchall("SELECT coalesce(max(used), 0) FROM objects")

    async def _trouble(self, error: Exception) -> None:
        """Go on without what cannot be done, and say so once; put aside what is damaged."""
        if not isinstance(error_of(error, self._file), CorruptionError):
            if not self._complained:
                self._complained = True
                _log.warning("the cache %s cannot be used: %s", self._file, error)
            return  # a disk that is full may have room again, and what is there can be read meanwhile
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(sqlite3.Error):
                await close(connection)
        if not self._renewed:
            self._renewed = True
            _log.warning("the cache %s is damaged, so it is put aside, and made anew: %s", self._file, error)
            with contextlib.suppress(sqlite3.Error, OSError):
                await asyncio.to_thread(_put_aside, self._file)
                await self._connect()

    async def aclose(self) -> None:
        """Write what is waiting, and close it."""
        while self._flushing is not None:
            await asyncio.wait([self._flushing])
        if self._touched:
            await self._flush()
        connection, self._connection = self._connection, None
        async with self._large_turn:
            large, self._large = self._large, None
            if large is not None:
                await asyncio.to_thread(large.close)
        if connection is not None:
            await close(connection)

    async def state(self, manifest: Ref) -> bytes | None:
        """The state kept last."""
        rows = await self._read(
            "SELECT state, crc FROM states WHERE bucket = ? AND manifest = ?", (manifest.bucket, manifest.key)
        )
        return _sound(rows)

    async def manifests(self) -> list[Ref]:
        """The manifests of which a state is kept."""
        rows = await self._read("SELECT manifest, bucket FROM states ORDER BY bucket, manifest", ())
        return [Ref(str(manifest), str(bucket)) for manifest, bucket in rows]

    async def keep_state(self, manifest: Ref, state: bytes, stamp: float, runs: Sequence[tuple[str, str]]) -> None:
        """Keep a state, unless a newer one is kept."""
        named = {"bucket": manifest.bucket, "manifest": manifest.key}
        mine = (manifest.bucket, manifest.key)
        await self._flush()  # the runs first
        kept = {**named, "stamp": max(stamp, -1.0), "state": state, "crc": zlib.crc32(state)}
        await self._write(
            (_KEEP, [kept]),
            ("DELETE FROM needed WHERE bucket = ? AND manifest = ?", [mine]),
            ("INSERT INTO needed VALUES (?, ?, ?, ?)", [(*mine, *run) for run in runs]),
        )

    async def get(self, bucket: str, key: str, version: str) -> bytes | None:
        """The bytes of an object that never changes."""
        name = (bucket, key, version)
        if name in self._adding:
            return self._adding[name]
        rows = await self._read(_FIND, (LARGE, *name))
        if rows:
            self._touched[name] = None
        for number, crc, body in rows:
            if body is None:
                reading = asyncio.ensure_future(self._read_large(number, crc))
                return await asyncio.shield(reading)  # whoever gives up waiting does not stop it halfway
            return _sound([(body, crc)])
        return None

    def add(self, bucket: str, key: str, version: str, body: bytes) -> None:
        """Keep the bytes of an object that never changes, sooner or later."""
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
        self._grown += sum(map(len, adding.values()))
        if self._grown > self._most // 16:
            size = sum(found for (found,) in await self._read("SELECT coalesce(sum(size), 0) FROM objects", ()))
            if size > self._most:
                await self._write((_EVICT, [(size - self._most,)]))
            self._grown = 0

    async def _read_large(self, number: int, crc: int) -> bytes | None:
        """A body without the copies that a query makes of it."""
        try:
            async with self._large_turn:
                if self._connection is None:
                    return None
                if self._large is None:
                    self._large = await asyncio.to_thread(_connect_for_bodies, self._file)
                return await asyncio.to_thread(_body, self._large, number, crc)
        except (sqlite3.Error, OSError):
            return None  # removed since it was found; or else the next query says what is wrong

    async def _read(self, sql: str, arguments: tuple[Any, ...]) -> list[Any]:
        try:
            async with self._turn:
                if self._connection is None:
                    return []
                return list(await self._connection.execute_fetchall(sql, arguments))
        except (sqlite3.Error, OSError, ValueError) as error:
            if not is_locked(error):
                await self._trouble(error)
            return []

    async def _write(self, *steps: tuple[str, Sequence[Any]]) -> None:
        task = asyncio.ensure_future(self._transaction(steps))
        await asyncio.shield(task)  # whoever gives up waiting leaves no transaction open

    async def _transaction(self, steps: Sequence[tuple[str, Sequence[Any]]]) -> None:
        try:
            async with self._turn:
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
                await self._trouble(error)


def _sound(rows: list[Any]) -> bytes | None:
    for body, crc in rows:
        if isinstance(body, bytes) and zlib.crc32(body) == crc:
            return body
    return None


def _connect_for_bodies(file: Path) -> sqlite3.Connection:
    # Used by one thread at a time, but not always by the same.
    connection = sqlite3.connect(file, check_same_thread=False, isolation_level=None)
    connection.execute(f"PRAGMA mmap_size = {MAPPED}")
    return connection


def _body(connection: sqlite3.Connection, number: int, crc: int) -> bytes | None:
    with connection.blobopen("objects", "body", number, readonly=True) as blob:
        body = blob.read()
    return body if zlib.crc32(body) == crc else None


def _prepare(connection: sqlite3.Connection, file: Path) -> None:
    # Runs have megabytes, and are read at every start: in few large pages, and without copying them twice.
    connection.execute("PRAGMA page_size = 32768")
    connection.execute(f"PRAGMA mmap_size = {MAPPED}")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    upgrade(
        connection,
        file,
        SCHEMAS,
        what="cache",
        advice="upgrade, or remove it, since all that is in it can be had again",
    )


def _put_aside(file: Path) -> None:
    file.replace(f"{file}.damaged")
    for suffix in ("-wal", "-shm"):
        with contextlib.suppress(OSError):
            Path(f"{file}{suffix}").unlink()
