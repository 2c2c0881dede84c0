"""When settled files become a run, and when runs become one: the log-structured part of a manifest. Pure.

A run belongs to a level by its size: each level's runs are `FANOUT` times those of the level before. Eight of
one level become one of the next, so what a key costs in rewriting grows with the logarithm of their number.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final, TypeAlias

import orjson

from ..format import limits
from ..format.document import CommitEntry
from ..format.file_entry import FileEntry, Files
from ..format.json_text import is_richer
from ..format.run_reference import RunReference

SPILL = 8 * 2**10
"""Settled files of more bytes than this go into a run, inline values included. All are sent with each commit."""
CHECKPOINT = 192 * 2**10
"""Files of more bytes than this in a checkpoint of a log go into a run. It is seldom written, and read at once."""
CHECKPOINT_OVER_RUNS = 32 * 2**10
"""The same where there are runs under them, so that nothing is gained by keeping all in the checkpoint."""
FANOUT = 8
"""Runs of a level that become one."""
PART = 2 * 2**20
"""The lines of the largest object of a run, in bytes before they are compressed; a larger run has several.

So each is sent in reasonable time, and its index, which is read for the first of its keys, has some 60 kB.
"""
LARGE = 64 * 2**10
"""A change of more bytes than this is stored as a run, so that the log, which is sent again and again, stays small.

With inline values, too: a run is one object for all of them, where objects of their own would be dozens.
"""
MIDDLING: Final = 8 * 2**10
"""A change of more bytes than this is stored as a run where the log would have more than `LARGE` with it."""
RATIO: Final = 4
"""How much larger than all newer ones together a run is that is left alone when things go quiet."""
OVERDUE: Final = 4
"""How many times the size that is due a spill, or the number that is due a merge, may become before commits wait."""

Stack: TypeAlias = tuple[RunReference, ...]
"""The runs of a document, the oldest first, parts in their order."""


def size_of(files: Files) -> int:
    """Return the bytes of ``files`` in a document."""
    return len(orjson.dumps(files, default=dict))


@dataclass(frozen=True, slots=True)
class Spill:
    """Settled files that were stored as a run.

    Attributes:
        files: What was stored.
        under: The runs that lay under it.
        runs: Where it is stored.
    """

    files: Files
    under: Stack
    runs: Stack

    def apply(self, files: Files, runs: Stack) -> tuple[Files, Stack] | None:
        """Return the same state with the run in it; ``None`` if it does not fit any more."""
        if runs != self.under:
            return None
        if self.under and not self.files.keys() <= files.keys():
            # Settled files of another state, made upon the same runs: of what is not in them, the runs say more.
            return None
        left: dict[str, FileEntry | None] = {
            name: file for name, file in files.items() if self.files.get(name, 0) != file
        }
        # What was deleted meanwhile needs a tombstone now.
        left.update((name, None) for name, file in self.files.items() if file is not None and name not in files)
        return left, (*runs, *self.runs)


@dataclass(frozen=True, slots=True)
class Merge:
    """Runs that were merged.

    Attributes:
        sources: Which.
        oldest: Whether nothing lay under them.
        runs: What they became.
        expired: Keys that expired until then were left out, in seconds since 1970; ``None``: none were.
    """

    sources: Stack
    oldest: bool
    runs: Stack
    expired: float | None = None

    def apply(self, files: Files, runs: Stack) -> tuple[Files, Stack] | None:
        """Return the same state with the merged run in it; ``None`` if it does not fit any more."""
        for start in range(len(runs) - len(self.sources) + 1):
            end = start + len(self.sources)
            if runs[start:end] == self.sources and self.oldest == (start == 0):
                return files, (*runs[:start], *self.runs, *runs[end:])
        return None


def due(runs: Stack, fanout: int | None = None) -> Stack:
    """Return the runs to be merged next; none if there are few of each level.

    Args:
        runs: Those of a document.
        fanout: How many of a level are enough; `FANOUT` if ``None``.
    """
    fanout = FANOUT if fanout is None else fanout
    whole = _whole(runs)
    levels = [_level(sum(part.size for part in parts)) for parts in whole]
    for level in sorted(set(levels)):
        found = _stretch(levels, level, fanout)
        if found is not None:
            return tuple(part for parts in whole[found[0] : found[1]] for part in parts)
    return ()


def to_consolidate(runs: Stack) -> Stack:
    """Return the runs to be merged when things go quiet, so that a key is looked up in few; none if they are few.

    Each run that stays has more than `RATIO` times the bytes of all that are newer.
    """
    whole = _whole(runs)
    first, newer = len(whole), 0
    for place in reversed(range(len(whole))):
        size = sum(part.size for part in whole[place])
        if newer and newer * RATIO >= size:
            first = place
        newer += size
    return tuple(part for parts in whole[first:] for part in parts)


def _whole(runs: Sequence[RunReference]) -> list[Stack]:
    whole: list[Stack] = []
    for run in runs:
        if run.continues and whole:
            whole[-1] = (*whole[-1], run)
        else:
            whole.append((run,))
    return whole


def _level(size: int) -> int:
    level = 0
    while size >= SPILL * FANOUT ** (level + 1):
        level += 1
    return level


def _stretch(levels: list[int], level: int, fanout: int) -> tuple[int, int] | None:
    """Return where enough runs of a level follow each other, with none but smaller ones between them.

    The smaller ones before and between them are merged too: they would otherwise stay for ever.
    """
    position = 0
    for small, group in groupby(levels, key=lambda one: one <= level):
        members = list(group)
        if small and members.count(level) >= fanout:
            last = len(members) - members[::-1].index(level)
            return position, position + last
        position += len(members)
    return None


def is_large(update: Mapping[str, object], log: Sequence[CommitEntry] = (), *, held: int = 0) -> bool:
    """Return whether a commit's change is so large that it is stored as a run.

    Args:
        update: The change.
        log: The commits that are sent again with it.
        held: How many keys those commits change that are held, and not sent again.
    """
    files: Files = update.get("files") or {}  # type: ignore[assignment]
    if not files:
        return False
    if len(files) > limits.MANY:
        return True
    if held + sum([len(commit.files) for commit in log]) > limits.CROWDED:
        return True
    body = orjson.dumps(files, default=dict)
    logged = sum([len(commit.encoded()) for commit in log])
    return (
        len(body) > LARGE
        or logged > limits.CROWDED_BYTES
        or (len(body) > MIDDLING and logged + len(body) > LARGE)
        or is_richer(body, limits.MANY_PARTS)
    )
