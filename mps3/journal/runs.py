"""Storing and fetching runs."""

from __future__ import annotations

import asyncio
import hashlib
import math
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final, TypeVar
from weakref import WeakValueDictionary

from ..errors import CorruptionError, MPS3Error
from ..format import limits
from ..format.commit_age import Moment
from ..format.document import CommitEntry
from ..format.file_entry import FileEntry, Files
from ..format.names import SUFFIX, Names
from ..format.patches import is_partial
from ..format.run import Run, check_run, encode_runs, index_run, merge_runs
from ..format.run_reference import RunReference, encode_reference
from ..format.update import patched
from ..storage.cached import CachedObject, add_to_cache
from ..storage.protocol import Absence, Object, Storage
from ..storage.verification import EtagDigests, read_verified
from ..types import Ref
from . import levels
from .invalid_names import InvalidNames

CONCURRENCY: Final = 8
"""Runs that are sent or fetched at once."""
LONG: Final = 128 * 2**10
"""Working on more bytes than this would hold up the event loop; a thread does it."""
NAME: Final = 16
"""Bytes whose reading takes as long as working with one key of a document."""
BREATH: Final = 1e-6
"""Seconds that a thread sleeps now and then, so that the event loop can go on; systems make some more of it."""
T = TypeVar("T")


class MissingRunError(CorruptionError):
    """A run is not there that a document names.

    It was collected, if the document is no longer what the manifest says: whoever read it slept for very long before
    asking for its runs. Else somebody has damaged the bucket.
    """


@dataclass(frozen=True, slots=True)
class _Part:
    """A part of a run that was stored, as documents name it and in memory, and when that began."""

    reference: RunReference
    run: Run
    moment: Moment


@dataclass(frozen=True, slots=True)
class StoredRun:
    """A run that was stored: its parts, as documents name them and in memory, and when that began."""

    references: tuple[RunReference, ...]
    runs: tuple[Run, ...]
    moment: Moment


