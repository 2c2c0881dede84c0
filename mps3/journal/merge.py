"""The merge journal (rules R2 to R8): every commit is an object version, and readers merge them.

It needs a bucket with versioning and nothing else: no conditional writes, and no client's clock.
Writers never wait for each other.
"""

from __future__ import annotations

import asyncio
import math
from itertools import takewhile
from typing import Final

from ..document import LIMIT, Document, Entry, encode
from ..errors import ConfigurationError, CorruptionError, UnavailableError
from ..state import EMPTY, View, build_view
from ..storage import ABSENT, Object, Storage, Stored, Version
from ..world import World
from . import Attempt
from .kind import decode_as
from .listing import Listing
from .order import CycleError, causal_order, once, store_order, unsettled
from .runs import Runs
from .settle import settle

WINDOW: Final = 3.0
"""Seconds that new manifests allow for a version to become visible; recorded in the manifest."""
PACE: Final = 50
"""Commits a second, of all writers together, above which each writer gathers for longer (R15)."""
FETCHES: Final = 16
"""Siblings that are fetched at once."""


LISTINGS: Final = 5
"""How often a listing of several pages is read, until it is the same twice."""


class MergeJournal:
    """Read-time merging over object versions.

    Args:
        storage: Where the manifest is kept.
        bucket: Its bucket, which must have versioning enabled.
        key: Its key.
        world: Time, chance and names.
        window: Seconds; what a new manifest is created with. An existing one says its own.
    """

    kind: Final = "merge"

    def __init__(self, storage: Storage, bucket: str, key: str, world: World, *, window: float = WINDOW) -> None:
        self._storage = storage
        self._bucket = bucket
        self._key = key
        self._world = world
        self._window = window
        self._session = world.name()
        self._runs = Runs(storage, bucket, key)
        self._view = EMPTY
        self._etag: str | None = None
        self._audit_at = math.inf
        self._listed_nothing = False
        self._newest_stamp = -math.inf
        self._behind_since: float | None = None
        # Commits of versions that were listed, so that none is fetched twice.
        self._entries: dict[str, Entry] = {}

    @property
    def session(self) -> str:
        """This client's name among the writers."""
        return self._session

    @property
    def view(self) -> View:
        """The newest state that was resolved."""
        return self._view

    async def resolve(self) -> bool:
        """Look for what others committed: one conditional GET when there is nothing new."""
        found = await self._storage.get(self._bucket, self._key, if_none_match=self._etag, limit=LIMIT)
        if found is ABSENT:
            return await self._absent()
        if isinstance(found, Object) and found.version != self._view.head:
            return await self._look(found=found)
        if isinstance(found, Object):
            self._etag = found.etag  # the listing spells it differently
        # R6: a version that became visible late, behind the head, changes no ETag.
        return self._audit_due() and await self._look()

    async def append(self, attempt: Attempt) -> None:
        """Try to commit (R2), and acknowledge (R8)."""
        if attempt.doubtful:
            await self._look()
            if self._is_head(attempt):
                return
        if self._view.head is None:
            await self.resolve()  # not over one that somebody created meanwhile, with the other journal perhaps
        attempt.tries += 1
        document = await self._compose(attempt)
        body = encode(document, bucket=self._bucket, key=self._key)
        attempt.doubtful = True
        started = self._world.monotonic()
        stored = await self._storage.put(self._bucket, self._key, body)
        slow = self._too_slow(self._world.monotonic() - started)
        if stored.version is None:
            raise ConfigurationError(
                f"bucket {self._bucket} no longer keeps versions: enable versioning again, or commits to "
                f"s3://{self._bucket}/{self._key} overwrite each other",
                bucket=self._bucket,
                key=self._key,
                operation="PutObject",
            )
        await self._look(own=(stored, document))
        if not self._is_head(attempt) and (slow or not self._in_time(attempt)):
            raise UnavailableError(
                f"s3://{self._bucket}/{self._key} took so long to store a commit that others may already "
                "have moved on; it is written again",
                bucket=self._bucket,
                key=self._key,
                operation="PutObject",
                version=stored.version,
            )

    def _too_slow(self, seconds: float) -> bool:
        return seconds > self._window / 2

    def _audit_due(self) -> bool:
        return self._world.monotonic() >= self._audit_at

    def _is_head(self, attempt: Attempt) -> bool:
        head = self._view.document
        return head is not None and (head.session, head.sequence) == (self._session, attempt.sequence)

    def _in_time(self, attempt: Attempt) -> bool:
        """R8, by the store's stamps: whether no writer can have settled past the commit without seeing it.

        Whoever did not see it builds on versions no newer than the newest one listed now, and settles
        (R7) only what is a window older than that.
        """
        return self._view.has(self._session, attempt.sequence) and any(
            (commit.session, commit.sequence) == (self._session, attempt.sequence)
            and commit.modified >= self._newest_stamp - self._window
            for commit in self._view.commits
        )

    async def _absent(self) -> bool:
        if self._view.head is None and self._listed_nothing:
            return False
        listing = self._listing()
        await listing.back_to(math.inf)
        if listing.newest is not None:
            return await self._resolve(listing, {})
        if self._view.head is not None:
            raise self._deleted(None)
        self._listed_nothing = True  # which also shows that listing is permitted
        return False

    def _listing(self) -> Listing:
        return Listing(self._storage, self._bucket, self._key, page=min(1000, 16 + 2 * len(self._view.commits)))

    async def _look(self, *, found: Object | None = None, own: tuple[Stored, Document] | None = None) -> bool:
        """List the versions, and resolve from the newest.

        Args:
            found: What a GET of the manifest returned.
            own: What this client has just written.
        """
        known: dict[str, tuple[Document, str | None]] = {}
        if self._view.head is not None and self._view.document is not None:
            known[self._view.head] = self._view.document, self._etag
        if own is not None and own[0].version is not None:
            known[own[0].version] = own[1], own[0].etag
        if found is not None and found.version is not None:
            known[found.version] = self._decode(found, found.version), found.etag
        listing = self._listing()
        latest = next(reversed(known.values()), None)
        await listing.back_to(self._bound(*latest) if latest else -math.inf)
        return await self._resolve(listing, known)

    async def _resolve(
        self, listing: Listing, known: dict[str, tuple[Document, str | None]], tries: int = LISTINGS
    ) -> bool:
        """R3: the state at the newest version listed. Sets all that is remembered, at once, or nothing."""
        if not tries:
            raise UnavailableError(
                f"s3://{self._bucket}/{self._key} changes faster than its versions can be listed",
                bucket=self._bucket,
                key=self._key,
                operation="ListObjectVersions",
            )
        newest = listing.newest
        if newest is None:
            return False
        if newest.deleted:
            raise self._deleted(newest.version)
        document, etag = known.get(newest.version, (None, None))
        if document is None:
            found = await self._fetch(newest)
            if found is None:
                return False  # deleted since it was listed; there will be another answer next time
            document, etag = found, newest.etag
        bound = self._bound(document, newest.version)
        await listing.back_to(bound)
        if listing.torn:
            known = {**known, newest.version: (document, etag)}
            return await self._resolve(await listing.again(bound), known, tries - 1)
        entries, listed = await self._siblings(document, newest, listing, bound)
        try:
            # What is settled comes before all else, and must not draw others behind its repetitions.
            ordered = causal_order(unsettled(store_order(document.log, listed), document.sessions))
        except CycleError as error:
            raise self._corrupt(newest.version, str(error)) from error
        commits = tuple(once(ordered, document.sessions))
        runs = await self._runs.load(document.runs)
        stamp = max(version.modified for version in listing.versions)
        view = build_view(document, newest.version, commits, runs, self._pace(commits, stamp, document.window))
        if self._goes_back(view, stamp, document.window):
            raise UnavailableError(
                f"the store answered with an older state of s3://{self._bucket}/{self._key} than before",
                bucket=self._bucket,
                key=self._key,
                operation="ListObjectVersions",
                version=newest.version,
            )
        if newest.version != self._view.head:
            self._audit_at = self._world.monotonic() + document.window
        elif self._audit_due():
            self._audit_at = math.inf
        # A commit may arrive as part of the settled files, too.
        changed = newest.version != self._view.head or [commit.version for commit in view.commits] != [
            commit.version for commit in self._view.commits
        ]
        self._etag = etag
        self._window = document.window
        self._newest_stamp = stamp
        self._entries = entries
        self._view = view
        return changed

    def _goes_back(self, view: View, stamp: float, window: float) -> bool:
        """R13: whether this is an older state than was shown.

        Not for ever: a session may be unknown because it was forgotten, and a commit that nobody
        acknowledged may have become visible so late that others settled past it.
        """
        known = all(view.has(commit.session, commit.sequence) for commit in self._view.commits)
        if known or stamp >= self._newest_stamp + window:
            self._behind_since = None
            return False
        if self._behind_since is None:
            self._behind_since = self._world.monotonic()
        return self._world.monotonic() < self._behind_since + window

    async def _siblings(
        self, document: Document, head: Version, listing: Listing, bound: float
    ) -> tuple[dict[str, Entry], list[Entry]]:
        """What is known of the listed versions, and the entries among them, oldest first."""
        entries = {entry.version: entry for entry in document.log}
        entries[head.version] = document.entry(head.version, head.modified)
        # Behind the first that is older than the bound, the log alone says what there is, and in which order.
        reached = list(takewhile(lambda version: version.modified >= bound, listing.versions))
        missing = {
            version.version: version for version in reached if not version.deleted and version.version not in entries
        }
        for name in list(missing):
            if name in self._entries:
                entries[name] = self._entries[name]
                del missing[name]
        together = 1  # the log of the newest sibling may hold the others
        while missing:
            batch = list(missing.values())[:together]
            together = FETCHES
            for version, sibling in zip(batch, await asyncio.gather(*map(self._fetch, batch)), strict=True):
                missing.pop(version.version, None)
                if sibling is None:
                    continue
                entries[version.version] = sibling.entry(version.version, version.modified)
                for entry in sibling.log:
                    if missing.pop(entry.version, None) is not None:
                        entries[entry.version] = entry
        listed = [entries[version.version] for version in reversed(reached) if version.version in entries]
        return {entry.version: entry for entry in listed}, listed

    async def _fetch(self, version: Version) -> Document | None:
        found = await self._storage.get(self._bucket, self._key, version=version.version, limit=LIMIT)
        return self._decode(found, version.version) if isinstance(found, Object) else None

    def _decode(self, found: Object, version: str) -> Document:
        return decode_as(
            self.kind, found.body, bucket=self._bucket, key=self._key, version=version, known=self._entries
        )

    def _bound(self, document: Document, version: str | None = None) -> float:
        """How far back to list (R3), and what may be settled (R7): stamps are whole seconds in some stores."""
        if document.previous is None:
            return -math.inf
        for entry in reversed(document.log):
            if entry.version == document.previous:
                return math.floor(entry.modified - document.window)
        raise self._corrupt(version, "its log does not hold the commit that it names as previous")

    def _pace(self, commits: tuple[Entry, ...], newest: float, window: float) -> float:
        recent = list(takewhile(lambda commit: commit.modified >= newest - window, reversed(commits)))
        if len(recent) <= PACE * window:
            return 0.0
        return len({commit.session for commit in recent}) / PACE

    async def _compose(self, attempt: Attempt) -> Document:
        """R2: the next document."""
        view, base = self._view, self._view.document
        if base is None or view.head is None:
            return Document(
                "merge", self._window, self._session, attempt.sequence, None, attempt.update, attempt=attempt.tries
            )
        # A log without a commit is one whose head repeats a settled one; readers still need its stamp.
        log = view.commits or (base.entry(view.head, self._newest_stamp),)
        bound = math.floor(log[-1].modified - base.window)
        settled = list(takewhile(lambda commit: commit.modified < bound, log))
        files, sessions, runs = await settle(base, settled, view.runs, self._runs)
        return Document(
            journal="merge",
            window=base.window,
            session=self._session,
            sequence=attempt.sequence,
            previous=log[-1].version,
            update=attempt.update,
            log=log[len(settled) :],
            files=files,
            sessions=sessions,
            runs=runs,
            attempt=attempt.tries,
            extra=base.extra,
        )

    def _corrupt(self, version: str | None, why: str) -> CorruptionError:
        return CorruptionError(
            f"s3://{self._bucket}/{self._key} (version {version}) is not a manifest: {why}",
            bucket=self._bucket,
            key=self._key,
            operation="GetObject",
            version=version,
        )

    def _deleted(self, marker: str | None) -> CorruptionError:
        remedy = f"remove its delete marker {marker}" if marker else "restore it"
        return CorruptionError(
            f"the manifest s3://{self._bucket}/{self._key} was deleted: {remedy} to have it back, "
            "or use another manifest",
            bucket=self._bucket,
            key=self._key,
            operation="GetObject",
            version=marker,
        )
