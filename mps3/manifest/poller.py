"""Polling: when to read what other clients have committed, and reading it."""

from __future__ import annotations

import asyncio
import math
from typing import Final

from ..errors import MPS3Error, UnavailableError
from ..journal.protocol import Journal
from .contact import Contact, answer
from .context import ManifestContext
from .listeners import Listeners
from .pipeline import CommitPipeline
from .state import ManifestState

FASTEST: Final = 0.1
"""The first wait after activity, as a fraction of the poll interval."""
BACKOFF: Final = 1.5
"""The factor by which each wait is longer than the one before, up to the poll interval, while nothing happens."""


class Poller:
    """Polls one manifest.

    Attributes:
        poll_at: When to poll next, by this client's clock.
    """

    def __init__(
        self,
        state: ManifestState,
        contact: Contact,
        pipeline: CommitPipeline,
        listeners: Listeners,
        context: ManifestContext,
    ) -> None:
        self._ref = state.ref
        self._contact = contact
        self._pipeline = pipeline
        self._listeners = listeners
        self._context = context
        self._environment = context.environment
        self._interval = context.poll_interval
        self._wait = self._interval * FASTEST
        self.poll_at = -math.inf

    def poll_soon(self) -> None:
        """Poll as soon as no commit is to be sent."""
        self.poll_at = -math.inf

    def plan(self) -> None:
        """Plan the next poll."""
        self.poll_at = self._environment.monotonic() + self._environment.random.uniform(0.8, 1.0) * self._wait

    def plan_after_commit(self) -> None:
        """Plan the next poll after a commit of this client: other clients may react to it."""
        self._wait = self._interval * FASTEST
        self.plan()

    async def poll(self, journal: Journal) -> list[asyncio.Future[None]] | None:
        """Read what other clients have committed.

        Returns:
            The futures of the callers that wait, to be completed once the state is published; ``None`` if it failed.
        """
        contact, waiting = self._contact, self._contact.waiting()
        started = self._environment.monotonic()
        try:
            news = await journal.resolve()
        except MPS3Error as error:
            self._failed(started, waiting, error)
            return None
        contact.answered(waiting)
        if contact.failures:
            self._pipeline.retry_now()
        contact.resolved(started)
        self._context.observer.polled(self._ref, started, news=news)
        self._wait = self._interval * FASTEST if news else min(self._interval, self._wait * BACKOFF)
        self.plan()
        return waiting

    def _failed(self, started: float, waiting: list[asyncio.Future[None]], error: MPS3Error) -> None:
        contact = self._contact
        contact.answered(waiting)
        contact.failures += 1
        contact.unreadable = not isinstance(error, UnavailableError)
        self.poll_at = self._environment.monotonic() + max(
            self._interval * FASTEST, self._environment.backoff(contact.failures)
        )
        self._context.contact(error)
        self._context.observer.polled(self._ref, started, error=error)
        contact.lost()
        if contact.unreadable:
            self._listeners.tell(error)
        answer(waiting, error if contact.unreadable else None)
