"""Notify the application of a signal to stop, before the server begins to wait for its connections.

A stream of events never ends by itself. A server that is stopping waits for all answers to end before it stops the
application. So the application has to end its streams when the signal arrives.
"""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def stopping() -> Iterator[asyncio.Event]:
    """Yield an event that is set when the process receives a signal to stop. The handler of the server also runs."""
    event = asyncio.Event()
    if threading.current_thread() is not threading.main_thread():  # as in tests: only the main thread receives signals
        yield event
        return
    loop = asyncio.get_running_loop()

    def hear(number: int, frame: FrameType | None) -> None:
        loop.call_soon_threadsafe(event.set)
        before = handlers[signal.Signals(number)]
        if callable(before):
            before(number, frame)
        elif before == signal.SIG_DFL:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)

    handlers = {number: signal.signal(number, hear) for number in SIGNALS}
    try:
        yield event
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
