"""Hear that the process is to stop, before the server begins to wait for its connections.

A stream of events has no end of its own, and a server that is told to stop waits for all answers to end, and only then
tells the application. Somebody has to end the streams first.
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
    """An event that is set when the process is told to stop. What the server does about that, it still does."""
    event = asyncio.Event()
    if threading.current_thread() is not threading.main_thread():  # as in tests: nobody else hears of signals
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
