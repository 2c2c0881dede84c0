"""Where a client lives: in the event loop that it was opened in, and in no other."""

from __future__ import annotations

import asyncio
import threading

from ..errors import ConfigurationError


class LoopError(ConfigurationError, RuntimeError):
    """The call comes from another event loop, or another thread, than the one that the client was opened in."""


class LoopAffinity:
    """The event loop that something belongs to, once it has been opened there.

    Whoever used it from another one could wait for ever: nothing wakes a task of one loop from another.

    Args:
        what: What it is, for the error.
    """

    def __init__(self, what: str = "client") -> None:
        self._what = what
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = 0

    def settle(self) -> None:
        """It belongs to the loop that runs now."""
        self._loop, self._thread = asyncio.get_running_loop(), threading.get_ident()

    @property
    def is_gone(self) -> bool:
        """Whether it belongs to no loop, or to one that was closed."""
        return self._loop is None or self._loop.is_closed()

    def leave(self) -> None:
        """It is over, and of use to nobody."""
        self._loop = None

    def check(self) -> None:
        """Refuse a call from elsewhere.

        Raises:
            LoopError: The loop that it belongs to is not the one that runs here.
        """
        if self._loop is not None and _running() is not self._loop:
            raise self._elsewhere(self._loop)

    def check_glance(self) -> None:
        """The same for what needs no loop, and so may be called by this thread when none runs.

        Raises:
            LoopError: Another loop runs here, or none does and it is another thread.
        """
        if self._loop is None:
            return
        here = _running()
        if here is not self._loop and (here is not None or threading.get_ident() != self._thread):
            raise self._elsewhere(self._loop)

    def _elsewhere(self, loop: asyncio.AbstractEventLoop) -> LoopError:
        if loop.is_closed():
            advice = (
                f"and that one is closed: make a {self._what} within each asyncio.run(), or each test, or let all run "
                "in one event loop"
            )
        elif threading.get_ident() != self._thread:
            advice = "in another thread: from here use asyncio.run_coroutine_threadsafe(…, loop) with that loop"
        else:
            advice = f"which is not the one that runs here: make a {self._what} of its own for this one"
        return LoopError(f"a {self._what} belongs to the event loop that it was opened in, {advice}")


def _running() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
