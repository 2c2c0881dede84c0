"""What the client takes from outside, in one place, so that a simulation can own it."""

from __future__ import annotations

import asyncio
import math
import random as _random
from datetime import datetime, timezone
from typing import Final

FIRST_WAIT: Final = 0.2
"""Seconds at the most before a second try, when the store does not answer."""
LONGEST_WAIT: Final = 10.0
"""Seconds at the most between two tries."""


async def wait_for_event(event: asyncio.Event, within: float) -> None:
    """Wait for an event, or for so many seconds (which may be infinite), whichever is shorter."""
    try:
        async with asyncio.timeout(None if within == math.inf else within):
            await event.wait()
    except TimeoutError:
        pass


class Environment:
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

    def backoff(self, attempt: int, *, first: float = FIRST_WAIT, most: float = LONGEST_WAIT) -> float:
        """Seconds to wait before another try: full jitter over an exponentially growing span.

        Args:
            attempt: How many tries have failed, from 1.
            first: The span after the first failure, in seconds.
            most: The longest span, in seconds.
        """
        return self.random.uniform(0, min(most, first * 2.0 ** min(attempt - 1, 30)))
