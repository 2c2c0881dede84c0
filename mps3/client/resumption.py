"""Resuming a watch after a cursor."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterable, Sequence

from ..errors import ClosedError, ExpiredError, MPS3Error, UnavailableError
from ..format.document import CommitEntry
from ..format.patches import is_partial
from ..format.run import Run
from ..format.state import EMPTY, View, build_view, weight
from ..journal.cursors import Position
from ..journal.diff import Step, replay
from ..journal.past import Walk
from ..journal.run_reader import MissingRunError
from ..manifest.manifest import Manifest
from .threads import in_thread_if_large


class Resumption:
    """Finds the changes since a cursor, of the names that ``matches`` accepts.

    Attributes:
        until: The expiries up to this time were reported before the cursor, by the store's clock; see `steps`.
    """

    def __init__(
        self, manifest: Manifest, position: Position, matches: Callable[[str], bool], prefixes: Sequence[str]
    ) -> None:
        self._manifest = manifest
        self._position = position
        self._matches = matches
        self._prefixes = prefixes
        self._retried = False
        self.until = position.moment

    async def steps(self, view: View) -> list[Step]:
        """Return the steps from the cursor to a state, and set `until`.

        Raises:
            ExpiredError: The commit of the cursor is not kept any more.
            UnavailableError: The commit is newer than the state of this client.
        """
        position, matches, prefixes = self._position, self._matches, self._prefixes
        if position.is_ahead_of(view):
            raise self._newer(position.id)
        order = position.delivered()
        fresh = position.fresh_in(view)
        if fresh is not None:
            self._found((*(view.document.log if view.document else ()), *view.commits), view)
            return await in_thread_if_large(
                weight(EMPTY, view), replay, view, view.commits, set(fresh), matches, prefixes, None, order
            )
        past = self._manifest.past
        walk = await past.walk(view)
        while (commits := joined_commits(walk, view)) is None or (
            fresh := position.fresh(commits, walk.reach, walk.settled)
        ) is None:
            if not await walk.further():
                # The cursor may come from another client, and be newer than the state of this one.
                self._manifest.require_reachable()
                known = {commit.id for commit in commits or ()}
                newer = position.id not in known and any(commit.id == position.id for commit in walk.commits)
                raise self._newer(position.id) if newer else self._expired(position.id)
        self._found(commits, view)
        wanted = set(fresh)
        needed = wanted.union(order)
        start = next((place for place, commit in enumerate(commits) if commit.id in needed), len(commits))
        start = min(start, len(commits) - len(view.commits))
        runs = await past.runs_of(commits[start:])
        base = None
        if start < len(commits) - len(view.commits) and any(map(_patches, commits[start:])):
            base = start, await self._before(walk, commits[start])
        size = len(commits) + sum(run.reference.entries for run in runs.values())
        return await in_thread_if_large(size, replay, view, commits, wanted, matches, prefixes, runs, order, base)

    async def _before(self, walk: Walk, commit: CommitEntry) -> View:
        """Return the state before a commit, which the commits from there on patch.

        Raises:
            ExpiredError: That state is not kept.
        """
        while commit is walk.commits[0] and await walk.further():
            pass
        place = next(place for place, one in enumerate(walk.commits) if one is commit)
        if place:
            return await walk.state_at(place - 1)
        document = walk.oldest
        if document is None:
            return EMPTY
        return build_view(document, None, (), await self._manifest.past.load(document.runs), 0.0)

    def _newer(self, identity: str) -> MPS3Error:
        """Return the error for a cursor that is newer than the state, and still is once the state was read anew."""
        if self._retried:
            return self._expired(identity)
        self._retried = True
        return UnavailableError(f"the commit {identity} is newer than the state of this client")

    def _expired(self, identity: str) -> ExpiredError:
        return self._manifest.past.expired(
            f"the commit {identity} is not known (any more): start again, with a watch without `since`"
        )

    def _found(self, commits: Iterable[CommitEntry], view: View) -> None:
        # When a commit was delivered, the keys that had expired before it had been reported. Its time may be that of
        # another node of the store than the time of the reader was.
        window = view.document.window if view.document else 0.0
        times = [commit.modified - window for commit in commits if commit.id == self._position.id]
        self.until = max(self._position.moment, *times)

    async def last_seen(self, view: View) -> View | None:
        """Return the state at the cursor, if the newest state does not show which keys have expired since.

        Call `steps` before.

        Raises:
            ExpiredError: That state is not kept.
        """
        document = view.document
        if document is None or document.expired is None or document.expired <= self.until:
            return None
        position = self._position
        walk = await self._manifest.past.walk(view)
        place = await walk.find(lambda commit: commit.id == position.id)
        if place is None:
            raise self._manifest.past.expired(
                f"the expiries since the commit {position.id} are not known: start again, with a watch without `since`"
            )
        return await walk.state_at(place)


def _patches(commit: CommitEntry) -> bool:
    return any(map(is_partial, commit.files.values()))


def joined_commits(walk: Walk, view: View) -> list[CommitEntry] | None:
    """Return the commits that the replay has read, up to a state; ``None`` if the replay has not reached that state."""
    document = view.document
    if document is None:
        return []
    own = {commit.id for commit in view.commits}
    last = max((place for place, commit in enumerate(walk.commits) if commit.id in own), default=None)
    if last is not None:
        return [*(commit for commit in walk.commits[:last] if commit.id not in own), *view.commits]
    if own:
        return list(view.commits) if walk.finished else None
    # The state has only settled commits. Old commits of sessions that the document has dropped are settled, too.
    bound = document.bound()
    return [
        commit
        for commit in walk.commits
        if commit.sequence <= document.sessions.get(commit.session, math.inf if commit.modified < bound else -1)
    ]


async def raise_if_gone(manifest: Manifest, missing: MissingRunError) -> None:
    """Act upon a run that is missing: where it is a part of the state that a watch has told of last, that is too old.

    Raises:
        ExpiredError: It is.
        MissingRunError: It is a part of the newest state, which is damaged.
    """
    with contextlib.suppress(UnavailableError, ClosedError):
        await manifest.refresh()
        manifest.require_reachable()
        view, _ = manifest.state()
        if missing.key in {layer.reference.key for layer in view.layers if isinstance(layer, Run)}:
            raise missing
        raise manifest.past.expired(
            "the state that this watch has told of last is not kept any more: start again, with a watch without `since`"
        ) from missing
