"""List what is stored, page by page, and delete what no manifest needs."""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing
from typing import Final

from ..content.owner_metadata import owners_of
from ..errors import MPS3Error
from ..format.names import LOG_SUFFIX
from ..format.names import SUFFIX as RUNS
from ..format.run import end_of
from ..format.slot import SlotName
from ..journal.at_hand import ranges
from ..journal.trials import SUFFIX as PROBE
from ..storage.protocol import Head, ListedVersion
from ..support.environment import Environment
from ..support.steps import in_steps
from ..types import Ref
from .bucket import Buckets
from .live import LiveVersions, values_of
from .report import Collecting, Count, Part, Progress

_SCHEME: Final = "s3://"
PROGRESS_INTERVAL: Final = 0.2
"""Seconds between two progress reports within one page."""
_RUN: Final = re.compile(r"[0-9a-f]{64}(@[0-9a-f]{32})?\Z")


class Sweep:
    """One run of a collection. It can be cancelled at any time, and repeated.

    Args:
        buckets: The buckets.
        live: The values that the manifest needs.
        others: Returns the values that another manifest needs; ``None`` if that is not known.
        progress: Called with the progress.
        environment: The clock.
        also: Other buckets than the manifest's own in which values may be deleted.
        dry_run: Whether nothing is deleted.

    Attributes:
        manifest: Counts the versions of the manifest, and the slots and checkpoints of its log.
        runs: Counts its runs.
        values: Counts the values.
        foreign: How many values are not known to belong to this manifest.
        skipped: Other buckets with keys of the manifest, in which nothing may be deleted.
    """

    def __init__(
        self,
        buckets: Buckets,
        live: LiveVersions,
        others: Callable[[Ref], Awaitable[LiveVersions | None]],
        progress: Progress | None,
        environment: Environment,
        *,
        also: Sequence[str] = (),
        dry_run: bool,
    ) -> None:
        self._also = also
        self._buckets = buckets
        self._live = live
        self._others = others
        self._progress = progress
        self._environment = environment
        self._reported_at = -math.inf
        self._dry_run = dry_run
        self._bucket = live.ref.bucket or ""
        self._key = live.ref.key
        self._runs_prefix = self._key + RUNS
        self._named_runs: frozenset[str] | None = None
        self._runs_read = False
        self._runs_lock = asyncio.Lock()
        self.manifest, self.runs, self.values = Count(), Count(), Count()
        self.foreign = 0
        self.skipped: set[str] = set()

    async def run(self) -> None:
        """Collect everything. After an error in another bucket than the manifest's own, collect the rest first.

        Raises:
            AccessError: An object may not be listed, read or deleted.
            UnavailableError: The store does not answer.
        """
        own = self._bucket
        if await self._buckets.versioned(own):
            versions = self._buckets.older_versions(own, self._key, self._live.retained.head)
            await self._sweep("manifest", self.manifest, own, versions, self._is_old_version)
        if self._live.retained.slots_before is not None:
            log = self._buckets.everything(own, self._key + LOG_SUFFIX)
            await self._sweep("manifest", self.manifest, own, log, self._is_old_slot)
        runs = self._buckets.everything(own, self._runs_prefix)
        await self._sweep("runs", self.runs, own, runs, self._is_old_run)
        self.skipped = await self._other_buckets() - set(self._also)
        failure: MPS3Error | None = None
        for bucket in (own, *self._also):
            values = self._buckets.everything(bucket)

            async def judge(found: ListedVersion, bucket: str = bucket) -> bool | None:
                return await self._is_garbage(bucket, found)

            try:
                await self._sweep("values", self.values, bucket, values, judge)
            except MPS3Error as error:
                if bucket == own:
                    raise
                failure = failure or error
        if failure is not None:
            raise failure

    async def _sweep(
        self,
        part: Part,
        count: Count,
        bucket: str,
        pages: AsyncIterator[list[ListedVersion]],
        judge: Callable[[ListedVersion], Awaitable[bool | None]],
    ) -> None:
        """Delete versions for which ``judge`` returns true, keep those with false, and ignore those with ``None``."""

        async def decide(found: ListedVersion) -> None:
            garbage = await judge(found)
            if garbage and not self._dry_run:
                await self._buckets.delete(bucket, found)
            if garbage is not None:
                (count.deleted if garbage else count.kept)(found.size)
            if self._environment.monotonic() >= self._reported_at + PROGRESS_INTERVAL:
                self._report(part, count)

        before: list[ListedVersion] = []
        async for page in pages:
            # Delete one page behind: a listing may continue from the last object of the page that it has returned.
            await _all(decide, before)
            before = page
            self._report(part, count)
        await _all(decide, before)
        self._report(part, count)

    def _report(self, part: Part, count: Count) -> None:
        self._reported_at = self._environment.monotonic()
        if self._progress is not None:
            tallies = [self.manifest.tally, self.runs.tally, self.values.tally]
            deleted, size = sum(one.deleted for one in tallies), sum(one.bytes for one in tallies)
            self._progress(Collecting(part, count.looked_at, deleted, size))

    async def _is_old_version(self, found: ListedVersion) -> bool:
        return found.modified < self._live.retained.versions_before

    async def _is_old_slot(self, found: ListedVersion) -> bool | None:
        name = SlotName.parse(self._key, found.key)
        if name is None:
            return None  # whatever it is doing there
        oldest = self._live.retained.slots_before or 0
        return found.modified < self._live.before and name.number < oldest + (not name.is_checkpoint)

    async def _is_old_run(self, found: ListedVersion) -> bool | None:
        if not _RUN.match(found.key[len(self._runs_prefix) :]):
            return None  # it is not a run
        if found.modified >= self._live.before:
            return False
        async with self._runs_lock:
            if not self._runs_read:
                self._named_runs = await self._live.retained.runs()
                self._runs_read = True
        return self._named_runs is not None and found.key not in self._named_runs

    async def _is_garbage(self, bucket: str, found: ListedVersion) -> bool | None:
        if bucket == self._bucket and (
            found.key == self._key
            or found.key.startswith((self._runs_prefix, self._key + LOG_SUFFIX, self._key + PROBE))
        ):
            return None
        values = values_of(found.key, found.version)
        if not values:
            self.foreign += 1  # no value: without versions, their keys have minted ones
            return False
        if await _needs(self._live, bucket, values, found.modified):
            return False
        head = await self._buckets.head(bucket, found)
        if not isinstance(head, Head):
            return None  # another client has deleted it
        refs = owners_of(head.metadata, bucket, found.key)
        if self._live.ref not in refs:
            self.foreign += 1
            return False
        for ref in refs:
            live = self._live if ref == self._live.ref else await self._others(ref)
            if live is None:
                self.foreign += 1
                return False
            if await _needs(live, bucket, values, found.modified):
                return False
        return True

    async def _other_buckets(self) -> set[str]:
        """Return the buckets of all keys of the manifest, without its own bucket."""
        found = set[str]()
        for view in self._live.retained.views:
            async with aclosing(ranges(view.layers, _SCHEME, end_of(_SCHEME))) as parts:
                async for start, stop in parts:
                    names = view.names(_SCHEME, start, stop)
                    async for part in in_steps(names):
                        found.update(name.removeprefix(_SCHEME).partition("/")[0] for name in part)
        return found - {self._bucket}


async def _needs(live: LiveVersions, bucket: str, values: Sequence[tuple[str, str]], modified: float) -> bool:
    for key, version in values:
        if await live.needs(bucket, key, version, modified):
            return True
    return False


async def _all(decide: Callable[[ListedVersion], Awaitable[None]], page: list[ListedVersion]) -> None:
    """Decide about all versions of a page concurrently. The first error ends it."""
    tasks = [asyncio.ensure_future(decide(found)) for found in page]
    try:
        for done in asyncio.as_completed(tasks):
            await done
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
