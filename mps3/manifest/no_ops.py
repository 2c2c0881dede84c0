"""Commits without content: they show that time has passed, and let what came before them be settled."""

from __future__ import annotations

import math
from typing import Final

from ..journal.attempt import Attempt
from ..journal.protocol import Journal
from .in_flight import InFlightCommit
from .pipeline import CommitPipeline
from .session import Session
from .state import ManifestState

INTERVAL: Final = 0.5
"""Seconds between two of them that are to decide transactions."""


class NoOps:
    """Makes commits without content: transactions are decided by them (R20), and runs become few (R29).

    ``volatile`` is the session of commits that nothing keeps durably.
    """

    def __init__(self, state: ManifestState, pipeline: CommitPipeline, volatile: Session) -> None:
        self._state = state
        self._pipeline = pipeline
        self._volatile = volatile
        self._not_before = -math.inf

    def due_at(self, journal: Journal) -> float:
        """Return when to call `next`, if no client commits before, by this client's clock."""
        return min(self._decides_at(journal), journal.tidies_at)

    def next(self, journal: Journal, now: float) -> InFlightCommit | None:
        """Return such a commit, if one is due."""
        decides = now >= self._decides_at(journal)
        if decides:
            self._not_before = now + INTERVAL
        elif now < journal.tidies_at or not journal.tidy():
            return None
        session = self._volatile
        session.sequence += 1
        attempt = Attempt(session.sequence, {}, collected=self._state.last_collection, session=session.name)
        return InFlightCommit(attempt, [], session, optional=not decides)

    def _decides_at(self, journal: Journal) -> float:
        """Return when to make one that decides transactions of this client."""
        return max(journal.decides_at, self._not_before) if self._pipeline.undecided else math.inf
