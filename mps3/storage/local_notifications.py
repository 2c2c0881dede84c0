"""Notifications between all processes that use a directory.

A line is appended after a commit, rather than the database watched: SQLite writes to its files before a commit shows
in them, and ``PRAGMA data_version`` tells only who asks all the time. Nor does a library watch the file, because those
that there are look every few milliseconds, or report late.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from asyncio import AbstractEventLoop
from collections.abc import Iterable
from pathlib import Path
from typing import Final
from weakref import WeakKeyDictionary

from ..support.sqlite import wait_uncancelled
from .inotify import EVENTS
from .line_file import LineFile
from .notifications import Notifications

FILE_NAME: Final = "notifications"

_log = logging.getLogger("mps3")


class LocalNotifications(Notifications):
    """Notifications to all processes that use a directory, this one included.

    Where the system does not tell of changes of files, a process hears only of its own.

    Args:
        directory: The directory. It has to exist when this is opened.
    """

    def __init__(self, directory: Path) -> None:
        super().__init__()
        self._directory = directory
        self._exchange: Exchange | None = None
        self._users = 0

    @property
    def reaches_all(self) -> bool:
        """Whether all processes are heard, as far as the system can tell."""
        return self._exchange is not None and self._exchange.is_told

    async def open(self) -> None:
        """Listen to the other processes. Each user calls `aclose` once."""
        if self._exchange is not None and not self._exchange.is_here:
            self._exchange, self._users = None, 0
        self._users += 1
        if self._users == 1:
            self._exchange = exchange = Exchange.of(self._directory)
            exchange.members.append(self)
        if self._exchange is not None:
            await self._exchange.opened.wait()

    async def aclose(self) -> None:
        """If this is the last user, send what is to be sent, and listen no more, even when cancelled."""
        self._users = max(0, self._users - 1)
        if self._users == 0 and self._exchange is not None and self._exchange.is_here:
            exchange, self._exchange = self._exchange, None
            await exchange.leave(self)

    def notify(self, message: bytes) -> None:
        """As `Notifications.notify`."""
        if self._exchange is not None and self._exchange.is_here:
            self._exchange.send(message)
        else:
            self.deliver(message)


class Exchange:
    """The file of a directory in one event loop, shared by all storages there: watches are scarce.

    Attributes:
        members: Those that get each message of the file.
        opened: Set when they get what is written from now on, or it has failed.
        is_told: Whether the system tells of what other processes write.
    """

    _all: Final[WeakKeyDictionary[AbstractEventLoop, dict[Path, Exchange]]] = WeakKeyDictionary()

    def __init__(self, directory: Path) -> None:
        self.members: list[Notifications] = []
        self.opened = asyncio.Event()
        self._directory = directory
        self._loop = asyncio.get_running_loop()
        self._process = os.getpid()
        self._unsent: dict[bytes, None] = {}
        self._something = asyncio.Event()
        self._ends = False
        self.is_told = False
        self._task = self._loop.create_task(self._run(), name="mps3 notifications")

    @classmethod
    def of(cls, directory: Path) -> Exchange:
        """Return that of a directory and of the running event loop."""
        known = cls._all.setdefault(asyncio.get_running_loop(), {})
        exchange = known.get(directory)
        if exchange is None or exchange.has_ended:
            exchange = known[directory] = cls(directory)
        return exchange

    @property
    def is_here(self) -> bool:
        """Whether it is of this event loop and of this process, which may be the child of a fork."""
        return self._process == os.getpid() and self._loop is asyncio.get_running_loop()

    @property
    def has_ended(self) -> bool:
        """Whether it cannot reach other processes, now or any more."""
        return self._task.done()

    async def leave(self, member: Notifications) -> None:
        """Give a member no more messages. After the last, send what is to be sent, and end the task."""
        if self.members == [member]:
            known = self._all.get(asyncio.get_running_loop(), {})
            if known.get(self._directory) is self:
                del known[self._directory]
            self._ends = True
            self._something.set()
            await wait_uncancelled(asyncio.wait([self._task]))
        self.members.remove(member)

    def send(self, message: bytes) -> None:
        """Send a message, in the background."""
        if self.has_ended:
            self._deliver([message])
            return
        self._unsent[message] = None
        self._something.set()

    async def _run(self) -> None:
        try:
            file = await asyncio.to_thread(LineFile, self._directory / FILE_NAME)
        except (OSError, RuntimeError) as error:
            self._failed(error)
        else:
            await self._serve(file)
        finally:
            self.opened.set()
            self._deliver(self._unsent)

    async def _serve(self, file: LineFile) -> None:
        changes = file.changes.fileno() if file.changes is not None else None
        if changes is not None:
            self._loop.add_reader(changes, self._changed, changes)
            self.is_told = True
        self.opened.set()
        try:
            while not self._ends or self._unsent:
                await self._something.wait()
                self._something.clear()
                messages, self._unsent = self._unsent, {}
                try:
                    found = await asyncio.to_thread(file.exchange, messages)
                except (OSError, RuntimeError) as error:
                    self._failed(error)
                    found = list(messages)
                self._deliver(found)
        finally:
            self.is_told = False
            if changes is not None:
                self._loop.remove_reader(changes)
            file.close()

    def _failed(self, error: Exception) -> None:
        # A RuntimeError: the interpreter ends, and starts no thread.
        _log.debug("what other processes change in %s is heard by polls: %s", self._directory, error)

    def _deliver(self, messages: Iterable[bytes]) -> None:
        for message in messages:
            for member in tuple(self.members):
                member.deliver(message)

    def _changed(self, changes: int) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(changes, EVENTS)
        self._something.set()
