"""A run: an immutable sorted segment of settled files, in blocks that are read where they are needed. Pure."""

from __future__ import annotations

import hashlib
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Protocol, TypeVar

from . import limits
from .block import Block, check_block, decompress, expiring_in, open_block
from .file_entry import FileEntry
from .names import Names
from .run_index import RunIndex, decode_index, earliest
from .run_reference import RunReference

D = TypeVar("D")
L = TypeVar("L")
T = TypeVar("T")


class Pieces(Protocol):
    """The index and the blocks of a run, as far as they are at hand."""

    def index(self) -> RunIndex | None:
        """Return the index; ``None`` if it is not at hand."""
        ...

    def block(self, number: int) -> Block | None:
        """Return a block; ``None`` if it is not at hand."""
        ...


class NotAtHandError(Exception):
    """Pieces of runs are needed that are not at hand: who can wait fetches them, and asks again.

    Attributes:
        wanted: Which blocks of which runs; none where the index is needed first.
    """

    def __init__(self, wanted: Mapping[Run, Sequence[int]]) -> None:
        super().__init__(f"pieces of {len(wanted)} runs have to be fetched first")
        self.wanted = wanted


class Run:
    """A run, of which some pieces may have to be fetched first.

    Args:
        reference: How documents name it.
        pieces: What is at hand of it.

    Attributes:
        reference: How documents name it; what it is called in them may differ, by key, from what is read here.
        pieces: What is at hand of it.
        sha256: Of its index.
    """

    __slots__ = ("__weakref__", "pieces", "reference", "sha256")

    def __init__(self, reference: RunReference, pieces: Pieces) -> None:
        self.reference = reference
        self.pieces = pieces
        self.sha256 = reference.sha256

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Run) and other.sha256 == self.sha256

    def __hash__(self) -> int:
        return hash(self.sha256)

    def get(self, name: str, default: D) -> FileEntry | D | None:
        """Return what it says of a key; ``None`` if it is deleted; ``default`` if it says nothing.

        Raises:
            NotAtHandError: That is not known without fetching more of it.
        """
        if not self.reference.first <= name <= self.reference.last:
            return default
        number = self.index().block_of(name)
        return default if number is None else self._blocks((number,))[0].get(name, default)

    def overlaps(self, start: str, stop: str | None) -> bool:
        """Return whether it may have keys from ``start`` on that are less than ``stop``."""
        return self.reference.last >= start and (stop is None or self.reference.first < stop)

    def blocks(self, start: str = "", stop: str | None = None) -> list[Block]:
        """Return the blocks that may have keys from ``start`` on that are less than ``stop``.

        Raises:
            NotAtHandError: They are not all at hand.
        """
        if not self.overlaps(start, stop):
            return []
        return self._blocks(self.index().overlapping(start, stop))

    def _blocks(self, numbers: Sequence[int]) -> list[Block]:
        found = {number: self.pieces.block(number) for number in numbers}
        if missing := [number for number, block in found.items() if block is None]:
            raise NotAtHandError({self: missing})
        return [block for block in found.values() if block is not None]

    def lines(self, start: str = "", stop: str | None = None) -> tuple[list[str], list[bytes]]:
        """Return the keys from ``start`` on that are less than ``stop``, in order, and their lines.

        Raises:
            NotAtHandError: They are not all at hand.
        """
        names: list[str] = []
        lines: list[bytes] = []
        for block in self.blocks(start, stop):
            some, said = block.lines()
            first = bisect_left(some, start)
            last = len(some) if stop is None else bisect_left(some, stop)
            names += some[first:last]
            lines += said[first:last]
        return names, lines

    def names(self, prefix: str = "") -> list[str]:
        """Return the keys that begin with ``prefix``, in order.

        Raises:
            NotAtHandError: They are not all at hand.
        """
        return self.lines(prefix, end_of(prefix))[0]

    def items(
        self, prefix: str = "", start: str = "", stop: str | None = None
    ) -> Iterator[tuple[str, FileEntry | None]]:
        """Return the same keys, and what is said of them.

        Raises:
            NotAtHandError: They are not all at hand.
        """
        return _within(self.blocks(max(prefix, start), lesser(stop, end_of(prefix))), prefix, start, stop)

    def expiring(self, until: float) -> Iterator[tuple[float, str]]:
        """Return the keys that expire up to a moment, and when, in seconds since 1970.

        Raises:
            NotAtHandError: They are not all at hand.
        """
        if self.reference.expires is None or self.reference.expires > until:
            return iter(())
        ends = ((number, block.expires) for number, block in enumerate(self.index().blocks))
        due = self._blocks([number for number, expires in ends if expires is not None and expires <= until])
        return (pair for block in due for pair in block.expiring if pair[0] <= until)

    def index(self) -> RunIndex:
        """Return its index.

        Raises:
            NotAtHandError: It is not at hand.
        """
        index = self.pieces.index()
        if index is None:
            raise NotAtHandError({self: ()})
        return index


