"""One manifest: one task that polls, commits, and publishes."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any, Final

from .clock import StoreClock
from .content import AT_ONCE, Content, Contents
from .crowd import each
from .document import File, Kind, commit_id
from .errors import ClosedError, ConflictError, CorruptionError, MPS3Error, UnavailableError
from .expiry import Expiries
from .journal import Attempt, Journal, OutdatedError, Retained, Verdict
from .journal.past import Past
from .journal.saved import Saved
from .listeners import Listeners
from .observer import Observer
from .offline import Cache, Line, Refusal, Sent
from .offline.doubt import Fate, fate, witnesses
from .offline.keeper import Keeper
from .offline.reconnect import OnReconnect, Review
from .offline.session import Session, refusal_of
from .outbox import SENT, Outbox, Pending, Policy, Resend, final_changes
from .state import EMPTY, View, alive, changed_names
from .types import UNCHECKED, Commit, Ref
from .world import World, happens

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
CLOSES: Final[Mapping[str, Any]] = {"closes": True}
"""What a commit says that ends a transaction."""
WITNESS: Final = 0.5
"""Seconds between two commits that only show that time has passed."""
LIVES: Final = 1000
"""How often a commit may have been written in an earlier life of the client, at the most."""
FIRST_CONFLICT: Final = 0.05
LONGEST_CONFLICT: Final = 2.0

_log = logging.getLogger("mps3")


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What all manifests of a client share.

    Attributes:
        contents: Stores and fetches values.
        world: Time, chance and names.
        poll_interval: Seconds between polls when nothing happens.
        contact: Told of each answer of the store (``None``) and each failure to get one.
        shut: Whether nothing may be asked of the store.
        changed: Called when there are more or fewer pending writes.
        refused: Told of writes that failed for good and are kept, and why.
        time: What time it is at the store.
        keeper: Keeps writes durably.
        cache: Keeps what was seen.
        on_reconnect: Asked before writes go out after a time without the store.
        observer: Told of all that happens.
    """

    contents: Contents
    world: World
    poll_interval: float
    contact: Callable[[MPS3Error | None], None]
    shut: Callable[[], bool]
    changed: Callable[[], None]
    refused: Callable[[Pending, Refusal], None]
    time: StoreClock
    keeper: Keeper | None = None
    cache: Cache | None = None
    on_reconnect: OnReconnect | None = None
    observer: Observer = field(default_factory=Observer)


@dataclass(slots=True)
class _Sending:
    """A commit on its way, and the writes in it."""

    attempt: Attempt
    group: list[Pending]
    session: Session
    sent: Sent | None = None
    recorded: Mapping[str, Any] | None = None
    failures: int = 0
    conflicts: int = 0
    seen: bool = False
    retry_at: float = -math.inf
    # Values that were stored again, and the last collection that was known before.
    renewed: dict[Content, str | None] = field(default_factory=dict)
    # Of a transaction that does not hold: what to say of it once no try of it can arrive any more.
    failed: MPS3Error | None = None
    # Of a commit without content: the transaction that cannot hold any more when this one counts (R4).
    closes: _Sending | None = None


