"""The next state of a manifest, made of the state before by what is new. Pure.

Usually the new commits come last in the order, and those that are settled come first. Then only these have to be
looked at, and not all that is unsettled.
"""

from __future__ import annotations

from ...format.document import CommitEntry, Document
from ...format.file_entry import FileEntry
from ...format.layers import Layer
from ...format.run import Run
from ...format.state import View
from ...format.update import apply_update


def advance_view(
    before: View,
    document: Document,
    head: str | None,
    commits: tuple[CommitEntry, ...],
    pace: float,
    undecided: tuple[CommitEntry, ...] = (),
) -> View | None:
    """Return what `build_view` returns, made of the view before.

    Args:
        before: The view before.
        document: As in `build_view`.
        head: As in `build_view`.
        commits: As in `build_view`.
        pace: As in `build_view`.
        undecided: As in `build_view`.

    Returns:
        ``None`` if not only the first commits were settled, and new ones came last, or if something of it is a run.
    """
    base = before.document
    if base is None or document.runs != base.runs or len(before.layers) > len(base.runs) + 1:
        return None
    settled = _settled(before.commits, commits)
    if settled is None:
        return None
    added = commits[len(before.commits) - settled :]
    if any(commit.runs for commit in (*before.commits[:settled], *added)):
        return None
    if not _folds(before, base, document, before.commits[:settled]):
        return None
    layers: tuple[Layer, ...] = before.layers
    if any(commit.files for commit in added):
        files: dict[str, FileEntry | None] = {}
        if len(layers) > len(base.runs):
            top = layers[-1]
            if isinstance(top, Run):
                return None
            files, layers = dict(top), layers[:-1]
        for commit in added:
            apply_update(commit.update, files, before.under, commit.modified)
        if files:
            layers = (*layers, files)
    sessions = dict(document.sessions)
    for commit in commits:
        sessions[commit.session] = commit.sequence
    return View(head, document, commits, layers, sessions, before.under, pace, undecided)


def _settled(before: tuple[CommitEntry, ...], after: tuple[CommitEntry, ...]) -> int | None:
    """Return how many of the first commits are not there any more; ``None`` if that is not all that was removed."""
    if not after:
        return None
    first = after[0].version
    settled = next((place for place, commit in enumerate(before) if commit.version == first), None)
    if settled is None:
        return None
    common = len(before) - settled
    return settled if before[settled:] == after[:common] else None


def _folds(before: View, base: Document, document: Document, settled: tuple[CommitEntry, ...]) -> bool:
    """Return whether the settled files of a document are those of the one before, with some commits applied."""
    files: dict[str, FileEntry | None] = dict(base.files)
    for commit in settled:
        apply_update(commit.update, files, before.under, commit.modified)
    return files == document.files
