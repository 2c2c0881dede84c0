"""The runs of one manifest: storing them, and having them at hand."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final
from weakref import WeakValueDictionary

from ..errors import CorruptionError, MPS3Error
from ..format import limits
from ..format.commit_age import Moment
from ..format.document import CommitEntry
from ..format.file_entry import FileEntry, Files
from ..format.layers import is_partial_run
from ..format.names import SUFFIX
from ..format.patches import is_partial
from ..format.run import HeldPieces, Run, open_run
from ..format.run_merge import merged_lines
from ..format.run_reference import RunReference, encode_reference
from ..format.run_writer import BATCH, RunWriter, WrittenPart, encode_runs
from ..format.update import patched
from ..storage.protocol import Absence, Storage
from ..storage.verification import EtagDigests
from ..support.gather import map_concurrently
from . import levels
from .at_hand import at_hand, ranges
from .in_thread import Worker
from .run_pieces import FetchedPieces, PieceCache, RunReading
from .run_reader import CONCURRENCY, GROWTH, SMALL, MissingRunError, RunReader

SENDING: Final = 3
"""Objects of a run that are sent at once: each of them takes memory."""
EXPANDED: Final = 64
"""How many times the bytes that are prefetched the lines of runs may have that are held whole."""
NAME: Final = 16
"""Bytes whose reading takes as long as working with one key of a document."""


@dataclass(frozen=True, slots=True)
class _Part:
    """A part of a run that was stored, as documents name it, and when that began."""

    reference: RunReference
    run: Run
    moment: Moment


@dataclass(frozen=True, slots=True)
class StoredRun:
    """A run that was stored: its parts, as documents name them, and when that began."""

    references: tuple[RunReference, ...]
    runs: tuple[Run, ...]
    moment: Moment


class Runs:
    """The runs of one manifest: each is stored once, and verified when read.

    A run that is held whole stays in memory for as long as anything refers to it; of the others, those pieces do that
    were used last.

    Args:
        storage: Where they are kept.
        bucket: The manifest's bucket.
        manifest: The manifest's key.
        now: Tells the time: what was stored long ago, and is not named yet, may have been collected.
        unique: Gives each stored run a name of its own besides its content's. Where an object is deleted by
            its key alone, whoever is late with that must not hit one that was stored again.
        reading: How they are read.

    Attributes:
        reader: Reads them.
        etags: Verifies the documents of the manifest, which name no digest of themselves.
    """

    def __init__(
        self,
        storage: Storage,
        bucket: str,
        manifest: str,
        now: Callable[[], Moment],
        *,
        unique: Callable[[], str] | None = None,
        reading: RunReading | None = None,
    ) -> None:
        self._storage = storage
        self._bucket = bucket
        self._prefix = manifest + SUFFIX
        self._worker = Worker()
        self.work = self._worker.work
        self.reader = RunReader(storage, bucket, manifest, self._worker)
        self.invalid_names = self.reader.invalid_names
        self.etags = EtagDigests(bucket, manifest)
        self._reading = RunReading() if reading is None else reading
        self._is_large = False
        self._unique = unique
        self._now = now
        self._held: WeakValueDictionary[str, Run] = WeakValueDictionary()
        self._stored: list[_Part] = []
        self._fetched: Mapping[str, Run] = {}

    async def load(self, references: Iterable[RunReference]) -> Mapping[str, Run]:
        """Return the runs that documents name, by their SHA-256.

        Where they are few, those not in memory are fetched, several at once. Else pieces of them are fetched later,
        where they are needed.

        Raises:
            MissingRunError: One is missing.
            CorruptionError: One is not what it should be.
        """
        wanted = {reference.sha256: reference for reference in references}
        held = {name: run for name in wanted if (run := self._held.get(name)) is not None and not is_partial_run(run)}
        missing = [reference for name, reference in wanted.items() if name not in held]
        if sum(reference.size for reference in wanted.values()) <= self._reading.prefetch:
            await self._load_whole(missing, held)
            return held
        self._is_large = True
        if self.reader.lost:
            # Something was collected that this client went by: it must not go by something else that is gone.
            await map_concurrently(self.reader.require, missing)
        for reference in missing:
            run = self._held.get(reference.sha256)
            if run is None or run.reference.key != reference.key:
                self.reader.check(reference)
                run = self._held[reference.sha256] = self._in_pieces(reference)
            held[reference.sha256] = run
        return held

    async def _load_whole(self, missing: Sequence[RunReference], held: dict[str, Run]) -> None:
        """Fetch runs that stay in memory, and add them to those that are held."""
        lines = 0
        for start in range(0, len(missing), CONCURRENCY):
            if lines > EXPANDED * self._reading.prefetch:
                # Nobody writes lines that are compressed so well.
                held.update((one.sha256, self._in_pieces(one)) for one in missing[start:])
                break
            some = missing[start : start + CONCURRENCY]
            found = await asyncio.gather(*map(self.reader.whole, some), return_exceptions=True)
            for one in found:
                if isinstance(one, Run):
                    held[one.sha256] = self._held[one.sha256] = one
                    lines += one.pieces.size if isinstance(one.pieces, HeldPieces) else 0
            failed = [failure for failure in found if isinstance(failure, BaseException)]
            # What was fetched need not be fetched again when the rest is.
            self._fetched = held if failed else {}
            if failed:
                raise failed[0]

    def _in_pieces(self, reference: RunReference) -> Run:
        return Run(reference, FetchedPieces(reference, self._reading.cache, self.reader))

    def _passing(self, run: Run) -> Run:
        """Return a run that is read once, from one end to the other: its pieces take nobody's room in the cache."""
        if not is_partial_run(run):
            return run
        return Run(run.reference, FetchedPieces(run.reference, PieceCache(0), self.reader))

    async def save(self, files: Files) -> StoredRun:
        """Store ``files`` as a run. Whoever saves the same writes the same objects."""
        return await self._save(lambda pause: list(encode_runs(files, levels.PART, pause)), levels.size_of(files))

    async def whole(self, files: Files, stack: levels.Stack) -> tuple[Files, levels.Stack]:
        """Take the runs under some files into them, where all are few."""
        size = levels.size_of(files) + sum(run.size for run in stack)
        if not stack or size > levels.CHECKPOINT or sum(run.entries for run in stack) + len(files) > limits.FILES // 2:
            return files, stack
        held = await self.load(stack)
        found: dict[str, Any] = {}
        for run in stack:
            found.update(await at_hand(lambda run=run: dict(held[run.sha256].items())))  # type: ignore[misc]
        found.update(files)
        if levels.size_of(found) > levels.CHECKPOINT:
            return files, stack
        return {name: file for name, file in found.items() if file is not None}, ()

    async def merge(self, runs: Sequence[Run], *, oldest: bool, expired: float | None = None) -> StoredRun:
        """Store what several runs say together, a range of keys after the other; see `merged_lines`."""
        runs = [self._passing(run) for run in runs]

        async def merged() -> AsyncGenerator[WrittenPart]:
            writer = RunWriter(levels.PART)
            async with aclosing(ranges(runs)) as found:
                async for start, stop in found:
                    lines = partial(merged_lines, runs, start, stop, oldest=oldest, expired=expired)
                    for part in await self.work(partial(_write, writer, lines), size):
                        yield part
            for part in writer.end():
                yield part

        size = GROWTH * sum(run.reference.size for run in runs)
        return await self._send(merged())

    async def by_reference(
        self, update: Mapping[str, Any], log: Sequence[CommitEntry] = (), *, held: int = 0
    ) -> Mapping[str, Any]:
        """The change of a commit; if it is large, stored as a run, which it then names.

        Args:
            update: The change.
            log: The commits that are sent again with it.
            held: How many keys those commits change that are held. If they are very many, any change is large.
        """
        if not levels.is_large(update, log, held=held):
            return update

        changes: Mapping[str, Any] = update["files"]
        if len(changes) <= limits.MANY and all(map(is_partial, changes.values())):
            return update  # a commit has no more patches than that
        beside: dict[str, Any] = {}

        def encoded(breathe: Callable[[], object]) -> list[WrittenPart]:
            # The lines of a run replace what was there, so patches stay beside them, and apply above them.
            beside.update((name, one) for name, one in changes.items() if is_partial(one))
            whole = {name: _whole(one) for name, one in changes.items() if name not in beside}
            return list(encode_runs(whole, levels.PART, breathe))

        saved = await self._save(encoded, NAME * 4 * len(changes))
        rest = {name: value for name, value in update.items() if name != "files"}
        if beside:
            rest["files"] = beside
        return {**rest, "runs": [encode_reference(reference) for reference in saved.references]}

    async def _save(self, make: Callable[[Callable[[], object]], list[WrittenPart]], size: int) -> StoredRun:
        async def made() -> AsyncGenerator[WrittenPart]:
            for part in await self.work(make, size):
                yield part

        return await self._send(made())

    async def _send(self, parts: AsyncGenerator[WrittenPart]) -> StoredRun:
        """Store the parts of a run, some at once, while the next are made."""
        began = self._now()
        sending: list[asyncio.Task[_Part]] = []
        try:
            async with aclosing(parts):
                async for part in parts:
                    if len(sending) >= SENDING:
                        await asyncio.wait([sending[-SENDING]])
                    if any(task.done() and task.exception() for task in sending[-SENDING:]):
                        break  # no more of them: the others are only finished
                    sending.append(asyncio.create_task(self._store(part)))
            # What was stored need not be stored again when the rest is.
            await asyncio.gather(*sending, return_exceptions=True)
        finally:
            for task in sending:
                task.cancel()
            await asyncio.gather(*sending, return_exceptions=True)
        stored = [task.result() for task in sending]
        return StoredRun(
            tuple(part.reference for part in stored),
            tuple(part.run for part in stored),
            min((began, *(part.moment for part in stored)), key=lambda moment: moment.here),
        )

    async def renew(self, saved: StoredRun) -> StoredRun:
        """Store once more what may be collected before a commit names it."""

        async def parts() -> AsyncGenerator[WrittenPart]:
            for reference in saved.references:
                found = await self._storage.get(self._bucket, reference.key, limit=reference.size)
                if isinstance(found, Absence):
                    raise MissingRunError(f"the run {reference.key} was collected", key=reference.key)
                body = found.body
                try:
                    check = partial(open_run, reference, body, trusted=True)
                    await self.work(lambda pause, check=check: check(pause=pause), GROWTH * len(body))  # type: ignore[misc]
                except ValueError as error:
                    # What arrived damaged must not take the place of what is whole.
                    raise CorruptionError(f"the run {reference.key} is damaged: {error}", key=reference.key) from error
                yield WrittenPart(replace(reference, key=""), body, None)

        return await self._send(parts())

    def is_fresh(self, saved: StoredRun) -> bool:
        """Whether a run that was stored may still be named by a commit of now."""
        return saved.moment.is_fresh(self._now())

    def named(self) -> None:
        """A commit is acknowledged: what was saved before is part of a state now, or else nobody needs it here."""
        self._stored.clear()

    async def _store(self, part: WrittenPart) -> _Part:
        began = self._now()
        for known in self._stored:
            if known.reference.sha256 == part.reference.sha256 and known.moment.is_fresh(began):
                return replace(known, reference=replace(part.reference, key=known.reference.key))
        name = part.reference.sha256 + (f"@{self._unique()}" if self._unique else "")
        reference = replace(part.reference, key=self._prefix + name)
        try:
            await self._storage.put(self._bucket, reference.key, part.body, sha256=part.sha256)
        except MPS3Error as error:
            error.maybe_written = False  # a run that no document names is nothing but an object
            raise
        self.reader.wrote(reference)
        run = self._held.get(reference.sha256)
        if run is None or run.reference.key != reference.key:
            run = await self._keep(reference, part)
        stored = _Part(reference, run, began)
        self._stored.append(stored)
        return stored

    async def _keep(self, reference: RunReference, part: WrittenPart) -> Run:
        if self._is_large and reference.size > SMALL:
            run = self._in_pieces(reference)
        elif part.pieces is not None:
            run = Run(reference, part.pieces)
        else:
            # Nothing that is written here has names that are none.
            run = await self.work(
                lambda pause: open_run(reference, part.body, trusted=True, pause=pause), GROWTH * len(part.body)
            )
        self._held[reference.sha256] = run
        return run


def _write(
    writer: RunWriter, merged: Callable[[], tuple[list[str], list[bytes]]], pause: Callable[[], object]
) -> list[WrittenPart]:
    names, lines = merged()
    done = []
    for start in range(0, len(names), BATCH):
        pause()
        done += writer.add(names[start : start + BATCH], lines[start : start + BATCH])
    return done


def _whole(change: Mapping[str, Any] | None) -> FileEntry | None:
    return None if change is None else patched(None, change, -math.inf)
