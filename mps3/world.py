"""What the client takes from outside, in one place, so that a simulation can own it."""

from __future__ import annotations

import asyncio
import random as _random
from datetime import datetime, timezone


class World:
    """Time, chance and names.

    Sleeping and timeouts are the event loop's, whose clock `monotonic` reads.

    Args:
        random: The source of jitter and names. The system's own by default: unlike a seeded one it
            gives different names to the two sides of a ``fork``.
    """

    def __init__(self, random: _random.Random | None = None) -> None:
        self.random = _random.SystemRandom() if random is None else random

    def monotonic(self) -> float:
        """Seconds on a clock that never goes back."""
        return asyncio.get_running_loop().time()

    def now(self) -> datetime:
        """The wall clock, for people to read; nothing is decided by it."""
        return datetime.now(timezone.utc)

    def name(self) -> str:
        """A name that nobody else has."""
        return f"{self.random.getrandbits(128):032x}"

    def backoff(self, attempt: int, *, first: float, most: float) -> float:
        """Seconds to wait before another try: full jitter over an exponentially growing span.

        Args:
            attempt: How many tries have failed, from 1.
            first: The span after the first failure, in seconds.
            most: The longest span, in seconds.
        """
        return self.random.uniform(0, min(most, first * 2.0 ** min(attempt - 1, 30)))
