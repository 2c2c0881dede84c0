"""Working on what is large beside the event loop, one thing at a time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final, TypeVar

LONG: Final = 128 * 2**10
"""Working on more bytes than this in one turn of the event loop would hold it up; a thread does it."""
BREATH: Final = 1e-6
"""Seconds that a thread sleeps now and then, so that the event loop can go on; systems make some more of it."""
T = TypeVar("T")


class Worker:
    """Works for one manifest."""

    def __init__(self) -> None:
        self._thread = asyncio.Semaphore(1)
        self._in_this_turn = 0

    async def work(self, function: Callable[[Callable[[], object]], T], size: int) -> T:
        """Call something that works on ``size`` bytes, with what it has to call now and then.

        Of what is large, only one thing is worked on at a time, beside the event loop. Small things are large together
        that come in the same turn of the loop: many answers may do so.
        """
        if self._in_this_turn + size <= LONG:
            if not self._in_this_turn:
                asyncio.get_running_loop().call_soon(self._next_turn)
            self._in_this_turn += size
            return function(lambda: None)
        # One at a time: the event loop waits for its turn behind each thread that computes.
        async with self._thread:
            return await asyncio.to_thread(function, _breathe)

    def _next_turn(self) -> None:
        self._in_this_turn = 0


def _breathe() -> None:
    # Lets the event loop's thread go on now, not only when the interpreter next thinks of it, some milliseconds later.
    # Not for no time at all: then this thread would often be the first to go on.
    time.sleep(BREATH)
