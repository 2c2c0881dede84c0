"""The clock, the random numbers and the unique names of a client, which a simulation replaces."""

from __future__ import annotations

import asyncio
import math
import random as _random
import time
from datetime import datetime, timezone
from typing import Final

FIRST_WAIT: Final = 0.2
"""The longest wait before the first retry, in seconds."""
LONGEST_WAIT: Final = 10.0
"""The longest wait before any retry, in seconds."""


# A clock that counts while the machine sleeps, and one that does not, as that of the event loop.
_CLOCKS: Final = next(
    (
        (getattr(time, counting), getattr(time, standing))
        for counting, standing in (("CLOCK_BOOTTIME", "CLOCK_MONOTONIC"), ("CLOCK_MONOTONIC", "CLOCK_UPTIME_RAW"))
        if hasattr(time, counting) and hasattr(time, standing)
    ),
    None,
)


async def wait_for_event(event: asyncio.Event, timeout: float) -> None:  # noqa: ASYNC109 - its end is no error
    """Wait until an event is set, or until a timeout in seconds (which may be infinite)."""
    try:
        async with asyncio.timeout(None if timeout == math.inf else timeout):
            await event.wait()
    except TimeoutError:
        pass


class Environment:
    """The clock, random numbers and unique names.

    Sleeping and timeouts use the event loop, whose clock `monotonic` reads.

    Args:
        random: The source of jitter and names. The default is the system's: unlike a seeded one, it gives the two
            processes of a ``fork`` different names.
    """

    def __init__(self, random: _random.Random | None = None) -> None:
        self.random = _random.SystemRandom() if random is None else random

    def monotonic(self) -> float:
        """Return seconds of a clock that never goes back."""
        return asyncio.get_running_loop().time()

    def slept(self) -> float:
        """Return the seconds that this machine has slept since it was booted, as far as `monotonic` has missed them."""
        if _CLOCKS is None:
            return 0.0
        counting, standing = map(time.clock_gettime, _CLOCKS)
        return counting - standing

    def now(self) -> datetime:
        """Return the time of day, for display only."""
        return datetime.now(timezone.utc)

    def name(self) -> str:
        """Return a unique name."""
        return f"{self.random.getrandbits(128):032x}"

    def backoff(self, attempt: int, *, first: float = FIRST_WAIT, most: float = LONGEST_WAIT) -> float:
        """Return the seconds to wait before a retry: exponential backoff with full jitter.

        Args:
            attempt: The number of failed attempts, from 1.
            first: The longest wait after the first failure, in seconds.
            most: The longest wait after any failure, in seconds.
        """
        return self.random.uniform(0, min(most, first * 2.0 ** min(attempt - 1, 30)))
