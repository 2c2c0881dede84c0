"""One manifest: one task that polls, commits, and publishes."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from .content import Content, Contents
from .document import File, commit_id
from .errors import ClosedError, ConflictError, MPS3Error, UnavailableError
from .journal import Attempt, Journal
from .listeners import Listeners
from .outbox import Outbox, Pending, final_changes
from .state import EMPTY, View, changed_names
from .types import Commit, Ref
from .world import World, happens

FASTEST: Final = 0.1
"""The first poll after activity, as a part of the poll interval."""
SLOWING: Final = 1.5
"""Each idle poll waits this much longer than the one before, up to the poll interval."""
STALE: Final = 10.0
"""Seconds without contact after which a commit is preceded by a look at what others did."""
FIRST_CONFLICT: Final = 0.05
LONGEST_CONFLICT: Final = 2.0

_log = logging.getLogger("mps3")


@dataclass(slots=True)
class _Sending:
    """A commit on its way, and the writes in it."""

    attempt: Attempt
    group: list[Pending]
    failures: int = 0
    conflicts: int = 0
    seen: bool = False
    retry_at: float = -math.inf


class Manifest:
    """A group of keys whose changes are ordered by one journal.

    Args:
        ref: Which manifest, bucket included.
        open_journal: Finds out which journal orders its commits.
        contents: Stores and fetches values.
        world: Time, chance and names.
        poll_interval: Seconds between polls when nothing happens.
        contact: Told of each answer of the store (``None``) and each failure to get one.

    Attributes:
        listeners: Who is told of changes.
    """

    def __init__(
        self,
        ref: Ref,
        open_journal: Callable[[], Awaitable[Journal]],
        contents: Contents,
        world: World,
        *,
        poll_interval: float,
        contact: Callable[[MPS3Error | None], None],
    ) -> None:
        self.ref = ref
        self.listeners = Listeners()
        self._open_journal = open_journal
        self._journal: Journal | None = None
        self._world = world
        self._interval = poll_interval
        self._contact = contact
        self._contents = contents
        self._outbox = Outbox(contents, ready=self._wake, changed=self.listeners.notify)
        self._sending: _Sending | None = None
        self._sequence = 0
        self._commit_at = -math.inf
        self._poll_at = -math.inf
        self._resolved_at = -math.inf
        self._pause = poll_interval * FASTEST
        self._failures = 0
        self._unreadable = False
        self._ended: MPS3Error | None = None
        self._awake = asyncio.Event()
        self._asking: list[asyncio.Future[None]] = []
        self._tasks: list[asyncio.Task[None]] = []

    async def open(self) -> None:
        """Resolve it for the first time.

        Raises:
            MPS3Error: It cannot be read.
        """
        journal = await self._open_journal()
        started = self._world.monotonic()
        await journal.resolve()
        self._journal = journal
        self._resolved(started)
        self._plan_poll()
        self.listeners.notify(list(self.listeners.names))

    def start(self) -> None:
        """Start its task, which opens it if need be."""
        loop = asyncio.get_running_loop()
        for coroutine, name in ((self._run(), "manifest"), (self._outbox.run(), "outbox")):
            task = loop.create_task(coroutine, name=f"mps3 {name} {self.ref}")
            task.add_done_callback(self._died)
            self._tasks.append(task)

    async def aclose(self) -> None:
        """Stop its task. Writes that are still pending fail, and subscriptions end."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._end(ClosedError("the client was closed before the write was known to be durable"))

    @property
    def ended(self) -> bool:
        """Whether it has stopped for good."""
        return self._ended is not None

    @property
    def _view(self) -> View:
        return EMPTY if self._journal is None else self._journal.view

    @property
    def pending(self) -> int:
        """How many writes are not yet durable."""
        return len(self._outbox)

    def look_up(self, name: str) -> Content | File | None:
        """The newest value of a key: a pending one of this client, or what the manifest says."""
        self._cover()
        overlay = self._outbox.overlay
        return overlay[name] if name in overlay else self._view.look_up(name)

    def is_pending(self, name: str) -> bool:
        """Whether the newest value of a key is a pending one of this client."""
        self._cover()
        return name in self._outbox.overlay

    def _cover(self) -> None:
        """Once a commit under way is part of the state, the state shows it, and what others built on it."""
        sending = self._sending
        if sending is None or self._journal is None:
            return
        seen = self._journal.view.has(self._journal.session, sending.attempt.sequence)
        if seen != sending.seen:
            sending.seen = seen
            self._outbox.cover(sending.group, seen=seen)

    async def refresh(self) -> None:
        """Wait until what is known is at least as new as now.

        While the store cannot be reached, what is known has to do, and this returns soon.

        Raises:
            UnavailableError: The store could not be reached yet, so nothing is known.
            MPS3Error: The manifest cannot be read any more.
        """
        await self.ask()

    def ask(self) -> asyncio.Future[None]:
        """A future that is done once the state has been looked at anew. Whoever has it may end it."""
        asked: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self._ended is not None:
            asked.set_exception(self._ended)
        elif self._failures and not self._unreadable and self._journal is not None:
            asked.set_result(None)
        else:
            self._asking.append(asked)
            self._wake()
        return asked

    def add(self, pending: Pending) -> None:
        """Commit a write as soon as possible; it shows at once."""
        if self._ended is not None:
            raise self._ended
        self._outbox.add(pending)

    def withdraw(self, pending: Pending) -> bool:
        """Take a write back, unless it is on its way already."""
        return self._outbox.withdraw(pending)

    async def drained(self) -> None:
        """Wait until there is nothing pending."""
        await self._outbox.drained()

    async def _run(self) -> None:
        journal = self._journal or await self._opened()
        while journal is not None:
            self._awake.clear()
            now = self._world.monotonic()
            if self._sending is None and now >= self._commit_at and (group := self._outbox.take()):
                self._sending = self._gather(group)
            if self._sending is not None and now >= self._sending.retry_at:
                await self._commit(journal, self._sending)
            elif self._asking or now >= self._poll_at:
                await self._poll(journal)
            else:
                wake_at = self._sending.retry_at if self._sending else self._commit_at
                await happens(self._awake, min(self._poll_at, wake_at if wake_at > now else math.inf) - now)

    async def _opened(self) -> Journal | None:
        while self._journal is None:
            try:
                await self.open()
            except UnavailableError as error:
                self._failures += 1
                self._contact(error)
                asking, self._asking = self._asking, []
                _answer(asking, error)
                self._awake.clear()
                await happens(self._awake, self._world.backoff(self._failures))
            except MPS3Error as error:
                self._contact(error)
                self._end(error)
                return None
        return self._journal

    def _wake(self) -> None:
        self._awake.set()

    def _plan_poll(self) -> None:
        self._poll_at = self._world.monotonic() + self._world.random.uniform(0.8, 1.0) * self._pause

    async def _poll(self, journal: Journal) -> None:
        asking = list(self._asking)
        before, started = journal.view, self._world.monotonic()
        try:
            news = await journal.resolve()
        except MPS3Error as error:
            self._asking = self._asking[len(asking) :]
            self._failures += 1
            self._unreadable = not isinstance(error, UnavailableError)
            self._poll_at = self._world.monotonic() + max(self._interval * FASTEST, self._world.backoff(self._failures))
            self._contact(error)
            if self._unreadable:
                self.listeners.tell(error)
            _answer(asking, error if self._unreadable else None)
            return
        self._asking = self._asking[len(asking) :]
        if self._sending is not None and self._failures:
            self._sending.retry_at = -math.inf
        self._resolved(started)
        self._pause = self._interval * FASTEST if news else min(self._interval, self._pause * SLOWING)
        self._plan_poll()
        if news:
            self._publish(journal, before)
        _answer(asking)

    def _publish(self, journal: Journal, before: View) -> None:
        self._cover()
        self.listeners.notify(changed_names(before, journal.view, self.listeners.names))

    def _resolved(self, started: float) -> None:
        if self._failures:
            self._contents.reached()
        self._resolved_at = started
        self._failures = 0
        self._unreadable = False
        self._contact(None)

    def _gather(self, group: list[Pending]) -> _Sending:
        self._sequence += 1
        changes = {name: None if content is None else content.patch for name, content in final_changes(group).items()}
        return _Sending(Attempt(self._sequence, {"files": changes}), group)

    async def _commit(self, journal: Journal, sending: _Sending) -> None:
        asking = list(self._asking)
        before, started = journal.view, self._world.monotonic()
        try:
            # Not onto what could not be read, nor onto what has long been superseded.
            if self._unreadable or started - self._resolved_at > max(STALE, 2 * self._interval):
                await journal.resolve()
            await journal.append(sending.attempt)
        except ConflictError:
            sending.conflicts += 1
            sending.retry_at = self._world.monotonic() + self._world.backoff(
                sending.conflicts, first=FIRST_CONFLICT, most=LONGEST_CONFLICT
            )
            self._contact(None)
            return
        except UnavailableError as error:
            sending.failures += 1
            sending.retry_at = self._world.monotonic() + self._world.backoff(sending.failures)
            self._contact(error)
            return
        except MPS3Error as error:
            if sending.attempt.doubtful:
                error.add_note("An earlier try of the same commit may have reached the store.")
            self._sending = None
            self._contact(error)
            self._outbox.fail(sending.group, error)
            return
        finally:
            self._publish(journal, before)
        self._sending = None
        self._commit_at = started + self._world.random.uniform(1.0, 1.2) * journal.view.pace
        self._resolved(started)
        self._pause = self._interval * FASTEST
        self._plan_poll()
        self._acknowledge(journal, sending)
        self._asking = self._asking[len(asking) :]
        _answer(asking)

    def _acknowledge(self, journal: Journal, sending: _Sending) -> None:
        identity = commit_id(journal.session, sending.attempt.sequence)
        final = final_changes(sending.group)
        for pending in sending.group:
            # A value superseded within its own commit has the version of the one that took its place.
            versions = {
                label: None if (content := final[name]) is None else content.version
                for name, label in pending.labels.items()
            }
            if not pending.outcome.done():
                pending.outcome.set_result(Commit(identity, versions, self.ref))
        self._outbox.remove(sending.group)

    def _died(self, task: asyncio.Task[None]) -> None:
        if task.cancelled() or task.exception() is None:
            return
        cause = task.exception()
        _log.critical("a defect in mps3 stopped %s", self.ref, exc_info=cause)
        error = MPS3Error(f"a defect in mps3 stopped the manifest {self.ref}: {cause!r}; please report it")
        error.__cause__ = cause
        self._end(error)

    def _end(self, error: MPS3Error) -> None:
        if self._ended is not None:
            return
        self._ended = error
        self._sending = None
        for task in self._tasks:
            if task is not asyncio.current_task():
                task.cancel()
        self._outbox.fail_all(error)
        self.listeners.tell(error)
        asking, self._asking = self._asking, []
        _answer(asking, error)


def _answer(asking: list[asyncio.Future[None]], error: MPS3Error | None = None) -> None:
    for asked in asking:
        if not asked.done():
            if error is None:
                asked.set_result(None)
            else:
                asked.set_exception(error)
