"""The database of a directory: one connection that reads, one that writes, and locks that other processes hold."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar

import aiosqlite

from ..errors import ClosedError
from ..support.loop_affinity import LoopAffinity
from ..support.sqlite import LOCK_TIMEOUT, close, connect, error_of, is_locked
from .local_clock import UPDATE_REFERENCE, SharedClock
from .local_schema import prepare

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

T = TypeVar("T")
Rows: TypeAlias = list[Any]

LOCK_WAIT: Final = 0.5
"""Seconds that SQLite waits for a lock in one go. Between two waits a cancellation takes effect."""
LOCK_PAUSE: Final = 0.01
"""Seconds between two waits."""

_inherited: Final[list[object]] = []
"""Connections of a parent process, kept so that they are not closed here."""


class LocalDatabase:
    """The database of a directory, open for several users in one event loop.

    Each of the two connections has a thread, which runs one statement at a time.
    """

    def __init__(self, file: Path, *, versioning: bool, clock: SharedClock) -> None:
        self._file = file
        self._versioning = versioning
        self._clock = clock
        self._reader: aiosqlite.Connection | None = None
        self._writer: aiosqlite.Connection | None = None
        self._opening = asyncio.Lock()
        self._write_lock = asyncio.Lock()
        self._users = 0
        self._process = os.getpid()
        self._affinity = LoopAffinity("store")

    async def open(self) -> None:
        """Connect, unless another user has. Each user for which it succeeds calls `aclose` once."""
        if self._process != os.getpid():
            self._abandon_inherited()
        if self._users == 0 or not self._affinity.is_bound:
            # A lock belongs to the event loop in which a task first waited for it.
            self._opening, self._write_lock = asyncio.Lock(), asyncio.Lock()
            self._affinity.bind()
        self._affinity.check()
        self._users += 1
        try:
            async with self._opening:
                if self._writer is None:
                    self._writer = await self._retry_while_locked("open", None, None, self._connect)
                if self._reader is None:
                    self._reader = await self._retry_while_locked("open", None, None, self._connect)
        except BaseException:
            await self.aclose()
            raise

    async def aclose(self) -> None:
        """If this is the last user, finish the statements under way and stop the threads, even when cancelled."""
        if self._process != os.getpid():
            return
        self._users = max(0, self._users - 1)
        if self._users == 0:
            connections, self._reader, self._writer = (self._reader, self._writer), None, None
            await close(*filter(None, connections))

    async def read(self, operation: str, sql: str, bucket: str, key: str | None, **arguments: Any) -> Rows:
        """Run a query of `mps3.storage.local_schema`. The operation is that of S3, for errors."""
        names = _names(bucket, key)
        await self._set_clock()

        async def fetch() -> Rows:
            return list(await self._require_open(self._reader).execute_fetchall(sql, names | arguments))

        return await self._retry_while_locked(operation, bucket, key, fetch)

    async def write(self, operation: str, sql: str, bucket: str, key: str, **arguments: Any) -> Rows:
        """Run a statement that writes. The arguments are those of `read`."""
        names = _names(bucket, key)
        await self._set_clock()

        async def execute() -> Rows:
            # In one call to the thread, so that no transaction stays open and holds the lock.
            return list(await self._require_open(self._writer).execute_fetchall(sql, names | arguments))

        # One at a time, so that a cancelled write, or one after aclose(), never reaches the thread.
        async with self._write_lock:
            return await self._retry_while_locked(operation, bucket, key, execute)

    def _abandon_inherited(self) -> None:
        # The child of a fork has connections without threads. Closing them would disturb the parent.
        _inherited.append((self._reader, self._writer))
        self._reader = self._writer = None
        self._users, self._process = 0, os.getpid()

    def _require_open(self, connection: aiosqlite.Connection | None) -> aiosqlite.Connection:
        if connection is None or self._process != os.getpid():
            raise ClosedError(f"{self._file} is not open in this process: call open() first")
        self._affinity.check()
        return connection

    async def _retry_while_locked(
        self, operation: str, bucket: str | None, key: str | None, call: Callable[[], Awaitable[T]]
    ) -> T:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + LOCK_TIMEOUT
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
            partial(prepare, file=self._file, versioning=self._versioning, clock=self._clock),
            timeout=LOCK_WAIT,
        )

    async def _set_clock(self) -> None:
        """Store the new time when this machine's clock was set forward, before an answer shows it."""
        if not self._clock.is_behind or self._writer is None or self._write_lock.locked():
            return
        self._clock.postpone_update()
        async with self._write_lock:
            try:
                reference = await self._require_open(self._writer).execute_fetchall(
                    UPDATE_REFERENCE, self._clock.parameters()
                )
            except (sqlite3.Error, OSError, ValueError):
                return  # another process may be writing; a later call tries again
            self._clock.set_reference(list(reference))


def _names(bucket: str, key: str | None) -> dict[str, Any]:
    # As bytes, they sort as on S3, and may hold NUL.
    return {"bucket": bucket.encode(), "key": None if key is None else key.encode()}
