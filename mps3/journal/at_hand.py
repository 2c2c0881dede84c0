"""Reading runs that may not be at hand: what is missing is fetched, and then it is read again."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Iterable, Sequence
from heapq import nsmallest
from itertools import chain
from typing import Final, TypeVar

from ..format.file_entry import FileEntry
from ..format.layers import Layer, is_partial_run, require_at_hand
from ..format.run import NotAtHandError, Run, read_all
from ..format.state import View
from .run_pieces import Piece, fetch, is_near

BLOCKS: Final = 32
"""Blocks that are worked with at once, about."""
NAMES: Final = 256
"""Keys that are looked up at once."""
T = TypeVar("T")


async def at_hand(function: Callable[[], T], held: list[Piece] | None = None) -> T:
    """Return what a function returns that reads runs. It is called again for as long as something has to be fetched.

    Args:
        function: What reads. It must change nothing before it has read everything.
        held: What was fetched is added here, and stays at hand for as long as this is held.

    Raises:
        MPS3Error: A run cannot be read.
    """

    async def call() -> T:
        return function()

    return await until_at_hand(call, held)


async def until_at_hand(call: Callable[[], Awaitable[T]], held: list[Piece] | None = None) -> T:
    """Do as `at_hand` does with what calls such a function, in a thread for example.

    Args:
        call: It.
        held: As in `at_hand`.

    Raises:
        MPS3Error: A run cannot be read.
    """
    held = [] if held is None else held
    while True:
        try:
            return await call()
        except NotAtHandError as missing:
            wanted = missing.wanted
        held += await fetch(wanted)


async def prepare(layers: Sequence[Layer], names: Collection[str], held: list[Piece]) -> None:
    """Fetch what it takes to look keys up, with a few requests that are made at once.

    Args:
        layers: Of a state, the oldest first.
        names: The keys.
        held: As in `at_hand`.

    Raises:
        MPS3Error: A run cannot be read.
    """
    await at_hand(lambda: require_at_hand(layers, names), held)


async def look_up_all(layers: Sequence[Layer], names: Iterable[str], look_up: Callable[[str], T]) -> dict[str, T]:
    """Return what is said of keys, many of which may have to be fetched.

    Args:
        layers: As in `prepare`; none if most of them need nothing of it.
        names: The keys.
        look_up: Looks a key up.

    Raises:
        MPS3Error: A run cannot be read.
    """
    names = list(names)
    if layers and not any(map(is_partial_run, layers)):
        return {name: look_up(name) for name in names}
    found: dict[str, T] = {}
    for start in range(0, len(names), NAMES):
        some, held = names[start : start + NAMES], list[Piece]()
        await prepare(layers, some, held)
        for name in some:
            found[name] = await at_hand(lambda name=name: look_up(name), held)  # type: ignore[misc]
    return found


async def look_up_in(view: View, names: Iterable[str]) -> dict[str, FileEntry | None]:
    """Return what a state says of keys, many of which may have to be fetched.

    Args:
        view: The state.
        names: The keys.

    Raises:
        MPS3Error: A run cannot be read.
    """
    return await look_up_all(view.layers, names, view.look_up)


async def ranges(
    layers: Sequence[Layer], start: str = "", stop: str | None = None, *, blocks: int = BLOCKS
) -> AsyncGenerator[tuple[str, str | None]]:
    """Return ranges of keys, one after the other, and keep at hand what is said of each while it is worked with.

    Args:
        layers: As in `prepare`.
        start: The first key of all, or one before it.
        stop: A key behind the last one; ``None`` if there is none.
        blocks: How many blocks the first range has, about; further ones have more and more.

    Returns:
        The first key of a range, and the one that comes after it.

    Raises:
        MPS3Error: A run cannot be read.
    """
    runs = [layer for layer in layers if isinstance(layer, Run)]
    pieces: list[Piece] = []
    while True:
        # A block of each run reaches into the next range: the last ones are dropped when those are at hand.
        held = pieces
        bound = await at_hand(lambda: _bound(runs, start, stop, blocks), held)  # noqa: B023 - called at once
        # What was at hand already is held, too: others may need the room that it has in the cache.
        pieces = await at_hand(lambda: _pieces(runs, start, bound), held)  # noqa: B023 - called at once
        del held
        yield start, bound
        if bound == stop:
            return
        assert bound is not None  # noqa: S101 - only the last range has no end, unless there is one for all
        start, blocks = bound, min(2 * blocks, BLOCKS)


def _bound(runs: Sequence[Run], start: str, stop: str | None, blocks: int) -> str | None:
    """Return how far the blocks that come next reach."""
    there = [run for run in runs if run.overlaps(start, stop)]
    first = min((run.reference.first for run in there), default="")
    # What is behind the first keys is not read yet, unless that takes nothing, or next to nothing.
    active = [run for run in there if run.reference.first <= max(start, first) or is_near(run)]
    indexes = read_all(active, Run.index)
    bound = stop
    later = [run.reference.first for run in there if run not in active]
    if later:
        bound = min(later) if bound is None else min(bound, *later)
    # A block of each run reaches over the end of a range, and is read again with the next: that must not happen often.
    most = max(blocks, 2 * len(active))
    firsts: list[str] = []
    for index in indexes:
        numbers = index.overlapping(start, bound)[: most + 1]
        firsts += (first for number in numbers if (first := index.blocks[number].first) > start)
    return nsmallest(most, firsts)[-1] if len(firsts) >= most else bound


def _pieces(runs: Sequence[Run], start: str, stop: str | None) -> list[Piece]:
    """Return what it takes to read a range of keys."""
    blocks = read_all(runs, lambda run: run.blocks(start, stop))
    indexes = (run.pieces.index() for run in runs)
    return [*chain.from_iterable(blocks), *(index for index in indexes if index is not None)]