class Manifest:
    """A group of keys whose changes are ordered by one journal.

    Args:
        ref: Which manifest, bucket included.
        open_journal: Finds out which journal orders its commits; or makes the one that is known to.
        around: What all manifests of a client share.

    Attributes:
        listeners: Who is told of changes.
    """

    def __init__(
        self, ref: Ref, open_journal: Callable[[Kind | None], Awaitable[Journal]], around: Surroundings
    ) -> None:
        self.ref = ref
        self.listeners = Listeners()
        self._open_journal = open_journal
        self._journal: Journal | None = None
        self._verified = False
        self._shown: View | None = None
        self._around = around
        self._world = around.world
        self._interval = around.poll_interval
        self._contact = around.contact
        self._contents = around.contents
        self._observer = around.observer
        self._outbox = Outbox(self._contents, ready=self._wake, changed=self._changed, refused=self._refused)
        self._sending: _Sending | None = None
        self._recovered: deque[_Sending] = deque()
        self._proposed: deque[_Sending] = deque()
        self._open: list[_Sending] = []
        self._witness_at = -math.inf
        self._lanes: list[Session] = []
        self._kept_lanes: list[Session] = []
        self._volatile = Session(ref)
        self._session = self._volatile
        if around.keeper is not None:
            self._session = Session(ref, name=self._world.name(), keeper=around.keeper)
        self._review = Review(self._contents, around.on_reconnect) if around.on_reconnect is not None else None
        self._commit_at = -math.inf
        self._poll_at = -math.inf
        self._resolved_at = -math.inf
        self._away_at = -math.inf
        self._complain_at = -math.inf
        self._pause = self._interval * FASTEST
        self._failures = 0
        self._unreadable = False
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
                self._lost_contact()
            elif isinstance(error, TimeoutError):
                await self._begin(*await self._look_first(None))
            elif self._around.cache is None:
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

    async def _look_first(self, saved: Saved | None) -> tuple[Journal, float]:
        """Find the journal and resolve, going on from what was saved; and when that began."""
        journal = await self._open_journal(None)
        started = self._world.monotonic()
        if saved is not None and journal.kind == saved.kind:
            with contextlib.suppress(CorruptionError):  # a cache that is not what it says
                await journal.restore(saved)
        await journal.resolve()
        return journal, started

    async def _begin(self, journal: Journal, started: float) -> None:
        self._journal, self._verified = journal, True
        self._resolved(started)
        self._plan_poll()
        await self._show(journal)

    async def _recall(self) -> Saved | None:
        """What was kept of it."""
        if self._around.cache is None:
            return None
        body = await self._around.cache.state(self.ref)
        try:
            return None if body is None else Saved.decode(body, self.ref.bucket or "", self.ref.key)
        except ValueError as error:
            _log.warning("what was kept of %s cannot be used: %s", self.ref, error)
            return None

    async def _go_on_from(self, saved: Saved) -> bool:
        """Show what was kept until the store can be reached."""
        journal = await self._open_journal(saved.kind)
        try:
            await journal.restore(saved)
        except MPS3Error as error:
            _log.warning("what was kept of %s cannot be used: %s", self.ref, error)
            return False
        self._journal, self._shown = journal, journal.view  # it is kept already
        self._around.time.hear(saved.stamp)
        self._cover()
        self.expire()
        self.listeners.offer(journal.view)
        return True

    def recover(self, line: Line, keeper: Keeper) -> None:
        """Go on with a session of a client that is no more. To be called before `start`.

        Args:
            line: The session, and its writes.
            keeper: Where it is kept.
        """
        session = Session(line.manifest, name=line.session, sequence=line.sequence, keeper=keeper)
        group = []
        for row in line.rows:
            pending = Pending.of(row, session)
            if row.refusal is not None:
                self._around.refused(pending, row.refusal)
                continue
            if row.sequence is not None:
                pending.stage = SENT
                group.append(pending)
            self._observer.wrote(self.ref, pending, recovered=True)
            self._outbox.add(pending)
        if group and line.sent is not None:
            sent = line.sent
            attempt = Attempt(
                sent.sequence,
                sent.update,
                doubtful=True,
                tries=sent.tries + LIVES,
                session=line.session,
                expect=group[0].expect,
                unanswered=1,
            )
            self._recovered.append(_Sending(attempt, group, session, sent))
        self._lost_contact()

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
                if self._around.keeper is None
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
        return self._journal.view if self._around.cache is None else self._shown or EMPTY

    @property
    def tentative(self) -> View:
        """The newest state, with the transactions that are not decided yet as they stand: what others are made from.

        Raises:
            UnavailableError: The store could not be reached yet.
        """
        if self._journal is None:
            raise self._unreached()
        return self._journal.tentative.at(self._around.time.now())

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
        if self._failures or self._around.shut():
            raise UnavailableError(
                f"the manifest {self.ref} cannot be reached at the moment", bucket=self.ref.bucket, key=self.ref.key
            )

    def state(self) -> tuple[View, Mapping[str, Content | None]]:
        """The newest state, and the pending values of this client that lie over it, at one moment.

        Keys that have expired are in it; see `View.at`.
        """
        self._cover()
        return self._view, self._outbox.overlay

    def present(self) -> tuple[View, Mapping[str, Content | None]]:
        """The same as it looks now, by the store's clock."""
        view, overlay = self.state()
        return view.at(self._around.time.now()), overlay

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
        if names := self._expiries.take(self._around.time.now()):
            self.listeners.expire(names)
        return self._expiries.until

    async def _doze(self) -> None:
        """Wake whoever listens to a key when it expires, though nothing else happens."""
        while True:
            self._time_told.clear()
            until = self.expire()
            doze = LONGEST_DOZE if until == -math.inf else min(self._expiries.next - until, LONGEST_DOZE)
            await happens(self._time_told, max(SHORTEST_DOZE, doze))

    @property
    def pending(self) -> int:
        """How many writes are not yet durable."""
        return len(self._outbox)

    @property
    def oldest_pending(self) -> datetime | None:
        """When the first of them was made."""
        return self._outbox.oldest

    def look_up(self, name: str) -> Content | File | None:
        """The newest value of a key: a pending one of this client, or what the manifest says."""
        self._cover()
        overlay = self._outbox.overlay
        if name in overlay:
            return overlay[name]
        file = self._view.look_up(name)
        return alive(file, self._around.time.now()) if file is not None and "expires" in file else file

    def is_pending(self, name: str) -> bool:
        """Whether the newest value of a key is a pending one of this client."""
        self._cover()
        return name in self._outbox.overlay

    def _cover(self) -> None:
        """Once a commit under way is part of the state, the state shows it, and what others built on it."""
        if self._journal is None:
            return
        for sending in (self._sending, *self._recovered, *self._open):
            if sending is not None:
                session = sending.attempt.session or self._journal.session
                seen = self._view.has(session, sending.attempt.sequence)
                if seen != sending.seen:
                    sending.seen = seen
                    self._outbox.cover(sending.group, seen=seen)
        for sending in self._open:
            for pending in sending.group:
                self._outbox.cover_some(pending, self._changed_after(pending, self._journal.tentative))

    @staticmethod
    def _changed_after(pending: Pending, tentative: View) -> frozenset[str]:
        return frozenset(
            name
            for name, content in pending.changes.items()
            if _version(tentative.look_up(name)) != (None if content is None else content.version)
        )

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
        elif (self._failures or self._around.shut()) and not self._unreadable and self._journal is not None:
            asked.set_result(None)
        else:
            self._asking.append(asked)
            self._wake()
        return asked

    def add(self, pending: Pending) -> None:
        """Commit a write as soon as possible; it shows at once."""
        if self._ended is not None:
            raise self._ended
        if self._review is not None or pending.session.keeper is not None:  # nobody else asks for them
            for name in pending.changes:
                pending.bases[name] = _version(self._view.look_up(name))
        pending.session.keep(pending)
        if pending.kept is not None:
            pending.kept.add_done_callback(partial(self._kept, pending))
        pending.collected = self.collected
        self._observer.wrote(self.ref, pending)
        self._outbox.add(pending)

    def lane(self, *, kept: bool = False) -> Session:
        """A session for one transaction at a time. It is free again when that is decided.

        Args:
            kept: Whether what is committed with it is to be kept durably, if anything is.
        """
        keeper = self._around.keeper if kept else None
        free = self._lanes if keeper is None else self._kept_lanes
        return free.pop() if free else Session(self.ref, name=self._world.name(), keeper=keeper)

    def free(self, lane: Session) -> None:
        """Nothing that was committed with this session is undecided any more."""
        (self._lanes if lane.keeper is None else self._kept_lanes).append(lane)

    def propose(self, pending: Pending) -> None:
        """Try a transaction whose values are stored, as soon as possible. It does not show before it is decided."""
        if self._ended is not None:
            raise self._ended
        self._observer.wrote(self.ref, pending)
        self._proposed.append(self._gather([pending]))
        self._wake()

    def conclude(self, pending: Pending) -> None:
        """Find out for certain what became of a transaction that was tried, and make no other try of it."""
        if self._ended is not None:
            raise self._ended
        assert pending.attempt is not None  # noqa: S101 - it was tried
        self._open.append(_Sending(pending.attempt, [pending], pending.session))
        self._wake()

    async def look(self) -> None:
        """Wait until what is known is at least as new as now, however long the store does not answer."""
        failures = 0
        while True:
            with contextlib.suppress(UnavailableError):
                await self.refresh()
                self.require_contact()
                return
            failures += 1
            await asyncio.sleep(self._world.backoff(failures))

    async def look_for_transaction(self) -> None:
        """Wait until `tentative` is at least as new as now, with the writes that this client has made before.

        As a write does, it waits for as long as the store does not answer.
        """
        await self.look()
        made = [pending.outcome for pending in self._outbox.all()]
        if made:
            await asyncio.wait(made)

    def counting(self, pending: Pending) -> Mapping[str, Any] | None:
        """What a transaction says that holds, of all that its tries said; ``None`` if that is not known any more."""
        entry = self._journal.counting(pending.attempt) if self._journal and pending.attempt else None
        return None if entry is None else entry.update

    def _kept(self, pending: Pending, kept: asyncio.Future[None]) -> None:
        self._wake()
        if kept.cancelled() or (error := kept.exception()) is None or self._world.monotonic() < self._complain_at:
            return
        self._complain_at = self._world.monotonic() + COMPLAINT
        keys = ", ".join(map(repr, pending.labels.values()))
        _log.error("a write to %.80s could not be kept, and is lost if this process ends now: %s", keys, error)

    @property
    def session(self) -> Session:
        """What new writes belong to."""
        return self._session

    def pause(self) -> None:
        """The client was told to be offline: what is not known before the next contact is not known."""
        self._lost_contact()

    def hurry(self) -> None:
        """Do at once what waits for another try."""
        self._lost_contact()
        self._contents.reached()
        self._poll_at = -math.inf
        if self._sending is not None:
            self._sending.retry_at = -math.inf
        self._wake()

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
            pending = Pending({}, {}, {}, self._world.now(), self._volatile, fence=True)
            self.add(pending)
            await asyncio.shield(pending.outcome)
        return await journal.retained(seconds)

    def withdraw(self, pending: Pending) -> bool:
        """Take a write back, unless it is on its way already."""
        withdrawn = self._outbox.withdraw(pending)
        if withdrawn and pending.expect:
            self.free(pending.session)
        return withdrawn

    async def drained(self) -> None:
        """Wait until there is nothing pending."""
        await self._outbox.drained()

    async def _run(self) -> None:
        journal = await self._opened()
        while journal is not None:
            self._awake.clear()
            now = self._world.monotonic()
            if self._sending is None and now >= self._commit_at:
                self._sending = self._next() or self._witness(journal, now)
            if self._sending is not None and now >= self._sending.retry_at:
                with self._listening():
                    await self._commit(journal, self._sending)
            elif self._asking or now >= self._poll_at:
                with self._listening():
                    await self._poll(journal)
            else:
                # What is past already waits for something else to happen.
                times = (self._sending.retry_at if self._sending else self._commit_at, self._decides_at(journal))
                await happens(self._awake, min([self._poll_at, *(one for one in times if one > now)]) - now)

    def _decides_at(self, journal: Journal) -> float:
        """When to make a commit that decides on transactions of this client, if nobody makes any."""
        return max(journal.decides_at, self._witness_at) if self._open else math.inf

    @contextlib.contextmanager
    def _listening(self) -> Iterator[None]:
        """Who can go on with what is kept need not wait until the silence of the store has become an error."""
        if self._around.cache is None:
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
        self._lost_contact()
        if not self._unreadable and self._journal is not None:
            _answer(self._asking)  # they stay there until what is under way has ended

    async def _opened(self) -> Journal | None:
        if self._journal is None:
            saved = await self._recall()
            if saved is not None and await self._go_on_from(saved):
                self.listeners.notify(list(self.listeners.names))
        while not self._verified:
            known, now = self._journal, self._world.monotonic()
            self._awake.clear()
            try:
                with self._listening():
                    found = await self._look_first(None if known is None else known.save())
                await self._begin(*found)
            except UnavailableError as error:
                self._failures += 1
                self._contact(error)
                self._observer.polled(self.ref, now, error=error)
                self._lost_contact()
                asking, self._asking = self._asking, []
                _answer(asking, error if known is None else None)
                await happens(self._awake, self._world.backoff(self._failures))
            except MPS3Error as error:
                self._contact(error)
                self._end(error)
                return None
            else:
                self.listeners.notify(list(self.listeners.names))
        return self._journal

    def _next(self) -> _Sending | None:
        """What is to be committed next, if there is anything that may be."""
        if self._recovered:
            return self._recovered.popleft()
        if self._proposed:
            return self._proposed.popleft()
        if self._review is not None and self._review.due:
            if self._resolved_at >= self._away_at:
                self._review.start(self.ref, self._outbox, self._view_now, self._wake)
            return None
        group = self._outbox.take()
        return self._gather(group) if group else None

    def _witness(self, journal: Journal, now: float) -> _Sending | None:
        """A commit that says nothing, but that time has passed: what came before is decided by it (R20)."""
        if now < self._decides_at(journal):
            return None
        self._witness_at = now + WITNESS
        self._volatile.sequence += 1
        attempt = Attempt(self._volatile.sequence, {}, collected=self.collected, session=self._volatile.name)
        return _Sending(attempt, [], self._volatile)

    def _view_now(self) -> View:
        return self._view

    def _lost_contact(self) -> None:
        if self._review is not None:
            self._away_at = self._world.monotonic()
            self._review.begin()

    def _changed(self, names: Mapping[str, object]) -> None:
        self.listeners.touch(names)
        self._around.changed()

    def _refused(self, group: list[Pending], error: MPS3Error, attempt: Attempt | None = None) -> None:
        refusal = self._set_aside(group, error, attempt)
        for pending in group:
            if pending.row is not None:
                self._around.refused(pending, refusal)

    def _set_aside(self, group: list[Pending], error: MPS3Error, attempt: Attempt | None) -> Refusal:
        refusal = refusal_of(error, self._world.now())
        for session in dict.fromkeys(pending.session for pending in group):
            own = [pending for pending in group if pending.session is session and pending.row is not None]
            session.set_aside(own, refusal, attempt)
        return refusal

    def _wake(self) -> None:
        self._awake.set()

    def _plan_poll(self) -> None:
        self._poll_at = self._world.monotonic() + self._world.random.uniform(0.8, 1.0) * self._pause

    async def _poll(self, journal: Journal) -> None:
        asking = list(self._asking)
        started = self._world.monotonic()
        try:
            news = await journal.resolve()
        except MPS3Error as error:
            self._asking = self._asking[len(asking) :]
            self._failures += 1
            self._unreadable = not isinstance(error, UnavailableError)
            self._poll_at = self._world.monotonic() + max(self._interval * FASTEST, self._world.backoff(self._failures))
            self._contact(error)
            self._observer.polled(self.ref, started, error=error)
            self._lost_contact()
            if self._unreadable:
                self.listeners.tell(error)
            _answer(asking, error if self._unreadable else None)
            return
        self._asking = self._asking[len(asking) :]
        if self._sending is not None and self._failures:
            self._sending.retry_at = -math.inf
        self._resolved(started)
        self._observer.polled(self.ref, started, news=news)
        self._pause = self._interval * FASTEST if news else min(self._interval, self._pause * SLOWING)
        self._plan_poll()
        await self._show(journal)
        _answer(asking)

    async def _show(self, journal: Journal) -> None:
        """Let everybody see what was resolved: not before it is kept, so that no later life shows less (R13)."""
        view = journal.view
        if view is self._shown:
            self._decide(journal)
            return
        if self._around.cache is not None:
            saved, bucket = journal.save(), self.ref.bucket or ""
            runs = [(bucket, run.key) for run in saved.runs]
            await self._around.cache.keep_state(self.ref, saved.encode(bucket, self.ref.key), saved.stamp, runs)
        before, self._shown = self._shown or EMPTY, view
        self._observer.shown(self.ref, journal, before, view)
        self._cover()
        self.expire()
        self.listeners.offer(view)
        # Some at a time: ten thousand woken at once would stop the event loop.
        for step, names in enumerate(changed_names(before, view, self.listeners.names)):
            if step:
                await asyncio.sleep(0)
            self.listeners.notify(names)
        self._decide(journal)

    def _resolved(self, started: float) -> None:
        if self._failures:
            self._contents.reached()
        self._resolved_at = started
        if self._expiries.next < math.inf:
            self._time_told.set()  # the store has said what time it is
        self._failures = 0
        self._unreadable = False
        self._contact(None)

    @property
    def collected(self) -> str | None:
        """The last collection that is known of."""
        document = self._view.document
        return None if document is None else document.collected

    def _gather(self, group: list[Pending]) -> _Sending:
        first = group[0]
        session, resend = first.session, first.resend
        if session.keeper is not None and not first.expect and not any(pending.safe for pending in group):
            session = self._volatile  # nobody will ever look for it
        if first.attempt is not None:
            # Another try of a transaction, made from a newer state.
            sending = _Sending(first.attempt, group, session)
            first.attempt.expect, first.attempt.collected = first.expect, first.collected
            _fill(sending)
            return sending
        marks = {pending.collected for pending in group if any(pending.changes.values())}
        attempt = Attempt(
            0, {}, fence=any(pending.fence for pending in group), session=session.name, expect=first.expect
        )
        # Whatever was stored before different collections is stored again: no collection has this name.
        attempt.collected = marks.pop() if len(marks) == 1 else "" if marks else self.collected
        if resend is not None:
            attempt.sequence, attempt.tries, attempt.doubtful = resend.sequence, resend.tries, True
        else:
            session.sequence += 1
            attempt.sequence = session.sequence
        if first.expect:
            first.attempt = attempt
            attempt.unanswered = 0 if resend is None else 1
        sending = _Sending(attempt, group, session)
        _fill(sending)
        return sending

    async def _freshen(self, journal: Journal, sending: _Sending) -> None:
        """Store again what may be collected before it is committed (R1)."""
        collected = self.collected
        contents = [content for content in final_changes(sending.group).values() if content is not None]
        known = sending.attempt.collected == collected
        contents = [
            content
            for content in contents
            if not (known or sending.renewed.get(content, UNCHECKED) == collected)
            or self._contents.aged(content, journal.clock)
        ]
        while contents:
            results = await each(self._contents.store_again, contents, AT_ONCE)
            again = []
            for content, result in zip(contents, results, strict=True):
                if isinstance(result, UnavailableError):
                    again.append(content)
                elif isinstance(result, BaseException):
                    raise result
                else:
                    sending.renewed[content] = collected
            if len(again) == len(contents):
                raise next(result for result in results if isinstance(result, BaseException))
            contents = again  # of many some fail; all of them anew would hardly ever succeed
        sending.attempt.collected = collected
        _fill(sending)

    async def _commit(self, journal: Journal, sending: _Sending) -> None:
        asking = list(self._asking)
        started = self._world.monotonic()
        try:
            failed: MPS3Error | None = None
            committed = await self._try(journal, sending, started)
        except MPS3Error as error:
            failed, committed = error, False
        await self._show(journal)
        if failed is not None:
            self._not_committed(journal, sending, failed)
        elif committed:
            self._sending = None
            self._commit_at = started + self._world.random.uniform(1.0, 1.2) * journal.view.pace
            self._resolved(started)
            self._pause = self._interval * FASTEST
            self._plan_poll()
            self._arrived(journal, sending)
            self._asking = self._asking[len(asking) :]
            _answer(asking)

    async def _try(self, journal: Journal, sending: _Sending, started: float) -> bool:
        """Try to commit; false if it has to be prepared anew."""
        if sending.sent is not None:
            return await self._find(journal, sending, sending.sent, started)
        # Not onto what could not be read, nor onto what has long been superseded.
        if self._unreadable or started - self._resolved_at > max(STALE, 2 * self._interval):
            await journal.resolve()
        await self._freshen(journal, sending)
        if sending.closes is None and sending.recorded != sending.attempt.update:
            try:
                await sending.session.send(sending.group, sending.attempt, witnesses(journal.view))
            except MPS3Error as error:
                raise _Unrecorded(f"a commit waits until it can be recorded that it leaves: {error}") from error
            sending.recorded = sending.attempt.update
        sending.attempt.now = self._around.time.now()
        self._observer.sent(self.ref, journal, sending.attempt, sending.group)
        await journal.append(sending.attempt)
        return True

    async def _find(self, journal: Journal, sending: _Sending, sent: Sent, started: float) -> bool:
        """Find out what became of a commit that left in an earlier life of the client (R4, R8)."""
        await journal.resolve()
        session = sending.attempt.session or journal.session
        match fate(journal.view, session, sent.sequence, sent.update, sent.witnesses):
            case Fate.SETTLED:
                return True
            case Fate.LANDED:
                await journal.append(sending.attempt)
                return True
            case Fate.NOT_YET:
                # Its values may be so old that they were collected.
                self._sending = None
                self._resolved(started)
                self._outbox.again(sending.group, Resend(sent.sequence, sending.attempt.tries))
                return False
            case Fate.UNKNOWN:
                self._resolved(started)
                self._give_up(
                    sending,
                    ConflictError(
                        "it had left for the store when its client ended, so long ago that the manifest no longer "
                        "tells whether it arrived: it is not sent again, because then it might be applied twice",
                        bucket=self.ref.bucket,
                        key=self.ref.key,
                        operation="PutObject",
                    ),
                )
                return False

    def _arrived(self, journal: Journal, sending: _Sending) -> None:
        if sending.attempt.is_transaction:
            self._open.append(sending)
            self._cover()
            self._decide(journal)
        else:
            self._acknowledge(journal, sending)

    def _decide(self, journal: Journal) -> None:
        """R20: what became of the transactions that have arrived."""
        for sending in list(self._open):
            verdict = journal.verdict(sending.attempt)
            if sending.closes is not None:
                self._close(journal, sending, sending.closes, verdict)
                continue
            (pending,) = sending.group
            if verdict is Verdict.HOLDS:
                self._open.remove(sending)
                self._acknowledge(journal, sending)
            elif verdict is Verdict.OPEN:
                if not pending.arrived.done():
                    pending.arrived.set_result(None)
            elif pending.policy is Policy.RERUN:
                self._open.remove(sending)
                self._observer.conflicted(self.ref, sending.attempt)
                pending.fail(_void(sending))
            elif verdict is Verdict.UNKNOWN and pending.policy is Policy.ONCE:
                self._open.remove(sending)
                self._proposed.append(sending)  # as it was; if things have changed, it is refused before it leaves
                self._wake()
            elif verdict is not Verdict.FAILING:
                self._open.remove(sending)
                self._observer.conflicted(self.ref, sending.attempt)
                self._fail(journal, sending, _void(sending))

    def _close(self, journal: Journal, sending: _Sending, transaction: _Sending, verdict: Verdict) -> None:
        """Whether what ends a transaction counts, or a try of that which arrived before it."""
        session = transaction.attempt.session or journal.session
        if verdict is Verdict.HOLDS:
            self._open.remove(sending)
            self._give_up(transaction, transaction.failed or _void(transaction))
        elif journal.view.has(session, transaction.attempt.sequence):
            self._open.remove(sending)
            self._acknowledge(journal, transaction)
        elif verdict is Verdict.UNKNOWN:
            self._open.remove(sending)
            self._proposed.append(sending)
            self._wake()

    def _fail(self, journal: Journal, sending: _Sending, outdated: OutdatedError) -> None:
        """A transaction does not hold. No try of it may arrive later on and hold then."""
        error = ConflictError(
            str(outdated),
            bucket=outdated.bucket,
            key=outdated.key,
            operation=outdated.operation,
            version=outdated.version,
        )
        if not sending.attempt.unanswered or journal.kind == "conditional":
            self._give_up(sending, error)
            return
        # Before: if this client ends now, the next one is not to take what closes it for the transaction itself.
        self._set_aside(sending.group, error, sending.attempt)
        sending.failed = error
        sending.session.sequence = sending.attempt.sequence + 1
        name = sending.session.name
        end = Attempt(sending.session.sequence, CLOSES, collected=self.collected, session=name, closes=True)
        self._proposed.append(_Sending(end, [], sending.session, closes=sending))
        self._wake()

    def _not_committed(self, journal: Journal, sending: _Sending, error: MPS3Error) -> None:
        now = self._world.monotonic()
        if isinstance(error, OutdatedError):
            self._sending = None
            self._contact(None)
            self._observer.conflicted(self.ref, sending.attempt)
            (pending,) = sending.group
            if pending.policy is Policy.RERUN:
                pending.fail(error)
            elif journal.verdict(sending.attempt) is Verdict.FAILING:
                self._open.append(sending)
            else:
                self._fail(journal, sending, error)
            return
        if not isinstance(error, ConflictError | UnavailableError):
            if sending.attempt.doubtful:
                error.add_note("An earlier try of the same commit may have reached the store.")
            self._contact(error)
            self._give_up(sending, error)
        elif isinstance(error, ConflictError):
            sending.conflicts += 1
            sending.retry_at = now + self._world.backoff(sending.conflicts, first=FIRST_CONFLICT, most=LONGEST_CONFLICT)
            self._contact(None)
            self._observer.conflicted(self.ref, sending.attempt, sending.retry_at - now)
        else:
            sending.failures += 1
            sending.retry_at = now + self._world.backoff(sending.failures)
            wait = sending.retry_at - now
            self._observer.committing_again(self.ref, sending.attempt, sending.failures, wait, error)
            if isinstance(error, _Unrecorded):
                _log.warning("%s: %s", self.ref, error)
            else:
                self._contact(error)
                self._lost_contact()

    def _give_up(self, sending: _Sending, error: MPS3Error) -> None:
        if self._sending is sending:
            self._sending = None
        self._observer.refused(self.ref, sending.attempt, sending.group, error)
        self._outbox.fail(sending.group, error)
        self._refused(sending.group, error, sending.attempt)
        if sending.closes is not None and sending.closes.failed is not None:
            self._give_up(sending.closes, sending.closes.failed)
        self._free(sending, closed=sending.failed is not None)

    def _free(self, sending: _Sending, *, closed: bool) -> None:
        """A session may be used again once no try of what was committed with it can hold any more."""
        once = any(pending.expect and pending.policy is Policy.ONCE for pending in sending.group)
        if once and (closed or not sending.attempt.unanswered):
            self.free(sending.session)

    def _acknowledge(self, journal: Journal, sending: _Sending) -> None:
        sending.session.done(sending.attempt)
        if sending.failed is not None:
            for pending in sending.group:
                sending.session.forget(pending)
        self._free(sending, closed=True)
        identity = commit_id(sending.attempt.session or journal.session, sending.attempt.sequence)
        final = final_changes(sending.group)
        # Of several tries with values stored again, an earlier one may be the one that counts.
        own = (sending.attempt.session or journal.session, sending.attempt.sequence)
        view = journal.view
        counting = next((one for one in reversed(view.commits) if (one.session, one.sequence) == own), None)
        said = {} if sending.sent is None else sending.sent.update.get("files", {})

        def version(name: str, content: Content) -> str | None:
            file = (view.said_by(counting, name) if counting else None) or said.get(name) or {}
            found: str | None = file.get("version", content.version)
            return found

        versions_of = {name: None if content is None else version(name, content) for name, content in final.items()}
        for pending in sending.group:
            # A value superseded within its own commit has the version of the one that took its place.
            versions = {label: versions_of[name] for name, label in pending.labels.items()}
            if not pending.outcome.done():
                pending.outcome.set_result(Commit(identity, versions, self.ref))
        self._observer.acknowledged(self.ref, identity, sending.attempt, sending.group)
        self._outbox.remove(sending.group)
        for pending in self._outbox.waiting():
            pending.bases.update({name: versions_of[name] for name in pending.changes if name in versions_of})

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
        sending = (self._sending, *self._proposed, *self._open)
        self._sending = None
        for task in self._tasks:
            if task is not asyncio.current_task():
                task.cancel()
        for one in sending:
            if one is not None:
                self._outbox.fail(one.group, error)
        self._outbox.fail_all(error)
        self.listeners.tell(error)
        asking, self._asking = self._asking, []
        _answer(asking, error)


