"""The past of a log: its slots, and before them its checkpoints."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from ...errors import CorruptionError
from ...format.document import CommitEntry, Document
from ...format.state import EMPTY, View, build_view, needed_runs
from ...support.gather import map_concurrently
from ..at_hand import at_hand
from ..kept_runs import KeptRuns
from ..past import Walk
from ..runs import Runs
from .reader import CONCURRENCY, Listing, LogReader, ReadSlot
from .tail import LogTail

KEPT: Final = 2 * 2**20
"""Bytes of slots that are kept, as they are in the store."""

AFTER: Final = 4
"""Checkpoints after a moment that are tried, to begin there."""


class LogPast(KeptRuns):
    """Finds what a manifest was before.

    Args:
        bucket: Its bucket.
        key: Its key.
        reader: Reads its log.
        runs: Its runs.
        window: As in `Document`.
    """

    def __init__(self, bucket: str, key: str, reader: LogReader, runs: Runs, window: float) -> None:
        super().__init__(bucket, key, runs)
        self._reader = reader
        self._window = window
        self._kept: dict[int, ReadSlot] = {}
        self._kept_bytes = 0

    async def slots(self, numbers: Sequence[int]) -> dict[int, ReadSlot]:
        """Return the slots among these that are there. The next questions are often about the same ones."""
        found = {number: self._kept[number] for number in numbers if number in self._kept}
        read = await self._reader.slots([number for number in numbers if number not in found])
        for number, slot in read.items():
            self._kept_bytes += slot.size if number not in self._kept else 0
            self._kept[number] = slot
        while self._kept_bytes > KEPT:
            self._kept_bytes -= self._kept.pop(next(iter(self._kept))).size
        return {**found, **read}

    async def walk(self, view: View) -> LogWalk:
        """Return the newest commits; the walk goes back step by step."""
        return LogWalk(self, self._reader, view)

    async def walk_to(self, view: View, moment: float | tuple[str, int]) -> LogWalk | None:
        """Return a walk that begins near a moment of the past; ``None`` where a walk from the newest state is as good.

        Args:
            view: The newest state.
            moment: A time by the store's clock, in seconds since 1970, or the session and the sequence of a commit.
        """
        base = 0 if view.document is None else view.document.sequence
        first = int(view.commits[0].version) if view.commits else base + 1
        if isinstance(moment, tuple):
            return await self._walk_to_commit(view, first, *moment)
        if view.commits and view.commits[0].modified <= moment:
            return None
        listing = await self._reader.list_all()
        later = [number for number in listing.checkpoints if listing.stamps[number] > moment + 2 * self._window]
        # The last commit of a checkpoint may be long before it, so it may be the next one.
        for number in later[: -AFTER - 1 : -1]:
            if number >= first:
                return None
            walk = LogWalk(self, self._reader, EMPTY, listing)
            if await walk.begin_at(number, moment + 2 * self._window):
                return walk
        return None

    async def _walk_to_commit(self, view: View, first: int, session: str, sequence: int) -> LogWalk | None:
        """Return a walk from the first checkpoint that knows a commit.

        Checkpoints forget sessions: one that does not know a commit may be later. Then the walk is only longer.
        """
        if not view.has(session, sequence) or any(
            (one.session, one.sequence) == (session, sequence) for one in view.commits
        ):
            return None
        listing = await self._reader.list_all()
        numbers = [number for number in listing.checkpoints if number < first]  # the newest first

        async def knows(place: int) -> bool:
            found = await self._reader.checkpoint(numbers[place])
            return found is not None and found.document.sessions.get(session, -1) >= sequence

        # In steps of twice the size, because most questions are about what is recent, and then between the last two.
        known, unknown, step = -1, len(numbers), 1
        while known + step < unknown:
            if await knows(known + step):
                known, step = known + step, 2 * step
            else:
                unknown = known + step
        while unknown - known > 1:
            middle = (known + unknown) // 2
            if await knows(middle):
                known = middle
            else:
                unknown = middle
        if known <= 0:
            return None
        walk = LogWalk(self, self._reader, EMPTY, listing)
        return walk if await walk.begin_at(numbers[known], -math.inf) else None

    async def written(self) -> frozenset[int]:
        """Return the numbers of all checkpoints that were written."""
        return frozenset((await self._reader.list_all()).checkpoints)

    async def checkpoints(self, after: int) -> list[Document]:
        """Return all checkpoints behind a slot."""
        listing = await self._reader.list_all()
        numbers = [number for number in listing.checkpoints if number > after]
        found = await map_concurrently(self._reader.checkpoint, numbers, CONCURRENCY)
        return [checkpoint.document for checkpoint in found if checkpoint is not None]

    def tail(self) -> LogTail:
        """Return an empty state."""
        return LogTail(self._runs, self._window)


class LogWalk(Walk):
    """Commits of a log, from the newest back.

    Attributes:
        commits: In order, the oldest first.
        finished: Whether nothing older is kept.
        complete: Whether nothing older ever was.
        oldest: The checkpoint before the first of the commits.
        reach: All commits with later time stamps, in seconds since 1970, are known.
    """

    def __init__(self, past: LogPast, reader: LogReader, view: View, listing: Listing | None = None) -> None:
        self._past = past
        self._reader = reader
        self._listing = listing
        self._bases: dict[int, Document] = {}
        self.commits: list[CommitEntry] = list(view.commits)
        self.oldest: Document | None = view.document
        self.finished = self.complete = False
        self.reach = math.inf
        self._start = 0 if view.document is None else view.document.sequence
        if view.document is not None:
            self._bases[self._start] = view.document
        self._note_end()

    async def begin_at(self, number: int, moment: float) -> bool:
        """Begin with a checkpoint. Return whether it is there, and its last commit was made after a moment.

        It may have been written long after that.
        """
        found = await self._reader.checkpoint(number)
        if found is None or found.document.log[-1].modified <= moment:
            return False
        self._start, self.oldest = number, found.document
        self._bases[number] = found.document
        self.complete = self.finished = False
        await self.further()
        return True

    def _note_end(self) -> None:
        if self._start == 0:
            self.finished = self.complete = True
            self.reach = -math.inf

    async def further(self) -> bool:
        """Go back to the checkpoint before. Return whether anything was left."""
        if self.finished:
            return False
        if self._listing is None:
            self._listing = await self._reader.list_all()
        for before in (*(number for number in self._listing.checkpoints if number < self._start), 0):
            tail = await self._read(before)
            if tail is not None:
                break
        else:
            self.finished = True  # it was collected
            return True
        self.commits = [*tail.view.commits, *self.commits]
        self.oldest = tail.base
        self._start = before
        self._bases[before] = tail.base
        self._note_end()
        return True

    async def _read(self, number: int) -> LogTail | None:
        """Return the state at the slot where this walk begins, from a checkpoint on; ``None`` if it is not kept."""
        found = await self._reader.checkpoint(number) if number else None
        if number and found is None:
            return None
        slots = await self._past.slots(range(number + 1, self._start + 1))
        if len(slots) < self._start - number:
            return None
        tail = self._past.tail()
        try:
            await tail.begin(found, number)
            for slot in range(number + 1, self._start + 1):
                await tail.extend(slot, slots[slot])
        except CorruptionError:
            return None
        return tail

    async def state_at(self, place: int) -> View:
        """Return the state that the commit at this place of `commits` made.

        Raises:
            ExpiredError: A part of it is not kept any more.
        """
        commit = self.commits[place]
        slot = int(commit.version)
        number = max((base for base in self._bases if base < slot), default=None)
        if number is None:
            raise self._past.expired(f"the state at the commit {commit.id} is not kept any more")
        base = self._bases[number]
        commits = tuple(one for one in self.commits[: place + 1] if int(one.version) > number)
        held = await self._past.load(needed_runs(base, commits))
        return await at_hand(lambda: build_view(base, commit.version, commits, held, 0.0, EMPTY))
