"""Polling: when to read what other clients have committed, and reading it."""

from __future__ import annotations

import asyncio
import math
from typing import Final

from ..errors import MPS3Error, UnavailableError
from ..journal.protocol import Journal
from .context import ManifestContext
from .listeners import Listeners
from .pipeline import CommitPipeline
from .reachability import StoreReachability, answer
from .state import ManifestState

FASTEST: Final = 0.1
"""The first wait after activity, as a fraction of the poll interval."""
BACKOFF: Final = 1.5
"""The factor by which each wait is longer than the one before, up to the poll interval, while nothing happens."""
IDLE: Final = (0.95, 1.05)
"""Each wait is drawn from around the interval while wake-ups work: polls of many clients spread by themselves."""
UNFOUNDED: Final = 0.5
"""Seconds between two polls for wake-ups after one that found nothing: somebody may send thousands."""
ANNOUNCED: Final = 5.0
"""Seconds within which a commit that a poll has found should have been heard of."""
DISTRUST: Final = 600.0
"""Seconds for which polls are as frequent as without wake-ups, after a commit of which nothing was heard."""


class Poller:
    """Polls one manifest.

    Attributes:
        poll_at: When to poll next, by this client's clock.
    """

    def __init__(
        self,
        state: ManifestState,
        reachability: StoreReachability,
        pipeline: CommitPipeline,
        listeners: Listeners,
        context: ManifestContext,
    ) -> None:
        self._state = state
        self._ref = state.ref
        self._reachability = reachability
        self._pipeline = pipeline
        self._listeners = listeners
        self._context = context
        self._environment = context.environment
        self._interval = context.poll_interval
        self._wait = self._interval * FASTEST
        self._hint: str | None = None
        self._not_before = -math.inf
        self._unheard: float | None = None
        self._distrust_until = -math.inf
        self.poll_at = -math.inf

    def hear(self, position: str) -> None:
        """Poll because somebody says that the manifest has moved to a position, unless that is known here."""
        self._unheard = None
        if (journal := self._state.journal) is not None and journal.is_beyond(position):
            self._hint = position
            self._plan_at(self.poll_at)
            self._state.wake()

    def pace_changed(self) -> None:
        """Poll at once: wake-ups have begun or ceased to work, so that something may have been missed."""
        self._wait = self._interval * FASTEST
        self.poll_soon()
        self._state.wake()

    def poll_soon(self) -> None:
        """Poll as soon as no commit is to be sent."""
        self.poll_at = -math.inf

    def plan(self) -> None:
        """Plan the next poll."""
        now, idle = self._environment.monotonic(), self._context.waker.idle_interval
        if self._unheard is not None and now > self._unheard + ANNOUNCED:
            # Whoever made it has no wake-ups, or cannot reach the others.
            self._unheard, self._distrust_until = None, now + DISTRUST
        if self._unheard is not None or now < self._distrust_until:
            idle = None
        spread, wait = ((0.8, 1.0), self._wait) if idle is None else (IDLE, idle)
        self._plan_at(now + self._environment.random.uniform(*spread) * wait)

    def _plan_at(self, moment: float) -> None:
        journal = self._state.journal
        if self._hint is not None and (journal is None or not journal.is_beyond(self._hint)):
            self._hint = None  # the last request has found it already, and a poll for it would find nothing
        self.poll_at = moment if self._hint is None else min(moment, self._not_before)

    def plan_after_commit(self) -> None:
        """Plan the next poll after a commit of this client: other clients may react to it."""
        self._wait = self._interval * FASTEST
        self.plan()

    async def poll(self, journal: Journal) -> list[asyncio.Future[None]] | None:
        """Read what other clients have committed.

        Returns:
            The futures of the callers that wait, to be completed once the state is published; ``None`` if it failed.
        """
        reachability, waiting = self._reachability, self._reachability.waiting()
        started = self._environment.monotonic()
        hint, self._hint = self._hint, None
        try:
            # Who waits wants the newest state, whatever somebody says it is.
            news = await journal.resolve(None if waiting else hint)
        except MPS3Error as error:
            self._failed(started, waiting, error)
            return None
        reachability.answered(waiting)
        if reachability.failures:
            self._pipeline.retry_now()
        reachability.resolved(started)
        if hint is not None:
            self._not_before = -math.inf if news else started + UNFOUNDED
        elif news and self._unheard is None and self._context.waker.idle_interval is not None:
            self._unheard = started
        self._context.observer.polled(self._ref, started, news=news, woken=hint is not None)
        self._wait = self._interval * FASTEST if news else min(self._interval, self._wait * BACKOFF)
        self.plan()
        return waiting

    def _failed(self, started: float, waiting: list[asyncio.Future[None]], error: MPS3Error) -> None:
        reachability = self._reachability
        reachability.answered(waiting)
        reachability.failures += 1
        reachability.unreadable = not isinstance(error, UnavailableError)
        self.poll_at = self._environment.monotonic() + max(
            self._interval * FASTEST, self._environment.backoff(reachability.failures)
        )
        self._context.on_response(error)
        self._context.observer.polled(self._ref, started, error=error)
        reachability.lost()
        if reachability.unreadable:
            self._listeners.tell(error)
        answer(waiting, error if reachability.unreadable else None)
