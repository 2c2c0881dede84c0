"""The state of a manifest: runs, overlaid with files, overlaid with commits. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, Final

import orjson
from json_merge_patch import merge

from .document import NOTHING, Document, Entry, File, Files, RunReference, parse_files


@dataclass(frozen=True, slots=True)
class Run:
    """A sorted segment of settled files, in memory.

    Attributes:
        reference: What documents say of it.
        files: Its content; ``None`` hides the key in older runs.
    """

    reference: RunReference
    files: Files


def encode_run(files: Files) -> bytes:
    """The bytes of a run: a line a key, sorted by key."""
    return b"\n".join(orjson.dumps((name, files[name]), default=dict) for name in sorted(files))


def decode_run(body: bytes) -> dict[str, File | None]:
    """Read what `encode_run` wrote.

    Raises:
        ValueError: It is not that.
    """
    return parse_files(body.split(b"\n"))


def look_up(name: str, files: Files, runs: tuple[Run, ...]) -> File | None:
    """What is said of a key by ``files`` over ``runs``."""
    if name in files:
        return files[name]
    for run in reversed(runs):
        if name in run.files:
            return run.files[name]
    return None


def apply_update(update: Mapping[str, Any], files: dict[str, File | None], runs: tuple[Run, ...]) -> None:
    """Apply a commit's merge patch to ``files``, which lie over ``runs``.

    A deleted key that a run may hold leaves a tombstone.
    """
    for name, patch in update.get("files", NOTHING).items():
        if patch is None:
            if runs:
                files[name] = None
            else:
                files.pop(name, None)
        else:
            current = look_up(name, files, runs)
            # `merge` changes its first argument, and entries are shared between states.
            files[name] = merge(deepcopy(dict(current)) if current else {}, patch)


@dataclass(frozen=True, slots=True)
class View:
    """A resolved state of a manifest. It never changes; a newer one replaces it.

    Attributes:
        head: The newest manifest version it was resolved from; ``None`` before the first commit.
        document: What that version holds.
        commits: The commits above the settled files, in order, each once.
        files: The settled files overlaid with the commits.
        runs: What lies under ``files``, oldest first.
        sessions: The last sequence of each session that is part of this state.
        pace: Seconds that each writer should leave between its commits (R15).
    """

    head: str | None
    document: Document | None
    commits: tuple[Entry, ...]
    files: Files
    runs: tuple[Run, ...]
    sessions: Mapping[str, int]
    pace: float = 0.0

    def look_up(self, name: str) -> File | None:
        """What this state says of a key; ``None`` if there is no such key."""
        return look_up(name, self.files, self.runs)

    def has(self, session: str, sequence: int) -> bool:
        """Whether a commit is part of this state."""
        return self.sessions.get(session, -1) >= sequence

    def names(self) -> Iterator[str]:
        """All keys, in no order."""
        seen = set()
        for files in (self.files, *(run.files for run in reversed(self.runs))):
            for name, file in files.items():
                if name not in seen:
                    seen.add(name)
                    if file is not None:
                        yield name


EMPTY: Final = View(None, None, (), NOTHING, (), NOTHING)
"""The state before the first commit."""


def build_view(
    document: Document, head: str | None, commits: tuple[Entry, ...], runs: tuple[Run, ...], pace: float
) -> View:
    """Overlay a document's settled files with commits."""
    files = dict(document.files)
    sessions = dict(document.sessions)
    for commit in commits:
        apply_update(commit.update, files, runs)
        sessions[commit.session] = commit.sequence
    return View(head, document, commits, files, runs, sessions, pace)


def changed_names(old: View, new: View, among: Mapping[str, object]) -> list[str]:
    """Which of the keys ``among`` differ between two views of one manifest."""
    if old is new:
        return []
    candidates: Iterable[str] = among
    if old.runs == new.runs:
        candidates = [name for name in {**old.files, **new.files} if name in among]
    return [name for name in candidates if old.look_up(name) != new.look_up(name)]
