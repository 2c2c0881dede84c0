"""One manifest: one task that polls, commits, and publishes."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any, Final

from ..content.store import Content
from ..errors import ClosedError, CorruptionError, MPS3Error, UnavailableError
from ..format.document import Kind
from ..format.entries import FileEntry, version_of
from ..format.expiry import Expiries
from ..format.state import EMPTY, View, alive, changed_names
from ..journal.past import Past
from ..journal.protocol import Journal, Retained
from ..journal.snapshot import JournalSnapshot
from ..offline.protocol import StoredSession
from ..offline.queue import OutboxQueue
from ..offline.recovery import Unit, in_order, lapsed, only
from ..support.environment import wait_for_event
from ..types import UNCHECKED, Ref
from .committer import Committer
from .context import ManifestContext
from .in_flight import InFlightCommit
from .listeners import Listeners
from .outbox import Outbox
from .pending import SENT, Pending, stored_ids
from .reconnect import Review
from .session import Session

FASTEST: Final = 0.1
"""The first poll after activity, as a part of the poll interval."""
SLOWING: Final = 1.5
"""Each idle poll waits this much longer than the one before, up to the poll interval."""
STALE: Final = 10.0
"""Seconds without contact after which a commit is preceded by a look at what others did."""
OPENING: Final = 5.0
"""Seconds that opening waits for the store where it could go on from what was kept."""
SILENCE: Final = 5.0
"""Seconds without an answer, after which a client that can work offline does."""
COMPLAINT: Final = 60.0
"""Seconds between two errors in the log that something could not be kept: where one is, there may be thousands."""
LONGEST_DOZE: Final = 3600.0
"""Seconds at the most between two looks whether something has expired."""
SHORTEST_DOZE: Final = 0.001

_log = logging.getLogger("mps3")


class Manifest:
    """A group of keys whose changes are ordered by one journal.

    Args:
        ref: Which manifest, bucket included.
        open_journal: Finds out which journal orders its commits; or makes the one that is known to.
        context: What all manifests of a client share.

    Attributes:
        listeners: Who is told of changes.
        home: The event loop that the client belongs to.
    """

    def __init__(
        self, ref: Ref, open_journal: Callable[[Kind | None], Awaitable[Journal]], context: ManifestContext
    ) -> None:
        self.ref = ref
        self.listeners = Listeners()
        self.home = context.home
        self._open_journal = open_journal
        self._journal: Journal | None = None
        self._verified = False
        self._shown: View | None = None
        self._context = context
        self._environment = context.environment
        self._interval = context.poll_interval
        self._contact = context.contact
        self._contents = context.contents
        self._observer = context.observer
        self._outbox = Outbox(self._contents, ready=self.wake, changed=self._changed, refused=self._refused)
        self._committer = Committer(self, ref, self._outbox, context)
        self.session_pool = self._committer.session_pool
        self._session = self._committer.volatile
        if context.outbox_queue is not None:
            self._session = Session(ref, name=self._environment.name(), outbox_queue=context.outbox_queue)
        self._review = Review(self._contents, context.on_reconnect) if context.on_reconnect is not None else None
        self._poll_at = -math.inf
        self._resolved_at = -math.inf
        self._away_at = -math.inf
        self._complain_at = -math.inf
        self._pause = self._interval * FASTEST
        self._failures = 0
        self._unreadable = False
        self._recovering = False
        self._ended: MPS3Error | None = None
        self._expiries = Expiries()
        self._time_told = asyncio.Event()
        self._dozing = False
        self._awake = asyncio.Event()
        self._asking: list[asyncio.Future[None]] = []
        self._tasks: list[asyncio.Task[None]] = []

    async def open(self) -> None:
        """Resolve it for the first time, or go on from what was kept of it when the store cannot be reached.

        Raises:
            MPS3Error: It cannot be read.
        """
        saved = await self._recall()
        try:
            async with asyncio.timeout(None if saved is None else OPENING):
                journal, started = await self._look_first(saved)
        except (TimeoutError, UnavailableError) as error:
            if saved is not None and await self._go_on_from(saved):
                self._failures = 1
                self._contact(error if isinstance(error, UnavailableError) else _silent(self.ref, OPENING))
                self.lost_contact()
            elif isinstance(error, TimeoutError):
                await self._begin(*await self._look_first(None))
            elif self._context.cache is None:
                raise
            else:
                raise UnavailableError(
                    f"{error}. The manifest s3://{self.ref.bucket}/{self.ref.key} cannot be opened offline, because "
                    "it has never been read with this directory: open it once while the store can be reached",
                    bucket=self.ref.bucket,
                    key=self.ref.key,
                    operation=error.operation,
                ) from error
        else:
            await self._begin(journal, started)
        self.listeners.notify(list(self.listeners.names))

    async def _look_first(self, saved: JournalSnapshot | None) -> tuple[Journal, float]:
        """Find the journal and resolve, going on from what was saved; and when that began."""
        journal = await self._open_journal(None)
        started = self._environment.monotonic()
        if saved is not None and journal.kind == saved.kind:
            with contextlib.suppress(CorruptionError):  # a cache that is not what it says
                await journal.restore(saved)
        await journal.resolve()
        return journal, started

    async def _begin(self, journal: Journal, started: float) -> None:
        self._journal, self._verified = journal, True
        self.resolved(started)
        self._plan_poll()
        await self.show(journal)

    async def _recall(self) -> JournalSnapshot | None:
        """What was kept of it."""
        if self._context.cache is None:
            return None
        body = await self._context.cache.state(self.ref)
        try:
            return None if body is None else JournalSnapshot.decode(body, self.ref.bucket or "", self.ref.key)
        except ValueError as error:
            _log.warning("what was kept of %s cannot be used: %s", self.ref, error)
            return None

    async def _go_on_from(self, saved: JournalSnapshot) -> bool:
        """Show what was kept until the store can be reached."""
        journal = await self._open_journal(saved.kind)
        try:
            await journal.restore(saved)
        except MPS3Error as error:
            _log.warning("what was kept of %s cannot be used: %s", self.ref, error)
            return False
        self._journal, self._shown = journal, journal.view  # it is kept already
        self._context.time.hear(saved.stamp)
        self.cover()
        self.expire()
        self.listeners.offer(journal.view)
        return True

    def recover(self, lines: Sequence[tuple[StoredSession, OutboxQueue]]) -> None:
        """Go on with sessions of clients that are no more. To be called before `start`.

        Args:
            lines: The sessions with their writes, and where each is kept.
        """
        sessions = {
            line.session: Session(line.manifest, name=line.session, sequence=line.sequence, outbox_queue=outbox_queue)
            for line, outbox_queue in lines
        }
        for line, _ in lines:
            for row in line.rows:
                if row.refusal is not None:
                    self._context.refused(Pending.of(row, sessions[line.session]), row.refusal)
        for unit in in_order(lines):
            self._recover(unit, sessions[unit.line.session])
        if lines:
            self._recovering = True
            self.lost_contact()

    def _recover(self, unit: Unit, session: Session) -> None:
        wall, now = self._environment.now().timestamp(), unit.outbox_queue.now()
        group: list[Pending] = []
        gone: list[Pending] = []
        for kept in unit.rows:
            row, over = lapsed(kept, wall, now)
            if over and any(change.expect is not UNCHECKED for change in row.changes.values()):
                continue  # a lease that nobody has given: nothing was replaced
            if over and unit.left:
                # What goes again is what is still of use; the rest is only looked after.
                rest = Pending.of(only(row, over), session)
                rest.stored_id, rest.lapsed = None, over
                gone.append(rest)
                row, over = only(row, row.changes.keys() - over), frozenset()
                if not row.changes:
                    continue
            pending = Pending.of(row, session)
            pending.lapsed = over
            group.append(pending)
        if len(group) < len(unit.rows):
            unit.outbox_queue.submit(unit.without(stored_ids(group)))
        for pending in (*group, *gone):
            if unit.left and pending in group:
                pending.stage = SENT
            self._observer.recovered(self.ref, pending.session.name, pending)
            self._outbox.add(pending)
        if group and unit.left and unit.line.sent is not None:
            self._committer.recover(unit.line, group, session, unit.line.sent)

    def _lapse(self) -> None:
        """What expired before it could be sent takes with it what it would have replaced, but nothing newer."""
        view, earlier = self._view.at(self._context.time.now()), set[str]()
        for pending in self._outbox.all():
            if pending.lapsed and not pending.sent:
                found = {name: version_of(view.look_up(name)) for name in pending.lapsed - earlier}
                others = {name for name, now in found.items() if now is None or now != pending.bases.get(name)}
                pending.lapsed = frozenset()
                if others:
                    self._outbox.leave_out(pending, others)
            earlier.update(pending.changes)

    def start(self) -> None:
        """Start its tasks, which open it if need be."""
        self._start(self._run(), "manifest")
        self._start(self._outbox.run(), "outbox")
        self.expire()

    def _start(self, coroutine: Coroutine[Any, Any, None], name: str) -> None:
        task = asyncio.get_running_loop().create_task(coroutine, name=f"mps3 {name} {self.ref}")
        task.add_done_callback(self._died)
        self._tasks.append(task)

    async def aclose(self) -> None:
        """Stop its tasks. Writes that are still pending fail, and subscriptions end."""
        self._dozing = True  # whoever still looks does not start that any more
        for task in self._tasks:
            task.cancel()
        if self._review is not None:
            await self._review.aclose()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._journal is not None:
            await self._journal.aclose()
        self._end(
            ClosedError(
                "the client was closed before the write was known to be durable"
                if self._context.outbox_queue is None
                else "the client was closed before the write was known to be in the store; if it was kept, the next "
                "client that uses the same directory sends it"
            )
        )

    @property
    def ended(self) -> bool:
        """Whether it has stopped for good."""
        return self._ended is not None

    @property
    def _view(self) -> View:
        if self._journal is None:
            return EMPTY
        return self._journal.view if self._context.cache is None else self._shown or EMPTY

    @property
    def tentative(self) -> View:
        """The newest state, with the transactions that are not decided yet as they stand: what others are made from.

        Raises:
            UnavailableError: The store could not be reached yet.
        """
        if self._journal is None:
            raise self._unreached()
        return self._journal.tentative.at(self._context.time.now())

    @property
    def past(self) -> Past:
        """What came before the state that is shown.

        Raises:
            UnavailableError: The store could not be reached yet.
        """
        if self._journal is None:
            raise self._unreached()
        return self._journal.past

    def _unreached(self) -> UnavailableError:
        return UnavailableError(f"the manifest {self.ref} could not be reached yet", key=self.ref.key)

    def require_contact(self) -> None:
        """Refuse to take what is known for the newest state.

        Raises:
            UnavailableError: The store does not answer at the moment, or is not to be asked.
        """
        if self._failures or self._context.shut():
            raise UnavailableError(
                f"the manifest {self.ref} cannot be reached at the moment", bucket=self.ref.bucket, key=self.ref.key
            )

    def state(self) -> tuple[View, Mapping[str, Content | None]]:
        """The newest state, and the pending values of this client that lie over it, at one moment.

        Keys that have expired are in it; see `View.at`.
        """
        self.cover()
        return self._view, self._outbox.overlay

    def present(self) -> tuple[View, Mapping[str, Content | None]]:
        """The same as it looks now, by the store's clock."""
        view, overlay = self.state()
        return view.at(self._context.time.now()), overlay

    def time(self) -> float:
        """What time it is at the store, in seconds since 1970, as far as it is known; ``-inf`` if it is not."""
        return self._context.time.now()

    def expire(self) -> float:
        """Tell the listeners of what has expired.

        Returns:
            Up to when that is told, by the store's clock, in seconds since 1970; ``-inf`` if nobody knows it.
        """
        if self._expiries.update(self._view):
            self._time_told.set()
        if self._expiries.next < math.inf and self._tasks and not self._dozing and self._ended is None:
            self._dozing = True
            self._start(self._doze(), "expiry")
        if names := self._expiries.take(self._context.time.now()):
            self.listeners.expire(names)
        return self._expiries.until

    async def _doze(self) -> None:
        """Wake whoever listens to a key when it expires, though nothing else happens."""
        while True:
            self._time_told.clear()
            until = self.expire()
            doze = LONGEST_DOZE if until == -math.inf else min(self._expiries.next - until, LONGEST_DOZE)
            await wait_for_event(self._time_told, max(SHORTEST_DOZE, doze))

    @property
    def pending(self) -> int:
        """How many writes are not yet durable."""
        return len(self._outbox)

    @property
    def oldest_pending(self) -> datetime | None:
        """When the first of them was made."""
        return self._outbox.oldest

    def look_up(self, name: str) -> Content | FileEntry | None:
        """The newest value of a key: a pending one of this client, or what the manifest says."""
        self.cover()
        overlay = self._outbox.overlay
        if name in overlay:
            return overlay[name]
        file = self._view.look_up(name)
        return alive(file, self._context.time.now()) if file is not None and "expires" in file else file

    def is_pending(self, name: str) -> bool:
        """Whether the newest value of a key is a pending one of this client."""
        self.cover()
        return name in self._outbox.overlay

    def cover(self) -> None:
        """Let what is part of the state be shown by it, not by what is pending."""
        if self._journal is not None:
            self._committer.cover(self._journal, self._view)

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
        elif (self._failures or self._context.shut()) and not self._unreadable and self._journal is not None:
            asked.set_result(None)
        else:
            self._asking.append(asked)
            self.wake()
        return asked

    def add(self, pending: Pending) -> None:
        """Commit a write as soon as possible; it shows at once."""
        if self._ended is not None:
            raise self._ended
        if self._review is not None or pending.session.outbox_queue is not None:  # nobody else asks for them
            for name in pending.changes:
                pending.bases[name] = version_of(self._view.look_up(name))
        pending.keep()
        if pending.kept is not None:
            pending.kept.add_done_callback(partial(self._kept, pending))
        pending.collected = self.collected
        self._observer.wrote(self.ref, pending)
        self._outbox.add(pending)

    def propose(self, pending: Pending) -> None:
        """Try a transaction whose values are stored, as soon as possible. It does not show before it is decided."""
        if self._ended is not None:
            raise self._ended
        self._observer.wrote(self.ref, pending)
        self._committer.propose(pending)
        self.wake()

    def conclude(self, pending: Pending) -> None:
        """Find out for certain what became of a transaction that was tried, and make no other try of it."""
        if self._ended is not None:
            raise self._ended
        self._committer.conclude(pending)
        self._poll_at = -math.inf
        self.wake()

    def counting(self, pending: Pending) -> Mapping[str, Any] | None:
        """What a transaction says that holds, of all that its tries said; ``None`` if that is not known any more."""
        entry = self._journal.counting(pending.attempt) if self._journal and pending.attempt else None
        return None if entry is None else entry.update

    async def look(self) -> None:
        """Wait until what is known is at least as new as now, however long the store does not answer."""
        failures = 0
        while True:
            with contextlib.suppress(UnavailableError):
                await self.refresh()
                self.require_contact()
                return
            failures += 1
            await asyncio.sleep(self._environment.backoff(failures))

    async def look_for_transaction(self) -> None:
        """Wait until `tentative` is at least as new as now, with the writes that this client has made before.

        As a write does, it waits for as long as the store does not answer.
        """
        await self.look()
        made = [pending.outcome for pending in self._outbox.all()]
        if made:
            await asyncio.wait(made)

    def _kept(self, pending: Pending, kept: asyncio.Future[None]) -> None:
        self.wake()
        if kept.cancelled() or (error := kept.exception()) is None or self._environment.monotonic() < self._complain_at:
            return
        self._complain_at = self._environment.monotonic() + COMPLAINT
        keys = ", ".join(map(repr, pending.labels.values()))
        _log.error("a write to %.80s could not be kept, and is lost if this process ends now: %s", keys, error)

    @property
    def session(self) -> Session:
        """What new writes belong to."""
        return self._session

    def pause(self) -> None:
        """The client was told to be offline: what is not known before the next contact is not known."""
        self.lost_contact()

    def hurry(self) -> None:
        """Do at once what waits for another try."""
        self.lost_contact()
        self._contents.reached()
        self._poll_at = -math.inf
        if self._committer.sending is not None:
            self._committer.sending.retry_at = -math.inf
        self.wake()

    @property
    def needs_announcement(self) -> bool:
        """Whether a commit has to say so before anything is deleted that it may name (R17)."""
        return self._journal is None or self._journal.kind == "conditional"

    async def retained(self, seconds: float, *, announce: bool) -> Retained | None:
        """What collecting leaves alone.

        Args:
            seconds: How far back all states are kept.
            announce: Whether it may be deleted after. Then, where that is what makes it safe, a commit says
                so before (R17).

        Returns:
            ``None`` if there is no manifest.

        Raises:
            MPS3Error: It cannot be read, or not be written.
        """
        await self.refresh()
        journal = self._journal
        if journal is None or journal.view.head is None:
            return None
        if announce and journal.kind == "conditional":
            pending = Pending({}, {}, {}, self._environment.now(), self._committer.volatile, fence=True)
            self.add(pending)
            await asyncio.shield(pending.outcome)
        return await journal.retained(seconds)

    def withdraw(self, pending: Pending) -> bool:
        """Take a write back, unless it is on its way already."""
        withdrawn = self._outbox.withdraw(pending)
        if withdrawn and pending.expect:
            self.session_pool.release(pending.session)
        return withdrawn

    async def drained(self) -> None:
        """Wait until there is nothing pending."""
        await self._outbox.drained()

    async def _run(self) -> None:
        journal, committer = await self._opened(), self._committer
        while journal is not None:
            self._awake.clear()
            now = self._environment.monotonic()
            if committer.sending is None and now >= committer.commit_at:
                committer.sending = self._next() or committer.witness(journal, now)
            if committer.sending is not None and now >= committer.sending.retry_at:
                with self._listening():
                    await self._commit(journal)
            elif self._asking or now >= self._poll_at:
                with self._listening():
                    await self._poll(journal)
            else:
                # What is past already waits for something else to happen.
                retry_at = committer.sending.retry_at if committer.sending else committer.commit_at
                times = (retry_at, committer.decides_at(journal))
                await wait_for_event(self._awake, min([self._poll_at, *(one for one in times if one > now)]) - now)

    @contextlib.contextmanager
    def _listening(self) -> Iterator[None]:
        """Who can go on with what is kept need not wait until the silence of the store has become an error."""
        if self._context.cache is None:
            yield
            return
        timer = asyncio.get_running_loop().call_later(SILENCE, self._fall_silent)
        try:
            yield
        finally:
            timer.cancel()

    def _fall_silent(self) -> None:
        self._failures = max(1, self._failures)
        self._contact(_silent(self.ref, SILENCE))
        self.lost_contact()
        if not self._unreadable and self._journal is not None:
            _answer(self._asking)  # they stay there until what is under way has ended

    async def _opened(self) -> Journal | None:
        if self._journal is None:
            saved = await self._recall()
            if saved is not None and await self._go_on_from(saved):
                self.listeners.notify(list(self.listeners.names))
        while not self._verified:
            known, now = self._journal, self._environment.monotonic()
            self._awake.clear()
            try:
                with self._listening():
                    found = await self._look_first(None if known is None else known.save())
                await self._begin(*found)
            except UnavailableError as error:
                self._failures += 1
                self._contact(error)
                self._observer.polled(self.ref, now, error=error)
                self.lost_contact()
                asking, self._asking = self._asking, []
                _answer(asking, error if known is None else None)
                await wait_for_event(self._awake, self._environment.backoff(self._failures))
            except MPS3Error as error:
                self._contact(error)
                self._end(error)
                return None
            else:
                self.listeners.notify(list(self.listeners.names))
        return self._journal

    def _next(self) -> InFlightCommit | None:
        """What is to be committed next, if there is anything that may be."""
        if (prior := self._committer.prior()) is not None:
            return prior
        if self._recovering:
            self._recovering = False
            self._lapse()
        if self._review is not None and self._review.due:
            if self._resolved_at >= self._away_at:
                self._review.start(self.ref, self._outbox, self._view_now, self.wake)
            return None
        group = self._outbox.take()
        return self._committer.gather(group) if group else None

    def _view_now(self) -> View:
        return self._view

    def lost_contact(self) -> None:
        """The store has not answered: what is pending is looked at once more before it goes out."""
        if self._review is not None:
            self._away_at = self._environment.monotonic()
            self._review.begin()

    def _changed(self, names: Mapping[str, object]) -> None:
        self.listeners.touch(names)
        self._context.changed()

    def wake(self) -> None:
        """There is something to do."""
        self._awake.set()

    def _plan_poll(self) -> None:
        self._poll_at = self._environment.monotonic() + self._environment.random.uniform(0.8, 1.0) * self._pause

    async def _poll(self, journal: Journal) -> None:
        asking = list(self._asking)
        started = self._environment.monotonic()
        try:
            news = await journal.resolve()
        except MPS3Error as error:
            self._asking = self._asking[len(asking) :]
            self._failures += 1
            self._unreadable = not isinstance(error, UnavailableError)
            self._poll_at = self._environment.monotonic() + max(
                self._interval * FASTEST, self._environment.backoff(self._failures)
            )
            self._contact(error)
            self._observer.polled(self.ref, started, error=error)
            self.lost_contact()
            if self._unreadable:
                self.listeners.tell(error)
            _answer(asking, error if self._unreadable else None)
            return
        self._asking = self._asking[len(asking) :]
        if self._committer.sending is not None and self._failures:
            self._committer.sending.retry_at = -math.inf
        self.resolved(started)
        self._observer.polled(self.ref, started, news=news)
        self._pause = self._interval * FASTEST if news else min(self._interval, self._pause * SLOWING)
        self._plan_poll()
        await self.show(journal)
        _answer(asking)

    async def show(self, journal: Journal) -> None:
        """Let everybody see what was resolved: not before it is kept, so that no later life shows less (R13)."""
        view = journal.view
        if view is self._shown:
            self._committer.decide(journal)
            return
        if self._context.cache is not None:
            saved, bucket = journal.save(), self.ref.bucket or ""
            runs = [(bucket, run.key) for run in saved.runs]
            await self._context.cache.keep_state(self.ref, saved.encode(bucket, self.ref.key), saved.stamp, runs)
        before, self._shown = self._shown or EMPTY, view
        self._observer.shown(
            self.ref,
            (
                (commit.session, commit.id)
                for commit in view.commits
                if commit.session != journal.session and not before.has(commit.session, commit.sequence)
            ),
        )
        self.cover()
        self.expire()
        self.listeners.offer(view)
        # Some at a time: ten thousand woken at once would stop the event loop.
        for step, names in enumerate(changed_names(before, view, self.listeners.names)):
            if step:
                await asyncio.sleep(0)
            self.listeners.notify(names)
        self._committer.decide(journal)

    def resolved(self, started: float) -> None:
        """The store has answered, with what is at least as new as then."""
        if self._failures:
            self._contents.reached()
        self._resolved_at = started
        if self._expiries.next < math.inf:
            self._time_told.set()  # the store has said what time it is
        self._failures = 0
        self._unreadable = False
        self._contact(None)

    async def _commit(self, journal: Journal) -> None:
        asking = list(self._asking)
        if await self._committer.commit(journal):
            self._asking = self._asking[len(asking) :]
            _answer(asking)

    def committed(self, started: float) -> None:
        """A commit has arrived that was begun then."""
        self.resolved(started)
        self._pause = self._interval * FASTEST
        self._plan_poll()

    def is_stale(self, now: float) -> bool:
        """Whether what is known cannot be committed upon: it could not be read, or has long been superseded."""
        return self._unreadable or now - self._resolved_at > max(STALE, 2 * self._interval)

    def _refused(self, group: list[Pending], error: MPS3Error) -> None:
        self._committer.refused(group, error)

    @property
    def collected(self) -> str | None:
        """The last collection that is known of."""
        document = self._view.document
        return None if document is None else document.collected

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
        for task in self._tasks:
            if task is not asyncio.current_task():
                task.cancel()
        self._committer.fail_all(error)
        self._outbox.fail_all(error)
        self.listeners.tell(error)
        asking, self._asking = self._asking, []
        _answer(asking, error)


def _silent(ref: Ref, seconds: float) -> UnavailableError:
    return UnavailableError(
        f"the store has not answered within {seconds:.0f} seconds",
        bucket=ref.bucket,
        key=ref.key,
        operation="GetObject",
    )


def _answer(asking: list[asyncio.Future[None]], error: MPS3Error | None = None) -> None:
    for asked in asking:
        if not asked.done():
            if error is None:
                asked.set_result(None)
            else:
                asked.set_exception(error)
