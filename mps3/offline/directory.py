"""Outboxes and the cache in a directory of this machine.

Each outbox is a SQLite file, ``outbox/000001-….sqlite3``, which its client locks. When a process ends, the operating
system releases its locks, so that other clients can take its outboxes over.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any, Final

import aiosqlite
import orjson

from ..errors import ClosedError, CorruptionError, MPS3Error
from ..support.environment import Environment
from ..support.sqlite import close, connect, error_of, is_locked, make_directory, retry_while_locked
from ..types import UNCHECKED, Ref
from . import store_file
from .cache import CACHE_BYTES, FileCache
from .protocol import (
    DirectoryOwner,
    Done,
    DurableOutbox,
    Forget,
    Keep,
    Operation,
    Refusal,
    Replace,
    Send,
    Sent,
    SetAside,
    StoredChange,
    StoredSession,
    StoredWrite,
)
from .schema import upgrade

OUTBOXES: Final = "outbox"
SUFFIX: Final = ".sqlite3"
LOCK_WAIT: Final = 0.1
"""Seconds that one attempt waits for the lock of another client that opens the directory."""

_FIRST: Final = (
    """
    CREATE TABLE sessions (
        name TEXT PRIMARY KEY, bucket TEXT NOT NULL, manifest TEXT NOT NULL, sequence INTEGER NOT NULL
    )
    """,
    """
    CREATE TABLE writes (
        id INTEGER PRIMARY KEY, session TEXT NOT NULL, made REAL NOT NULL, changes BLOB NOT NULL, bodies BLOB NOT NULL,
        sequence INTEGER, refusal BLOB
    )
    """,
    """
    CREATE TABLE sent (
        session TEXT PRIMARY KEY, sequence INTEGER NOT NULL, tries INTEGER NOT NULL, change BLOB NOT NULL,
        witnesses BLOB NOT NULL
    )
    """,
)
SCHEMAS: Final[tuple[tuple[str, ...], ...]] = (_FIRST, (), ())
"""Versions 2 and 3 have the same tables, but an older mps3 must not send their writes. 2: a write may have a condition
or expire. 3: writes have stamps, which order them, in a column that `_prepare` adds."""
_STAMPED: Final = "ALTER TABLE writes ADD COLUMN stamp REAL"
_SESSION: Final = "INSERT OR IGNORE INTO sessions (name, bucket, manifest, sequence) VALUES (?, ?, ?, 0)"
_KEEP: Final = "INSERT INTO writes (id, session, made, changes, bodies, stamp) VALUES (?, ?, ?, ?, ?, ?)"
_REPLACE: Final = "UPDATE writes SET changes = ?, bodies = ? WHERE id = ?"
_FORGET: Final = "DELETE FROM writes WHERE id = ?"
_SEND: Final = "INSERT OR REPLACE INTO sent (session, sequence, tries, change, witnesses) VALUES (?, ?, ?, ?, ?)"
_SENT: Final = "UPDATE writes SET sequence = ? WHERE id = ?"
_REACHED: Final = "UPDATE sessions SET sequence = ? WHERE name = ?"
_DONE: Final = "DELETE FROM writes WHERE session = ? AND sequence = ?"
_NOT_SENT: Final = "DELETE FROM sent WHERE session = ? AND sequence = ?"
_SET_ASIDE: Final = "UPDATE writes SET sequence = NULL, refusal = ? WHERE id = ?"


class FileDirectory:
    """Outboxes and a cache in a directory, safe for concurrent clients. It must not be on a network file system.

    Args:
        path: The directory. `open` creates it if needed.
        environment: The source of time and names.
        cache_bytes: The most bytes of cached objects.
    """

    def __init__(
        self, path: str | os.PathLike[str], environment: Environment, *, cache_bytes: int = CACHE_BYTES
    ) -> None:
        self._path = Path(path)
        self._environment = environment
        self.cache = FileCache(self._path / f"cache{SUFFIX}", cache_bytes)

    async def open(self, owner: DirectoryOwner) -> tuple[DurableOutbox, Sequence[DurableOutbox]]:
        """As `OfflineDirectory.open`."""
        folder = self._path / OUTBOXES
        outboxes: list[FileOutbox] = []
        used = False
        try:
            # One client at a time, because an outbox under creation looks like an unused one.
            file = self._path / f"lock{SUFFIX}"
            lock = await retry_while_locked(partial(connect, file, _lock, timeout=LOCK_WAIT), pause=0)
            try:
                await asyncio.to_thread(make_directory, folder)
                names = sorted(await asyncio.to_thread(os.listdir, folder))
                files = [folder / name for name in names if name.endswith(SUFFIX)]
                for file in files:
                    outbox = FileOutbox(file)
                    if not await outbox.open():
                        used = True  # by a running client
                        continue
                    if outbox.last_id:
                        outboxes.append(outbox)
                    else:  # its client ended when it was empty
                        await outbox.aclose()
                number = max((int(file.name[:6]) for file in files if file.name[:6].isdigit()), default=0) + 1
                await self.cache.open()
                clock = await self._claim(owner, outboxes, used=used)
                own = FileOutbox(folder / f"{number:06}-{self._environment.name()}{SUFFIX}")
                own.now = clock
                outboxes.append(own)
                await own.open()
            finally:
                await close(lock)
        except BaseException as error:
            for outbox in outboxes:
                await outbox.aclose()
            if isinstance(error, sqlite3.Error | OSError):
                raise error_of(error, self._path) from error
            raise
        return own, outboxes[:-1]

    async def _claim(self, owner: DirectoryOwner, outboxes: Sequence[FileOutbox], *, used: bool) -> Callable[[], float]:
        """Check the owner of the directory, update its file, and return its clock."""
        found = await asyncio.to_thread(store_file.read, self._path)
        if found is None:  # the directory is new, or an older mps3 created it
            known = await self.cache.manifests()
            if known and owner.manifest not in known:
                older = replace(owner, store="a store that an older mps3 did not record", manifest=known[0])
                store_file.require_owner(self._path, older, owner)
        elif used or outboxes or await self.cache.manifests():
            store_file.require_owner(self._path, found.owner, owner)
        newest = max([await outbox.newest_stamp() for outbox in outboxes], default=-math.inf)
        wall, monotonic = self._environment.now().timestamp(), self._environment.monotonic()
        content = store_file.StoreFile(owner, *store_file.continue_clock(found, monotonic, wall, newest))
        if content != found:
            await asyncio.to_thread(store_file.write, self._path, content)
        offset, now = content.offset, self._environment.monotonic

        def clock() -> float:
            return now() + offset

        for outbox in outboxes:
            outbox.now = clock
        return clock

    async def aclose(self) -> None:
        """Close the cache."""
        await self.cache.aclose()


def _lock(connection: sqlite3.Connection) -> None:
    connection.execute("BEGIN EXCLUSIVE")


class FileOutbox:
    """An outbox in a file, which its client locks.

    Attributes:
        last_id: The largest id of a write when the outbox was opened; 0 if there was none.
        now: The clock of the directory.
    """

    def __init__(self, file: Path) -> None:
        self.last_id = 0
        self.now: Callable[[], float] = lambda: -math.inf
        self._file = file
        self._connection: aiosqlite.Connection | None = None
        self._sessions: set[str] = set()

    async def open(self) -> bool:
        """Create it, or take it over. Return whether it succeeded; a running client may have it locked.

        Raises:
            CorruptionError: It is damaged.
            FormatError: A newer mps3 wrote to it.
        """
        try:
            self._connection = await connect(self._file, lambda connection: _prepare(connection, self._file), timeout=0)
            ((self.last_id,),) = await self._rows("SELECT coalesce(max(id), 0) FROM writes")
        except (sqlite3.Error, OSError) as error:
            if is_locked(error):
                return False
            raise _damaged(error, self._file) from error
        return True

    async def newest_stamp(self) -> float:
        """Return the stamp of its newest write, or its time if an older mps3 wrote it; ``-inf`` if it is empty."""
        try:
            ((stamp,),) = await self._rows("SELECT max(coalesce(stamp, made)) FROM writes")
        except sqlite3.Error as error:
            raise _damaged(error, self._file) from error
        return -math.inf if stamp is None else float(stamp)

    async def sessions(self) -> Sequence[StoredSession]:
        """As `DurableOutbox.sessions`."""
        try:
            sent = {
                session: Sent(sequence, tries, orjson.loads(change), orjson.loads(witnesses))
                for session, sequence, tries, change, witnesses in await self._rows("SELECT * FROM sent")
            }
            rows: dict[str, list[StoredWrite]] = {}
            for id_, session, made, changes, bodies, sequence, refusal, stamp in await self._rows(
                "SELECT id, session, made, changes, bodies, sequence, refusal, stamp FROM writes ORDER BY id"
            ):
                row = StoredWrite(id_, made, _unpack(changes, bodies), sequence, _refusal(refusal), stamp)
                rows.setdefault(session, []).append(row)
            return [
                StoredSession(Ref(manifest, bucket), name, sequence, sent.get(name), rows[name])
                for name, bucket, manifest, sequence in await self._rows(
                    "SELECT name, bucket, manifest, sequence FROM sessions ORDER BY rowid"
                )
                if name in rows
            ]
        except (sqlite3.Error, ValueError, TypeError, LookupError) as error:
            raise _damaged(error, self._file) from error

    async def write(self, operations: Sequence[Operation]) -> None:
        """As `DurableOutbox.write`, in one transaction."""
        connection = self._connection
        if connection is None:
            raise ClosedError(f"the outbox {self._file} is closed")
        known = set(self._sessions)
        try:
            await connection.execute("BEGIN IMMEDIATE")
            try:
                steps = (step for operation in operations for step in _steps(operation, known))
                for sql, arguments in groupby(steps, lambda step: step[0]):
                    await connection.executemany(sql, [values for _, values in arguments])
                await connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    await connection.execute("ROLLBACK")
                raise
        except (sqlite3.Error, OSError, ValueError, OverflowError) as error:
            raise error_of(error, self._file) from error
        self._sessions = known

    async def aclose(self) -> None:
        """As `DurableOutbox.aclose`."""
        connection, self._connection = self._connection, None
        if connection is None:
            return
        count = None
        with contextlib.suppress(sqlite3.Error):
            ((count,),) = await connection.execute_fetchall("SELECT count(*) FROM writes")
        await close(connection)
        if count == 0:
            # A client that takes it over at this moment also finds it empty.
            await asyncio.to_thread(_remove, self._file)

    async def _rows(self, sql: str) -> list[Any]:
        assert self._connection is not None  # noqa: S101 - read before it is closed
        return list(await self._connection.execute_fetchall(sql))


def _steps(operation: Operation, known: set[str]) -> Iterator[tuple[str, tuple[Any, ...]]]:
    match operation:
        case Keep(manifest, session, write):
            if session not in known:
                known.add(session)
                yield _SESSION, (session, manifest.bucket, manifest.key)
            yield _KEEP, (write.id, session, write.made, *_pack(write.changes), write.stamp)
        case Replace(id_, changes):
            yield _REPLACE, (*_pack(changes), id_)
        case Forget(ids):
            for id_ in ids:
                yield _FORGET, (id_,)
        case Send(session, ids, sent):
            change, witnesses = orjson.dumps(sent.update, default=dict), orjson.dumps(sent.witnesses, default=dict)
            yield _SEND, (session, sent.sequence, sent.tries, change, witnesses)
            yield _REACHED, (sent.sequence, session)
            for id_ in ids:
                yield _SENT, (sent.sequence, id_)
        case Done(session, sequence):
            yield _DONE, (session, sequence)
            yield _NOT_SENT, (session, sequence)
        case SetAside(ids, refusal):
            maybe = [True] if refusal.maybe_written else []
            body = orjson.dumps([refusal.kind, refusal.message, refusal.about, refusal.time, *maybe])
            for id_ in ids:
                yield _SET_ASIDE, (body, id_)


def _pack(changes: Any) -> tuple[bytes, bytes]:
    listed = [
        (
            name,
            one.bucket,
            one.key,
            one.label,
            one.base,
            None if one.body is None else len(one.body),
            _optional_fields(one),
        )
        for name, one in changes.items()
    ]
    return orjson.dumps(listed), b"".join(one.body or b"" for one in changes.values())


def _unpack(listed: bytes, bodies: bytes) -> dict[str, StoredChange]:
    changes, at = {}, 0
    for name, bucket, key, label, base, size, *more in orjson.loads(listed):
        body = None if size is None else bodies[at : at + size]
        changes[name] = StoredChange(bucket, key, label, body, base, **(more[0] if more else {}))
        at += size or 0
    return changes


def _optional_fields(change: StoredChange) -> dict[str, Any]:
    """Return the optional fields of a change."""
    more: dict[str, Any] = {} if change.expect is UNCHECKED else {"expect": change.expect}
    if change.expires_in is not None:
        more["expires_in"] = change.expires_in
    if change.patch:
        more["patch"] = True
    return {**more, "inline": True} if change.inline else more


def _refusal(body: bytes | None) -> Refusal | None:
    if body is None:
        return None
    kind, message, about, time, *maybe = orjson.loads(body)
    return Refusal(kind, message, tuple(about), time, bool(maybe))


def _prepare(connection: sqlite3.Connection, file: Path) -> None:
    connection.execute("PRAGMA locking_mode = EXCLUSIVE")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA fullfsync = ON")
    upgrade(connection, file, SCHEMAS, what="outbox", advice="upgrade, so that its writes can be sent")
    connection.execute("BEGIN EXCLUSIVE")  # the first transaction takes the lock, and the connection keeps it
    if all(name != "stamp" for _, name, *_ in connection.execute("PRAGMA table_info(writes)")):
        connection.execute(_STAMPED)
    connection.execute("COMMIT")


def _damaged(error: Exception, file: Path) -> MPS3Error:
    if isinstance(error, sqlite3.Error | OSError):
        ours = error_of(error, file)
        if not isinstance(ours, CorruptionError):
            return ours
    return CorruptionError(
        f"the outbox {file} is damaged ({error}). Its writes may not have been sent yet: restore it from a copy, or "
        "move it away to go on without it"
    )


def _remove(file: Path) -> None:
    for suffix in ("-wal", "-shm", ""):
        with contextlib.suppress(OSError):
            Path(f"{file}{suffix}").unlink()
