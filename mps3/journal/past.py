"""What a manifest was before: its commits and its states, as far back as its versions are kept.

Every commit is a version of the manifest that holds a log of the ones before it, so that not every version has to
be read to know every commit. Without versions there is only the log of the newest document.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Callable, Mapping, Sequence
from itertools import takewhile
from typing import Final

from ..document import LIMIT, NOTHING, Document, Entry, Kind, RunReference, whole_milliseconds
from ..errors import CorruptionError, ExpiredError
from ..run import Run
from ..state import EMPTY, View, build_view, needed_runs
from ..storage import Object, Storage, Version
from .judge import any_transaction, judge, settled_file
from .kind import decode_as
from .order import CycleError, causal_order, once, store_order
from .runs import Runs
from .settle import SESSIONS

FETCHES: Final = 16
"""Versions that are fetched at once."""
FIRST: Final = 32
"""Versions of the first page of a listing, each further one has four times as many."""
PAGE: Final = 1000
"""Versions of a page at the most."""


class Past:
    """Finds what a manifest was before.

    Args:
        storage: Where it is kept.
        bucket: Its bucket.
        key: Its key.
        kind: The journal that it is written with.
        runs: Its runs.
    """

    def __init__(self, storage: Storage, bucket: str, key: str, kind: Kind, runs: Runs) -> None:
        self._storage = storage
        self._bucket = bucket
        self._key = key
        self._kind = kind
        self._runs = runs

    async def walk(self, view: View) -> Walk:
        """The newest commits, and step by step the older ones.

        Args:
            view: The newest state: all that is known of a manifest without versions.
        """
        walk = Walk(self, view)
        if self._kind == "merge" or (await self._storage.capabilities(self._bucket)).versioning != "off":
            walk.versioned = True
        await walk.further()
        return walk

    async def runs_of(self, commits: Sequence[Entry]) -> Mapping[str, Run]:
        """The runs that commits name, by their SHA-256.

        Raises:
            ExpiredError: One is not kept any more.
        """
        return await self.load(tuple(reference for commit in commits for reference in commit.runs))

    async def load(self, references: Sequence[RunReference]) -> Mapping[str, Run]:
        """The same for any runs of the past."""
        try:
            return await self._runs.load(references)
        except CorruptionError as error:
            raise self.expired("a part of that state is not kept any more") from error

    def expired(self, why: str) -> ExpiredError:
        """What to say when the past does not reach so far."""
        return ExpiredError(f"{why} (s3://{self._bucket}/{self._key})", bucket=self._bucket, key=self._key)

    async def page(self, start: str | None, limit: int) -> tuple[list[Version], str | None]:
        """Some versions of the manifest, newest first, and where the next ones are."""
        page = await self._storage.versions(self._bucket, self._key, start=start, limit=limit)
        kept = [
            # To the precision that documents keep, so that a stamp is the same wherever it comes from.
            Version(one.version, whole_milliseconds(one.modified) / 1000, one.etag, one.size, deleted=False)
            for one in page.versions
            if not one.deleted
        ]
        return kept, page.next

    async def fetch(self, version: Version, known: Mapping[str, Entry]) -> Document | None:
        """One version; ``None`` if it was deleted meanwhile."""
        found = await self._storage.get(self._bucket, self._key, version=version.version, limit=LIMIT)
        if not isinstance(found, Object):
            return None
        return decode_as(
            self._kind, found.body, bucket=self._bucket, key=self._key, version=version.version, known=known
        )

    def name(self, version: Version) -> str:
        """What logs call a version."""
        return version.version if self._kind == "merge" else (version.etag or "").strip('"')

    @property
    def linear(self) -> bool:
        """Whether each document holds all that came before it."""
        return self._kind == "conditional"

    def ordered(self, entries: Sequence[Entry], sessions: Mapping[str, int] = NOTHING) -> list[Entry]:
        """Commits in their order.

        Args:
            entries: In the store's order.
            sessions: The last sequence of each session that is settled.

        Raises:
            CorruptionError: They have none.
        """
        if self.linear:
            return list(entries)
        try:
            return causal_order(entries, sessions)
        except CycleError as error:
            raise CorruptionError(
                f"s3://{self._bucket}/{self._key} (version {error.version}) is not a manifest: {error}",
                bucket=self._bucket,
                key=self._key,
                operation="GetObject",
                version=error.version,
            ) from error


class Walk:
    """Commits of a manifest, from the newest back.

    Attributes:
        versioned: Whether there are versions to be read.
        commits: In order, the oldest first, each once.
        finished: Whether nothing older is kept.
        complete: Whether nothing older ever was.
        oldest: The oldest document that is kept, once it is reached.
        reach: All commits with later time stamps (in seconds since 1970) are known.
    """

    def __init__(self, past: Past, view: View) -> None:
        self._past = past
        self._view = view
        self.versioned = False
        self.commits: list[Entry] = []
        self.finished = False
        self.complete = False
        self.oldest: Document | None = None
        self.reach = math.inf
        self._next: str | None = None
        self._page = FIRST
        self._versions: list[Version] = []
        self._entries: dict[str, Entry] = {}
        self._checked: set[str] = set()
        self._ignored: set[str] = set()
        self._gone = -math.inf

    async def further(self) -> bool:
        """Go further back.

        Returns:
            Whether anything was left.
        """
        if self.finished:
            return False
        if not self.versioned:
            document = self._view.document
            self.commits = list(self._view.commits)
            self.oldest = document
            self.finished = True
            self.complete = document is None or not (document.files or document.runs or document.sessions)
            return True
        page, self._next = await self._past.page(self._next, self._page)
        self._page = min(PAGE, 4 * self._page)
        seen = {version.version for version in self._versions}
        self._versions += [version for version in page if version.version not in seen]
        await self._read()
        self.finished = self._next is None
        log: tuple[Entry, ...] = ()
        if self.finished:
            log = await self._reach_the_end()
        await self._drop_ignored()
        if self.complete:
            self.reach = -math.inf
        elif self.oldest is not None:
            self.reach = -math.inf if self._past.linear else self.oldest.bound() - 1
        elif self._versions and self._view.document is not None:
            self.reach = self._versions[-1].modified + 2 * self._view.document.window + 1
        everything = self._past.ordered(store_order(log, self._listed(self._versions)))
        self.commits = self._counted(await self._holding(everything))
        if self._gone > -math.inf:
            window = 0.0 if self._view.document is None else self._view.document.window
            self.reach = max(self.reach, self._gone + 2 * window + 1)
            self.commits = [commit for commit in self.commits if commit.modified > self._gone]
            self.finished, self.complete = True, False
        return True

    async def _holding(self, ordered: Sequence[Entry]) -> list[Entry]:
        """R4 and R20: what counts, of all that is known."""
        if not any_transaction(ordered):
            return once(ordered, {})
        held: Mapping[str, Run] = {}
        with contextlib.suppress(ExpiredError):
            held = await self._past.runs_of(ordered)
        _, counting = judge(ordered, {}, None, held)
        # Next to the edge a transaction may have been made void by something that is not known yet.
        window = 0.0 if self._view.document is None else self._view.document.window
        known = {entry.version: entry.modified for entry in ordered}
        for entry in counting:
            if entry.is_transaction and not self.finished:
                bound = known.get(entry.previous or "", -math.inf) - window - 1
                if bound <= self.reach:
                    self.reach = max(self.reach, entry.modified)
        return counting

    def _listed(self, versions: Sequence[Version]) -> list[Entry]:
        """The commits of some versions, oldest first, but those that nobody counts."""
        names = (self._past.name(version) for version in reversed(versions))
        return [self._entries[name] for name in names if name in self._entries and name not in self._ignored]

    async def _drop_ignored(self) -> None:
        """A commit that became visible when others had settled past it counts only where it was repeated (R8)."""
        versions: dict[str, list[Version]] = {}
        for version in reversed(self._versions):
            if (entry := self._entries.get(self._past.name(version))) is not None:
                versions.setdefault(entry.id, []).append(version)
        for repeated in versions.values():
            for place, again in enumerate(repeated[1:], 1):
                name = self._past.name(again)
                if name not in self._checked and (document := await self._past.fetch(again, self._entries)) is not None:
                    self._checked.add(name)
                    if _has(document, self._entries[name]) or not document.counts(again.modified):
                        self._ignored.add(name)
                        continue
                    bound = document.bound()
                    before = [one for one in repeated[:place] if one.modified < bound]
                    self._ignored.update(self._past.name(one) for one in before)

    def _counted(self, commits: list[Entry]) -> list[Entry]:
        """Without those that became visible so late that nobody counts them, and were never repeated."""
        document = self._view.document
        if document is None or self._past.linear:
            return commits
        own = {commit.id for commit in self._view.commits}
        last = max((place for place, commit in enumerate(commits) if commit.id in own), default=-1)
        settled = document.sessions
        forgotten = math.inf if len(settled) >= SESSIONS else -1
        # What is next to the edge may have its place behind it, or be repeated there.
        start = next((place for place, one in enumerate(commits) if one.modified > self.reach), len(commits))
        return [
            commit
            for place, commit in enumerate(commits[start:], start)
            if place > last or commit.id in own or commit.sequence <= settled.get(commit.session, forgotten)
        ]

    async def _read(self) -> None:
        """Every commit among the versions; the log of one document spares reading those before it."""
        missing = [version for version in self._versions if self._past.name(version) not in self._entries]
        stride = 2  # a log holds at least the commit before
        while missing:
            batch = missing[::stride][:FETCHES]
            found = await asyncio.gather(*(self._past.fetch(version, self._entries) for version in batch))
            for version, document in zip(batch, found, strict=True):
                if document is None:
                    # Collected while it was looked for: nobody knows what it held, nor what else goes now.
                    self._gone = max(self._gone, version.modified)
                else:
                    self._keep(version, document)
                    stride = max(2, len(document.log))
            read = {version.version for version in batch}
            missing = [
                version
                for version in missing
                if version.version not in read and self._past.name(version) not in self._entries
            ]

    def _keep(self, version: Version, document: Document) -> None:
        name = self._past.name(version)
        own = self._entries.setdefault(name, document.entry(name, version.modified))
        if not self._past.linear and (_has(document, own) or not document.counts(version.modified)):
            self._ignored.add(name)  # it repeats what it has already, or came too late (R16)
        for entry in document.log:
            self._entries.setdefault(entry.version, entry)

    async def _reach_the_end(self) -> tuple[Entry, ...]:
        while self._versions:
            self.oldest = await self._past.fetch(self._versions[-1], self._entries)
            if self.oldest is not None and self.oldest.counts(self._versions[-1].modified):
                break
            self.oldest = None
            self._versions.pop()
        if self.oldest is None:
            return ()
        # Where clocks are apart, the first commit need not be the oldest version.
        listed = {self._past.name(version) for version in self._versions}
        known = all(entry.version in listed for entry in self.oldest.log)
        self.complete = known and not (self.oldest.files or self.oldest.runs or self.oldest.sessions)
        return self.oldest.log

    async def find(self, wanted: Callable[[Entry], bool]) -> int | None:
        """Go back until there is such a commit: the place of the last one among `commits`."""
        while True:
            for place in reversed(range(len(self.commits))):
                if wanted(self.commits[place]):
                    return place
            if not await self.further():
                return None

    async def state_at(self, place: int) -> View:
        """The state that the commit at this place of `commits` made, with all before it.

        Raises:
            ExpiredError: Parts of it are not kept any more.
        """
        commit = self.commits[place]
        base, entries = await self._base(commit)
        if base is None:
            raise self._past.expired(f"the state at the commit {commit.id} is not kept any more")
        everything = self._past.ordered(entries, base.sessions)
        ordered = once(everything, base.sessions)
        if any_transaction(everything):
            held = await self._past.load(needed_runs(base, everything))
            _, ordered = judge(everything, base.sessions, settled_file(base, held), held)
        upto = next((index for index, one in enumerate(ordered) if one.id == commit.id), None)
        if upto is None:
            # It repeats one that was settled: nothing of its own.
            commits: tuple[Entry, ...] = tuple(one for one in ordered if one in self.commits[: place + 1])
        else:
            commits = tuple(ordered[: upto + 1])
        held = await self._past.load(needed_runs(base, commits))
        return build_view(base, commit.version, commits, held, 0.0, EMPTY)

    async def _base(self, commit: Entry) -> tuple[Document | None, list[Entry]]:
        """A document that the state at a commit is built upon, and the commits that may come over it, unordered."""
        version = next((one for one in self._versions if self._past.name(one) == commit.version), None)
        base = None if version is None else await self._past.fetch(version, self._entries)
        if base is None or version is None:
            oldest = self.oldest
            logged = oldest is not None and any(entry.id == commit.id for entry in oldest.log)
            if not self.versioned:
                return oldest, list(self._view.commits)
            return (oldest, list(oldest.log)) if oldest is not None and logged else (None, [])
        if self._past.linear:
            return base, [*base.log, base.entry(commit.version, commit.modified)]
        bound = base.bound()
        while not self.finished and self._versions[-1].modified >= bound:
            await self.further()
        reached = takewhile(lambda one: one.modified >= bound, self._versions)
        # What is newer by far has no part in it: it comes after.
        latest = commit.modified + 2 * base.window + 1
        near = [one for one in reached if one.modified <= latest or one.version == version.version]
        counted = {one.id for one in self.commits}
        listed = [one for one in self._listed(near) if one.id in counted]
        return base, store_order(base.log, listed)


def _has(document: Document, commit: Entry) -> bool:
    """Whether a document was made upon a state that had the commit."""
    settled = document.sessions.get(commit.session, -1) >= commit.sequence
    return settled or any(entry.id == commit.id for entry in document.log)
