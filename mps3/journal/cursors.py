"""Where a watch goes on: which commits it has delivered. Pure."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import orjson

from ..format.document import CommitEntry
from ..format.schema import NOTHING
from ..format.state import View
from .settle import SESSIONS as REMEMBERED

SESSIONS: Final = 32
"""The sessions settled last, which cursors mention."""
ORDERED: Final = 100
"""Commits whose order a cursor tells; if there are more, it tells none, so that it stays short."""


class Cursors:
    """Writes cursors: a commit, and which of those around it were delivered before.

    Args:
        view: The newest state.
        commits: In order, up to those of ``view``.
    """

    def __init__(self, view: View, commits: Sequence[CommitEntry]) -> None:
        document = view.document
        self._linear = document is None or document.journal != "merge"
        self._commits = commits
        self._start = max(0, len(commits) - len(view.commits))
        # A transaction that is not decided yet will be news, whenever it was made.
        bounds = [math.floor(one.modified) for one in view.undecided]
        self._bound = min([0.0 if document is None else document.bound(), *bounds])
        self._mark = _mark(view)
        # Where clocks are apart, something with a later time stamp than the bound may have been settled.
        settled = list(document.sessions.items()) if document else []
        self._settled = dict(settled[-SESSIONS:])

    def after(self, position: int, done: Collection[int]) -> str:
        """The cursor when ``done`` is delivered, the commit at ``position`` last."""
        commit = self._commits[position]
        if self._linear:
            return commit.id
        if position < self._start:
            # Settled: nothing takes a place before it any more.
            later = {one.session: one.sequence for one in self._among(range(position + 1, len(self._commits)), done)}
            return orjson.dumps([commit.id, None, later, [], "", self._order(later, done)]).decode()
        unsettled = range(self._start, len(self._commits))
        sessions = {**self._settled, **{one.session: one.sequence for one in self._among(unsettled, done)}}
        left = [
            self._commits[place].id
            for place in unsettled
            if place not in done and self._commits[place].modified < self._bound
        ]
        return orjson.dumps([commit.id, self._bound, sessions, left, self._mark, self._order(sessions, done)]).decode()

    def _order(self, sessions: Mapping[str, int], done: Collection[int]) -> list[int]:
        """The unsettled commits that were delivered, in order: place of the session, and how much further it came."""
        index = {session: place for place, session in enumerate(sessions)}
        order: list[int] = []
        for one in self._among(range(self._start, len(self._commits)), done):
            if one.session in index:
                order += (index[one.session], sessions[one.session] - one.sequence)
        return order if len(order) <= 2 * ORDERED else []

    def _among(self, places: range, done: Collection[int]) -> Iterator[CommitEntry]:
        return (self._commits[place] for place in places if place in done)


def _mark(view: View) -> str:
    """Stands for what is settled."""
    sessions = dict(view.document.sessions) if view.document else {}
    return hashlib.sha256(orjson.dumps(sessions, option=orjson.OPT_SORT_KEYS)).hexdigest()[:16]


def cursor_of(view: View) -> str | None:
    """Where to go on after all that a state has; ``None`` if it has nothing."""
    if not view.commits:
        return None if view.last is None else view.last.id
    last = len(view.commits) - 1
    return Cursors(view, view.commits).after(last, range(last + 1))


@dataclass(frozen=True, slots=True)
class Position:
    """A cursor, or the id of a commit, as it was read.

    Attributes:
        id: The commit delivered last.
        bound: Commits with an older time stamp were delivered, newer ones if ``sessions`` says so. ``None``: those
            before ``id`` in the order were, later ones if ``sessions`` says so.
        sessions: The last sequence delivered of each session.
        left: Commits that were not delivered although they are older.
        mark: Stands for what was settled.
        order: The unsettled commits that were delivered, in their order: session and sequence of each.
        moment: The expiries up to this time were delivered, by the store's clock, in seconds since 1970.
    """

    id: str
    bound: float | None = None
    sessions: Mapping[str, int] = field(default_factory=dict)
    left: frozenset[str] = frozenset()
    mark: str = ""
    order: tuple[tuple[str, int], ...] = ()
    moment: float = -math.inf

    @classmethod
    def read(cls, since: str) -> Position:
        """What a caller gave: whatever it is not, it is at least the name of some commit."""
        try:
            last, bound, sessions, left, mark, order, *moment = orjson.loads(since)
        except (ValueError, TypeError):
            return cls(since)
        if (
            isinstance(last, str)
            and (bound is None or isinstance(bound, float | int))
            and isinstance(sessions, dict)
            and all(type(sequence) is int for sequence in sessions.values())
            and isinstance(left, list)
            and all(isinstance(one, str) for one in left)
            and isinstance(mark, str)
            and isinstance(order, list)
            and all(type(one) is int for one in order)
            and all(0 <= index < len(sessions) for index in order[::2])
            and (not moment or [type(one) for one in moment] == [float])
        ):
            names = list(sessions)
            pairs = zip(order[::2], order[1::2], strict=False)
            known = tuple((names[index], sessions[names[index]] - behind) for index, behind in pairs)
            return cls(last, bound, sessions, frozenset(left), mark, known, *moment)
        return cls(since)

    def written(self) -> str:
        """The cursor, with the moment."""
        index = {session: place for place, session in enumerate(self.sessions)}
        order = [part for name, last in self.order for part in (index[name], self.sessions[name] - last)]
        members = (self.id, self.bound, self.sessions, sorted(self.left), self.mark, order, self.moment)
        return orjson.dumps(members).decode()

    def delivered(self) -> list[str]:
        """The ids of the commits of `order`."""
        return [f"{session}.{sequence}" for session, sequence in self.order]

    def is_ahead_of(self, view: View) -> bool:
        """Whether a state lacks what was delivered: it is older, or others have settled past what came too late."""
        remembered = view.document is None or len(view.document.sessions) < REMEMBERED
        return remembered and not all(view.has(session, sequence) for session, sequence in self.order)

    def fresh(self, commits: Sequence[CommitEntry], reach: float, settled: Mapping[str, int]) -> list[str] | None:
        """Which of ``commits``, in order, were not delivered; ``None`` if they do not go back far enough.

        Args:
            commits: Up to the newest.
            reach: All commits with later time stamps are among them.
            settled: How far each session had come before the first of them.
        """
        place = next((place for place, commit in enumerate(commits) if commit.id == self.id), None)
        if place is None or (self.bound is not None and (reach >= self.bound or self._begins_before(settled))):
            return None
        return [
            commit.id
            for other, commit in enumerate(commits)
            if (
                commit.sequence > self.sessions.get(commit.session, -1)
                and (other > place if self.bound is None else self._is_later(commit))
            )
            or commit.id in self.left
        ]

    def _is_later(self, commit: CommitEntry) -> bool:
        # What became visible too late has an older time stamp than the bound, and counts if others have built on it.
        return commit.sequence > self._known(commit.session) or self.bound is None or commit.modified >= self.bound

    def _known(self, session: str) -> float:
        """How far a session had come for certain; ``inf`` if the cursor does not say."""
        return self.sessions.get(session, -1 if len(self.sessions) < SESSIONS else math.inf)

    def _begins_before(self, settled: Mapping[str, int]) -> bool:
        """Whether something was settled that was not delivered."""
        return any(last > self._known(session) for session, last in settled.items())

    def fresh_in(self, view: View) -> list[str] | None:
        """Which commits of a state were not delivered; ``None`` if others may have been settled meanwhile."""
        if self.bound is not None and self.mark != _mark(view):
            return None
        document = view.document
        if document is not None and document.journal == "log" and self.id in {entry.id for entry in document.log}:
            return [commit.id for commit in view.commits]  # the commit is the last one of the checkpoint
        return self.fresh(view.commits, -1.0, NOTHING)
