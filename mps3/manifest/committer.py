"""How the writes of one manifest become commits: what leaves next, what came of it, and who is told."""

from __future__ import annotations

import logging
import math
from collections import deque
from typing import Final, Protocol

from ..content.store import AT_ONCE
from ..errors import ConflictError, MPS3Error, UnavailableError, UnknownOutcomeError, doubted
from ..format.document import commit_id
from ..format.entries import version_of
from ..format.state import View, look_up
from ..journal.outcome import CommitOutcome, few, note, spans, unknown, versions_in
from ..journal.protocol import Attempt, Journal, OutdatedError, Verdict
from ..offline.protocol import Refusal, Sent, StoredSession
from ..support.gather import gather_bounded
from ..types import UNCHECKED, Commit, Ref
from .context import ManifestContext
from .in_flight import CLOSES, InFlightCommit, conflict_of
from .outbox import Outbox
from .pending import ConflictPolicy, Pending, ResendIdentity, final_changes, stored_ids
from .session import Session, SessionPool, refusal_of

WITNESS: Final = 0.5
"""Seconds between two commits that only show that time has passed."""
LIVES: Final = 1000
"""How often a commit may have been written in an earlier life of the client, at the most."""
LAST: Final = 2**53 - 1
"""The last sequence of a session that can be written."""
FIRST_CONFLICT: Final = 0.05
LONGEST_CONFLICT: Final = 2.0

_log = logging.getLogger("mps3")


class CommitHost(Protocol):
    """What the manifest does for its commits."""

    @property
    def collected(self) -> str | None:
        """The last collection that is known of."""
        ...

    def is_stale(self, now: float) -> bool:
        """Whether what is known cannot be committed upon."""
        ...

    def resolved(self, started: float) -> None:
        """The store has answered."""
        ...

    def committed(self, started: float) -> None:
        """A commit has arrived that was begun then."""
        ...

    def lost_contact(self) -> None:
        """The store has not answered."""
        ...

    async def show(self, journal: Journal) -> None:
        """Let everybody see what was resolved."""
        ...

    def cover(self) -> None:
        """Let what is part of the state be shown by it, not by what is pending."""
        ...

    def wake(self) -> None:
        """There is something to do."""
        ...


