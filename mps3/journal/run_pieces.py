"""The pieces of runs that are at hand: a bounded cache of indexes and blocks, and what fetches those that are not."""

from __future__ import annotations

import asyncio
import contextlib
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias
from weakref import WeakValueDictionary

from ..errors import ExpiredError
from ..format.block import Block
from ..format.run import Run
from ..format.run_index import RunIndex
from ..format.run_reference import RunReference
from ..support.gather import map_concurrently
from .run_reader import MissingRunError, RunReader

CACHE: Final = 40 * 2**20
"""Bytes of the indexes and blocks of runs that are kept in memory, unless told otherwise."""

NEAR: Final = 64 * 2**10
"""Bytes of a run that is read at once with others before its first key is needed."""
PREFETCH = 4 * 2**20
"""Bytes of runs that are read whole at once, and stay in memory, where a document names no more."""

Piece: TypeAlias = Block | RunIndex
_Name: TypeAlias = tuple[str, int]
_INDEX: Final = -1


class PieceCache:
    """The pieces that were used last. One that is in use is found, too, although there is no more room for it.

    Args:
        most: Bytes, at the most.
    """

    def __init__(self, most: int = CACHE) -> None:
        self._most = most
        self._size = 0
        self._kept: OrderedDict[_Name, tuple[Piece, int]] = OrderedDict()
        self._used: WeakValueDictionary[_Name, Piece] = WeakValueDictionary()
        self._fetching: dict[_Name, asyncio.Future[None]] = {}

    @property
    def size(self) -> int:
        """The bytes of what is kept."""
        return self._size

    def get(self, name: _Name) -> Piece | None:
        """Return a piece; ``None`` if it is not at hand."""
        found = self._used.get(name)
        if found is not None:
            with contextlib.suppress(KeyError):  # threads look, too: it may be dropped at any time
                self._kept.move_to_end(name)
        return found

    def add(self, name: _Name, piece: Piece) -> None:
        """Keep a piece, and drop those that were not used for the longest time, if there is no room."""
        size = piece.size if isinstance(piece, RunIndex) else len(piece.body)
        self._used[name] = piece
        if name in self._kept:
            self._size -= self._kept.pop(name)[1]
        self._kept[name] = (piece, size)
        self._size += size
        while self._size > self._most and self._kept:
            self._size -= self._kept.popitem(last=False)[1][1]

    async def once(self, names: Sequence[_Name], fetch: Callable[[], Awaitable[None]]) -> None:
        """Fetch pieces, or wait for somebody who is fetching one of them; then the others may still be missing."""
        for name in names:
            if (other := self._fetching.get(name)) is not None:
                await asyncio.wait([other])
                return
        done = asyncio.get_running_loop().create_future()
        self._fetching.update(dict.fromkeys(names, done))
        try:
            await fetch()
        finally:
            for name in names:
                del self._fetching[name]
            done.set_result(None)


@dataclass(frozen=True, slots=True)
class RunReading:
    """How a client reads runs.

    Attributes:
        prefetch: Where a document names more bytes of runs than this, they are read where they are needed.
        cache: The pieces of those that are kept in memory.
    """

    prefetch: float = field(default_factory=lambda: PREFETCH)
    cache: PieceCache = field(default_factory=PieceCache)


class FetchedPieces:
    """The pieces of one run that are in the cache.

    Args:
        reference: How a document names the run.
        cache: Where they are kept.
        reader: Reads them.
    """

    __slots__ = ("_cache", "_reader", "_reference")

    def __init__(self, reference: RunReference, cache: PieceCache, reader: RunReader) -> None:
        self._reference = reference
        self._cache = cache
        self._reader = reader

    def index(self) -> RunIndex | None:
        """Return the index; ``None`` if it is not at hand."""
        found = self._cache.get(self._name(_INDEX))
        return found if isinstance(found, RunIndex) else None

    def block(self, number: int) -> Block | None:
        """Return a block; ``None`` if it is not at hand."""
        found = self._cache.get(self._name(number))
        return found if isinstance(found, Block) else None

    def _keep(self, index: RunIndex, blocks: Mapping[int, Block]) -> None:
        self._cache.add(self._name(_INDEX), index)
        for number, block in blocks.items():
            self._cache.add(self._name(number), block)

    async def fetch(self, numbers: Sequence[int]) -> list[Piece]:
        """Fetch pieces.

        Args:
            numbers: Which blocks. Where the index is not at hand, that is fetched instead.

        Returns:
            What was fetched. It is at hand for as long as somebody holds it.

        Raises:
            MPS3Error: It cannot be read.
        """
        found: list[Piece] = []
        index = self.index()

        async def read() -> None:
            if index is None:
                whole, blocks = await self._reader.index(self._reference)
                found.append(whole)
                self._keep(whole, blocks)
            else:
                blocks = await self._reader.blocks(self._reference, index, numbers)
                self._keep(index, blocks)
            found.extend(blocks.values())

        wanted = numbers if index is not None and numbers else [_INDEX]
        try:
            await self._cache.once([self._name(number) for number in wanted], read)
        except MissingRunError as error:
            self._note_missing(error)
            raise
        return found

    def _note_missing(self, error: MissingRunError) -> None:  # noqa: ARG002 - a subclass needs it
        self._reader.lost = True

    def _name(self, number: int) -> _Name:
        # By its key: the same content may have other names that are none in another manifest.
        return f"{self._reader.bucket}/{self._reference.key}", number


class PastPieces(FetchedPieces):
    """The pieces of a run of the past, which may have been collected.

    Args:
        pieces: The same pieces.
        expired: Makes the error for what is gone, in the place of `MissingRunError`.
    """

    __slots__ = ("_expired",)

    def __init__(self, pieces: FetchedPieces, expired: Callable[[], ExpiredError]) -> None:
        super().__init__(pieces._reference, pieces._cache, pieces._reader)  # noqa: SLF001 - they are the same
        self._expired = expired

    def _note_missing(self, error: MissingRunError) -> None:
        raise self._expired() from error


def is_near(run: Run) -> bool:
    """Return whether the index of a run is at hand, or fetched together with all that there is of a small run."""
    return run.pieces.index() is not None or run.reference.size <= NEAR


async def fetch(wanted: Mapping[Run, Sequence[int]]) -> list[Piece]:
    """Fetch pieces of runs, as `NotAtHandError.wanted` names them.

    Returns:
        What was fetched. It is at hand for as long as somebody holds it.

    Raises:
        MPS3Error: Something of it cannot be read.
    """

    async def one(item: tuple[Run, Sequence[int]]) -> list[Piece]:
        run, numbers = item
        return await run.pieces.fetch(numbers) if isinstance(run.pieces, FetchedPieces) else []

    return [piece for pieces in await map_concurrently(one, list(wanted.items())) for piece in pieces]
