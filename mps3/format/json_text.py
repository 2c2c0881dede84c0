"""How rich a JSON text is, before anybody parses it. Pure.

Parsing takes as long, and as much memory, as there are parts in the text, and holds up the whole process. Counting is
a hundred times cheaper. It looks at one piece of the text at a time, so that others can go on in between.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any, Final

import orjson

PIECE: Final = 64 * 2**10
"""Bytes to look at without a pause."""


def parse(body: bytes) -> Any:
    """What a JSON text says.

    Raises:
        ValueError: It is not JSON.
    """
    if len(body) <= PIECE or not gc.isenabled():
        return orjson.loads(body)
    # Else the collector of the interpreter would look at all that is parsed, again and again, and find nothing.
    gc.disable()
    try:
        return orjson.loads(body)
    finally:
        gc.enable()


def is_richer(body: bytes, most: int, pause: Callable[[], object] = lambda: None) -> bool:
    """Whether a JSON text has more than ``most`` arrays, objects and commas outside its texts.

    Args:
        body: The text. It need not be valid.
        most: How many there may be.
        pause: Called now and then, to let others work.
    """
    if len(body) <= most:
        return False
    found = 0
    for start in range(0, len(body), PIECE):
        found += _parts(body, start, start + PIECE)
        if found > most:  # with what stands inside of texts
            return _is_richer_without_texts(body, most, pause)
        pause()
    return False


def _parts(body: bytes, start: int = 0, end: int | None = None) -> int:
    return body.count(b"[", start, end) + body.count(b"{", start, end) + body.count(b",", start, end)


def _is_richer_without_texts(body: bytes, most: int, pause: Callable[[], object]) -> bool:
    found, start, inside = 0, 0, False
    while start < len(body):
        end = _end_of_piece(body, start + PIECE)
        # An escape begins where the one before has ended, so pairs of backslashes are found as they were written.
        piece = body[start:end].replace(b"\\\\", b"").replace(b'\\"', b"")
        texts = piece.split(b'"')
        found += _parts(b"".join(texts[inside::2]))
        if found > most:
            return True
        inside ^= len(texts) % 2 == 0
        start = end
        pause()
    return False


def _end_of_piece(body: bytes, end: int) -> int:
    """The next place from there on that is not inside of an escape."""
    while end < len(body) and body[end - 1] == 0x5C:
        end += 1
    return min(end, len(body))
