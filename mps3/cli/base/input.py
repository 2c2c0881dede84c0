"""Reading from a file or from standard input, which may block for as long as somebody types."""

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

MAX_BYTES: Final = 128 * 2**20
"""Bytes of a value, or of a line with one, that are read at the most: they are in memory."""
_BLOCK: Final = 1 << 16
"""Bytes that are read at a time."""
_NOT_JSON: Final = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f]")
"""Control characters that JSON does not allow anywhere."""


def standard_input(what: str) -> BinaryIO:
    """Return standard input as bytes. On a terminal, say that ``what`` is read from the keyboard."""
    if sys.stdin.isatty():
        say(f"reading {what} from the keyboard: end with Ctrl-D")
    return _standard_input()


async def confirm(question: str) -> bool:
    """Ask a question on the terminal, and return whether the answer is yes."""
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)  # noqa: T201
    answer = await run_blocking(_standard_input().readline)
    return answer.strip().lower() in {b"y", b"yes"}


def _standard_input() -> BinaryIO:
    # Python closes `sys.stdin` when it ends, and waits for a thread that reads from it. It does not wait for this one.
    return open(sys.stdin.fileno(), "rb", closefd=False)


def read_all(stream: BinaryIO, what: str) -> bytes:
    """Read a stream up to its end.

    Raises:
        click.UsageError: It has more than `MAX_BYTES`; the message calls it ``what``.
    """
    blocks: list[bytes] = []
    size, block = 0, b""
    # A short block is the last one: on a terminal, another read would wait for another Ctrl-D.
    while not blocks or len(block) == _BLOCK:
        block = stream.read(_BLOCK)
        blocks.append(block)
        size += len(block)
        if size > MAX_BYTES:
            raise _too_long(what)
    return b"".join(blocks)


def read_lines(stream: BinaryIO, what: str) -> Iterator[bytes]:
    """Read lines of JSON objects. A line that cannot be one ends early, so that it is refused and not read on.

    Raises:
        click.UsageError: A line has more than `MAX_BYTES`; the message calls the stream ``what``.
    """
    number = 0
    while block := stream.readline(_BLOCK):
        number += 1
        blocks, size = [block], len(block)
        start = block.lstrip()
        while not block.endswith(b"\n"):
            start = start or block.lstrip()
            if (start and not start.startswith(b"{")) or _NOT_JSON.search(block):
                break
            if len(block) < _BLOCK or not (block := stream.readline(_BLOCK)):
                break
            blocks.append(block)
            size += len(block)
            if size > MAX_BYTES:
                raise _too_long(f"{what}, line {number},")
        yield b"".join(blocks)


def _too_long(what: str) -> click.UsageError:
    return click.UsageError(f"{what} has more than {MAX_BYTES >> 20} MiB, the most that this command reads")


async def run_blocking(function: Callable[[], T]) -> T:
    """Call what may block in a daemon thread: when the program ends, it does not wait for the call."""
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
