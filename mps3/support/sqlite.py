"""SQLite in a thread: connections that end with their program, and its errors as ours."""

from __future__ import annotations

import asyncio
import errno
import os
import sqlite3
from collections.abc import Callable, Coroutine
from functools import partial
from pathlib import Path
from threading import Thread
from typing import Any, Final, cast

import aiosqlite

from ..errors import AccessError, ClosedError, ConfigurationError, CorruptionError, MPS3Error, UnavailableError

PATIENCE: Final = 30.0
"""Seconds to wait for other processes that are writing."""


async def connect(
    file: Path,
    prepare: Callable[[sqlite3.Connection], None],
    *,
    timeout: float,  # noqa: ASYNC109 - SQLite's own
) -> aiosqlite.Connection:
    """Connect to a database, whose directory is made if need be.

    Args:
        file: The database.
        prepare: Called with the new connection, in its thread.
        timeout: Seconds that SQLite waits in one go for others who are writing.

    Raises:
        ConfigurationError: It is not a path.
        sqlite3.Error: It cannot be opened.
        OSError: The directory cannot be made.
    """

    def factory(*args: Any, **options: Any) -> sqlite3.Connection:
        options.pop("factory", None)
        try:
            make_directory(file.parent)
        except ValueError as error:
            raise ConfigurationError(f"{file.parent!r} is not a path: choose another one") from error
        connection = sqlite3.Connection(*args, **options)
        try:
            prepare(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    connection = aiosqlite.connect(file, factory=factory, isolation_level=None, timeout=timeout)
    # A program that ends without closing must end all the same; to SQLite that is one crash more.
    _thread(connection).daemon = True
    try:
        await to_the_end(_start(connection))
    except BaseException:
        await to_the_end(stop(connection))
        raise
    return connection


async def close(*connections: aiosqlite.Connection) -> None:
    """Finish what connections have under way and stop their threads, even when cancelled."""
    await to_the_end(_stop_all(*connections))


def _thread(connection: aiosqlite.Connection) -> Thread:
    # Before aiosqlite 0.22 a connection is its thread.
    return cast("Thread", getattr(connection, "_thread", connection))


async def _start(connection: aiosqlite.Connection) -> None:
    await connection


async def stop(connection: aiosqlite.Connection) -> None:
    """Close a connection and wait for the end of its thread."""
    await connection.close()
    join = partial(_thread(connection).join, PATIENCE)
    try:
        await asyncio.to_thread(join)
    except RuntimeError:
        # The interpreter is ending, and starts no thread any more: clients may be closed from `atexit`, as in a
        # notebook. This thread has nothing left to do.
        join()


async def _stop_all(*connections: aiosqlite.Connection) -> None:
    await asyncio.gather(*map(stop, connections))


async def to_the_end(work: Coroutine[Any, Any, None]) -> None:
    """Wait for ``work`` even when cancelled, which is then passed on."""
    task = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is None:
        return task.result()
    if not task.cancelled():
        task.exception()
    raise cancelled


def make_directory(directory: Path) -> None:
    """Make a directory that outlives a power cut."""
    if directory.is_dir():
        return
    if directory.parent != directory:
        make_directory(directory.parent)
    directory.mkdir(exist_ok=True)
    if os.name == "posix":
        # SQLite sees to it that its file outlives a power cut, but not the directory.
        parent = os.open(directory.parent, os.O_RDONLY)
        try:
            os.fsync(parent)
        finally:
            os.close(parent)


def value(connection: sqlite3.Connection, sql: str) -> Any:
    """What a query of one row and one column says."""
    (found,) = connection.execute(sql).fetchone()
    return found


def _code(error: BaseException) -> int:
    # The lowest byte of an extended code is the primary one.
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def is_locked(error: BaseException) -> bool:
    """Whether somebody else is using the database."""
    return _code(error) in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL}


_NOT_ALLOWED: Final = {sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH, sqlite3.SQLITE_CANTOPEN}
# A statement is only wrong for a file without our tables.
_DAMAGED: Final = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR}
_NO_DIRECTORY: Final = {errno.EEXIST, errno.ENOTDIR, errno.ENOENT, errno.ENAMETOOLONG, errno.EINVAL, errno.ELOOP}
_REFUSED: Final = {errno.EACCES, errno.EPERM, errno.EROFS}


def error_of(
    error: Exception, file: Path, bucket: str | None = None, key: str | None = None, operation: str | None = None
) -> MPS3Error:
    """An error of SQLite or of the file system as one of ours."""
    kind, message = _reaction(error, file)
    # Who waits for a lock, finds no room or may not write has written nothing; of what else went wrong nobody knows.
    refused = kind in {AccessError, ConfigurationError} or is_locked(error) or _is_full(error)
    return kind(
        f"{message} ({error})",
        bucket=bucket,
        key=key,
        operation=operation,
        maybe_written=operation in {"PutObject", "DeleteObject"} and not refused,
    )


def _is_full(error: Exception) -> bool:
    return _code(error) == sqlite3.SQLITE_FULL or (isinstance(error, OSError) and error.errno == errno.ENOSPC)


def _reaction(error: Exception, file: Path) -> tuple[type[MPS3Error], str]:
    code = _code(error)
    number = error.errno if isinstance(error, OSError) else None
    if is_locked(error):
        return UnavailableError, f"Other processes kept {file} locked for {PATIENCE:.0f} seconds: try again"
    if _is_full(error):
        return UnavailableError, f"The disk with {file} is full: make room, then try again"
    if code in _NOT_ALLOWED or number in _REFUSED:
        return (
            AccessError,
            f"{file} cannot be opened for reading and writing: let this user write to it and its directory",
        )
    if code in _DAMAGED:
        return (
            CorruptionError,
            f"{file} is not a sound database of mps3: restore it from a copy, or choose another directory",
        )
    if number in _NO_DIRECTORY:
        return ConfigurationError, f"{file.parent} cannot be a directory: choose another path"
    if code == sqlite3.SQLITE_TOOBIG or isinstance(error, OverflowError):
        return ConfigurationError, "An object larger than SQLite takes (some 1,000,000,000 bytes): store less in one"
    if isinstance(error, ValueError):
        return ClosedError, f"{file} was closed meanwhile"
    return UnavailableError, f"{file} could not be used: try again"
