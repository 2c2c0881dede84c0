"""Resuming a watch after a cursor."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from ..errors import UnavailableError
from ..format.document import CommitEntry
from ..format.state import EMPTY, View, weight
from ..journal.diff import Position, Step, replay
from ..journal.past import Walk
from ..manifest.manifest import Manifest
from .threads import in_thread_if_large


class Resumption:
    """Finds what a watch has missed since a cursor.

    Args:
        manifest: The manifest that is watched.
        position: The cursor.
        matches: Whether the watch is about a name.
        prefixes: What the names begin with that it is about.
    """

    def __init__(
        self, manifest: Manifest, position: Position, matches: Callable[[str], bool], prefixes: Sequence[str]
    ) -> None:
        self._manifest = manifest
        self._position = position
        self._matches = matches
        self._prefixes = prefixes
        self._asked_again = False

    async def steps(self, view: View) -> list[Step]:
        """Return what has been committed since, up to a state.

        Raises:
            ExpiredError: The commit of the cursor is not kept.
            UnavailableError: The commit may be newer than what this client knows.
        """
        position = self._position
        fresh = position.fresh_in(view)
        if fresh is not None:
            return await in_thread_if_large(
                weight(EMPTY, view), replay, view, view.commits, set(fresh), self._matches, self._prefixes
            )
        past = self._manifest.past
        walk = await past.walk(view)
        while (commits := joined_commits(walk, view)) is None or (fresh := position.fresh(commits, walk.reach)) is None:
            if not await walk.further():
                # The cursor may come from another client, and be newer than the state of this one.
                self._manifest.require_contact()
                known = {commit.id for commit in commits or ()}
                newer = position.id not in known and any(commit.id == position.id for commit in walk.commits)
                if newer and not self._asked_again:
                    self._asked_again = True
                    raise UnavailableError(f"the commit {position.id} is newer than what is known here")
                raise past.expired(
                    f"the commit {position.id} is not known (any more): start again, with a watch without `since`"
                )
        wanted = set(fresh)
        start = next((place for place, commit in enumerate(commits) if commit.id in wanted), len(commits))
        start = min(start, len(commits) - len(view.commits))
        runs = await past.runs_of(commits[start:])
        size = len(commits) + sum(len(run.body) // 100 for run in runs.values())
        return await in_thread_if_large(size, replay, view, commits, wanted, self._matches, self._prefixes, runs)

    async def last_seen(self, view: View) -> View | None:
        """Return the state at the cursor, if keys that have expired since may be missing from the commits.

        Raises:
            ExpiredError: That state is not kept.
        """
        document = view.document
        if document is None or document.expired is None:
            return None
        position = self._position
        since = document.expired + document.window

        # All that is omitted now had expired and was reported when such a commit was delivered.
        def knows(commit: CommitEntry) -> bool:
            return commit.modified >= since

        seen = next((commit for commit in view.commits if commit.id == position.id), None)
        if seen is not None and knows(seen):
            return None
        walk = await self._manifest.past.walk(view)
        place = await walk.find(lambda commit: commit.id == position.id)
        if place is not None and knows(walk.commits[place]):
            return None
        if place is None:
            raise self._manifest.past.expired(
                f"nobody knows what has expired since the commit {position.id}: start again, with a watch without "
                "`since`"
            )
        return await walk.state_at(place)


def joined_commits(walk: Walk, view: View) -> list[CommitEntry] | None:
    """Return the commits before a state, as far back as the replay has read, and the commits of the state itself.

    ``None`` if the replay has not reached that state.
    """
    document = view.document
    if document is None:
        return []
    own = {commit.id for commit in view.commits}
    last = max((place for place, commit in enumerate(walk.commits) if commit.id in own), default=None)
    if last is not None:
        return [*(commit for commit in walk.commits[:last] if commit.id not in own), *view.commits]
    if own:
        return list(view.commits) if walk.finished else None
    # Its head repeats something that is settled. Of sessions that were forgotten, the old commits are settled, too.
    bound = document.bound()
    return [
        commit
        for commit in walk.commits
        if commit.sequence <= document.sessions.get(commit.session, math.inf if commit.modified < bound else -1)
    ]