def read_all(layers: Iterable[L], read: Callable[[L], T]) -> list[T]:
    """Return what is read of each of several runs, or of other layers among them.

    Args:
        layers: They.
        read: Reads one.

    Raises:
        NotAtHandError: Not all that it takes is at hand. It names what is missing of all of them.
    """
    found: list[T] = []
    wanted: dict[Run, Sequence[int]] = {}
    for layer in layers:
        try:
            found.append(read(layer))
        except NotAtHandError as error:
            wanted.update(error.wanted)
    if wanted:
        raise NotAtHandError(wanted)
    return found


def end_of(prefix: str) -> str | None:
    """Return a key that comes after all that begin with ``prefix``, and before all others after it.

    ``None`` if there is no such key.
    """
    for place in reversed(range(len(prefix))):
        code = ord(prefix[place])
        if code < 0x10FFFF:
            # There are no such characters in UTF-8.
            after = 0xE000 if 0xD7FF <= code < 0xDFFF else code + 1
            return prefix[:place] + chr(after)
    return None


def lesser(one: str | None, other: str | None) -> str | None:
    """Return the lesser of two ends of ranges of keys; ``None`` is behind all keys."""
    if one is None or other is None:
        return other if one is None else one
    return min(one, other)


def _within(
    blocks: Sequence[Block], prefix: str, start: str, stop: str | None
) -> Iterator[tuple[str, FileEntry | None]]:
    for block in blocks:
        for name, said in block.items():
            if name >= start and name.startswith(prefix):
                if stop is not None and name >= stop:
                    return
                yield name, said
            elif name > prefix and not name.startswith(prefix):
                return


class HeldPieces:
    """All pieces of a run, which stay in memory.

    Args:
        index: Its index.
        blocks: All of its blocks.
    """

    __slots__ = ("_blocks", "_index")

    def __init__(self, index: RunIndex, blocks: Sequence[Block]) -> None:
        self._index = index
        self._blocks = blocks

    def index(self) -> RunIndex | None:
        """Return the index."""
        return self._index

    def block(self, number: int) -> Block | None:
        """Return a block."""
        return self._blocks[number]

    @property
    def size(self) -> int:
        """The bytes of its lines."""
        return sum(len(block.body) for block in self._blocks)

    @property
    def skipped(self) -> list[str]:
        """The names in it that are none."""
        return [name for block in self._blocks for name in block.skipped]


def open_run(
    reference: RunReference,
    body: bytes,
    names: Names | None = None,
    *,
    trusted: bool = False,
    pause: Callable[[], object] = lambda: None,
) -> Run:
    """Return a whole run, all of which stays in memory.

    Args:
        reference: How a document names it.
        body: Its bytes.
        names: Which names it may have for keys; ``None``: all.
        trusted: Whether its content was checked before, so that only its digests are.
        pause: Called now and then, to let others work.

    Raises:
        ValueError: It is not what it should be. The error says what is wrong, and where.
    """
    if len(body) != reference.size:
        raise ValueError(f"it has {len(body)} bytes, not {reference.size}")
    index = read_index(reference, body[len(body) - reference.index :])
    blocks: list[Block] = []
    room = limits.RUN
    for number in range(len(index.blocks)):
        start, end = index.span(number)
        pause()
        blocks.append(read_block(reference, index, number, body[start:end], names, trusted=trusted))
        room -= len(blocks[-1].body)
        if room < 0:
            raise ValueError(f"its lines have more than {limits.RUN} bytes")
    return Run(reference, HeldPieces(index, blocks))


def read_index(reference: RunReference, body: bytes) -> RunIndex:
    """Return the index of a run, verified.

    Args:
        reference: How a document names the run.
        body: The bytes of the index.

    Raises:
        ValueError: It is not what it should be.
    """
    if hashlib.sha256(body).hexdigest() != reference.sha256:
        raise ValueError("its index does not have the SHA-256 that the manifest names")
    return decode_index(body, reference)


def read_block(
    reference: RunReference,
    index: RunIndex,
    number: int,
    body: bytes,
    names: Names | None = None,
    *,
    trusted: bool = False,
) -> Block:
    """Return a block of a run, verified.

    Args:
        reference: How a document names the run.
        index: The index of the run.
        number: Which block.
        body: The bytes of the block, as they are stored.
        names: As in `open_run`.
        trusted: As in `open_run`.

    Raises:
        ValueError: It is not what it should be.
    """
    said = index.blocks[number]
    try:
        if hashlib.sha256(body).hexdigest() != said.sha256:
            raise ValueError("its content does not have the SHA-256 that the index names")
        lines = decompress(body)
        if not trusted:
            found = check_block(lines)
            below = index.below(number)
            if len(found) != said.entries:
                raise ValueError(f"it has {len(found)} lines, not {said.entries}")
            if found[0] != said.first:
                raise ValueError("it does not begin with the key that the index names")
            if (below is not None and found[-1] >= below) or (below is None and found[-1] != reference.last):
                raise ValueError("it ends with another key than its place allows")
            if not index.has_marks_of(number, found):
                raise ValueError("the index does not have the marks of its keys")
        block = open_block(lines, names)
        ends = expiring_in(lines) if block.skipped else block.expiring
        if earliest(moment for moment, _ in ends) != said.expires:
            raise ValueError("its keys do not expire when the index says")
    except ValueError as error:
        raise ValueError(f"block {number} is malformed: {error}") from None
    return block
