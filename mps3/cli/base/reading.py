"""Reading from a file or from standard input, which may take as long as somebody types."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import threading
from collections.abc import Callable
from typing import BinaryIO, TypeVar

from .output import say

T = TypeVar("T")


def standard_input(what: str) -> BinaryIO:
    """Standard input, as bytes.

    Not Python's own object: that would be closed at the end, which has to wait for whoever reads from it.

    Args:
        what: To tell whoever sits at the keyboard.
    """
    if sys.stdin.isatty():
        say(f"reading {what} from the keyboard: end with Ctrl-D")
    return open(sys.stdin.fileno(), "rb", closefd=False)


async def blocking(function: Callable[[], T]) -> T:
    """Call what may block, in a thread that nobody waits for when the program ends: Ctrl-C does not wait for input."""
    loop = asyncio.get_running_loop()
    outcome: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, error: BaseException | None) -> None:
        if outcome.done():
            return  # cancelled
        if error is None:
            outcome.set_result(result)  # type: ignore[arg-type]  # what the function returned
        else:
            outcome.set_exception(error)

    def work() -> None:
        result, failure = None, None
        try:
            result = function()
        except BaseException as error:  # noqa: BLE001 - handed on
            failure = error
        with contextlib.suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(settle, result, failure)

    threading.Thread(target=work, daemon=True).start()
    return await outcome
