"""SQLite connections in threads of their own, and the mapping of SQLite's errors."""

from __future__ import annotations

import asyncio
import errno
import os
import sqlite3
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from threading import Thread
from typing import Any, Final, TypeVar, cast

import aiosqlite

from ..errors import AccessError, ClosedError, ConfigurationError, CorruptionError, MPS3Error, UnavailableError

T = TypeVar("T")

LOCK_TIMEOUT: Final = 30.0
"""Seconds to wait for the locks of other processes."""


class Connection(sqlite3.Connection):
    """A connection that its own functions can refer to weakly."""


async def connect(
    file: Path,
    prepare: Callable[[sqlite3.Connection], None],
    *,
    timeout: float,  # noqa: ASYNC109 - SQLite's own
) -> aiosqlite.Connection:
    """Connect to a database. Its directory is created if it does not exist.

    Args:
        file: The database.
        prepare: Called with the new connection, in its thread.
        timeout: Seconds that one statement waits for the locks of other connections.

    Raises:
        ConfigurationError: ``file`` is not a path.
        sqlite3.Error: The database cannot be opened.
        OSError: The directory cannot be created.
    """

    def factory(*args: Any, **options: Any) -> sqlite3.Connection:
        options.pop("factory", None)
        try:
            make_directory(file.parent)
        except ValueError as error:
            raise ConfigurationError(f"{file.parent!r} is not a path: choose another one") from error
        connection = Connection(*args, **options)
        try:
            prepare(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    connection = aiosqlite.connect(file, factory=factory, isolation_level=None, timeout=timeout)
    # The thread does not keep a program alive that ends without closing; to SQLite that is a crash.
    _thread(connection).daemon = True
    try:
        await wait_uncancelled(connection)
    except BaseException:
        await wait_uncancelled(_stop(connection))
        raise
    return connection


async def close(*connections: aiosqlite.Connection) -> None:
    """Close connections and wait for the ends of their threads, even when cancelled."""
    await wait_uncancelled(asyncio.gather(*map(_stop, connections)))


def _thread(connection: aiosqlite.Connection) -> Thread:
    # Before aiosqlite 0.22 a connection is its thread.
    return cast("Thread", getattr(connection, "_thread", connection))


async def _stop(connection: aiosqlite.Connection) -> None:
    await connection.close()
    join = partial(_thread(connection).join, LOCK_TIMEOUT)
    try:
        await asyncio.to_thread(join)
    except RuntimeError:
        # The interpreter is shutting down and starts no threads, as when a client is closed from `atexit`.
        join()


async def wait_uncancelled(work: Awaitable[object]) -> None:
    """Wait for the end of ``work`` even when cancelled, and raise the cancellation afterwards."""
    task = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is None:
        task.result()
        return
    if not task.cancelled():
        task.exception()  # mark it as retrieved
    raise cancelled


async def retry_while_locked(call: Callable[[], Awaitable[T]], pause: float) -> T:
    """Return the result of a call, which is repeated while another connection has a lock that it needs.

    Args:
        call: The call.
        pause: Seconds between two calls.

    Raises:
        sqlite3.Error: The error of the last call, `LOCK_TIMEOUT` after the first.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + LOCK_TIMEOUT
    while True:
        try:
            return await call()
        except sqlite3.Error as error:
            if not is_locked(error) or loop.time() > deadline:
                raise
        await asyncio.sleep(pause)


def make_directory(directory: Path) -> None:
    """Create a directory and its parents, durably."""
    if directory.is_dir():
        return
    if directory.parent != directory:
        make_directory(directory.parent)
    directory.mkdir(exist_ok=True)
    if os.name == "posix":
        # SQLite makes its file durable, but not the entry of the directory.
        parent = os.open(directory.parent, os.O_RDONLY)
        try:
            os.fsync(parent)
        finally:
            os.close(parent)


def value(connection: sqlite3.Connection, sql: str) -> Any:
    """Return the value of a query for one row with one column."""
    (found,) = connection.execute(sql).fetchone()
    return found


def _code(error: BaseException) -> int:
    # The lowest byte of an extended code is the primary one.
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def is_locked(error: BaseException) -> bool:
    """Return whether a lock of another connection is the cause of an error."""
    return _code(error) in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL}


_NOT_ALLOWED: Final = {sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH, sqlite3.SQLITE_CANTOPEN}
# A statement is only wrong for a file without the tables of this library.
_DAMAGED: Final = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR}
_NO_DIRECTORY: Final = {errno.EEXIST, errno.ENOTDIR, errno.ENOENT, errno.ENAMETOOLONG, errno.EINVAL, errno.ELOOP}
_NO_PERMISSION: Final = {errno.EACCES, errno.EPERM, errno.EROFS}


def error_of(
    error: Exception, file: Path, bucket: str | None = None, key: str | None = None, operation: str | None = None
) -> MPS3Error:
    """Return the error of this library for an error of SQLite or of the file system."""
    kind, message = _classify(error, file)
    # After any other error it is not known whether the transaction was committed.
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


def _classify(error: Exception, file: Path) -> tuple[type[MPS3Error], str]:
    code = _code(error)
    number = error.errno if isinstance(error, OSError) else None
    if is_locked(error):
        return UnavailableError, f"Other processes kept {file} locked for {LOCK_TIMEOUT:.0f} seconds: try again"
    if _is_full(error):
        return UnavailableError, f"The disk with {file} is full: make room, then try again"
    if code in _NOT_ALLOWED or number in _NO_PERMISSION:
        return (
            AccessError,
            f"{file} cannot be opened for reading and writing: let this user write to it and its directory",
        )
    if code in _DAMAGED:
        return (
            CorruptionError,
            f"{file} is damaged, or not a database of mps3: restore it from a copy, or choose another directory",
        )
    if number in _NO_DIRECTORY:
        return ConfigurationError, f"{file.parent} cannot be a directory: choose another path"
    if code == sqlite3.SQLITE_TOOBIG or isinstance(error, OverflowError):
        return (
            ConfigurationError,
            "The object exceeds SQLite's limit of some 1,000,000,000 bytes: store smaller objects",
        )
    if isinstance(error, ValueError):
        return ClosedError, f"{file} was closed during the operation"
    return UnavailableError, f"{file} could not be used: try again"
