"""A context variable that makes a storage hold back the last byte of each of several PUTs, so that they end at once."""

from __future__ import annotations

import asyncio
import contextlib
from contextvars import ContextVar
from typing import Final

LONGEST: Final = 1.0
"""Seconds that a PUT is held at most: a store may not begin with one before another one has ended."""


class Hold:
    """PUTs that wait for each other before they end.

    Args:
        puts: The number of the PUTs.
    """

    def __init__(self, puts: int) -> None:
        self._missing = puts
        self._complete = asyncio.Event()

    async def wait(self) -> None:
        """Wait until every PUT has called this or `leave`."""
        self.leave()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._complete.wait(), LONGEST)

    def leave(self) -> None:
        """Let the other PUTs no longer wait for this one, which is over."""
        self._missing -= 1
        if self._missing <= 0:
            self._complete.set()


HOLD: Final[ContextVar[Hold | None]] = ContextVar("mps3_hold", default=None)
"""What a PUT waits for before it sends the last byte of its body.

It is a context variable because few storages send a body over a connection. The others ignore it.
"""
