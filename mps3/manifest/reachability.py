"""Whether the store answers: when it last did, what has failed since, and the callers that wait for its next answer."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Iterator
from typing import Final

from ..errors import MPS3Error, UnavailableError
from ..types import Ref
from .context import ManifestContext
from .expiry import ExpiryTimer
from .reconnect import Review
from .state import ManifestState

STALE: Final = 10.0
"""Seconds without a successful read after which a commit is preceded by one."""
BLIND: Final = 60.0
"""The same for a commit that depends on nothing in the state."""
SILENCE: Final = 5.0
"""Seconds without an answer after which a client that can work offline does so."""


class StoreReachability:
    """Whether the store answers requests for one manifest.

    After a time without the store, pending writes wait for the ``review``, if there is one.

    Attributes:
        resolved_at: When the read began that has last succeeded, by this client's clock.
        lost_at: When the store last did not answer, by this client's clock.
        failures: How many reads have failed since the last that has succeeded.
        unreadable: Whether the last read failed although the store answered.
    """

    def __init__(
        self, state: ManifestState, context: ManifestContext, expiry: ExpiryTimer, review: Review | None
    ) -> None:
        self._state = state
        self._context = context
        self._expiry = expiry
        self._review = review
        self._asking: list[asyncio.Future[None]] = []
        self.resolved_at = -math.inf
        self.lost_at = -math.inf
        self.failures = 0
        self.unreadable = False

    @property
    def is_wanted(self) -> bool:
        """Whether a caller waits for the next answer."""
        return bool(self._asking)

    @property
    def is_reachable(self) -> bool:
        """Whether the store answers, as far as is known, and may be asked."""
        return not self.failures and not self._context.shut()

    def is_stale(self, now: float, *, blind: bool) -> bool:
        """Return whether a commit must not build on the known state: it could not be read, or is too old.

        Args:
            now: The time by this client's clock.
            blind: Whether the commit depends on nothing in the state (L12).
        """
        most = max(BLIND if blind else STALE, 2 * self._context.idle_interval)
        return self.unreadable or now - self.resolved_at > most

    def require(self) -> None:
        """Check that the store answers.

        Raises:
            UnavailableError: It does not, or must not be asked.
        """
        if not self.is_reachable:
            ref = self._state.ref
            raise UnavailableError(
                f"the manifest {ref} cannot be reached at the moment", bucket=ref.bucket, key=ref.key
            )

    def resolved(self, started: float) -> None:
        """Record that a read has succeeded that began at ``started``."""
        if self.failures:
            self._context.contents.reached()
        self.resolved_at = started
        self._expiry.clock_changed()
        self.failures = 0
        self.unreadable = False
        self._context.on_response(None)

    def heard(self) -> None:
        """Record that the store has answered, though the state has not been read."""
        self._context.on_response(None)

    def lost(self) -> None:
        """Record that the store has not answered: pending writes are reviewed before they are sent."""
        if self._review is not None:
            self.lost_at = self._context.environment.monotonic()
            self._review.begin()

    def ask(self) -> asyncio.Future[None]:
        """Return a future that is done once the state has been read anew. Its owner may cancel it."""
        asked: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self._state.ended is not None:
            asked.set_exception(self._state.ended)
        elif not (self.is_reachable or self.unreadable) and self._state.journal is not None:
            asked.set_result(None)
        else:
            self._asking.append(asked)
            self._state.wake()
        return asked

    def waiting(self) -> list[asyncio.Future[None]]:
        """Return the futures of all callers that wait. They stay registered until `answered` is called."""
        return list(self._asking)

    def answered(self, waiting: list[asyncio.Future[None]]) -> None:
        """Remove the futures from before a read. `answer` completes them when its state is published."""
        self._asking = self._asking[len(waiting) :]

    def answer_all(self, error: MPS3Error | None = None) -> None:
        """Complete the futures of all callers that wait."""
        asking, self._asking = self._asking, []
        answer(asking, error)

    @contextlib.contextmanager
    def time_limit(self) -> Iterator[None]:
        """Limit how long callers wait for a store that does not answer.

        If the operation runs longer than `SILENCE`, the client is marked offline, and the callers that wait get the
        known state. The operation itself continues. Without a cache there is no limit, because there may be no state.
        """
        if self._context.cache is None:
            yield
            return
        timer = asyncio.get_running_loop().call_later(SILENCE, self._fall_silent)
        try:
            yield
        finally:
            timer.cancel()

    def _fall_silent(self) -> None:
        self.failures = max(1, self.failures)
        self._context.on_response(silent(self._state.ref, SILENCE))
        self.lost()
        if not self.unreadable and self._state.journal is not None:
            answer(self._asking)  # they stay registered until the request has ended


def silent(ref: Ref, seconds: float) -> UnavailableError:
    """Return the error for a store that has not answered in time."""
    return UnavailableError(
        f"the store has not answered within {seconds:.0f} seconds",
        bucket=ref.bucket,
        key=ref.key,
        operation="GetObject",
    )


def answer(asking: list[asyncio.Future[None]], error: MPS3Error | None = None) -> None:
    """Complete the futures of callers that waited."""
    for asked in asking:
        if not asked.done():
            if error is None:
                asked.set_result(None)
            else:
                asked.set_exception(error)