def _fill(sending: _Sending) -> None:
    """Say in the attempt what is to be committed, as it is stored now."""
    final = final_changes(sending.group)
    changes = {name: None if content is None else content.patch for name, content in final.items()}
    stored = [content.stored for content in final.values() if content is not None and content.stored is not None]
    expect = {"expect": dict(sending.attempt.expect)} if sending.attempt.expect else {}
    sending.attempt.update = {"files": changes, **expect, **(CLOSES if sending.closes is not None else {})}
    sending.attempt.stored = min(stored, default=None)


class _Unrecorded(UnavailableError):  # noqa: N818 - never leaves this module
    """It could not be recorded that a commit leaves, so it must not."""


def _void(sending: _Sending) -> OutdatedError:
    (pending,) = sending.group
    keys = ", ".join(repr(pending.labels.get(name, name)) for name in sending.attempt.expect)
    return OutdatedError(
        f"somebody else changed {keys} first, so nothing was written",
        bucket=pending.session.manifest.bucket,
        key=pending.session.manifest.key,
        operation="PutObject",
    )


def _silent(ref: Ref, seconds: float) -> UnavailableError:
    return UnavailableError(
        f"the store has not answered within {seconds:.0f} seconds",
        bucket=ref.bucket,
        key=ref.key,
        operation="GetObject",
    )


def _version(file: File | None) -> str | None:
    return None if file is None else file["version"]


def _answer(asking: list[asyncio.Future[None]], error: MPS3Error | None = None) -> None:
    for asked in asking:
        if not asked.done():
            if error is None:
                asked.set_result(None)
            else:
                asked.set_exception(error)
