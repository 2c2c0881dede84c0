"""Folding commits that nobody can contest any more into the files of a document (R7)."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Final

from ..format import limits
from ..format.commit_age import max_commit_age
from ..format.document import CommitEntry, Document
from ..format.expiry import expired_for_all
from ..format.file_entry import FileEntry, Files, expires_of
from ..format.layers import FrozenLayers
from ..format.run_reference import RunReference
from ..format.state import View
from ..format.update import apply_update, names_needed
from .at_hand import prepare
from .compactor import Compactor
from .run_pieces import Piece
from .runs import Runs

SESSIONS: Final = 512
"""How many sessions a document remembers at least, the last settled ones: the memory that recognises repetitions."""
MOST_SESSIONS: Final = limits.SESSIONS // 2
"""How many it remembers at most, so that it can always be written again. What is forgotten then is unknown (R22)."""
MARKS: Final = 4
"""How many moments are noted in the time for which every session is remembered."""


@dataclass(frozen=True, slots=True)
class Settled:
    """What is settled in the next document.

    Attributes:
        files: What is said of keys.
        sessions: How far sessions have come.
        recent: As in `Document`.
        runs: What lies under the files.
        expired: Up to when what expired was left out (R19); ``None`` if nothing was.
    """

    files: Files
    sessions: dict[str, int]
    recent: tuple[tuple[float, int], ...]
    runs: tuple[RunReference, ...]
    expired: float | None


async def settle(
    base: Document,
    settled: Iterable[CommitEntry],
    view: View,
    runs: Runs,
    compactor: Compactor,
    *,
    now: float | None = None,
    quiet: bool = False,
) -> Settled:
    """Fold commits into the settled part of the next document (R7).

    Args:
        base: The document it is based on.
        settled: The commits to fold in, in order.
        view: The state of ``base``.
        runs: Where files are stored that must become a run, since a large commit comes over them.
        compactor: Keeps files few and runs few.
        now: The newest time stamp that the next document is made upon, in seconds since 1970, where a commit may be
            repeated long after it was settled; ``None`` where it cannot.
        quiet: As in `Compactor.apply`.
    """
    files: dict[str, FileEntry | None] = dict(base.files)
    sessions, stack = dict(base.sessions), base.runs
    under, under_for = view.under, base.runs
    commits = list(settled)
    for commit in commits:
        if large := commit.runs:
            if files:
                stack = (*stack, *(await runs.save(files)).references)
                files = {}
            stack = (*stack, *large)
        if commit.files and stack is not under_for:
            held = await runs.load(stack)
            under, under_for = FrozenLayers(tuple(held[reference.sha256] for reference in stack)), stack
        held_pieces: list[Piece] = []
        await prepare(under.layers, names_needed(commit.update), held_pieces)
        apply_update(commit.update, files, under, commit.modified)
        sessions.pop(commit.session, None)  # to the end: the order is that of settling
        sessions[commit.session] = commit.sequence
    recent = _forget(sessions, base, {commit.session for commit in commits}, now)
    expired = expired_for_all(base)
    left_out = [base.expired, _leave_out(files, expired, over_runs=bool(stack))]
    kept, stack, merged = await compactor.apply(files, stack, expired, quiet=quiet)
    over = max((one for one in (*left_out, merged) if one is not None), default=None)
    return Settled(kept, sessions, recent, stack, over)


def _forget(
    sessions: dict[str, int], base: Document, settled: Collection[str], now: float | None
) -> tuple[tuple[float, int], ...]:
    """Forget sessions that came before the last `SESSIONS`, and of which no repetition can count any more.

    There are never more than `MOST_SESSIONS`, whoever has named them.

    Args:
        sessions: In the order of settling; some are deleted.
        base: The document before.
        settled: The sessions that were settled since.
        now: As in `settle`.

    Returns:
        The `Document.recent` of what is left.
    """
    names = list(sessions)
    excess = len(names) - SESSIONS
    if excess <= 0:
        return ()
    if now is None:
        for name in names[:excess]:
            del sessions[name]
        return ()
    before = list(base.sessions)
    marks = [(at, {*before[max(0, len(before) - number) :], *settled}) for at, number in base.recent[-4 * MARKS :]]
    # Of a commit that was not settled when a try of it was made, a try counts for no longer than that after (R16).
    horizon = max_commit_age() + 3 * base.window
    over = [mark for mark in marks if mark[0] <= now - horizon]
    if over:
        _, later = over[-1]
        for name in names[:excess]:
            if name in later:
                break
            del sessions[name]
        marks = marks[len(over) - 1 :]
    for name in list(sessions)[: max(0, len(sessions) - MOST_SESSIONS)]:
        del sessions[name]
    if not marks or now - marks[-1][0] >= horizon / MARKS:
        marks.append((now, set()))
    return tuple((at, len(later & sessions.keys())) for at, later in marks)


def _leave_out(files: dict[str, FileEntry | None], expired: float, *, over_runs: bool) -> float | None:
    """Delete what expired so long ago that it is absent for everyone; and when the last of it did."""
    over = {
        name: moment for name, file in files.items() if (moment := expires_of(file)) is not None and moment <= expired
    }
    for name in over:
        if over_runs:
            files[name] = None
        else:
            del files[name]
    return max(over.values(), default=None)
