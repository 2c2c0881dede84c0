"""Committing: pending writes become commits, one is sent at a time, and its result is handled."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from typing import Final

from ..content.many import ManyValues
from ..content.store import AT_ONCE
from ..content.value import PendingValue
from ..errors import ConflictError, MPS3Error, UnavailableError, UnknownOutcomeError
from ..format.document import commit_id
from ..format.file_entry import version_of
from ..journal.at_hand import look_up_in, prepare
from ..journal.attempt import Attempt, OutdatedError
from ..journal.outcome import CommitOutcome, few, note, versions_in
from ..journal.protocol import Journal, TransactionStatus
from ..journal.run_pieces import Piece
from ..offline.protocol import Sent, StoredSession
from ..support.gather import gather_bounded
from ..support.steps import in_steps
from ..types import UNCHECKED
from .completion import CommitCompletion
from .context import ManifestContext
from .decider import TransactionDecider
from .in_flight import InFlightCommit
from .outbox import Outbox
from .pending import Pending, ResendIdentity, final_changes, stored_ids
from .pipeline import CommitPipeline
from .reachability import StoreReachability
from .session import Session
from .state import ManifestState

EARLIER_TRIES: Final = 1000
"""How often an earlier client may have written a commit, at the most."""
LAST_SEQUENCE: Final = 2**53 - 1
"""The last sequence of a session that can be written."""
SLEPT: Final = 1.0
"""Seconds that the machine has slept after which a commit is preceded by a read."""
FIRST_CONFLICT: Final = 0.05
LONGEST_CONFLICT: Final = 2.0

_log = logging.getLogger("mps3")


@dataclass(frozen=True, slots=True)
class SendResult:
    """The result of one try to commit.

    Attributes:
        commit: What was sent.
        started: When the try began, by this client's clock.
        arrived: Whether it is in the store. If not, and there is no error, it has to be prepared anew.
        error: Why it failed.
    """

    commit: InFlightCommit
    started: float
    arrived: bool
    error: MPS3Error | None = None


class Committer:
    """Makes and sends the commits of one manifest, one at a time.

    Args:
        state: The state of the manifest.
        reachability: Whether the store answers, and who waits for it.
        outbox: The writes that are pending.
        pipeline: The commits that are not decided yet.
        completion: Completes commits.
        decider: Decides transactions that have arrived.
        volatile: The session of writes that nothing keeps.
        context: The context of all manifests of a client.

    Attributes:
        commit_at: When the next commit may be sent, by this client's clock.
    """

    def __init__(
        self,
        state: ManifestState,
        reachability: StoreReachability,
        outbox: Outbox,
        pipeline: CommitPipeline,
        completion: CommitCompletion,
        decider: TransactionDecider,
        volatile: Session,
        context: ManifestContext,
    ) -> None:
        self._state = state
        self._reachability = reachability
        self._outbox = outbox
        self._pipeline = pipeline
        self._completion = completion
        self._decider = decider
        self._volatile = volatile
        self._context = context
        self._environment = context.environment
        self._contents = context.contents
        self._observer = context.observer
        self._slept = context.environment.slept()
        self.commit_at = -math.inf

    def recover(self, stored: StoredSession, group: list[Pending], session: Session, sent: Sent) -> None:
        """Continue with a commit that an earlier client may have sent."""
        attempt = Attempt(
            sent.sequence,
            sent.update,
            doubtful=True,
            tries=sent.tries + EARLIER_TRIES,
            session=stored.name,
            expect=group[0].expect,
            unanswered=1,
            witnesses=sent.witnesses,
            named=versions_in(sent.update),
            earlier=True,
        )
        self._pipeline.recovered.append(InFlightCommit(attempt, group, session, sent))

    def propose(self, pending: Pending) -> None:
        """Send a transaction whose values are stored, as soon as possible."""
        self._pipeline.proposed.append(self.gather([pending]))

    def gather(self, group: list[Pending]) -> InFlightCommit:
        """Make one commit from writes of one session."""
        first = group[0]
        session, resend = first.session, first.resend_as
        if session.outbox_queue is not None and not first.expect and not any(pending.safe for pending in group):
            session = self._volatile  # no later client continues with it
        if first.attempt is not None:
            # Another try of a transaction, made from a newer state.
            commit = InFlightCommit(first.attempt, group, session)
            first.attempt.expect, first.attempt.collected = first.expect, first.last_collection
            return commit
        marks = {pending.last_collection for pending in group if any(pending.changes.values())}
        attempt = Attempt(
            0,
            {},
            fence=any(pending.announces_collection for pending in group),
            session=session.name,
            expect=first.expect,
        )
        # An empty name is that of no collection: values that were stored before different collections are stored again.
        attempt.collected = marks.pop() if len(marks) == 1 else "" if marks else self._state.last_collection
        if resend is not None:
            attempt.sequence, attempt.tries, attempt.doubtful = resend.sequence, resend.tries, True
            attempt.witnesses, attempt.named, attempt.earlier = resend.witnesses, set(resend.named), True
        else:
            session.sequence += 1
            attempt.sequence = session.sequence
        if first.expect:
            first.attempt = attempt
            attempt.unanswered = 0 if resend is None else 1
        return InFlightCommit(attempt, group, session)

    async def _store_again(self, journal: Journal, commit: InFlightCommit) -> None:
        """Store values again that may be collected before they are committed (R1).

        Nothing collects inline values, but it is now that they are stored, and that their time begins (R19).
        """
        collected = self._state.last_collection
        known = commit.attempt.collected == collected
        contents: list[PendingValue] = []
        final = final_changes(commit.group)
        async for part in in_steps(() if isinstance(final, ManyValues) else final.values()):
            for content in part:
                if content is None:
                    continue
                if content.inline:
                    self._contents.set_expiry(content)
                elif not (known or commit.renewed.get(content, UNCHECKED) == collected) or self._contents.is_too_old(
                    content, journal.clock
                ):
                    contents.append(content)
        while contents:
            results = await gather_bounded(self._contents.store_again, contents, AT_ONCE)
            again = []
            for content, result in zip(contents, results, strict=True):
                if isinstance(result, UnavailableError):
                    again.append(content)
                elif isinstance(result, BaseException):
                    raise result
                else:
                    commit.renewed[content] = collected
            if len(again) == len(contents):
                raise next(result for result in results if isinstance(result, BaseException))
            contents = again  # only those that failed: of many, some fail each time
        commit.attempt.collected = collected
        await commit.fill()

    async def send(self, journal: Journal) -> SendResult:
        """Try once to commit what is being sent."""
        commit = self._pipeline.sending
        assert commit is not None  # noqa: S101 - checked by the loop
        started = self._environment.monotonic()
        try:
            arrived = await self._send(journal, commit, started)
        except MPS3Error as error:
            waits = isinstance(error, UnavailableError) and not commit.optional
            self._context.tried(self, error if waits else None)
            return SendResult(commit, started, arrived=False, error=error)
        self._context.tried(self, None)
        return SendResult(commit, started, arrived)

    async def _send(self, journal: Journal, commit: InFlightCommit, started: float) -> bool:
        """Try to commit; return false if it has to be prepared anew."""
        attempt = commit.attempt
        if commit.sent is not None:
            return await self._find_outcome(journal, commit, commit.sent, started)
        # A commit must not build on a state that could not be read, or that is too old. After a sleep of the machine,
        # its clock does not tell how old that is, nor what time it is at the store, from which expiries count (R19).
        slept, attempt.blind = self._environment.slept(), self._may_be_blind(commit)
        stale = self._reachability.is_stale(started, blind=attempt.blind) or slept - self._slept > SLEPT
        if stale or await _looks_outdated(commit, journal):
            await journal.resolve()
            if attempt.blind:
                self._reachability.resolved(started)  # its acknowledgement will not tell that
            self._slept = slept
        self._avoid_used_sequence(journal, commit)
        await self._store_again(journal, commit)
        note(attempt, journal.view)
        if commit.closes is None and commit.recorded != attempt.update:
            try:
                witnesses = few(attempt.witnesses or {})
                await commit.session.record_in_flight(stored_ids(commit.group), attempt, witnesses)
            except MPS3Error as error:
                raise _UnrecordedError(f"a commit waits until it can be recorded that it leaves: {error}") from error
            commit.recorded = attempt.update
        attempt.now = self._context.time.now()
        session = attempt.session or journal.session
        identity = commit_id(session, attempt.sequence)
        self._observer.sent(self._state.ref, session, identity, attempt, commit.group)
        lost = attempt.lost
        try:
            await journal.append(attempt)
        finally:
            for _ in range(attempt.lost - lost):
                self._observer.conflicted(self._state.ref, attempt, 0.0)
        return True

    def _may_be_blind(self, commit: InFlightCommit) -> bool:
        """Return whether a commit may be acknowledged before others are read: nobody here waits to hear of those.

        What is kept in a cache is what a later life of the client shows, so its own writes have to be part of that.
        """
        context, reachability = self._context, self._reachability
        if context.cache is not None or context.on_reconnect is not None or commit.optional:
            return False
        if reachability.is_wanted or not reachability.is_reachable or len(self._state.listeners):
            return False
        return not any(
            pending.is_large or pending.is_patch or any(map(_expires, pending.changes.values()))
            for pending in commit.group
        )

    def _avoid_used_sequence(self, journal: Journal, commit: InFlightCommit) -> None:
        """Continue above the commits that another client has made under the name of the session, or rename it."""
        attempt, session = commit.attempt, commit.session
        name = attempt.session or journal.session
        view = journal.view
        # A commit that may still arrive keeps its name.
        used = journal.is_usurped(attempt) if attempt.doubtful else view.has(name, attempt.sequence)
        if not used or commit.closes is not None:
            return
        _log.warning("another client has made commits to %s in the name of this client", self._state.ref)
        attempt.sequence = view.sessions[name] + 1
        if attempt.sequence >= LAST_SEQUENCE:
            session.rename(self._environment.name())
            for pending in self._outbox.all():
                if pending.session is session:
                    pending.keep_under_new_name()
            attempt.session, attempt.sequence = session.name, 1
        session.sequence = attempt.sequence

    async def _find_outcome(self, journal: Journal, commit: InFlightCommit, sent: Sent, started: float) -> bool:
        """Find out whether a commit counts that an earlier client may have sent (R4, R8)."""
        await journal.resolve()
        attempt = commit.attempt
        held: list[Piece] = []
        await prepare(journal.view.layers, [name for name, _ in attempt.named], held)
        match journal.outcome(attempt):
            case CommitOutcome.SETTLED:
                return True
            case CommitOutcome.LANDED:
                await journal.append(attempt)
                return True
            case CommitOutcome.NOT_YET:
                # Its values may be so old that they were collected.
                again = ResendIdentity(sent.sequence, attempt.tries, attempt.witnesses, frozenset(attempt.named))
                self._pipeline.sending = None
                self._reachability.resolved(started)
                self._outbox.resend(commit.group, again)
                return False
            case CommitOutcome.UNKNOWN:
                self._reachability.resolved(started)
                self._completion.fail(commit, commit.unknown_outcome(" (it had left when its client ended)"))
                return False

    def plan_next(self, journal: Journal, started: float) -> None:
        """Plan the next commit, after one has arrived whose last try began at ``started``."""
        self._pipeline.sending = None
        self.commit_at = started + self._environment.random.uniform(1.0, 1.2) * journal.view.pace

    def arrived(self, journal: Journal, commit: InFlightCommit) -> None:
        """Complete a commit that has arrived, or wait until it is decided if it is a transaction."""
        if commit.attempt.is_transaction:
            self._pipeline.undecided.append(commit)
            self._pipeline.update_overlay()
            self._decider.decide(journal)
        else:
            self._completion.acknowledge(journal, commit)

    def failed(self, journal: Journal, commit: InFlightCommit, error: MPS3Error) -> None:
        """Handle a try that has failed: plan another one, or fail the commit."""
        if commit.optional:
            _log.debug("%s: runs were left as they are: %s", self._state.ref, error)
            self._pipeline.sending = None
        elif isinstance(error, OutdatedError):
            self._outdated(journal, commit, error)
        elif isinstance(error, ConflictError):
            self._conflicted(commit)
        elif isinstance(error, UnavailableError):
            self._not_answered(commit, error)
        else:
            self._context.on_response(None if isinstance(error, UnknownOutcomeError) else error)
            if commit.attempt.doubtful and not error.maybe_written:
                error.maybe_written = True
                error.add_note("An earlier try of the same commit may have reached the store.")
            self._completion.fail(commit, error)

    def _outdated(self, journal: Journal, commit: InFlightCommit, error: OutdatedError) -> None:
        self._pipeline.sending = None
        self._context.on_response(None)
        self._observer.conflicted(self._state.ref, commit.attempt)
        (pending,) = commit.group
        if pending.reruns:
            pending.fail(error)
        elif journal.status_of(commit.attempt) is TransactionStatus.FAILING:
            self._pipeline.undecided.append(commit)
        else:
            self._decider.fail(journal, commit, error)

    def _conflicted(self, commit: InFlightCommit) -> None:
        commit.conflicts += 1
        wait = self._environment.backoff(commit.conflicts, first=FIRST_CONFLICT, most=LONGEST_CONFLICT)
        commit.retry_at = self._environment.monotonic() + wait
        self._context.on_response(None)
        self._observer.conflicted(self._state.ref, commit.attempt, wait)

    def _not_answered(self, commit: InFlightCommit, error: UnavailableError) -> None:
        commit.failures += 1
        wait = self._environment.backoff(commit.failures)
        commit.retry_at = self._environment.monotonic() + wait
        self._observer.commit_retried(self._state.ref, commit.attempt, commit.failures, wait, error)
        if isinstance(error, _UnrecordedError):
            _log.warning("%s: %s", self._state.ref, error)
        else:
            self._context.on_response(error)
            self._reachability.lost()


async def _looks_outdated(commit: InFlightCommit, journal: Journal) -> bool:
    """Return whether a write with a condition would fail by what is known, which the store may know better."""
    if not commit.attempt.expect or any(pending.reruns for pending in commit.group):
        return False  # who makes another try reads before it
    view = journal.tentative.at(commit.attempt.now)
    expect = commit.attempt.expect
    found = await look_up_in(view, expect)
    return any(version_of(found[name]) != version for name, version in expect.items())


def _expires(content: PendingValue | None) -> bool:
    return content is not None and (content.expires_in is not None or content.until is not None)


class _UnrecordedError(UnavailableError):
    """A commit could not be recorded as in flight, so it must not be sent. Not raised outside this module."""
