"""Listing the keys of a state: a part of it after the other where it is large."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from functools import partial
from typing import Any, Final, TypeVar

from ..content.value import PendingValue
from ..format.file_entry import FileEntry
from ..format.layers import Layer, is_partial_run
from ..format.names import Naming
from ..format.run import end_of, lesser
from ..format.state import EMPTY, View, differences, different_layers, weight
from ..journal.at_hand import BLOCKS, look_up_all, ranges, until_at_hand
from .pages import page_of
from .threads import in_thread_if_large

FIRST_BLOCKS: Final = 4
"""Blocks that are read first where not all keys are wanted."""
T = TypeVar("T")


async def scan(
    view: View,
    prefixes: Sequence[str],
    matches: Callable[[str], bool],
    *,
    after: str | None = None,
    blocks: int = BLOCKS,
) -> AsyncGenerator[list[tuple[str, FileEntry]]]:
    """Return the files of a state, some at a time, in the order of their names for each prefix.

    Args:
        view: The state.
        prefixes: What the names begin with.
        matches: Which of them are wanted.
        after: Only those that follow this name.
        blocks: As in `ranges`.

    Raises:
        MPS3Error: A run cannot be read.
    """

    def items(prefix: str, start: str, stop: str | None) -> list[tuple[str, FileEntry]]:
        found = view.items(prefix, start, stop)
        return [(name, file) for name, file in found if (after is None or name > after) and matches(name)]

    for prefix in prefixes:
        start = prefix if after is None else max(prefix, after)
        size = weight(EMPTY, view)
        async with aclosing(_parts(view.layers, size, partial(items, prefix), start, end_of(prefix), blocks)) as parts:
            async for part in parts:
                yield part


async def _parts(
    layers: Sequence[Layer],
    size: int,
    read: Callable[[str, str | None], T],
    start: str,
    stop: str | None,
    blocks: int = BLOCKS,
) -> AsyncGenerator[T]:
    """Return what is read of a range of keys: at once where all of it is at hand, and else a part after the other.

    Args:
        layers: Of which it is read.
        size: How many keys they have, about.
        read: Reads a range, from its first key to one that comes after it.
        start: The first key, or one before it.
        stop: A key behind the last one; ``None`` if there is none.
        blocks: As in `ranges`.
    """
    if stop is not None and start >= stop:
        return
    if not any(map(is_partial_run, layers)):
        yield await in_thread_if_large(size, read, start, stop)
        return
    async with aclosing(ranges(layers, start, stop, blocks=blocks)) as found:
        async for first, last in found:
            yield await until_at_hand(partial(asyncio.to_thread, read, first, last))


async def differences_in(
    old: View, new: View, prefixes: Sequence[str], below: str | None = None
) -> AsyncGenerator[list[tuple[str, FileEntry | None]]]:
    """Return what differs between two states, some at a time; see `differences`.

    Args:
        old: As in `differences`.
        new: As in `differences`.
        prefixes: What the keys begin with.
        below: Only keys up to this one.

    Raises:
        MPS3Error: A run cannot be read.
    """

    def find(prefix: str, start: str, stop: str | None) -> list[tuple[str, FileEntry | None]]:
        return list(differences(old, new, prefix, start, stop))

    last = None if below is None else below + "\0"
    layers, size = different_layers(old, new), weight(old, new)
    for prefix in prefixes:
        stop = lesser(end_of(prefix), last)
        async with aclosing(_parts(layers, size, partial(find, prefix), prefix, stop)) as parts:
            async for part in parts:
                yield part


async def list_page(
    view: View,
    naming: Naming,
    prefix: str,
    limit: int | None,
    after: str | None,
    overlay: Mapping[str, PendingValue | FileEntry | None] | None = None,
) -> list[tuple[str, Any]]:
    """Return the names of a state whose label begins with a prefix, and their files, in the order of their labels.

    Args:
        view: The state.
        naming: The labels.
        prefix: What the labels begin with.
        limit: How many, at the most; ``None``: all.
        after: Only those whose label follows this one.
        overlay: Pending writes that lie over the state.

    Raises:
        MPS3Error: A run cannot be read.
    """
    matches = naming.matches(prefix)
    over = {} if overlay is None else overlay
    pending = await look_up_all((), filter(matches, over), over.__getitem__)
    found: dict[str, Any] = {}
    in_order = naming.keeps_order
    begin = after if in_order else None
    many = BLOCKS if limit is None or not in_order else FIRST_BLOCKS
    enough = limit if in_order else None
    for start in naming.prefixes(prefix):
        number = 0
        async with aclosing(scan(view, [start], matches, after=begin, blocks=many)) as parts:
            async for part in parts:
                fresh = {name: file for name, file in part if name not in pending}
                number += len(fresh)
                found.update(fresh)
                if enough is not None and number >= enough:
                    break
    found.update((name, one) for name, one in pending.items() if one is not None)
    return await in_thread_if_large(len(found), page_of, found.items(), naming, limit, after)
