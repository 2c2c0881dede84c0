"""Folding commits that nobody can contest any more into the files of a document (R7)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from ..document import Document, Entry, RunReference
from ..expiry import expired_for_all
from ..files import File, Files, expires_of
from ..state import Under, View, apply_update
from .compactor import Compactor
from .runs import Runs

SESSIONS: Final = 512
"""How many sessions a document remembers, the last settled ones: the memory that recognises repetitions."""


async def settle(
    base: Document, settled: Iterable[Entry], view: View, runs: Runs, compactor: Compactor
) -> tuple[Files, dict[str, int], tuple[RunReference, ...], float | None]:
    """The next document's files, sessions and runs, and up to when what expired was left out of them (R19).

    Args:
        base: The document it is based on.
        settled: The commits to fold in, in order.
        view: The state of ``base``.
        runs: Where files are stored that must become a run, since a large commit comes over them.
        compactor: Keeps files few and runs few.
    """
    files: dict[str, File | None] = dict(base.files)
    sessions, stack = dict(base.sessions), base.runs
    under, under_for = view.under, base.runs
    for commit in settled:
        if large := commit.runs:
            if files:
                stack = (*stack, *(await runs.save(files)).references)
                files = {}
            stack = (*stack, *large)
        if commit.files and stack is not under_for:
            held = await runs.load(stack)
            under, under_for = Under(tuple(held[reference.sha256] for reference in stack)), stack
        apply_update(commit.update, files, under)
        sessions.pop(commit.session, None)  # to the end: the order is that of settling
        sessions[commit.session] = commit.sequence
    for session in list(sessions)[: max(0, len(sessions) - SESSIONS)]:
        del sessions[session]
    expired = expired_for_all(base)
    left_out = [base.expired, _leave_out(files, expired, over_runs=bool(stack))]
    kept, stack, merged = await compactor.apply(files, stack, expired)
    return kept, sessions, stack, max((one for one in (*left_out, merged) if one is not None), default=None)


def _leave_out(files: dict[str, File | None], expired: float, *, over_runs: bool) -> float | None:
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
