"""Reading from a file or from standard input, which may take as long as somebody types."""

from __future__ import annotations

import asyncio
import contextlib
import re
import sys
import threading
from collections.abc import Callable, Iterator
from typing import BinaryIO, Final, TypeVar

import click

from .output import say

T = TypeVar("T")

LONGEST: Final = 128 * 2**20
"""Bytes of a value, or of a line with one, that are read at the most: they are in memory."""
PIECE: Final = 1 << 16
"""Bytes that are read in one go."""
_NOT_JSON: Final = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f]")
"""What stands nowhere in JSON, and in no text but a damaged one."""


def standard_input(what: str) -> BinaryIO:
    """Standard input, as bytes; not to be closed.

    Args:
        what: To tell whoever sits at the keyboard.
    """
    if sys.stdin.isatty():
        say(f"reading {what} from the keyboard: end with Ctrl-D")
    return _own_input()


async def confirm(question: str) -> bool:
    """Ask a question on the terminal, and return whether the answer is yes."""
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)  # noqa: T201
    answer = await run_blocking(_own_input().readline)
    return answer.strip().lower() in {b"y", b"yes"}


def _own_input() -> BinaryIO:
    # Not Python's own object: at its end the program closes that, and has to wait for whoever reads from it. Nobody
    # may close this one, for the same reason; there is nothing to close either.
    return open(sys.stdin.fileno(), "rb", closefd=False)


def read_all(stream: BinaryIO, what: str) -> bytes:
    """Read a stream up to its end.

    Args:
        stream: Where from.
        what: Its name, for the error.

    Raises:
        click.UsageError: That is more than `LONGEST`.
    """
    pieces: list[bytes] = []
    size, piece = 0, b""
    # A short one is the last: on a terminal, asking again would take another Ctrl-D.
    while not pieces or len(piece) == PIECE:
        piece = stream.read(PIECE)
        pieces.append(piece)
        size += len(piece)
        if size > LONGEST:
            raise too_long(what)
    return b"".join(pieces)


def read_lines(stream: BinaryIO, what: str) -> Iterator[bytes]:
    """Read lines of JSON objects, none of which may be longer than `LONGEST` bytes.

    A long line that is certainly no such object ends early, so that whoever reads it refuses it.

    Args:
        stream: Where from.
        what: Its name, for the error.

    Raises:
        click.UsageError: A line is longer than that.
    """
    number = 0
    while piece := stream.readline(PIECE):
        number += 1
        pieces, size = [piece], len(piece)
        start = piece.lstrip()
        while not piece.endswith(b"\n"):
            start = start or piece.lstrip()
            if (start and not start.startswith(b"{")) or _NOT_JSON.search(piece):
                break
            if len(piece) < PIECE or not (piece := stream.readline(PIECE)):
                break
            pieces.append(piece)
            size += len(piece)
            if size > LONGEST:
                raise too_long(f"{what}, line {number},")
        yield pieces[0] if len(pieces) == 1 else b"".join(pieces)


def too_long(what: str) -> click.UsageError:
    """Return the error for input that takes too much memory."""
    return click.UsageError(f"{what} has more than {LONGEST >> 20} MiB, the most that this command reads")


async def run_blocking(function: Callable[[], T]) -> T:
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
