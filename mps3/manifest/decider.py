"""Deciding transactions that have arrived (R20): whether they are committed, and when that is certain."""

from __future__ import annotations

from ..journal.attempt import Attempt, OutdatedError
from ..journal.outcome import CommitOutcome, spans
from ..journal.protocol import Journal, TransactionStatus
from .completion import CommitCompletion
from .context import ManifestContext
from .in_flight import CLOSES, InFlightCommit, conflict_of
from .pending import ConflictPolicy, Pending
from .pipeline import CommitPipeline
from .state import ManifestState


class TransactionDecider:
    """Decides the transactions of this client in one manifest."""

    def __init__(
        self,
        state: ManifestState,
        pipeline: CommitPipeline,
        completion: CommitCompletion,
        context: ManifestContext,
    ) -> None:
        self._state = state
        self._pipeline = pipeline
        self._completion = completion
        self._observer = context.observer

    def conclude(self, pending: Pending) -> None:
        """Find out for certain what became of a transaction that was tried, and make no other try of it."""
        assert pending.attempt is not None  # noqa: S101 - it was tried
        self._pipeline.undecided.append(InFlightCommit(pending.attempt, [pending], pending.session))

    def decide(self, journal: Journal) -> None:
        """Complete the transactions that are decided in the newest state."""
        for commit in list(self._pipeline.undecided):
            status = journal.status_of(commit.attempt)
            if commit.closes is not None:
                self._decide_end(journal, commit, commit.closes, status)
            else:
                self._decide(journal, commit, status)

    def _decide(self, journal: Journal, commit: InFlightCommit, status: TransactionStatus) -> None:
        (pending,) = commit.group
        undecided = self._pipeline.undecided
        if status is TransactionStatus.COMMITTED:
            undecided.remove(commit)
            self._completion.acknowledge(journal, commit)
        elif status is TransactionStatus.OPEN:
            if not pending.arrived.done():
                pending.arrived.set_result(None)
        elif pending.reruns:
            undecided.remove(commit)
            self._observer.conflicted(self._state.ref, commit.attempt)
            pending.fail(commit.outdated())
        elif status is TransactionStatus.UNKNOWN and pending.policy is ConflictPolicy.ONCE:
            # It is sent again as it was; if things have changed, it is refused before it leaves.
            undecided.remove(commit)
            self._propose(commit)
        elif status is not TransactionStatus.FAILING:
            undecided.remove(commit)
            self._observer.conflicted(self._state.ref, commit.attempt)
            self.fail(journal, commit, commit.outdated())

    def _decide_end(
        self, journal: Journal, end: InFlightCommit, transaction: InFlightCommit, status: TransactionStatus
    ) -> None:
        """Decide whether the end of a transaction counts, or a try of the transaction that arrived before it."""
        session = transaction.attempt.session or journal.session
        if status is TransactionStatus.COMMITTED:
            self._pipeline.undecided.remove(end)
            known = spans(journal.view, transaction.attempt.witnesses or {})
            error = (transaction.failed or transaction.outdated()) if known else transaction.unknown_outcome()
            self._completion.fail(transaction, error)
        elif journal.view.has(session, transaction.attempt.sequence):
            self._pipeline.undecided.remove(end)
            self._completion.acknowledge(journal, transaction)
        elif status is TransactionStatus.UNKNOWN:
            self._pipeline.undecided.remove(end)
            self._propose(end)

    def fail(self, journal: Journal, commit: InFlightCommit, outdated: OutdatedError) -> None:
        """Fail a transaction that does not hold, once no try of it may arrive later on and hold then."""
        if journal.outcome(commit.attempt) is CommitOutcome.UNKNOWN:
            self._completion.fail(commit, commit.unknown_outcome())
            return
        error = conflict_of(outdated)
        if not journal.may_arrive(commit.attempt):
            self._completion.fail(commit, error)
            return
        # Before closing it: if this client ends now, the next one must not take the closing commit for the transaction.
        self._completion.set_aside(commit.group, error, commit.attempt)
        commit.failed = error
        session = commit.session
        session.sequence = commit.attempt.sequence + 1
        collected = self._state.last_collection
        end = Attempt(session.sequence, CLOSES, collected=collected, session=session.name, closes=True)
        self._propose(InFlightCommit(end, [], session, closes=commit))

    def _propose(self, commit: InFlightCommit) -> None:
        self._pipeline.proposed.append(commit)
        self._state.wake()
