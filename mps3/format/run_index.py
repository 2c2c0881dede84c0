"""The index of a run, at its end: where its blocks are, what they are, and which keys they may have. Pure.

A line of JSON that has for each block its first key, the bytes that it has, its number of keys, its SHA-256, and when
the first of its keys expires if one does; then two bytes for each key, the end of the CRC-32 of its UTF-8, in order.
So a key that is not there is nearly always known not to be, and no block is read for it.
"""

from __future__ import annotations

import sys
import zlib
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Final

import orjson

from . import limits
from .json_text import is_richer
from .run_reference import RunReference, as_moment
from .schema import MalformedError, as_list, as_object, as_sha256, as_text, as_whole

MARK: Final = 2
"""Bytes for each key."""


@dataclass(frozen=True, slots=True)
class IndexedBlock:
    """What an index says of a block.

    Attributes:
        first: Its first key.
        size: The bytes that it has in the store.
        entries: How many keys it has.
        sha256: Of its bytes in the store, in hexadecimal.
        expires: When the first of its keys expires, in seconds since 1970; ``None`` if none does.
    """

    first: str
    size: int
    entries: int
    sha256: str
    expires: float | None


class RunIndex:
    """The index of a run, ready to be searched.

    Args:
        blocks: What it says of each block.
        marks: What it has of each key.

    Attributes:
        blocks: What it says of each block.
    """

    __slots__ = ("__weakref__", "_firsts", "_marks", "_offsets", "_places", "blocks", "size")

    def __init__(self, blocks: Sequence[IndexedBlock], marks: array[int]) -> None:
        self.blocks = blocks
        self._firsts = [block.first for block in blocks]
        self._offsets = [0, *accumulate(block.size for block in blocks)]
        self._places = [0, *accumulate(block.entries for block in blocks)]
        self._marks = marks
        self.size = MARK * len(marks) + sum(250 + len(first) for first in self._firsts)

    def block_of(self, name: str) -> int | None:
        """Return the number of the block that may have a key; ``None`` if none has."""
        number = bisect_right(self._firsts, name) - 1
        if number < 0:
            return None
        mark, end = mark_of(name), self._places[number + 1]
        try:
            self._marks.index(mark, self._places[number], end)
        except ValueError:
            return None
        return number

    def overlapping(self, start: str, stop: str | None) -> range:
        """Return the numbers of the blocks that may have keys from ``start`` on that are less than ``stop``."""
        first = max(0, bisect_right(self._firsts, start) - 1)
        last = len(self._firsts) if stop is None else bisect_left(self._firsts, stop)
        return range(first, max(first, last))

    def span(self, number: int) -> tuple[int, int]:
        """Return where a block begins and ends in its run, in bytes."""
        return self._offsets[number], self._offsets[number + 1]

    def has_marks_of(self, number: int, names: Sequence[str]) -> bool:
        """Return whether it has of a block what it has to have of these keys, so that each of them is found."""
        return self._marks[self._places[number] : self._places[number + 1]] == array("H", map(mark_of, names))

    def below(self, number: int) -> str | None:
        """Return the first key behind a block; ``None`` if it is the last one."""
        return self._firsts[number + 1] if number + 1 < len(self._firsts) else None


def mark_of(name: str) -> int:
    """Return what an index has of a key."""
    return zlib.crc32(name.encode()) & 0xFFFF


def encode_index(blocks: Sequence[IndexedBlock], marks: array[int]) -> bytes:
    """Return an index as it is stored."""
    lines = [
        [one.first, one.size, one.entries, one.sha256, *([] if one.expires is None else [one.expires])]
        for one in blocks
    ]
    return orjson.dumps({"blocks": lines}) + b"\n" + _little_endian(marks).tobytes()


def decode_index(body: bytes, reference: RunReference) -> RunIndex:
    """Read the index of a run, whose digest was verified.

    Args:
        body: Its bytes.
        reference: How a document names the run.

    Raises:
        ValueError: It is not one, or not that of this run.
    """
    head, line, rest = body.partition(b"\n")
    if not line:
        raise ValueError("its index is cut")
    if is_richer(head, limits.PARTS):
        raise ValueError(f"its index has more than {limits.PARTS} arrays, objects and commas")
    try:
        raw = as_list(as_object(orjson.loads(head), "its index").get("blocks"), "its index", limits.RUN_BLOCKS)
        blocks = [_block(one, f"block {number} of its index") for number, one in enumerate(raw)]
    except (MalformedError, orjson.JSONDecodeError) as error:
        raise ValueError(str(error)) from None
    if not blocks or blocks[0].first != reference.first:
        raise ValueError("its index does not begin with the key that the manifest names")
    if any(one.first >= other.first for one, other in pairwise(blocks)) or blocks[-1].first > reference.last:
        raise ValueError("the blocks of its index are not in order")
    if sum(block.size for block in blocks) != reference.size - reference.index:
        raise ValueError("its index does not name all of its blocks")
    if sum(block.entries for block in blocks) != reference.entries or len(rest) != MARK * reference.entries:
        raise ValueError(f"its index does not have {reference.entries} keys")
    if earliest(block.expires for block in blocks) != reference.expires:
        raise ValueError("its keys do not expire when the manifest says")
    marks = array("H")
    marks.frombytes(rest)
    return RunIndex(blocks, _little_endian(marks))


def earliest(moments: Iterable[float | None]) -> float | None:
    """Return the first of some moments; ``None`` if there is none."""
    return min((moment for moment in moments if moment is not None), default=None)


def _block(raw: object, where: str) -> IndexedBlock:
    found = as_list(raw, where, 5)
    if len(found) < 4:
        raise MalformedError(f"{where} does not say all there is to say of a block")
    size, entries = as_whole(found[1], where), as_whole(found[2], where)
    if not size or not entries:
        raise MalformedError(f"{where} is empty")
    expires = as_moment(found[4], where) if len(found) == 5 else None
    return IndexedBlock(as_text(found[0], where), size, entries, as_sha256(found[3], where), expires)


def _little_endian(marks: array[int]) -> array[int]:
    if sys.byteorder == "big":
        marks = array("H", marks)
        marks.byteswap()
    return marks
