"""The event loop that an object is bound to."""

from __future__ import annotations

import asyncio
import threading

from ..errors import ConfigurationError


class LoopError(ConfigurationError, RuntimeError):
    """The call comes from another event loop or thread than the one that opened the client."""


class LoopAffinity:
    """The event loop that an object is bound to. A task that waited in another loop would never wake up.

    Args:
        what: The kind of object, for messages.
    """

    def __init__(self, what: str = "client") -> None:
        self._what = what
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = 0

    def bind(self) -> None:
        """Bind the object to the running loop and this thread."""
        self._loop, self._thread = asyncio.get_running_loop(), threading.get_ident()

    def unbind(self) -> None:
        """Allow calls from any loop, because the object is closed."""
        self._loop = None

    @property
    def is_bound(self) -> bool:
        """Whether the object is bound to a loop that is not closed."""
        return self._loop is not None and not self._loop.is_closed()

    def check(self) -> None:
        """Raise a `LoopError` unless the loop of the object is running here."""
        if self._loop is not None and _running() is not self._loop:
            raise self._error(self._loop)

    def check_synchronous(self) -> None:
        """Raise a `LoopError` if another loop is running here, or if none is and this is another thread."""
        if self._loop is None:
            return
        running = _running()
        if running is not self._loop and (running is not None or threading.get_ident() != self._thread):
            raise self._error(self._loop)

    def _error(self, loop: asyncio.AbstractEventLoop) -> LoopError:
        if loop.is_closed():
            advice = (
                f"and that loop is closed: make a {self._what} within each asyncio.run(), or each test, or run "
                "everything in one event loop"
            )
        elif threading.get_ident() != self._thread:
            advice = "in another thread: call asyncio.run_coroutine_threadsafe(…, loop) with that loop"
        else:
            advice = f"which is not the one that is running: make another {self._what} for this loop"
        return LoopError(f"a {self._what} belongs to the event loop that it was opened in, {advice}")


def _running() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
