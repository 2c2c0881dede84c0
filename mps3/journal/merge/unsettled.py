"""What came before a version of the manifest and is not settled in it: it is read, put in order, and judged."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterable, Mapping
from itertools import takewhile
from typing import Final

from ...errors import CorruptionError
from ...format.document import LIMIT, CommitEntry, Document, Kind, visible_before
from ...format.run import Run
from ...format.state import needed_runs
from ...storage.protocol import ABSENT, Absence, Object, Storage, Version
from ...storage.verification import read_verified
from ..at_hand import at_hand
from ..document_io import deleted_manifest, read_document
from ..runs import Runs
from .listing import VersionListing
from .order import causal_order, once, store_order
from .validation import Evaluation, any_transaction, evaluate, settled_file, undecided

MOST_READS: Final = 5
"""How often something is read, until nothing happens meanwhile that spoils it."""
FETCHES: Final = 16
"""Versions that are fetched at once."""
COMMIT: Final = 128
"""Bytes whose reading takes as long as putting one commit in order."""


class OvertakenError(Exception):
    """What was listed a moment ago is deleted: a collection by somebody else came in between."""


class Unsettled:
    """Reads the versions around another one, each once.

    Args:
        kind: The journal that the manifest is written with.
        storage: Where it is kept.
        bucket: Its bucket.
        key: Its key.
        runs: Its runs.
    """

    def __init__(self, kind: Kind, storage: Storage, bucket: str, key: str, runs: Runs) -> None:
        self._kind: Kind = kind
        self._storage = storage
        self._bucket = bucket
        self._key = key
        self._runs = runs
        # Commits of versions that were listed, so that none is fetched twice.
        self._entries: dict[str, CommitEntry] = {}
        # And those that do not count, because they came too late.
        self._late: frozenset[str] = frozenset()

    def is_late(self, version: str) -> bool:
        """Return whether a version was read that came too late to count (R16)."""
        return version in self._late

    def lists(self, version: str, since: float) -> bool:
        """Whether a version was listed that is not older than a moment."""
        entry = self._entries.get(version)
        return entry is not None and entry.modified >= since

    def keep(self, entries: dict[str, CommitEntry], listing: VersionListing) -> None:
        """Remember what a listing showed, and forget everything else.

        Args:
            entries: The commits of its versions.
            listing: It.
        """
        self._entries = entries
        if self._late:
            self._late &= {version.version for version in listing.versions}

    async def head(
        self, listing: VersionListing, known: dict[str, tuple[Document, str | None]]
    ) -> tuple[Version, Document, str | None] | None:
        """Return the newest version that counts, and what it holds; ``None`` if there is none.

        Raises:
            OvertakenError: It is not there any more.
        """
        while (newest := listing.newest) is not None:
            if newest.deleted:
                raise self.deleted(newest.version)
            if newest.version not in self._late:
                document, etag = known.get(newest.version, (None, newest.etag))
                if document is None:
                    document = await self.fetch(newest)
                if document is None:
                    raise OvertakenError
                if document.counts(newest.modified):
                    return newest, document, etag
                self._late |= {newest.version}
            await listing.pass_over()
        return None

    async def former(self, listing: VersionListing, moment: float) -> float:
        """Return the stamp of the newest version that counts and is older than ``moment``, or else of the oldest."""
        position = 0
        while True:
            for version in listing.versions[position:]:
                position += 1
                if version.modified < moment and not version.deleted:
                    document = await self.fetch(version)
                    if document is not None and document.counts(version.modified):
                        return version.modified
            if listing.complete:
                return min(version.modified for version in listing.versions)
            await listing.more()

    async def check_end(self, listing: VersionListing) -> None:
        """Refuse a listing that says that it is complete, and is not: what came before its last version is there.

        Raises:
            CorruptionError: It is cut.
        """
        end = [*listing.versions, *listing.end]
        last = next(reversed(end), None)
        if last is None or last.deleted or (document := await self.fetch(last)) is None:
            return
        listed = {version.version for version in end}
        before = [
            entry.version for entry in document.log if entry.version not in listed and entry.modified <= last.modified
        ]
        before += [document.previous] if document.previous is not None and document.previous not in listed else []
        for version in dict.fromkeys(before[-2:]):
            if await self._storage.head(self._bucket, self._key, version=version) is not ABSENT:
                raise CorruptionError(
                    f"the listing of the versions of s3://{self._bucket}/{self._key} lacks the version {version}, "
                    "which is there: nothing is deleted by it",
                    bucket=self._bucket,
                    key=self._key,
                    operation="ListObjectVersions",
                    version=version,
                )

    async def context(
        self, document: Document, head: Version, listing: VersionListing, bound: float
    ) -> tuple[dict[str, CommitEntry], list[CommitEntry]]:
        """Return what came before a version and is not settled in it (R3).

        Args:
            document: What it holds.
            head: The version.
            listing: The versions, back to the bound.
            bound: How far back they count, in seconds since 1970.

        Returns:
            The commits of listed versions, by version; and all of the unsettled past, in order (R5).

        Raises:
            OvertakenError: One of them is not there any more.
            CorruptionError: One of them is not a manifest, or the log of the first is not one.
        """
        if any(entry.previous == entry.version for entry in document.log):
            raise self._corrupt(head.version, "a commit in its log claims to follow itself")
        entries = {entry.version: entry for entry in document.log}
        entries[head.version] = document.entry(head.version, head.modified)
        # Behind the first that is older than the bound, the log alone says what there is, and in which order.
        reached = list(takewhile(lambda version: version.modified >= bound, listing.versions))
        missing = {
            version.version: version
            for version in reached
            if not version.deleted and version.version not in entries and version.version not in self._late
        }
        for name in list(missing):
            if name in self._entries:
                entries[name] = self._entries[name]
                del missing[name]
        together = 1  # the log of the newest sibling may hold the others
        while missing:
            batch = list(missing.values())[:together]
            together = FETCHES
            for version, sibling in zip(batch, await asyncio.gather(*map(self.fetch, batch)), strict=True):
                missing.pop(version.version, None)
                if sibling is None:
                    raise OvertakenError
                if sibling.counts(version.modified):
                    entries[version.version] = sibling.entry(version.version, version.modified)
                else:
                    self._late |= {version.version}
                for entry in sibling.log:
                    if missing.pop(entry.version, None) is not None:
                        entries[entry.version] = entry
        listed = [entries[version.version] for version in reversed(reached) if version.version in entries]
        ordered = await self._runs.work(
            lambda _: causal_order(store_order(document.log, listed), document.sessions, document.log),
            COMMIT * (len(document.log) + len(listed)),
        )
        return {entry.version: entry for entry in listed}, ordered

    async def fetch(self, version: Version) -> Document | None:
        """Return what a version holds; ``None`` if it is not there any more."""

        async def ask() -> Object | Absence:
            return await self._storage.get(self._bucket, self._key, version=version.version, limit=LIMIT)

        async def check(found: Object | Absence) -> Document | None:
            return await self.decode(found, version.version) if isinstance(found, Object) else None

        return await read_verified(ask, check, self._runs.etags)

    async def decode(self, found: Object, version: str) -> Document:
        """Read what a version holds."""
        return await read_document(
            self._kind,
            self._runs,
            found.body,
            bucket=self._bucket,
            key=self._key,
            version=version,
            known=self._entries,
        )

    def bound(self, document: Document, version: str | None = None) -> float:
        """Return how far back to list (R3), and what may be settled (R7)."""
        if document.previous is None:
            return -math.inf
        for entry in reversed(document.log):
            if entry.version == document.previous:
                return visible_before(entry.modified, document.window)
        raise self._corrupt(version, "its log does not hold the commit that it names as previous")

    async def judge(
        self, document: Document, ordered: list[CommitEntry], stamps: Iterable[float]
    ) -> tuple[Evaluation, Mapping[str, Run]]:
        """Return what counts of a document's unsettled past, and the runs that it needs (R4, R20).

        Args:
            document: The newest.
            ordered: Its past, in order.
            stamps: The time stamps that were listed, in seconds since 1970.
        """
        if not any_transaction(ordered):
            commits = tuple(once(ordered, document.sessions))
            return Evaluation(commits, commits), await self._runs.load(needed_runs(document, commits))
        held = await self._runs.load(needed_runs(document, ordered))
        said = settled_file(document, held)
        relevant, counting = await at_hand(lambda: evaluate(ordered, document.sessions, said, held))
        visible = max(visible_before(stamp, document.window) for stamp in stamps)
        open_ = undecided(ordered, relevant, visible)
        return Evaluation(tuple(relevant), tuple(counting), open_), held

    def _corrupt(self, version: str | None, why: str) -> CorruptionError:
        return CorruptionError(
            f"s3://{self._bucket}/{self._key} (version {version}) is not a manifest: {why}",
            bucket=self._bucket,
            key=self._key,
            operation="GetObject",
            version=version,
        )

    def deleted(self, marker: str | None) -> CorruptionError:
        """Return the error for a manifest that is not there any more."""
        return deleted_manifest(self._bucket, self._key, marker)
