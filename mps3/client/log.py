"""The log of a manifest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from ..format.document import CommitEntry
from ..format.file_entry import version_of
from ..format.names import Naming
from ..format.patches import is_rebase
from ..format.state import View
from ..journal.past import Past
from .history import read_commits, time_of
from .threads import in_thread_if_large


@dataclass(frozen=True, slots=True)
class LogEntry:
    """A commit in the log of a manifest.

    Attributes:
        id: The id of the commit.
        time: When it was committed, by the store's clock; ``None`` if the store does not tell the time.
        session: The session of the client that made it.
        versions: The version of each key that it wrote; ``None`` for a deleted key. A key in another bucket than the
            default is written ``s3://bucket/key``. That of a patched value begins with the version here, see `history`.
            A commit without keys announces a garbage collection, has stored a value anew that patches waited for, or
            shows that time has passed, for transactions and for merging what was written before.
        slot: The number of its slot in the log journal; ``None`` with the merge journal.
    """

    id: str
    time: datetime | None
    session: str
    versions: Mapping[str, str | None]
    slot: int | None = None


async def read_log(past: Past, newest: View, naming: Naming, prefix: str, limit: int | None) -> list[LogEntry]:
    """Return the commits to keys with a prefix, and only those of their keys, newest first."""
    has_slots = newest.document is not None and newest.document.journal == "log"

    async def read(commit: CommitEntry) -> LogEntry | None:
        slot = int(commit.version) if has_slots else None
        entry = await _entry(past, commit, naming, prefix, slot)
        return entry if entry.versions or not prefix else None

    entries, _ = await read_commits(await past.walk(newest), limit, read)
    return entries


async def _entry(past: Past, commit: CommitEntry, naming: Naming, prefix: str, slot: int | None) -> LogEntry:
    runs = await past.runs_of([commit])
    matches = naming.matches(prefix)

    def find() -> dict[str, str | None]:
        found: dict[str, str | None] = {}
        for reference in commit.runs:
            lines = runs[reference.sha256].items()
            found.update((name, None if file is None else file["version"]) for name, file in lines if matches(name))
        for name, patch in commit.files.items():
            if matches(name) and not is_rebase(patch):
                found[name] = version_of(patch)
        return dict(sorted((naming.label(name), version) for name, version in found.items()))

    size = len(commit.files) + sum(reference.entries for reference in commit.runs)
    versions = await in_thread_if_large(size, find)
    return LogEntry(commit.id, time_of(commit), commit.session, versions, slot)
