"""Listing the keys of a state: a part of it after the other where it is large."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from typing import Any, Final

from ..content.value import PendingValue
from ..format.file_entry import FileEntry
from ..format.layers import is_partial_run
from ..format.names import Naming
from ..format.run import end_of
from ..format.state import EMPTY, View, differences, different_layers, weight
from ..journal.at_hand import BLOCKS, look_up_all, ranges
from .pages import page_of
from .threads import LARGE, in_thread_if_large

FIRST_BLOCKS: Final = 4
"""Blocks that are read first where not all keys are wanted."""


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
    for prefix in prefixes:
        start = prefix if after is None else max(prefix, after)
        stop = end_of(prefix)
        if stop is not None and start >= stop:
            continue
        if not any(map(is_partial_run, view.layers)):
            yield await in_thread_if_large(weight(EMPTY, view), _items, view, prefix, start, None, matches, after)
            continue
        async with aclosing(ranges(view.layers, start, stop, blocks=blocks)) as found:
            async for first, last in found:
                yield await in_thread_if_large(LARGE + 1, _items, view, prefix, first, last, matches, after)


def _items(
    view: View, prefix: str, start: str, stop: str | None, matches: Callable[[str], bool], after: str | None
) -> list[tuple[str, FileEntry]]:
    items = view.items(prefix, start, stop)
    return [(name, file) for name, file in items if (after is None or name > after) and matches(name)]


async def differences_in(
    old: View, new: View, prefixes: Sequence[str], below: str | None = None
) -> AsyncGenerator[list[tuple[str, FileEntry | None]]]:
    """Return what differs between two states, some at a time; see `differences`.

    Args:
        old: As in `differences`.
        new: As in `differences`.
        prefixes: What the keys begin with.
        below: As in `differences`.

    Raises:
        MPS3Error: A run cannot be read.
    """
    layers = different_layers(old, new)
    for prefix in prefixes:
        if not any(map(is_partial_run, layers)):
            yield await in_thread_if_large(
                weight(old, new), lambda prefix=prefix: list(differences(old, new, prefix, below))
            )
            continue
        async with aclosing(ranges(layers, prefix, end_of(prefix))) as found:
            async for start, stop in found:
                if below is not None and start > below:
                    break
                yield await in_thread_if_large(LARGE + 1, _differences, old, new, prefix, below, start, stop)


def _differences(
    old: View, new: View, prefix: str, below: str | None, start: str, stop: str | None
) -> list[tuple[str, FileEntry | None]]:
    return list(differences(old, new, prefix, below, start, stop))


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
