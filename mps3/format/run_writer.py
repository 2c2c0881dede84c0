"""Writing runs: lines become blocks, and blocks the objects of a run. Pure."""

from __future__ import annotations

import hashlib
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Final

from . import block
from .block import Block, compress, line_of, open_block
from .file_entry import FileEntry
from .run import HeldPieces
from .run_index import IndexedBlock, RunIndex, earliest, encode_index, mark_of
from .run_reference import RunReference

HELD: Final = 256 * 2**10
"""Bytes of the lines of a whole run up to which they are held until it is stored, so that it need not be read again."""
BATCH: Final = 256
"""Lines to write without a pause."""


@dataclass(frozen=True, slots=True)
class WrittenPart:
    """An object of a run that is to be stored.

    Attributes:
        reference: How documents name it, once it has a key.
        body: Its bytes.
        sha256: Of its bytes, if it is known.
        pieces: What it is in memory, where it is small.
    """

    reference: RunReference
    body: bytes
    sha256: bytes | None
    pieces: HeldPieces | None = field(default=None, compare=False)


class RunWriter:
    """Puts the objects of a run together.

    Args:
        most: Bytes of the lines of each object at the most, before they are compressed.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._continues = False
        self._begin()

    def _begin(self) -> None:
        self._blocks: list[IndexedBlock] = []
        self._bodies: list[bytes] = []
        self._held: list[Block] = []
        self._marks = array("H")
        self._size = 0
        self._last = ""
        self._begin_block()

    def _begin_block(self) -> None:
        self._lines: list[bytes] = []
        self._first = ""
        self._bytes = 0

    def add(self, names: Sequence[str], lines: Sequence[bytes]) -> list[WrittenPart]:
        """Add the next lines.

        Args:
            names: Their keys.
            lines: They, as `line_of` writes them.

        Returns:
            The objects that are complete.
        """
        done: list[WrittenPart] = []
        sizes = [0, *accumulate(map((1).__add__, map(len, lines)))]
        start = 0
        while start < len(lines):
            stop = bisect_right(sizes, sizes[start] + self._most + 1 - self._size) - 1
            if stop <= start and self._size:
                done.append(self._end_part())
                continue
            stop = min(max(stop, start + 1), bisect_left(sizes, sizes[start] + block.BLOCK - self._bytes))
            self._add(names[start:stop], lines[start:stop], sizes[stop] - sizes[start])
            start = stop
        return done

    def _add(self, names: Sequence[str], lines: Sequence[bytes], size: int) -> None:
        if not self._lines:
            self._first = names[0]
        self._lines += lines
        self._marks.extend(map(mark_of, names))
        self._last = names[-1]
        self._bytes += size
        self._size += size
        if self._bytes >= block.BLOCK:
            self._end_block()

    def end(self) -> list[WrittenPart]:
        """Return the last object, if there are further lines."""
        return [self._end_part()] if self._size else []

    def _end_block(self) -> None:
        lines = b"\n".join(self._lines)
        body = compress(lines)
        block = open_block(lines)
        ends = earliest(moment for moment, _ in block.expiring)
        digest = hashlib.sha256(body).hexdigest()
        self._held.append(block)
        if self._size > HELD:
            self._held.clear()
        self._blocks.append(IndexedBlock(self._first, len(body), len(self._lines), digest, ends))
        self._bodies.append(body)
        self._begin_block()

    def _end_part(self) -> WrittenPart:
        if self._lines:
            self._end_block()
        index = encode_index(self._blocks, self._marks)
        body = b"".join([*self._bodies, index])
        reference = RunReference(
            key="",
            sha256=hashlib.sha256(index).hexdigest(),
            entries=len(self._marks),
            size=len(body),
            index=len(index),
            first=self._blocks[0].first,
            last=self._last,
            expires=earliest(one.expires for one in self._blocks),
            continues=self._continues,
        )
        pieces = HeldPieces(RunIndex(self._blocks, self._marks), self._held) if self._size <= HELD else None
        self._continues = True
        self._begin()
        return WrittenPart(reference, body, hashlib.sha256(body).digest(), pieces)


def encode_runs(
    files: Mapping[str, FileEntry | None], most: int, pause: Callable[[], object] = lambda: None
) -> Iterator[WrittenPart]:
    """Return the objects of a run that holds ``files``.

    Args:
        files: They.
        most: As in `RunWriter`.
        pause: Called now and then, to let others work.
    """
    writer = RunWriter(most)
    names = sorted(files)
    for start in range(0, len(names), BATCH):
        pause()
        some = names[start : start + BATCH]
        yield from writer.add(some, [line_of(name, files[name]) for name in some])
    yield from writer.end()
