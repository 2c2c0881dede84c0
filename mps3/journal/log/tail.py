"""What is known of a log: a checkpoint, the slots after it, and the state that they make."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Final

from ...format.document import CommitEntry, Document
from ...format.slot import checkpoint_stamp, empty_document, is_filler, slot_entry
from ...format.state import EMPTY, View, added_commits, build_view, needed_runs
from ...format.update import names_needed
from ..at_hand import at_hand, prepare
from ..run_pieces import Piece
from ..runs import Runs
from .fold import Judgement, apply, judge
from .reader import ReadSlot

EVERY: Final = 64
"""A checkpoint is due at each slot whose number is a multiple of this, for whoever creates that, whenever opened."""
DUE: Final = 16
"""How many slots are known at which one was due: several may be read at once."""
BYTES: Final = 64 * 2**10
"""Bytes of slots after which a checkpoint is due."""


class LogTail:
    """The dense part of a log (L2), from a checkpoint on.

    Args:
        runs: Fetches the runs that slots name.
        window: Seconds; as in `Document`.

    Attributes:
        number: The last slot of which all below are known; zero before the first.
        view: The state after it.
        base: The checkpoint that the state is built upon.
        due: The last slot at which a checkpoint was due.
        lately_due: Some of the last such slots.
        modified: The newest time stamp of the store, in seconds since 1970.
    """

    def __init__(self, runs: Runs, window: float) -> None:
        self._runs = runs
        self._window = window
        self._bytes = 0
        self._changing = asyncio.Lock()
        self._counted_view = EMPTY
        self._counted = 0
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self.number = self.due = 0
        self.lately_due: tuple[int, ...] = ()
        self.base = empty_document(self._window)
        self.view: View = EMPTY
        self.modified = 0.0
        self._bytes = 0

    async def begin(self, checkpoint: ReadSlot | None, number: int) -> None:
        """Begin with a checkpoint, or before the first slot.

        Raises:
            MissingRunError: A run that it names is missing.
        """
        self.reset()
        if checkpoint is None:
            return
        document = checkpoint.document
        held = await self._runs.load(document.runs)
        self.view = build_view(document, str(number), (), held, 0.0)
        self.base, self.number, self.due = document, number, number
        self.modified = document.log[-1].modified

    async def extend(self, number: int, read: ReadSlot) -> Judgement | None:
        """Add the next slot.

        Returns:
            What became of its commit; ``None`` for a filler.

        Raises:
            MissingRunError: A run that it names is missing.
        """
        async with self._changing:
            return await self._extend(number, read)

    async def _extend(self, number: int, read: ReadSlot) -> Judgement | None:
        assert number == self.number + 1  # noqa: S101 - the log is dense
        judgement: Judgement | None = None
        view = self.view if self.view.document is not None else build_view(self.base, None, (), {}, 0.0)
        if is_filler(read.document):
            view = _at(view, number)
        else:
            entry = slot_entry(read.document, number, read.modified)
            pieces: list[Piece] = []
            if entry.expect:
                await prepare(view.layers, entry.expect, pieces)
            judgement = await at_hand(lambda: judge(view, entry), pieces)
            if judgement is Judgement.COUNTS:
                held = await self._runs.load(entry.runs) if entry.runs else {}
                await prepare(view.layers, names_needed(entry.update), pieces)
                view = await at_hand(lambda before=view: apply(before, entry, held), pieces)  # type: ignore[misc]
            else:
                view = _at(view, number)
        self.view, self.number = view, number
        self.modified = max(self.modified, read.modified)
        self._bytes += read.size
        if number % EVERY == 0 or self._bytes >= BYTES:
            self.due, self._bytes = number, 0
            self.lately_due = (*self.lately_due[1 - DUE :], number)
        return judgement

    async def rebase(self, document: Document) -> None:
        """Build the same state upon a newer checkpoint, so that fewer commits are held."""
        async with self._changing:
            number = document.sequence
            if number <= self.base.sequence:
                return
            commits = tuple(commit for commit in self.view.commits if int(commit.version) > number)
            held = await self._runs.load(needed_runs(document, commits))
            collected = None if self.view.document is None else self.view.document.collected
            view = await at_hand(lambda: build_view(document, self.view.head, commits, held, 0.0, self.view))
            if view.document is not None and view.document.collected != collected:
                view = _replace(view, collected)
            self.base, self.view = document, view

    async def become(self, other: LogTail) -> None:
        """Take over the state of another one, which began with a newer checkpoint, unless this one is further."""
        async with self._changing:
            if other.number < self.number:
                return
            self.number, self.view, self.modified = other.number, other.view, other.modified
            self.base, self.due, self._bytes = other.base, other.due, other._bytes
            self.lately_due = other.lately_due

    def restore(self, view: View, number: int) -> None:
        """Go on from a saved state.

        Raises:
            ValueError: It is not that of a log.
        """
        if view.document is None or view.document.sequence > number:
            raise ValueError("its slots are not in order")
        if any(not view.document.sequence < int(commit.version) <= number for commit in view.commits):
            raise ValueError("a commit is not among its slots")
        self.view, self.base, self.number = view, view.document, number
        self.due = number - number % EVERY

    def count_keys(self) -> int:
        """Return how many keys the commits change that are held."""
        before, self._counted_view = self._counted_view, self.view
        added = added_commits(before, self.view)
        if added is None:
            added, self._counted = self.view.commits, 0
        self._counted += sum([len(commit.files) for commit in added])
        return self._counted

    def stamp(self) -> CommitEntry | None:
        """Return what a checkpoint keeps of the last commit; ``None`` before the first."""
        if self.view.commits:
            return checkpoint_stamp(self.view.commits[-1])
        return self.base.log[-1] if self.base.log else None


def _at(view: View, number: int) -> View:
    return replace(view, head=str(number))


def _replace(view: View, collected: str | None) -> View:
    assert view.document is not None  # noqa: S101 - it was just built upon one
    return replace(view, document=replace(view.document, collected=collected))
