"""Which transactions hold, and since when that is certain (rule R20). Pure.

A transaction is a commit that says which versions the keys had that it was made from. Everyone judges it alike, at its
place in the order: if a key has another version there, the transaction is void for everyone. A key that had expired
at the time that is stamped on the transaction has none (R19).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from ...format.document import CommitEntry, Document
from ...format.file_entry import FileEntry, version_of
from ...format.layers import FrozenLayers, look_up
from ...format.patches import is_partial
from ...format.run import Run
from ...format.state import alive
from ...format.update import patched

_MISSING: Final = object()


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What became of the commits above the settled files.

    Attributes:
        relevant: In order, without repetitions: those that count, and transactions that do not hold.
        counting: Those that count.
        undecided: The transactions among ``relevant`` that would be judged otherwise if something became visible
            late, before them.
    """

    relevant: tuple[CommitEntry, ...]
    counting: tuple[CommitEntry, ...]
    undecided: tuple[CommitEntry, ...] = ()

    @property
    def shown(self) -> tuple[CommitEntry, ...]:
        """Those that count, for certain."""
        hidden = {entry.version for entry in self.undecided}
        return tuple(entry for entry in self.counting if entry.version not in hidden) if hidden else self.counting


def any_transaction(entries: Iterable[CommitEntry]) -> bool:
    """Return whether there is a transaction among some commits."""
    return any(entry.is_transaction for entry in entries)


def evaluate(
    ordered: Sequence[CommitEntry],
    sessions: Mapping[str, int],
    below: Callable[[str], FileEntry | None],
    runs: Mapping[str, Run],
) -> tuple[list[CommitEntry], list[CommitEntry]]:
    """Return what is relevant, and of that what counts (R4, R20).

    A void transaction uses up no sequence: another try of it may hold at a later place.

    Args:
        ordered: In order, repetitions and all.
        sessions: The last sequence of each session that is settled already.
        below: What is said of a key before all of them; ``None`` if there is no such key.
        runs: Those that they name, by their SHA-256. What is missing says nothing.
    """
    names = frozenset(name for entry in ordered for name in entry.expect)
    said: dict[str, FileEntry | None] = {}
    applied = dict(sessions)
    relevant, counting = [], []
    for entry in ordered:
        if entry.sequence <= applied.get(entry.session, -1):
            continue
        relevant.append(entry)
        for name in entry.expect:
            if name not in said:
                said[name] = below(name)
        if any(version_of(alive(said[name], entry.modified)) != version for name, version in entry.expect.items()):
            continue
        if entry.closes and applied.get(entry.session) == entry.sequence - 1:
            continue  # the transaction that it should end has come before it
        counting.append(entry)
        applied[entry.session] = entry.sequence
        said.update(_changed(entry, names, runs, said, below))
    return relevant, counting


def _changed(
    entry: CommitEntry,
    names: frozenset[str],
    runs: Mapping[str, Run],
    said: Mapping[str, FileEntry | None],
    below: Callable[[str], FileEntry | None],
) -> Iterator[tuple[str, FileEntry | None]]:
    """Return which of some keys a commit changes, and what it says of them."""
    for run in (runs[one.sha256] for one in entry.runs if one.sha256 in runs):
        for name in names:
            line = run.get(name, _MISSING)
            if line is not _MISSING:
                yield name, line  # type: ignore[misc]
    if entry.files:
        for name in names & entry.files.keys():
            change = entry.files[name]
            if change is not None and is_partial(change):
                change = patched(said[name] if name in said else below(name), change, entry.modified)
            yield name, change


def settled_file(document: Document, runs: Mapping[str, Run]) -> Callable[[str], FileEntry | None]:
    """Return what a document's settled files say of a key."""
    under = FrozenLayers(tuple(runs[reference.sha256] for reference in document.runs))

    def file(name: str) -> FileEntry | None:
        return look_up(name, (document.files,)) if name in document.files else under.look_up(name)

    return file


def undecided(ordered: Iterable[CommitEntry], relevant: Iterable[CommitEntry], bound: float) -> tuple[CommitEntry, ...]:
    """Return the transactions before whose place something may still become visible.

    It depends on versions alone, so whoever sees the same ones decides alike.

    Args:
        ordered: In order, repetitions and all.
        relevant: Those among them that are no repetitions.
        bound: Whatever has an older time stamp, in seconds since 1970, is visible: a window before the newest stamp.
    """
    own = {entry.version for entry in relevant if entry.is_transaction}
    found: list[CommitEntry] = []
    latest = -math.inf
    for entry in ordered:
        latest = max(latest, entry.modified)
        if entry.version in own and latest >= bound:
            found.append(entry)
    return tuple(found)