class Runs:
    """The runs of one manifest: each is stored once, fetched once, and verified when read.

    A run stays in memory for as long as anything refers to it.

    Args:
        storage: Where they are kept.
        bucket: The manifest's bucket.
        manifest: The manifest's key.
        now: Tells the time: what was stored long ago, and is not named yet, may have been collected.
        unique: Gives each stored run a name of its own besides its content's. Where an object is deleted by
            its key alone, whoever is late with that must not hit one that was stored again.

    Attributes:
        invalid_names: Told of names that are none.
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
    ) -> None:
        self._storage = storage
        self._bucket = bucket
        self._prefix = manifest + SUFFIX
        self.invalid_names = InvalidNames(bucket)
        self.etags = EtagDigests(bucket, manifest)
        self._names = Names(Ref(manifest, bucket))
        self._unique = unique
        self._now = now
        self._held: WeakValueDictionary[str, Run] = WeakValueDictionary()
        self._stored: list[_Part] = []
        self._fetched: Mapping[str, Run] = {}
        self._switch = asyncio.Semaphore(CONCURRENCY)
        self._thread = asyncio.Semaphore(1)

    async def load(self, references: Iterable[RunReference]) -> Mapping[str, Run]:
        """The runs that documents name, by their SHA-256. Those not in memory are fetched, several at once.

        Raises:
            MissingRunError: One is missing.
            CorruptionError: One is not what it should be.
        """
        wanted = {reference.sha256: reference for reference in references}
        held = {name: run for name in wanted if (run := self._held.get(name)) is not None}
        missing = [reference for name, reference in wanted.items() if name not in held]
        if missing:
            found = await asyncio.gather(*map(self._fetch, missing), return_exceptions=True)
            held.update((run.sha256, run) for run in found if isinstance(run, Run))
            failed = [failure for failure in found if isinstance(failure, BaseException)]
            # What was fetched need not be fetched again when the rest is.
            self._fetched = held if failed else {}
            if failed:
                raise failed[0]
        return held

    async def save(self, files: Files) -> StoredRun:
        """Store ``files`` as a run. Whoever saves the same writes the same objects."""
        return await self._save(partial(encode_runs, files, levels.PART), levels.size_of(files))

    async def whole(self, files: Files, stack: levels.Stack) -> tuple[Files, levels.Stack]:
        """Take the runs under some files into them, where all are few."""
        size = levels.size_of(files) + sum(run.size for run in stack)
        if not stack or size > levels.CHECKPOINT or sum(run.entries for run in stack) + len(files) > limits.FILES // 2:
            return files, stack
        held = await self.load(stack)
        found: dict[str, Any] = {}
        for run in stack:
            found.update(held[run.sha256].items())
        found.update(files)
        return {name: file for name, file in found.items() if file is not None}, ()

    async def merge(self, runs: Sequence[Run], *, oldest: bool, expired: float | None = None) -> StoredRun:
        """Store what several runs say together; see `merge_runs`."""
        stop = threading.Event()

        def merged(breathe: Callable[[], object]) -> Iterator[tuple[RunReference, bytes]]:
            def pause() -> None:
                breathe()
                if stop.is_set():
                    raise InterruptedError("nobody waits for this any more")

            return merge_runs(runs, levels.PART, oldest=oldest, expired=expired, pause=pause)

        try:
            return await self._save(merged, sum(len(run.body) for run in runs))
        finally:
            stop.set()

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

        def encoded(breathe: Callable[[], object]) -> Iterator[tuple[RunReference, bytes]]:
            # The lines of a run replace what was there, so patches stay beside them, and apply above them.
            beside.update((name, one) for name, one in changes.items() if is_partial(one))
            whole = {name: _whole(one) for name, one in changes.items() if name not in beside}
            return encode_runs(whole, levels.PART, breathe)

        saved = await self._save(encoded, NAME * 4 * len(changes))
        rest = {name: value for name, value in update.items() if name != "files"}
        if beside:
            rest["files"] = beside
        return {**rest, "runs": [encode_reference(reference) for reference in saved.references]}

    async def _save(
        self, make: Callable[[Callable[[], object]], Iterator[tuple[RunReference, bytes]]], size: int
    ) -> StoredRun:
        began = self._now()
        parts = await self.work(make, size)
        sending: list[asyncio.Task[_Part]] = []
        failures: list[BaseException] = []

        async def send(reference: RunReference, body: bytes) -> _Part:
            async with self._switch:
                if failures:
                    raise failures[0]  # no more of them: the others are only finished
                try:
                    return await self._store(reference, body)
                except BaseException as error:
                    failures.append(error)
                    raise

        try:
            while made := await self.work(lambda _: next(parts, None), size):
                sending.append(asyncio.create_task(send(*made)))
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
        bodies = ((replace(one, key=""), run.body) for one, run in zip(saved.references, saved.runs, strict=True))
        return await self._save(lambda _: bodies, 0)

    def is_fresh(self, saved: StoredRun) -> bool:
        """Whether a run that was stored may still be named by a commit of now."""
        return saved.moment.is_fresh(self._now())

    def named(self) -> None:
        """A commit is acknowledged: what was saved before is part of a state now, or else nobody needs it here."""
        self._stored.clear()

    async def _store(self, reference: RunReference, body: bytes) -> _Part:
        began = self._now()
        for known in self._stored:
            if known.reference.sha256 == reference.sha256 and known.moment.is_fresh(began):
                return replace(known, reference=replace(reference, key=known.reference.key))
        name = reference.sha256 + (f"@{self._unique()}" if self._unique else "")
        reference = replace(reference, key=self._prefix + name)
        try:
            await self._storage.put(self._bucket, reference.key, body, sha256=bytes.fromhex(reference.sha256))
        except MPS3Error as error:
            error.maybe_written = False  # a run that no document names is nothing but an object
            raise
        run = self._held.get(reference.sha256)
        if run is None:
            run = await self.work(partial(index_run, reference.sha256, body, self._names), len(body))
        self._held[run.sha256] = run
        stored = _Part(reference, run, began)
        self._stored.append(stored)
        return stored

    async def _fetch(self, reference: RunReference) -> Run:
        if not reference.key.startswith(self._prefix):
            raise self._corrupt(reference, "it is not among the runs of its manifest")
        if reference.size > limits.RUN:
            raise self._corrupt(reference, f"it has {reference.size} bytes, more than {limits.RUN}")

        async def ask() -> Object | Absence:
            async with self._switch:
                return await self._storage.get(self._bucket, reference.key, limit=reference.size)

        async def check(found: Object | Absence) -> tuple[Object, Run]:
            if not isinstance(found, Object):
                raise self._corrupt(reference, "it is missing", MissingRunError)
            # What is in the cache was verified before it was kept, line by line.
            read = _same if isinstance(found, CachedObject) else _verified
            try:
                return found, await self.work(partial(read, reference, found.body, self._names), len(found.body))
            except ValueError as error:
                raise self._corrupt(reference, str(error)) from error

        found, run = await read_verified(ask, check)
        add_to_cache(self._storage, self._bucket, reference.key, None, found)
        self._held[run.sha256] = run
        self.invalid_names.report(reference.key, None, run.skipped)
        return run

    async def work(self, function: Callable[[Callable[[], object]], T], size: int) -> T:
        """Call something that works on ``size`` bytes, with what it has to call now and then.

        Of what is large, only one thing is worked on at a time, beside the event loop.
        """
        if size <= LONG:
            return function(lambda: None)
        # One at a time: the event loop waits for its turn behind each thread that computes.
        async with self._thread:
            return await asyncio.to_thread(function, _breathe)

    def _corrupt(
        self, reference: RunReference, why: str, kind: type[CorruptionError] = CorruptionError
    ) -> CorruptionError:
        return kind(
            f"cannot read the run s3://{self._bucket}/{reference.key}: {why}",
            bucket=self._bucket,
            key=reference.key,
            operation="GetObject",
        )


def _breathe() -> None:
    # Lets the event loop's thread go on now, not only when the interpreter next thinks of it, some milliseconds later.
    # Not for no time at all: then this thread would often be the first to go on.
    time.sleep(BREATH)


def _whole(change: Mapping[str, Any] | None) -> FileEntry | None:
    return None if change is None else patched(None, change, -math.inf)


def _same(reference: RunReference, body: bytes, names: Names, pause: Callable[[], object]) -> Run:
    _check_sum(reference, body)
    return index_run(reference.sha256, body, names, pause)


def _verified(reference: RunReference, body: bytes, names: Names, pause: Callable[[], object]) -> Run:
    _check_sum(reference, body)
    try:
        check_run(body, reference.entries, pause)
    except ValueError as error:
        raise ValueError(f"it is malformed: {error}") from None
    return index_run(reference.sha256, body, names, pause)


def _check_sum(reference: RunReference, body: bytes) -> None:
    if hashlib.sha256(body).hexdigest() != reference.sha256:
        raise ValueError("its content does not have the SHA-256 that the manifest names")
