"""Going back through the past of a manifest: which commits there were, and in which order."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import takewhile

from ...errors import ExpiredError
from ...format.document import CommitEntry, Document
from ...format.schema import NOTHING
from ...format.state import EMPTY, View, build_view, needed_runs
from ...storage.protocol import Version
from ..at_hand import at_hand
from ..past import Walk
from ..settle import SESSIONS
from .order import causal_order, store_order
from .version_reader import VersionReader
from .version_search import PagedListing
from .versions import ManifestVersions


class Replay(Walk):
    """Commits of a manifest, from the newest back.

    Attributes:
        commits: In order, the oldest first, each once.
        finished: Whether nothing older is kept.
        complete: Whether nothing older ever was.
        oldest: The oldest document that is kept, once it is reached.
        reach: All commits with later time stamps (in seconds since 1970) are known.
        settled: How far each session had come before the first of the commits.
    """

    def __init__(self, source: ManifestVersions, view: View) -> None:
        self._source = source
        self._view = view
        self.commits: list[CommitEntry] = []
        self.finished = False
        self.complete = False
        self.oldest: Document | None = None
        self.reach = math.inf
        self.settled: Mapping[str, int] = NOTHING
        # What the state that the walk begins with knows: its commits, and how far each session had come.
        self._own = frozenset(commit.id for commit in view.commits)
        self._newest = None if view.document is None else view.document.sessions
        self._sessions = view.sessions
        self._reader = VersionReader(source)
        # Where the walk does not begin with the newest: from when on it does not matter what is listed above.
        self._ample = math.inf
        self._open = -math.inf  # what is older, and counts, is settled where the walk begins

    async def further(self) -> bool:
        """Go further back.

        Returns:
            Whether anything was left.
        """
        if self.finished:
            return False
        if not self._reader.ended:
            await self._reader.take()
            if await self._resolve() or not self._reader.ended:
                return True
        await self._end()
        return True

    def begin_at(self, place: int, document: Document, listing: PagedListing) -> None:
        """Begin with a listed version instead of the newest. What is newer is not looked at.

        Args:
            place: Of the version, in the listing. It is later than what is looked for by some windows.
            document: What the version holds.
            listing: What is listed so far.
        """
        name = listing.versions[place].version
        entry = document.entry(name, listing.versions[place].modified)
        self._own = frozenset(commit.id for commit in (*document.log, entry))
        self._newest = self._sessions = document.sessions
        self._ample = document.bound()
        self._open = document.bound() - 2 * document.window
        self._reader.begin_at(place, document, listing)

    async def _resolve(self) -> bool:
        """Resolve from an old document on what it holds, and all that is newer (R3 to R5).

        Only with all that was settled before them do commits say which of them are repetitions, and whose place
        is where. So it has to be one of whose bound, and of all later commits, nothing is missing.

        Returns:
            Whether there is such a document.
        """
        edge = min((version.modified for version in self._reader.versions), default=math.inf)
        names = [
            name for version in reversed(self._reader.versions) if (name := version.version) in self._reader.documents
        ]
        for place, name in enumerate(names):
            base = self._reader.documents[name]
            bound = base.bound()
            if (
                bound <= edge
                or name in self._reader.late
                or any(one.modified >= bound for one in self._reader.unlisted(base))
            ):
                continue
            if await self._begin_with(base, self._reader.reached(bound)) is None:
                # Newer ones will not be needed any more.
                self._reader.documents = {name: self._reader.documents[name] for name in names[: place + 1]}
                return True
        return False

    async def _begin_with(
        self, base: Document, listed: Sequence[Version], log: Sequence[CommitEntry] = ()
    ) -> float | None:
        """Tell the commits from a document on, if nothing is missing; else as `_missing_from`."""
        # Where R5 had moved something in a log, R5 moves it again.
        logged = sorted((*base.log, *log), key=lambda entry: entry.modified) if log else base.log
        ordered = causal_order(store_order(logged, self._reader.entries_of(listed)), base.sessions, base.log)
        try:
            relevant, counting = await self._source.judge(base, ordered)
        except ExpiredError:
            return -math.inf
        missing = await self._missing_from(base, relevant)
        if missing is None:
            self.commits, self.settled = self._counted(counting), base.sessions
            # Where clocks are apart, something with a later time stamp than the bound may have been settled.
            self.reach = base.bound() + base.window
        return missing

    async def _missing_from(self, base: Document, commits: Sequence[CommitEntry]) -> float | None:
        """Find out whether a collection has taken something that came after a document.

        Each writer knew the commits of its own session, and the newest state knows all sessions.

        Returns:
            ``None`` if it has not; or else the time stamp of a version that was made with what is missing, as far as
            that is known.
        """
        own = {entry.id for entry in base.log}
        last = dict(base.sessions)
        for commit in base.log:
            last[commit.session] = max(commit.sequence, last.get(commit.session, 0))
        for commit in commits:
            if commit.id in own:
                continue
            before = last.get(commit.session, 0)
            if commit.modified >= self._ample:
                last[commit.session] = max(commit.sequence, before)
                continue  # what it repeats, or comes after, may stand above
            if commit.version in self._reader.repeated:
                return commit.modified
            if commit.sequence > before + 1 and await self._reader.sequence_before(commit) > before:
                return commit.modified
            last[commit.session] = max(commit.sequence, before)
        known = self._sessions.items()
        return -math.inf if any(last.get(session, -1) < sequence for session, sequence in known) else None

    async def _end(self) -> None:
        """Reach the oldest that is kept."""
        self.finished = True
        await self._reach_the_end()
        self.commits, self.reach = [], math.inf
        while self.oldest is not None:
            unlisted = self._reader.unlisted(self.oldest)
            lost = max((entry.modified for entry in unlisted), default=-math.inf)
            if lost < self._reader.versions[-1].modified:
                # What was collected may stand in the logs of others.
                log = sorted(unlisted, key=lambda entry: entry.modified)
                bound = self.oldest.bound()
                log = [entry for entry in log if entry.modified >= bound]
                since = await self._begin_with(self.oldest, self._reader.versions, log)
                if since is None:
                    break
                self._reader.versions.pop()
                self._reader.versions = self._reader.reached(since)
            else:
                self._reader.end_after(lost)
            # A collection is under way, or was cut off: there are older versions, but not all.
            await self._reach_the_end()
            self.complete = False
        if self.complete:
            self.reach = -math.inf

    def _counted(self, commits: list[CommitEntry]) -> list[CommitEntry]:
        """Return commits without those that became visible so late that nobody counts them, and were never repeated."""
        own, settled = self._own, self._newest
        if settled is None:
            return commits
        last = max((place for place, commit in enumerate(commits) if commit.id in own), default=-1)
        forgotten = math.inf if len(settled) >= SESSIONS else -1
        return [
            commit
            for place, commit in enumerate(commits)
            if place > last
            or (commit.id in own and commit.modified >= self._open)
            or commit.sequence <= settled.get(commit.session, forgotten)
        ]

    async def _reach_the_end(self) -> None:
        self.oldest, self.complete = None, False
        while self._reader.versions:
            oldest = await self._source.fetch(self._reader.versions[-1], self._reader.entries)
            if oldest is not None and oldest.counts(self._reader.versions[-1].modified):
                break
            self._reader.versions.pop()
        else:
            return
        self._reader.keep(self._reader.versions[-1], oldest)
        self.oldest = oldest
        # Where clocks are apart, the first commit need not be the oldest version.
        listed = {version.version for version in self._reader.versions}
        known = all(entry.version in listed for entry in oldest.log)
        self.complete = known and not (oldest.files or oldest.runs or oldest.sessions)

    async def state_at(self, place: int) -> View:
        """Return the state that the commit at this place of `commits` made, with all before it.

        Raises:
            ExpiredError: Parts of it are not kept any more.
        """
        commit = self.commits[place]
        before = self.commits[: place + 1]
        base, entries = await self._base(commit)
        if base is None:
            raise self._source.expired(f"the state at the commit {commit.id} is not kept any more")
        _, ordered = await self._source.judge(base, causal_order(entries, base.sessions, base.log))
        upto = next((index for index, one in enumerate(ordered) if one.id == commit.id), None)
        if upto is None:
            # It repeats one that was settled: nothing of its own.
            commits: tuple[CommitEntry, ...] = tuple(one for one in ordered if one in before)
        else:
            commits = tuple(ordered[: upto + 1])
        held = await self._source.load(needed_runs(base, commits))
        return await at_hand(lambda: build_view(base, commit.version, commits, held, 0.0, EMPTY))

    def _version(self, commit: CommitEntry) -> Version | None:
        return next((one for one in self._reader.versions if one.version == commit.version), None)

    async def _base(self, commit: CommitEntry) -> tuple[Document | None, list[CommitEntry]]:
        """Return a document that the state at a commit is built upon, and what may come over it, unordered."""
        while (version := self._version(commit)) is None and await self.further():
            pass  # it is known from a log
        base = None if version is None else await self._source.fetch(version, self._reader.entries)
        if base is None or version is None:
            oldest = self.oldest
            logged = oldest is not None and any(entry.id == commit.id for entry in oldest.log)
            return (oldest, list(oldest.log)) if oldest is not None and logged else (None, [])
        bound = base.bound()
        # Also which of them count has to be known that far.
        while not self.finished and (self.reach >= bound or self._reader.versions[-1].modified >= bound):
            await self.further()
        reached = takewhile(lambda one: one.modified >= bound, self._reader.versions)
        # What is newer by far has no part in it: it comes after.
        latest = commit.modified + 2 * base.window + 1
        near = [one for one in reached if one.modified <= latest or one.version == version.version]
        counted = {one.id for one in self.commits}
        # What the document itself knew of, a void transaction for instance, keeps its place among the others.
        own = {one.version for one in base.log}
        listed = [one for one in self._reader.entries_of(near) if one.id in counted or one.version in own]
        return base, store_order(base.log, listed)
