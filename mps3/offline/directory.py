"""Outboxes and the cache in a directory of this machine.

Each outbox is a SQLite file of its own, ``outbox/000001-….sqlite3``, locked by its client for as long as that lives:
the operating system lets go of the lock of a process that is killed, and that is how others learn that it is free.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any, Final

import aiosqlite
import orjson

from ..errors import ClosedError, CorruptionError, MPS3Error
from ..support.environment import Environment
from ..support.sqlite import PATIENCE, close, connect, error_of, is_locked, make_directory
from ..types import UNCHECKED, Ref
from . import identity as belonging
from .cache import CACHE, FileCache
from .protocol import (
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
    Store,
    StoredChange,
    StoredSession,
    StoredWrite,
)
from .schema import upgrade

OUTBOXES: Final = "outbox"
SUFFIX: Final = ".sqlite3"

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
"""2: the same, but a write may have a condition, or expire; who does not know that must not send it. 3: writes
have stamps, in a column that is added when it is not there; who does not know them must not send them out of order."""
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
    """Outboxes and a cache in a directory, safe for any number of clients at once.

    The directory must not be on a network file system.

    Args:
        path: The directory; it is made if need be.
        environment: Names the outboxes.
        cache_bytes: How large the cached values may be together.
    """

    def __init__(self, path: str | os.PathLike[str], environment: Environment, *, cache_bytes: int = CACHE) -> None:
        self._path = Path(path)
        self._environment = environment
        self.cache = FileCache(self._path / f"cache{SUFFIX}", cache_bytes)

    async def open(self, store: Store) -> tuple[DurableOutbox, Sequence[DurableOutbox]]:
        """Make an outbox, and take over those whose clients are no more, oldest first."""
        outboxes = self._path / OUTBOXES
        shelves: list[FileOutbox] = []
        used = False
        try:
            # One at a time: an outbox that is just being made looks like one that nobody needs.
            turn = await self._turn(self._path / f"lock{SUFFIX}")
            try:
                await asyncio.to_thread(make_directory, outboxes)
                names = sorted(await asyncio.to_thread(os.listdir, outboxes))
                files = [outboxes / name for name in names if name.endswith(SUFFIX)]
                for file in files:
                    durable_outbox = FileOutbox(file)
                    if not await durable_outbox.open():
                        used = True  # by somebody who lives
                        continue
                    if durable_outbox.last_id:
                        shelves.append(durable_outbox)
                    else:  # all of it had left when its client was killed
                        await durable_outbox.aclose()
                number = max((int(file.name[:6]) for file in files if file.name[:6].isdigit()), default=0) + 1
                await self.cache.open()
                clock = await self._belong(store, shelves, used=used)
                own = FileOutbox(outboxes / f"{number:06}-{self._environment.name()}{SUFFIX}")
                own.go_by(clock)
                shelves.append(own)
                await own.open()
            finally:
                await close(turn)
        except BaseException as error:
            for durable_outbox in shelves:
                await durable_outbox.aclose()
            if isinstance(error, sqlite3.Error | OSError):
                raise error_of(error, self._path) from error
            raise
        return own, shelves[:-1]

    async def _belong(self, store: Store, shelves: Sequence[FileOutbox], *, used: bool) -> Callable[[], float]:
        """Make sure that the directory is for this store, and let it say so; what its clock is."""
        found = await asyncio.to_thread(belonging.read, self._path)
        if found is None:  # it is new, or an older mps3 made it
            known = await self.cache.manifests()
            if known and store.manifest not in known:
                older = replace(store, place="a store that an older mps3 did not record", manifest=known[0])
                belonging.require_same(self._path, older, store)
        elif used or shelves or await self.cache.manifests():
            belonging.require_same(self._path, found.store, store)
        newest = max([await durable_outbox.newest() for durable_outbox in shelves], default=-math.inf)
        wall, monotonic = self._environment.now().timestamp(), self._environment.monotonic()
        said = belonging.Belonging(store, *belonging.clock_of(found, monotonic, wall, newest))
        if said != found:
            await asyncio.to_thread(belonging.write, self._path, said)
        clock = belonging.clock(said.offset, self._environment.monotonic)
        for durable_outbox in shelves:
            durable_outbox.go_by(clock)
        return clock

    async def _turn(self, file: Path) -> aiosqlite.Connection:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + PATIENCE
        while True:
            try:
                return await connect(file, _lock, timeout=0.1)
            except sqlite3.Error as error:
                if not is_locked(error) or loop.time() > deadline:
                    raise

    async def aclose(self) -> None:
        """Close the cache."""
        await self.cache.aclose()


def _lock(connection: sqlite3.Connection) -> None:
    connection.execute("BEGIN EXCLUSIVE")


class FileOutbox:
    """An outbox in a file, whose lock says that it belongs to somebody who lives.

    Args:
        file: The file.

    Attributes:
        last_id: The largest id of a write that was in it when it was opened; 0 if there was none.
    """

    def __init__(self, file: Path) -> None:
        self.last_id = 0
        self._now: Callable[[], float] = lambda: -math.inf
        self._file = file
        self._connection: aiosqlite.Connection | None = None
        self._known: set[str] = set()

    async def open(self) -> bool:
        """Make it, or take it over.

        Returns:
            Whether it is ours now.

        Raises:
            CorruptionError: It is damaged.
            FormatError: A newer mps3 wrote in it.
        """
        try:
            self._connection = await connect(self._file, lambda connection: _prepare(connection, self._file), timeout=0)
            self.last_id = await self._number("SELECT coalesce(max(id), 0) FROM writes")
        except (sqlite3.Error, OSError) as error:
            if is_locked(error):
                return False
            raise _damaged(error, self._file) from error
        return True

    def go_by(self, clock: Callable[[], float]) -> None:
        """The clock of the directory is known."""
        self._now = clock

    def now(self) -> float:
        """What time it is by the clock of the directory."""
        return self._now()

    async def newest(self) -> float:
        """The stamp of its newest write, or when an older mps3 says that it was made; ``-inf`` if it has none."""
        try:
            ((stamp,),) = await self._rows("SELECT max(coalesce(stamp, made)) FROM writes")
        except sqlite3.Error as error:
            raise _damaged(error, self._file) from error
        return -math.inf if stamp is None else float(stamp)

    async def lines(self) -> Sequence[StoredSession]:
        """What it holds, oldest line first."""
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
        """Carry out these operations in one transaction, which is on the disk when this returns."""
        connection = self._connection
        if connection is None:
            raise ClosedError(f"the outbox {self._file} is closed")
        known = set(self._known)
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
        self._known = known

    async def aclose(self) -> None:
        """Let go of it; remove it if nothing is in it."""
        connection, self._connection = self._connection, None
        if connection is None:
            return
        empty = False
        with contextlib.suppress(sqlite3.Error):
            found = list(await connection.execute_fetchall("SELECT count(*) FROM writes"))
            empty = found[0][0] == 0
        await close(connection)
        if empty:
            # Whoever has taken it over in this moment finds it empty, too.
            await asyncio.to_thread(_remove, self._file)

    async def _rows(self, sql: str) -> list[Any]:
        assert self._connection is not None  # noqa: S101 - read before it is closed
        return list(await self._connection.execute_fetchall(sql))

    async def _number(self, sql: str) -> int:
        ((number,),) = await self._rows(sql)
        return int(number)


def _steps(operation: Operation, known: set[str]) -> Iterator[tuple[str, tuple[Any, ...]]]:
    match operation:
        case Keep(manifest, session, row):
            if session not in known:
                known.add(session)
                yield _SESSION, (session, manifest.bucket, manifest.key)
            yield _KEEP, (row.id, session, row.made, *_pack(row.changes), row.stamp)
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
        (name, one.bucket, one.key, one.label, one.base, None if one.body is None else len(one.body), _more(one))
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


def _more(change: StoredChange) -> dict[str, Any]:
    """What few changes have."""
    more: dict[str, Any] = {} if change.expect is UNCHECKED else {"expect": change.expect}
    if change.expires_in is not None:
        more["expires_in"] = change.expires_in
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
    upgrade(connection, file, SCHEMAS, what="outbox", advice="upgrade, so that what is in it can be sent")
    connection.execute("BEGIN EXCLUSIVE")  # the lock is taken by the first transaction, and stays
    if all(name != "stamp" for _, name, *_ in connection.execute("PRAGMA table_info(writes)")):
        connection.execute(_STAMPED)
    connection.execute("COMMIT")


def _damaged(error: Exception, file: Path) -> MPS3Error:
    if isinstance(error, sqlite3.Error | OSError):
        ours = error_of(error, file)
        if not isinstance(ours, CorruptionError):
            return ours
    return CorruptionError(
        f"the outbox {file} is damaged ({error}). What it held may not have been sent yet: restore it from a copy, or "
        "move it away to go on without it"
    )


def _remove(file: Path) -> None:
    for suffix in ("-wal", "-shm", ""):
        with contextlib.suppress(OSError):
            Path(f"{file}{suffix}").unlink()
