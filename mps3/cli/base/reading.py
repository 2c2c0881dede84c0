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
    """Standard input, as bytes; not to be closed.

    Args:
        what: To tell whoever sits at the keyboard.
    """
    if sys.stdin.isatty():
        say(f"reading {what} from the keyboard: end with Ctrl-D")
    return _own_input()


async def agreed(question: str) -> bool:
    """Ask whoever sits at the keyboard."""
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)  # noqa: T201
    answer = await blocking(_own_input().readline)
    return answer.strip().lower() in {b"y", b"yes"}


def _own_input() -> BinaryIO:
    # Not Python's own object: at its end the program closes that, and has to wait for whoever reads from it. Nobody
    # may close this one, for the same reason; there is nothing to close either.
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
