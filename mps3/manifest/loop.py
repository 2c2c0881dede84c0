"""The loop of one manifest: it polls, commits and publishes, one thing at a time."""

from __future__ import annotations

import logging

from ..errors import MPS3Error
from ..journal.protocol import Journal
from ..support.environment import wait_for_event
from .committer import Committer
from .context import ManifestContext
from .decider import TransactionDecider
from .in_flight import InFlightCommit
from .no_ops import NoOps
from .outbox import Outbox
from .pipeline import CommitPipeline
from .poller import Poller
from .publisher import Publisher
from .reachability import StoreReachability, answer
from .reconnect import Review
from .recovery import Recovery
from .state import ManifestState

_log = logging.getLogger("mps3")


class CommitLoop:
    """Calls the parts of a manifest in turn. They do not call each other."""

    def __init__(
        self,
        state: ManifestState,
        reachability: StoreReachability,
        poller: Poller,
        publisher: Publisher,
        outbox: Outbox,
        pipeline: CommitPipeline,
        committer: Committer,
        decider: TransactionDecider,
        no_ops: NoOps,
        recovery: Recovery,
        review: Review | None,
        context: ManifestContext,
    ) -> None:
        self._state = state
        self._reachability = reachability
        self._poller = poller
        self._publisher = publisher
        self._outbox = outbox
        self._pipeline = pipeline
        self._committer = committer
        self._decider = decider
        self._no_ops = no_ops
        self._recovery = recovery
        self._review = review
        self._environment = context.environment
        self._waker = context.waker

    async def run(self, journal: Journal) -> None:
        """Run until it is cancelled."""
        state, pipeline = self._state, self._pipeline
        while True:
            state.awake.clear()
            now = self._environment.monotonic()
            if pipeline.sending is None and now >= self._committer.commit_at:
                pipeline.sending = await self._next_commit() or self._no_ops.next(journal, now)
            if pipeline.sending is not None and now >= pipeline.sending.retry_at:
                with self._reachability.time_limit():
                    await self._commit(journal)
            elif self._reachability.is_wanted or now >= self._poller.poll_at:
                with self._reachability.time_limit():
                    await self._poll(journal)
            else:
                # A time that has passed waits for another event.
                retry_at = pipeline.sending.retry_at if pipeline.sending else self._committer.commit_at
                times = (retry_at, self._no_ops.due_at(journal))
                within = min([self._poller.poll_at, *(one for one in times if one > now)]) - now
                await wait_for_event(state.awake, within)

    async def _commit(self, journal: Journal) -> None:
        waiting = self._reachability.waiting()
        result = await self._committer.send(journal)
        if result.arrived and (position := journal.position) is not None:
            self._waker.announce(self._state.ref, position)
        await self._publish(journal)
        if result.error is not None:
            self._committer.failed(journal, result.commit, result.error)
            if result.commit.optional:
                self._poller.poll_soon()  # it is not tried again, which would tell whether the store answers
        elif result.arrived:
            self._committer.plan_next(journal, result.started)
            if result.commit.attempt.ahead:
                self._reachability.heard()
            else:
                self._reachability.resolved(result.started)
            self._poller.plan_after_commit()
            self._committer.arrived(journal, result.commit)
            if not result.commit.attempt.ahead:
                self._reachability.answered(waiting)
                answer(waiting)

    async def _poll(self, journal: Journal) -> None:
        waiting = await self._poller.poll(journal)
        if waiting is not None:
            await self._publish(journal)
            answer(waiting)

    async def _publish(self, journal: Journal) -> None:
        await self._publisher.publish(journal)
        self._decider.decide(journal)

    async def _next_commit(self) -> InFlightCommit | None:
        """Return the next commit, if there is one that may be sent."""
        if (prior := self._pipeline.next()) is not None:
            return prior
        try:
            await self._recovery.check_lapsed()
        except MPS3Error as error:
            _log.debug("it is not known yet whether recovered writes have expired: %s", error)
            return None  # it is asked again after the next poll
        if self._review is not None and self._review.due:
            if self._reachability.resolved_at >= self._reachability.lost_at:
                self._review.start(self._state.ref, self._outbox, lambda: self._state.view, self._state.wake)
            return None
        group = self._outbox.take()
        return self._committer.gather(group) if group else None
