"""Reading runs from the store, whole or in pieces; everything is verified before it is kept."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Final, TypeVar

from ..errors import CorruptionError
from ..format import limits
from ..format.block import Block
from ..format.names import SUFFIX, Names
from ..format.run import HeldPieces, Run, open_run, read_block, read_index
from ..format.run_index import RunIndex
from ..format.run_reference import RunReference
from ..storage.bypass import BYPASS
from ..storage.cached import CachedObject, CachedStorage
from ..storage.protocol import ABSENT, Absence, Object, Storage
from ..storage.verification import read_verified
from ..support.gather import map_concurrently
from ..types import Ref
from .in_thread import Worker
from .invalid_names import InvalidNames

CONCURRENCY: Final = 8
"""Runs, or stretches of them, that are sent or fetched at once."""
SMALL = 256 * 2**10
"""Bytes of a run that is read whole, with one request, where any piece of it is needed."""
STRETCH: Final = 2**20
"""Bytes of blocks that follow each other that are read with one request."""
WRITTEN: Final = 4096
"""Objects of runs that are known to have been written by this client."""
GROWTH: Final = 8
"""How many bytes the lines of a block may have for each that is stored, about."""
T = TypeVar("T")


class MissingRunError(CorruptionError):
    """A run is not there that a document names.

    It was collected, if the document is no longer what the manifest says: whoever read it slept for very long before
    asking for its runs. Else somebody has damaged the bucket.
    """


class RunReader:
    """Reads the runs of one manifest.

    Args:
        storage: Where they are kept.
        bucket: The manifest's bucket.
        manifest: The manifest's key.
        worker: Works on what is large.

    Attributes:
        bucket: The manifest's bucket.
        lost: Whether a run of the state was missing that the client goes by: it has to be read anew.
        invalid_names: Told of names that are none.
        names: The names that keys may have.
    """

    def __init__(self, storage: Storage, bucket: str, manifest: str, worker: Worker) -> None:
        self._storage = storage
        self._cached = storage if isinstance(storage, CachedStorage) else None
        self.bucket = bucket
        self.lost = False
        self._prefix = manifest + SUFFIX
        self._worker = worker
        self._switch = asyncio.Semaphore(CONCURRENCY)
        self._written: dict[str, RunReference] = {}
        self.invalid_names = InvalidNames(bucket)
        self.names = Names(Ref(manifest, bucket))

    def check(self, reference: RunReference) -> None:
        """Refuse a run that is not one of its manifest, or that nobody would have written.

        Raises:
            CorruptionError: It is such a run.
        """
        if not reference.key.startswith(self._prefix):
            raise self._corrupt(reference, "it is not among the runs of its manifest")
        if reference.size > limits.RUN:
            raise self._corrupt(reference, f"it has {reference.size} bytes, more than {limits.RUN}")
        if reference.index > limits.RUN_INDEX:
            raise self._corrupt(reference, f"its index has {reference.index} bytes, more than {limits.RUN_INDEX}")

    def wrote(self, reference: RunReference) -> None:
        """Note that this client has made a run: of what is read of it again, only the digests are checked."""
        self._written[reference.sha256] = replace(reference, key="")
        if len(self._written) > WRITTEN:
            del self._written[next(iter(self._written))]

    async def require(self, reference: RunReference) -> None:
        """Check that a run is there.

        Raises:
            MissingRunError: It is missing.
        """
        if await self._storage.head(self.bucket, reference.key) is ABSENT:
            raise self._corrupt(reference, "it is missing", MissingRunError)

    async def whole(self, reference: RunReference) -> Run:
        """Return a run, all of which stays in memory.

        Raises:
            MissingRunError: It is missing.
            CorruptionError: It is not what it should be.
        """
        self.check(reference)

        def opened(body: bytes, *, names: Names | None, trusted: bool, pause: Callable[[], object]) -> Run:
            return open_run(reference, body, names, trusted=trusted, pause=pause)

        run = await self._read(reference, None, opened)
        if isinstance(run.pieces, HeldPieces):
            self.invalid_names.report(reference.key, None, run.pieces.skipped)
        return run

    async def index(self, reference: RunReference) -> tuple[RunIndex, Mapping[int, Block]]:
        """Return the index of a run, and all of its blocks where they are few.

        Raises:
            MissingRunError: The run is missing.
            CorruptionError: It is not what it should be.
        """
        self.check(reference)
        if reference.size <= SMALL:
            run = await self.whole(reference)
            index = run.pieces.index()
            assert index is not None  # noqa: S101 - all of it is held
            numbers = range(len(index.blocks))
            return index, {number: block for number in numbers if (block := run.pieces.block(number)) is not None}

        def opened(body: bytes, **_: object) -> RunIndex:
            return read_index(reference, body)

        return await self._read(reference, (reference.size - reference.index, reference.size), opened), {}

    async def blocks(self, reference: RunReference, index: RunIndex, numbers: Sequence[int]) -> Mapping[int, Block]:
        """Return blocks of a run. Those that follow each other are read with one request.

        Raises:
            MissingRunError: The run is missing.
            CorruptionError: It is not what it should be.
        """

        async def read(stretch: Sequence[int], known: Object | None = None) -> Mapping[int, Block]:
            start, end = index.span(stretch[0])[0], index.span(stretch[-1])[1]

            def opened(
                body: bytes, *, names: Names | None, trusted: bool, pause: Callable[[], object]
            ) -> Mapping[int, Block]:
                found = {}
                for number in stretch:
                    first, last = index.span(number)
                    pause()
                    part = body[first - start : last - start]
                    found[number] = read_block(reference, index, number, part, names, trusted=trusted)
                return found

            parts = [index.span(number) for number in stretch]
            return await self._read(reference, (start, end), opened, parts=parts, known=known)

        found: dict[int, Block] = {}
        if self._cached is not None:
            # They were kept one by one, however they were read together.
            for number in numbers:
                known = await self._cached.find(self.bucket, reference.key, index.span(number))
                if known is not None:
                    found.update(await read([number], known))
        left = sorted(number for number in numbers if number not in found)
        for part in await map_concurrently(read, _stretches(index, left)):
            found.update(part)
        self.invalid_names.report(reference.key, None, [name for block in found.values() for name in block.skipped])
        return found

    async def _read(
        self,
        reference: RunReference,
        span: tuple[int, int] | None,
        opened: Callable[..., T],
        *,
        parts: Sequence[tuple[int, int]] = (),
        known: Object | None = None,
    ) -> T:
        """Read a run or a part of it, verify it, and keep it in the cache of the storage.

        Args:
            reference: How a document names the run.
            span: Where the part begins and ends, in bytes; ``None`` for all of it.
            opened: Verifies it, and returns what it is.
            parts: What of it is kept by itself; none if it is kept as it was read.
            known: What the cache has of it.
        """
        expected = reference.size if span is None else span[1] - span[0]
        written = self._written.get(reference.sha256) == replace(reference, key="")
        names = None if written else self.names  # what is written here has no names that are none

        async def ask() -> Object | Absence:
            if known is not None and not BYPASS.get():
                return known
            async with self._switch:
                return await self._storage.get(self.bucket, reference.key, byte_range=span, limit=expected)

        async def check(found: Object | Absence) -> tuple[Object, T]:
            if not isinstance(found, Object):
                raise self._corrupt(reference, "it is missing", MissingRunError)
            # What is in the cache was verified before it was kept, line by line.
            trusted = isinstance(found, CachedObject) or written
            try:
                if len(found.body) != expected:
                    raise ValueError(f"it has {len(found.body)} bytes where it should have {expected}")
                return found, await self._worker.work(
                    lambda pause: opened(found.body, names=names, trusted=trusted, pause=pause), GROWTH * expected
                )
            except ValueError as error:
                raise self._corrupt(reference, str(error)) from error

        found, result = await read_verified(ask, check)
        if self._cached is not None:
            self._keep(self._cached, reference, found, span, parts)
        return result

    def _keep(
        self,
        cached: CachedStorage,
        reference: RunReference,
        found: Object,
        span: tuple[int, int] | None,
        parts: Sequence[tuple[int, int]],
    ) -> None:
        if span is None or not parts:
            cached.add_to_cache(self.bucket, reference.key, None, found, byte_range=span)
            return
        for start, end in parts:
            part = replace(found, body=found.body[start - span[0] : end - span[0]])
            cached.add_to_cache(self.bucket, reference.key, None, part, byte_range=(start, end))

    def _corrupt(
        self, reference: RunReference, why: str, kind: type[CorruptionError] = CorruptionError
    ) -> CorruptionError:
        return kind(
            f"cannot read the run s3://{self.bucket}/{reference.key}: {why}",
            bucket=self.bucket,
            key=reference.key,
            operation="GetObject",
        )


def _stretches(index: RunIndex, numbers: Sequence[int]) -> list[list[int]]:
    found: list[list[int]] = []
    for number in numbers:
        last = found[-1] if found else None
        if last is not None and last[-1] == number - 1 and index.span(number)[1] - index.span(last[0])[0] <= STRETCH:
            last.append(number)
        else:
            found.append([number])
    return found
