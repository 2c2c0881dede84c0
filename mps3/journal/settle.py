"""Folding commits that nobody can contest any more into the files of a document (R7)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import orjson

from ..document import Document, Entry, Files, RunReference
from ..state import Run, apply_update
from .runs import SPILL, Runs

SESSIONS: Final = 512
"""How many sessions a document remembers, the last settled ones: the memory that recognises repetitions."""


async def settle(
    base: Document, settled: Iterable[Entry], held: tuple[Run, ...], runs: Runs
) -> tuple[Files, dict[str, int], tuple[RunReference, ...]]:
    """The next document's files, sessions and runs.

    Args:
        base: The document it is based on.
        settled: The commits to fold in, in order.
        held: The runs of ``base``.
        runs: Where files spill into when there are too many.
    """
    files, sessions = dict(base.files), dict(base.sessions)
    for commit in settled:
        apply_update(commit.update, files, held)
        sessions.pop(commit.session, None)  # to the end: the order is that of settling
        sessions[commit.session] = commit.sequence
    for session in list(sessions)[: max(0, len(sessions) - SESSIONS)]:
        del sessions[session]
    references = base.runs
    if len(orjson.dumps(files, default=dict)) > SPILL:
        run = await runs.save(files)
        files, references = {}, (*references, run.reference)
    return files, sessions, references
