"""Reading the versions of a manifest from the newest back, so that of each its commit is known."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from itertools import takewhile
from typing import Final

from ...format.document import CommitEntry, Document
from ...storage.protocol import Version
from .order import once
from .version_search import PagedListing
from .versions import ManifestVersions

FETCHES: Final = 16
"""Versions that are fetched at once."""
FIRST: Final = 8
"""Listed versions that the first step back takes in. Each further step takes twice as many."""
PAGE: Final = 1000
"""Listed versions that a step takes in at the most."""


class VersionReader:
    """What is known of the versions, as far back as they were read.

    Args:
        source: The versions of the manifest.

    Attributes:
        versions: Those that were read, or known from logs, the newest first.
        entries: Their commits, by version, and those that logs tell of.
        documents: Those that were read, by version.
        late: Versions that came too late for anyone.
        repeated: Versions that repeat a commit.
        ended: Whether no older version will be taken in.
    """

    def __init__(self, source: ManifestVersions) -> None:
        self._source = source
        self._listing = PagedListing(source)
        self._step = FIRST
        self._above: frozenset[str] = frozenset()
        self._checked: set[str] = set()
        self._before: dict[str, int] = {}
        self.versions: list[Version] = []
        self.entries: dict[str, CommitEntry] = {}
        self.documents: dict[str, Document] = {}
        self.late: set[str] = set()
        self.repeated: set[str] = set()
        self.ended = False

    def begin_at(self, place: int, document: Document, listing: PagedListing) -> None:
        """Begin with a listed version instead of the newest.

        Args:
            place: Of the version, in the listing.
            document: What the version holds.
            listing: What is listed so far.
        """
        self._listing = listing
        self._above = frozenset(one.version for one in listing.versions[:place])
        listing.taken = place
        self.keep(listing.versions[place], document)

    async def take(self) -> None:
        """Take in some more of the listing: few at first, for those who need no more."""
        listing = self._listing
        if listing.taken == len(listing.versions):
            await listing.further()
        taken = listing.versions[listing.taken : listing.taken + self._step]
        listing.taken += len(taken)
        self._step = min(PAGE, 2 * self._step)
        self.versions += taken
        self.ended = listing.complete and listing.taken == len(listing.versions)
        await self._read()
        await self._drop_late()

    def unlisted(self, base: Document) -> list[CommitEntry]:
        """Return what others say of versions that are not listed, and ``base`` does not."""
        listed = (one.version for one in self.versions)
        names = {*listed, *self._above, *self.late, *(entry.version for entry in base.log)}
        return [entry for name, entry in self.entries.items() if name not in names]

    async def sequence_before(self, commit: CommitEntry) -> float:
        """Return the commit of its session that its writer knew last."""
        if commit.version not in self._before:
            await self._fetch([one for one in self.versions if one.version == commit.version])
        return self._before.get(commit.version, math.inf)

    def reached(self, bound: float) -> list[Version]:
        """Return the versions back to the first that is older."""
        return list(takewhile(lambda version: version.modified >= bound, self.versions))

    def entries_of(self, versions: Sequence[Version]) -> list[CommitEntry]:
        """Return the commits of some versions, oldest first, but those that came too late for anyone."""
        names = (version.version for version in reversed(versions))
        return [self.entries[name] for name in names if name in self.entries and name not in self.late]

    def end_after(self, moment: float) -> None:
        """Leave out what is not newer."""
        self.versions = list(takewhile(lambda version: version.modified > moment, self.versions))
        self.ended = True

    async def _drop_late(self) -> None:
        """Drop commits that became visible when others had settled past them, unless they were repeated (R8)."""
        versions: dict[str, list[Version]] = {}
        for version in reversed(self.versions):
            if (entry := self.entries.get(version.version)) is not None:
                versions.setdefault(entry.id, []).append(version)
        for repeated in versions.values():
            for place, again in enumerate(repeated[1:], 1):
                name = again.version
                if (
                    name not in self._checked
                    and (document := await self._source.fetch(again, self.entries)) is not None
                ):
                    self._checked.add(name)
                    self.keep(again, document)
                    # A void try of a transaction is forgotten with what is settled, however early it was seen (R20).
                    known = self.entries[name].is_transaction or _has(document, self.entries[name])
                    if name not in self.late and not known:
                        bound = document.bound()
                        before = [one for one in repeated[:place] if one.modified < bound]
                        self.late.update(one.version for one in before)

    async def _read(self) -> None:
        """Every commit among the versions; the log of one document spares reading those before it."""
        stride = len(self.versions)  # one document says how long logs are here
        while missing := [version for version in self.versions if version.version not in self.entries]:
            # A log holds at least the commit before.
            stride = max(2, await self._fetch(missing[::stride][:FETCHES]))

    async def _fetch(self, versions: Sequence[Version]) -> int:
        """Read documents; how long the log of the last of them is."""
        length = 0
        missing = [version for version in versions if version.version not in self.documents]
        for start in range(0, len(missing), FETCHES):
            batch = missing[start : start + FETCHES]
            found = await asyncio.gather(*(self._source.fetch(version, self.entries) for version in batch))
            for version, document in zip(batch, found, strict=True):
                if document is not None:
                    self.keep(version, document)
                    length = len(document.log)
                else:
                    # Collected while it was looked for, and what is older goes, too.
                    self.end_after(version.modified)
        return length

    def keep(self, version: Version, document: Document) -> None:
        """Remember what a version holds."""
        name = version.version
        self.entries.setdefault(name, document.entry(name, version.modified))
        for entry in document.log:
            self.entries.setdefault(entry.version, entry)
        self.documents[name] = document
        # Of a transaction another try may count (R20): only the order says which.
        counting = {entry.version for entry in once(document.log, document.sessions)}
        bound, settled = document.bound(), document.sessions
        self.repeated.update(
            entry.version
            for entry in document.log
            if entry.version not in counting
            and not entry.is_transaction
            # Else it may be what was settled itself, and is listed once more.
            and (entry.modified >= bound or entry.sequence > settled.get(entry.session, -1))
        )
        logged = (entry.sequence for entry in document.log if entry.session == document.session)
        self._before[name] = max((document.sessions.get(document.session, 0), *logged))
        if not document.counts(version.modified):
            self.late.add(name)  # R16
        elif self._before[name] >= document.sequence and not self.entries[name].is_transaction:
            self.repeated.add(name)


def _has(document: Document, commit: CommitEntry) -> bool:
    """Return whether a document was made upon a state that had the commit."""
    settled = document.sessions.get(commit.session, -1) >= commit.sequence
    return settled or any(entry.id == commit.id for entry in document.log)