class Committer:
    """The commits of one manifest, one at a time.

    Args:
        host: The manifest.
        ref: Which manifest, bucket included.
        outbox: The writes that are pending.
        context: What all manifests of a client share.

    Attributes:
        sending: What is on its way.
        open: Transactions that have arrived, and what ends them, which wait to be decided.
        session_pool: The sessions of transactions.
        volatile: The session of what nobody keeps.
        commit_at: When the next commit may leave, by this client's clock.
    """

    def __init__(self, host: CommitHost, ref: Ref, outbox: Outbox, context: ManifestContext) -> None:
        self._host = host
        self._ref = ref
        self._outbox = outbox
        self._context = context
        self._environment = context.environment
        self._contents = context.contents
        self._observer = context.observer
        self._recovered: deque[InFlightCommit] = deque()
        self._proposed: deque[InFlightCommit] = deque()
        self._witness_at = -math.inf
        self.sending: InFlightCommit | None = None
        self.open: list[InFlightCommit] = []
        self.session_pool = SessionPool(ref, context.environment, context.outbox_queue)
        self.volatile = Session(ref)
        self.commit_at = -math.inf

    def recover(self, line: StoredSession, group: list[Pending], session: Session, sent: Sent) -> None:
        """Go on with a commit that may have left in an earlier life of the client."""
        attempt = Attempt(
            sent.sequence,
            sent.update,
            doubtful=True,
            tries=sent.tries + LIVES,
            session=line.session,
            expect=group[0].expect,
            unanswered=1,
            witnesses=sent.witnesses,
            named=versions_in(sent.update),
            earlier=True,
        )
        self._recovered.append(InFlightCommit(attempt, group, session, sent))

    def propose(self, pending: Pending) -> None:
        """Try a transaction whose values are stored, as soon as possible."""
        self._proposed.append(self.gather([pending]))

    def conclude(self, pending: Pending) -> None:
        """Find out for certain what became of a transaction that was tried, and make no other try of it."""
        assert pending.attempt is not None  # noqa: S101 - it was tried
        self.open.append(InFlightCommit(pending.attempt, [pending], pending.session))

    def prior(self) -> InFlightCommit | None:
        """What goes before what is in the outbox, if there is anything."""
        if self._recovered:
            return self._recovered.popleft()
        return self._proposed.popleft() if self._proposed else None

    def fail_all(self, error: MPS3Error) -> None:
        """Nothing that is under way can happen any more in this life of the client."""
        for one in (self.sending, *self._proposed, *self.open):
            if one is not None:
                doubtful = one.attempt.doubtful or any(pending.safe for pending in one.group)
                self._outbox.fail(one.group, doubted(error) if doubtful else error)
                if one.closes is not None:
                    self._outbox.fail(one.closes.group, doubted(error))
        self.sending = None

    def cover(self, journal: Journal, view: View) -> None:
        """Once a commit under way is part of the state, the state shows it, and what others built on it."""
        for sending in (self.sending, *self._recovered, *self.open):
            if sending is not None:
                seen = view.has(sending.attempt.session or journal.session, sending.attempt.sequence)
                if seen != sending.seen:
                    sending.seen = seen
                    self._outbox.cover(sending.group, seen=seen)
        for sending in self.open:
            for pending in sending.group:
                self._outbox.cover_some(pending, self._changed_after(pending, journal.tentative))

    @staticmethod
    def _changed_after(pending: Pending, tentative: View) -> frozenset[str]:
        return frozenset(
            name
            for name, content in pending.changes.items()
            if version_of(tentative.look_up(name)) != (None if content is None else content.version)
        )

    def decides_at(self, journal: Journal) -> float:
        """When to make a commit that decides on transactions of this client, if nobody makes any."""
        return max(journal.decides_at, self._witness_at) if self.open else math.inf

    def witness(self, journal: Journal, now: float) -> InFlightCommit | None:
        """A commit that says nothing, but that time has passed: what came before is decided by it (R20)."""
        if now < self.decides_at(journal):
            return None
        self._witness_at = now + WITNESS
        self.volatile.sequence += 1
        attempt = Attempt(self.volatile.sequence, {}, collected=self._host.collected, session=self.volatile.name)
        return InFlightCommit(attempt, [], self.volatile)

    def refused(self, group: list[Pending], error: MPS3Error, attempt: Attempt | None = None) -> None:
        """Writes have failed for good: those that are kept are set aside."""
        refusal = self._set_aside(group, error, attempt)
        for pending in group:
            if pending.stored_id is not None:
                self._context.refused(pending, refusal)

    def _set_aside(self, group: list[Pending], error: MPS3Error, attempt: Attempt | None) -> Refusal:
        refusal = refusal_of(error, self._environment.now())
        for session in dict.fromkeys(pending.session for pending in group):
            own = [pending for pending in group if pending.session is session and pending.stored_id is not None]
            session.set_aside(stored_ids(own), refusal, attempt)
        return refusal

    def gather(self, group: list[Pending]) -> InFlightCommit:
        """Make a commit of some writes of one session."""
        first = group[0]
        session, resend = first.session, first.resend_as
        if session.outbox_queue is not None and not first.expect and not any(pending.safe for pending in group):
            session = self.volatile  # nobody will ever look for it
        if first.attempt is not None:
            # Another try of a transaction, made from a newer state.
            sending = InFlightCommit(first.attempt, group, session)
            first.attempt.expect, first.attempt.collected = first.expect, first.collected
            sending.fill()
            return sending
        marks = {pending.collected for pending in group if any(pending.changes.values())}
        attempt = Attempt(
            0, {}, fence=any(pending.fence for pending in group), session=session.name, expect=first.expect
        )
        # Whatever was stored before different collections is stored again: no collection has this name.
        attempt.collected = marks.pop() if len(marks) == 1 else "" if marks else self._host.collected
        if resend is not None:
            attempt.sequence, attempt.tries, attempt.doubtful = resend.sequence, resend.tries, True
            attempt.witnesses, attempt.named, attempt.earlier = resend.witnesses, set(resend.named), True
        else:
            session.sequence += 1
            attempt.sequence = session.sequence
        if first.expect:
            first.attempt = attempt
            attempt.unanswered = 0 if resend is None else 1
        sending = InFlightCommit(attempt, group, session)
        sending.fill()
        return sending

    async def _freshen(self, journal: Journal, sending: InFlightCommit) -> None:
        """Store again what may be collected before it is committed (R1)."""
        collected = self._host.collected
        contents = [content for content in final_changes(sending.group).values() if content is not None]
        known = sending.attempt.collected == collected
        contents = [
            content
            for content in contents
            if not (known or sending.renewed.get(content, UNCHECKED) == collected)
            or self._contents.aged(content, journal.clock)
        ]
        while contents:
            results = await gather_bounded(self._contents.store_again, contents, AT_ONCE)
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
        sending.fill()

    async def commit(self, journal: Journal) -> bool:
        """Try what is on its way; whether it has arrived."""
        sending = self.sending
        assert sending is not None  # noqa: S101 - it is asked to
        started = self._environment.monotonic()
        try:
            failed: MPS3Error | None = None
            committed = await self._try(journal, sending, started)
        except MPS3Error as error:
            failed, committed = error, False
        await self._host.show(journal)
        if failed is not None:
            self._not_committed(journal, sending, failed)
        elif committed:
            self.sending = None
            self.commit_at = started + self._environment.random.uniform(1.0, 1.2) * journal.view.pace
            self._host.committed(started)
            self._arrived(journal, sending)
        return committed

    async def _try(self, journal: Journal, sending: InFlightCommit, started: float) -> bool:
        """Try to commit; false if it has to be prepared anew."""
        if sending.sent is not None:
            return await self._find(journal, sending, sending.sent, started)
        # Not onto what could not be read, nor onto what has long been superseded.
        if self._host.is_stale(started):
            await journal.resolve()
        self._step_aside(journal, sending)
        await self._freshen(journal, sending)
        note(sending.attempt, journal.view)
        if sending.closes is None and sending.recorded != sending.attempt.update:
            try:
                witnesses = few(sending.attempt.witnesses or {})
                await sending.session.record_in_flight(stored_ids(sending.group), sending.attempt, witnesses)
            except MPS3Error as error:
                raise _Unrecorded(f"a commit waits until it can be recorded that it leaves: {error}") from error
            sending.recorded = sending.attempt.update
        sending.attempt.now = self._context.time.now()
        session = sending.attempt.session or journal.session
        commit = commit_id(session, sending.attempt.sequence)
        self._observer.sent(self._ref, session, commit, sending.attempt, sending.group)
        await journal.append(sending.attempt)
        return True

    def _step_aside(self, journal: Journal, sending: InFlightCommit) -> None:
        """Somebody else has used the name of a session: go on above what they said, or under another name."""
        attempt, session = sending.attempt, sending.session
        name = attempt.session or journal.session
        view = journal.view
        if attempt.doubtful:
            # What may still arrive keeps its name; with the conditional journal nothing can: the head is another one.
            used = journal.kind == "conditional" and view.is_usurped(name, attempt.sequence, attempt.is_forged)
        else:
            used = view.has(name, attempt.sequence)
        if not used or sending.closes is not None:
            return
        _log.warning("somebody else has made commits to %s in the name of this client", self._ref)
        attempt.sequence = view.sessions[name] + 1
        if attempt.sequence >= LAST:
            session.rename(self._environment.name())
            for pending in self._outbox.all():
                if pending.session is session:
                    pending.keep_under_new_name()
            attempt.session, attempt.sequence = session.name, 1
        session.sequence = attempt.sequence

    async def _find(self, journal: Journal, sending: InFlightCommit, sent: Sent, started: float) -> bool:
        """Find out what became of a commit that left in an earlier life of the client (R4, R8)."""
        await journal.resolve()
        match journal.fate(sending.attempt):
            case CommitOutcome.SETTLED:
                return True
            case CommitOutcome.LANDED:
                await journal.append(sending.attempt)
                return True
            case CommitOutcome.NOT_YET:
                # Its values may be so old that they were collected.
                attempt = sending.attempt
                again = ResendIdentity(sent.sequence, attempt.tries, attempt.witnesses, frozenset(attempt.named))
                self.sending = None
                self._host.resolved(started)
                self._outbox.again(sending.group, again)
                return False
            case CommitOutcome.UNKNOWN:
                self._host.resolved(started)
                self._give_up(sending, self._unknown(" (it had left when its client ended)"))
                return False

    def _unknown(self, why: str = "") -> UnknownOutcomeError:
        return unknown(self._ref.bucket, self._ref.key, why)

    def _arrived(self, journal: Journal, sending: InFlightCommit) -> None:
        if sending.attempt.is_transaction:
            self.open.append(sending)
            self._host.cover()
            self.decide(journal)
        else:
            self._acknowledge(journal, sending)

    def decide(self, journal: Journal) -> None:
        """R20: what became of the transactions that have arrived."""
        for sending in list(self.open):
            verdict = journal.verdict(sending.attempt)
            if sending.closes is not None:
                self._close(journal, sending, sending.closes, verdict)
                continue
            (pending,) = sending.group
            if verdict is Verdict.COMMITTED:
                self.open.remove(sending)
                self._acknowledge(journal, sending)
            elif verdict is Verdict.OPEN:
                if not pending.arrived.done():
                    pending.arrived.set_result(None)
            elif pending.policy is ConflictPolicy.RERUN:
                self.open.remove(sending)
                self._observer.conflicted(self._ref, sending.attempt)
                pending.fail(sending.void())
            elif verdict is Verdict.UNKNOWN and pending.policy is ConflictPolicy.ONCE:
                self.open.remove(sending)
                self._proposed.append(sending)  # as it was; if things have changed, it is refused before it leaves
                self._host.wake()
            elif verdict is not Verdict.FAILING:
                self.open.remove(sending)
                self._observer.conflicted(self._ref, sending.attempt)
                self._fail(journal, sending, sending.void())

    def _close(self, journal: Journal, sending: InFlightCommit, transaction: InFlightCommit, verdict: Verdict) -> None:
        """Whether what ends a transaction counts, or a try of that which arrived before it."""
        session = transaction.attempt.session or journal.session
        if verdict is Verdict.COMMITTED:
            self.open.remove(sending)
            known = spans(journal.view, transaction.attempt.witnesses or {})
            self._give_up(transaction, (transaction.failed or transaction.void()) if known else self._unknown())
        elif journal.view.has(session, transaction.attempt.sequence):
            self.open.remove(sending)
            self._acknowledge(journal, transaction)
        elif verdict is Verdict.UNKNOWN:
            self.open.remove(sending)
            self._proposed.append(sending)
            self._host.wake()

    def _fail(self, journal: Journal, sending: InFlightCommit, outdated: OutdatedError) -> None:
        """A transaction does not hold. No try of it may arrive later on and hold then."""
        if journal.fate(sending.attempt) is CommitOutcome.UNKNOWN:
            self._give_up(sending, self._unknown())
            return
        error = conflict_of(outdated)
        if not journal.may_arrive(sending.attempt):
            self._give_up(sending, error)
            return
        # Before: if this client ends now, the next one is not to take what closes it for the transaction itself.
        self._set_aside(sending.group, error, sending.attempt)
        sending.failed = error
        sending.session.sequence = sending.attempt.sequence + 1
        name = sending.session.name
        end = Attempt(sending.session.sequence, CLOSES, collected=self._host.collected, session=name, closes=True)
        self._proposed.append(InFlightCommit(end, [], sending.session, closes=sending))
        self._host.wake()

    def _not_committed(self, journal: Journal, sending: InFlightCommit, error: MPS3Error) -> None:
        now = self._environment.monotonic()
        if isinstance(error, OutdatedError):
            self.sending = None
            self._context.contact(None)
            self._observer.conflicted(self._ref, sending.attempt)
            (pending,) = sending.group
            if pending.policy is ConflictPolicy.RERUN:
                pending.fail(error)
            elif journal.verdict(sending.attempt) is Verdict.FAILING:
                self.open.append(sending)
            else:
                self._fail(journal, sending, error)
            return
        if not isinstance(error, ConflictError | UnavailableError):
            self._context.contact(None if isinstance(error, UnknownOutcomeError) else error)
            if sending.attempt.doubtful and not error.maybe_written:
                error.maybe_written = True
                error.add_note("An earlier try of the same commit may have reached the store.")
            self._give_up(sending, error)
        elif isinstance(error, ConflictError):
            sending.conflicts += 1
            sending.retry_at = now + self._environment.backoff(
                sending.conflicts, first=FIRST_CONFLICT, most=LONGEST_CONFLICT
            )
            self._context.contact(None)
            self._observer.conflicted(self._ref, sending.attempt, sending.retry_at - now)
        else:
            sending.failures += 1
            sending.retry_at = now + self._environment.backoff(sending.failures)
            wait = sending.retry_at - now
            self._observer.committing_again(self._ref, sending.attempt, sending.failures, wait, error)
            if isinstance(error, _Unrecorded):
                _log.warning("%s: %s", self._ref, error)
            else:
                self._context.contact(error)
                self._host.lost_contact()

    def _give_up(self, sending: InFlightCommit, error: MPS3Error) -> None:
        if self.sending is sending:
            self.sending = None
        self._observer.refused(self._ref, sending.attempt, sending.group, error)
        self._outbox.fail(sending.group, error)
        self.refused(sending.group, error, sending.attempt)
        if sending.closes is not None:
            late = UnknownOutcomeError(
                f"a transaction does not hold, but a try of it whose answer was lost may still arrive: {error}",
                bucket=self._ref.bucket,
                key=self._ref.key,
                operation="PutObject",
            )
            late.__cause__ = error
            self._give_up(sending.closes, late)
        if not error.maybe_written:
            self._free(sending)

    def _free(self, sending: InFlightCommit) -> None:
        """A session may be used again once no try of what was committed with it can hold any more."""
        if any(pending.expect and pending.policy is ConflictPolicy.ONCE for pending in sending.group):
            self.session_pool.release(sending.session)

    def _acknowledge(self, journal: Journal, sending: InFlightCommit) -> None:
        sending.session.record_committed(sending.attempt)
        if sending.failed is not None:
            for pending in sending.group:
                pending.forget()
        self._free(sending)
        identity = commit_id(sending.attempt.session or journal.session, sending.attempt.sequence)
        versions_of = self._versions(journal, sending)
        for pending in sending.group:
            # A value superseded within its own commit has the version of the one that took its place.
            versions = {label: versions_of[name] for name, label in pending.labels.items()}
            if not pending.outcome.done():
                pending.outcome.set_result(Commit(identity, versions, self._ref))
        self._observer.acknowledged(self._ref, identity, sending.attempt, sending.group)
        self._outbox.remove(sending.group)
        for pending in self._outbox.waiting():
            if known := {name: versions_of[name] for name in pending.changes if name in versions_of}:
                pending.bases.update(known)
                pending.keep_rebased()

    def _versions(self, journal: Journal, sending: InFlightCommit) -> dict[str, str | None]:
        """The versions that the values of a commit have; ``None`` for a deleted key."""
        final = final_changes(sending.group)
        versions = {name: None if content is None else content.version for name, content in final.items()}
        if sending.attempt.tries == 1 and not sending.renewed:
            return versions
        # Of several tries with values stored again, an earlier one may be the one that counts.
        own = (sending.attempt.session or journal.session, sending.attempt.sequence)
        view = journal.view
        counting = next((one for one in reversed(view.commits) if (one.session, one.sequence) == own), None)
        said = () if counting is None else view.said_by(counting)
        sent = {} if sending.sent is None else sending.sent.update.get("files", {})
        for name, content in final.items():
            if content is not None:
                file = look_up(name, said) or sent.get(name) or {}
                versions[name] = file.get("version", content.version)
        return versions


class _Unrecorded(UnavailableError):  # noqa: N818 - never leaves this module
    """It could not be recorded that a commit leaves, so it must not."""
