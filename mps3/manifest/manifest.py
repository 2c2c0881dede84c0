"""One manifest in this client: what the rooms above call. `loop.py` has the loop that polls, commits and publishes."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from ..content.value import PendingValue
from ..errors import ClosedError, MPS3Error, UnavailableError
from ..format.file_entry import FileEntry
from ..format.state import View, alive
from ..journal.at_hand import look_up_all
from ..journal.past import Past
from ..journal.run_reader import MissingRunError
from ..offline.protocol import StoredSession
from ..offline.queue import OutboxQueue
from ..types import Ref
from .announcer import CollectionAnnouncer
from .bases import BaseVersions
from .committer import Committer
from .completion import CommitCompletion
from .context import ManifestContext
from .decider import TransactionDecider
from .expiry import ExpiryTimer
from .foresight import PatchForesight
from .kept_writes import KeptWrites
from .listeners import Listeners
from .loop import CommitLoop
from .no_ops import NoOps
from .opener import Opener, OpenJournal
from .outbox import Outbox
from .pending import Pending
from .pipeline import CommitPipeline
from .poller import Poller
from .publisher import Publisher
from .reachability import StoreReachability
from .rebasing import ValueRebaser
from .reconnect import Review
from .recovery import Recovery
from .session import Session, SessionPool
from .state import ManifestState
from .tasks import BackgroundTasks


class Manifest:
    """A group of keys whose changes are ordered by one journal.

    Args:
        ref: The manifest, bucket included.
        open_journal: Creates the journal that orders its commits.
        context: The context of all manifests of a client.

    Attributes:
        ref: The manifest.
        listeners: Notified of changes.
        affinity: The event loop that the client is bound to.
        session_pool: The sessions of transactions.
        session: The session of other writes.
        announcer: Announces collections.
        poller: Says when to poll.
        expiry: Notifies the listeners of keys that expire.
    """

    def __init__(self, ref: Ref, open_journal: OpenJournal, context: ManifestContext) -> None:
        self.ref = ref
        self.listeners = Listeners()
        self.affinity = context.affinity
        self.session_pool = SessionPool(ref, context.environment, context.outbox_queue)
        self._volatile = self.session = Session(ref)
        if context.outbox_queue is not None:
            self.session = Session(ref, name=context.environment.name(), outbox_queue=context.outbox_queue)
        self._context = context
        self._environment = context.environment
        self._observer = context.observer
        self._review = Review(context.contents, context.on_reconnect) if context.on_reconnect is not None else None

        self._state = state = ManifestState(ref, self.listeners, publishes_kept=context.cache is not None)
        self._kept = KeptWrites(state.wake, context.environment)
        self._tasks = BackgroundTasks(ref, self._end)
        self._bases = BaseVersions(state, self._tasks)
        self._outbox = outbox = Outbox(
            context.contents,
            ready=state.wake,
            changed=self._overlay_changed,
            foresee=PatchForesight(state, self.refresh, context).check,
            refused=self._refused,
        )
        self.expiry = ExpiryTimer(state, self.listeners, context.time, self._tasks)
        self._reachability = StoreReachability(state, context, self.expiry, self._review)
        self._pipeline = CommitPipeline(state, outbox)
        self._publisher = Publisher(state, self._pipeline, self.listeners, self.expiry, context)
        self.poller = Poller(state, self._reachability, self._pipeline, self.listeners, context)
        self._opener = Opener(
            open_journal, state, self._reachability, self.poller, self._publisher, self.listeners, context
        )
        rebaser = ValueRebaser(self._volatile, self._tasks, self.add, context)
        self._completion = CommitCompletion(outbox, self._pipeline, self.session_pool, self._tasks, rebaser, context)
        self._decider = TransactionDecider(state, self._pipeline, self._completion, context)
        self._committer = Committer(
            state, self._reachability, outbox, self._pipeline, self._completion, self._decider, self._volatile, context
        )
        self.announcer = CollectionAnnouncer(state, self._volatile, self.refresh, self.add, context)
        self._recovery = Recovery(state, self._reachability, outbox, self._committer, context)
        self._loop = CommitLoop(
            state,
            self._reachability,
            self.poller,
            self._publisher,
            outbox,
            self._pipeline,
            self._committer,
            self._decider,
            NoOps(state, self._pipeline, self._volatile),
            self._recovery,
            self._review,
            context,
        )

    async def open(self) -> None:
        """Read it for the first time, or start from the cache when the store cannot be reached.

        Raises:
            MPS3Error: It cannot be read.
        """
        await self._opener.open()

    def recover(self, stored: Sequence[tuple[StoredSession, OutboxQueue]]) -> None:
        """Continue with sessions of clients that have ended. To be called before `start`.

        Args:
            stored: The sessions with their writes, and where each is kept.
        """
        self._recovery.recover(stored)

    def start(self) -> None:
        """Start its tasks, which open it if need be."""
        self._tasks.start(self._run(), "manifest")
        self._tasks.start(self._outbox.run(), "outbox")
        self.expiry.expire()

    async def aclose(self) -> None:
        """Stop its tasks. Writes that are still pending fail, and subscriptions end."""
        self._tasks.stop()
        try:
            if self._review is not None:
                await self._review.aclose()
            await self._tasks.wait()
        finally:
            self._end(
                ClosedError(
                    "the client was closed before the write was known to be durable"
                    if self._context.outbox_queue is None
                    else "the client was closed before the write was known to be in the store; if it was kept, the "
                    "next client that uses the same directory sends it"
                )
            )
        if self._state.journal is not None:
            await self._state.journal.aclose()  # it may have something to write, for which nobody need wait

    @property
    def ended(self) -> bool:
        """Whether it has stopped."""
        return self._state.ended is not None

    # Reading

    @property
    def tentative(self) -> View:
        """The newest state, with the transactions that are not decided yet; new transactions are made from it.

        Raises:
            UnavailableError: The store could not be reached yet.
        """
        return self._state.require_journal().tentative.at(self.time())

    @property
    def past(self) -> Past:
        """The states before the one that is shown.

        Raises:
            UnavailableError: The store could not be reached yet.
        """
        return self._state.require_journal().past

    @property
    def last_collection(self) -> str | None:
        """The last collection that is known."""
        return self._state.last_collection

    def require_reachable(self) -> None:
        """Check that the known state may be taken for the newest one.

        Raises:
            UnavailableError: The store does not answer at the moment, or must not be asked.
        """
        self._reachability.require()

    def state(self) -> tuple[View, Mapping[str, PendingValue | FileEntry | None]]:
        """Return the newest state, expired keys included, and the pending values of this client that lie over it."""
        self._pipeline.update_overlay()
        return self._state.view, self._outbox.overlay(self._state.view, self.time())

    def present(self) -> tuple[View, Mapping[str, PendingValue | FileEntry | None]]:
        """Return the same without the keys that have expired by now, by the store's clock."""
        view, overlay = self.state()
        return view.at(self.time()), overlay

    def time(self) -> float:
        """Return the time at the store, in seconds since 1970, as far as it is known; ``-inf`` if it is not."""
        return self._context.time.now()

    def look_up(self, name: str) -> PendingValue | FileEntry | None:
        """Return the newest value of a key: a pending one of this client, or what the manifest says.

        Raises:
            NotAtHandError: That is not known without fetching a part of a run.
        """
        view, overlay = self.state()
        if name in overlay:
            return overlay[name]
        file = view.look_up(name)
        if file is not None and "expires" in file:
            self.expiry.expect([(name, file)])
            return alive(file, self.time())
        return file

    async def find(self, name: str) -> PendingValue | FileEntry | None:
        """Return the same, and fetch what it takes."""
        layers = () if self.is_pending(name) else self.state()[0].layers
        try:
            return (await look_up_all(layers, [name], self.look_up))[name]
        except MissingRunError:
            await self.refresh()  # it was collected: the newest state does not need it
            return (await look_up_all(self.state()[0].layers, [name], self.look_up))[name]

    def is_pending(self, name: str) -> bool:
        """Return whether the newest value of a key is a pending one of this client, whatever others commit."""
        return name in self.state()[1] and not self._outbox.is_durable(name)

    async def refresh(self) -> None:
        """Wait until the known state is at least as new as this call.

        While the store cannot be reached, this returns soon, and the known state is used as it is.

        Raises:
            UnavailableError: The store could not be reached yet, so nothing is known.
            MPS3Error: The manifest cannot be read any more.
        """
        await self.ask()

    async def refresh_committed(self) -> None:
        """Do the same for somebody who wants to know what was committed, without what lies over the state.

        Raises:
            UnavailableError: The store cannot be reached, and the known state lacks what this client has committed.
            MPS3Error: The manifest cannot be read any more.
        """
        await self.refresh()
        if self._pipeline.ahead:
            self.require_reachable()

    def ask(self) -> asyncio.Future[None]:
        """Return a future that is done once the state has been read anew. Its owner may cancel it."""
        return self._reachability.ask()

    async def refresh_from_store(self) -> None:
        """Wait until the known state is at least as new as this call, however long the store does not answer."""
        failures = 0
        while True:
            with contextlib.suppress(UnavailableError):
                await self.refresh()
                self.require_reachable()
                return
            failures += 1
            await asyncio.sleep(self._environment.backoff(failures))

    async def refresh_for_transaction(self) -> None:
        """Wait until `tentative` is at least as new as now, with the writes that this client has made before.

        As a write does, it waits for as long as the store does not answer.
        """
        await self.refresh_from_store()
        if made := [pending.outcome for pending in self._outbox.all()]:
            await asyncio.wait(made)
        if self._pipeline.ahead:
            await self.refresh_from_store()

    # Writing

    @property
    def pending(self) -> int:
        """How many writes are not yet durable."""
        return len(self._outbox)

    @property
    def oldest_pending(self) -> datetime | None:
        """When the first of them was made."""
        return self._outbox.oldest

    def add(self, pending: Pending) -> None:
        """Commit a write as soon as possible; it shows at once."""
        self._check_running()
        if self._review is not None or pending.session.outbox_queue is not None:  # only these use them
            self._bases.note(pending)
        pending.keep()
        self._kept.follow(pending)
        pending.last_collection = self.last_collection
        self._observer.write_made(self.ref, pending)
        self._outbox.add(pending)

    def withdraw(self, pending: Pending) -> bool:
        """Withdraw a write, unless it may have been sent already; return whether it is withdrawn."""
        withdrawn = self._outbox.withdraw(pending)
        if withdrawn and pending.expect:
            self.session_pool.release(pending.session)
        return withdrawn

    async def drained(self) -> None:
        """Wait until there is nothing pending."""
        await self._outbox.drained()

    def propose(self, pending: Pending) -> None:
        """Send a transaction whose values are stored, as soon as possible. It shows only once it is decided."""
        self._check_running()
        self._observer.write_made(self.ref, pending)
        self._committer.propose(pending)
        self._state.wake()

    def conclude(self, pending: Pending) -> None:
        """Find out for certain what became of a transaction that was tried, and make no other try of it."""
        self._check_running()
        self._decider.conclude(pending)
        self.poller.poll_soon()
        self._state.wake()

    def counting(self, pending: Pending) -> Mapping[str, Any] | None:
        """Return the update of the try of a transaction that counts; ``None`` if it is not known any more."""
        journal = self._state.journal
        entry = journal.counting(pending.attempt) if journal and pending.attempt else None
        return None if entry is None else entry.update

    def pause(self) -> None:
        """Record that the client goes offline."""
        self._reachability.lost()

    def hurry(self) -> None:
        """Retry at once what waits for another try."""
        self._reachability.lost()
        self._context.contents.reached()
        self.poller.poll_soon()
        self._pipeline.retry_now()
        self._state.wake()

    async def _run(self) -> None:
        try:
            await self._opener.open_in_background()
        except MPS3Error as error:
            self._end(error)
        else:
            await self._loop.run(self._state.require_journal())

    def _overlay_changed(self, names: Mapping[str, object]) -> None:
        self.listeners.touch(names)
        self._context.changed()

    def _refused(self, group: list[Pending], error: MPS3Error) -> None:
        self._completion.refuse(group, error)

    def _check_running(self) -> None:
        if self._state.ended is not None:
            raise self._state.ended

    def _end(self, error: MPS3Error) -> None:
        if self._state.ended is not None:
            return
        self._state.ended = error
        self._tasks.stop()
        self._pipeline.fail_all(error)
        self._outbox.fail_all(error)
        self.listeners.tell(error)
        self._reachability.answer_all(error)
