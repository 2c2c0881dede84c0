"""Which transactions hold, and since when that is certain (rule R20). Pure.

A transaction is a commit that says which versions the keys had that it was made from. Everyone judges it alike, at its
place in the order: if a key has another version there, the transaction is void for everyone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from ..document import Document, Entry
from ..run import Run
from ..state import Under, look_up

_MISSING: Final = object()


@dataclass(frozen=True, slots=True)
class Judgement:
    """What became of the commits above the settled files.

    Attributes:
        relevant: In order, without repetitions: those that count, and transactions that do not hold.
        counting: Those that count.
        undecided: The transactions among ``relevant`` that would be judged otherwise if something became visible
            late, before them.
    """

    relevant: tuple[Entry, ...]
    counting: tuple[Entry, ...]
    undecided: tuple[Entry, ...] = ()

    @property
    def shown(self) -> tuple[Entry, ...]:
        """Those that count, for certain."""
        hidden = {entry.version for entry in self.undecided}
        return tuple(entry for entry in self.counting if entry.version not in hidden) if hidden else self.counting


def any_transaction(entries: Iterable[Entry]) -> bool:
    """Whether there is a transaction among some commits."""
    return any(entry.is_transaction for entry in entries)


def judge(
    ordered: Sequence[Entry],
    sessions: Mapping[str, int],
    below: Callable[[str], str | None] | None,
    runs: Mapping[str, Run],
) -> tuple[list[Entry], list[Entry]]:
    """R4 and R20: what is relevant, and of that what counts.

    A void transaction uses up no sequence: another try of it may hold at a later place.

    Args:
        ordered: In order, repetitions and all.
        sessions: The last sequence of each session that is settled already.
        below: The version of a key before all of them; ``None`` if there is no such key. Where that is not at hand,
            a transaction is taken at its word for what was so long before it.
        runs: Those that they name, by their SHA-256. What is missing says nothing.
    """
    names = frozenset(name for entry in ordered for name in entry.expect)
    said: dict[str, str | None] = {}
    applied = dict(sessions)
    relevant, counting = [], []
    for entry in ordered:
        if entry.sequence <= applied.get(entry.session, -1):
            continue
        relevant.append(entry)
        for name, version in entry.expect.items():
            if name not in said:
                said[name] = version if below is None else below(name)
        if any(said[name] != version for name, version in entry.expect.items()):
            continue
        if entry.closes and applied.get(entry.session) == entry.sequence - 1:
            continue  # the transaction that it should end has come before it
        counting.append(entry)
        applied[entry.session] = entry.sequence
        said.update(changed_versions(entry, names, runs))
    return relevant, counting


def changed_versions(entry: Entry, names: frozenset[str], runs: Mapping[str, Run]) -> Iterator[tuple[str, str | None]]:
    """Which of some keys a commit changes, and the versions it gives them."""
    for run in (runs[one.sha256] for one in entry.runs if one.sha256 in runs):
        for name in names:
            line = run.get(name, _MISSING)
            if line is not _MISSING:
                yield name, None if line is None else line["version"]  # type: ignore[index]
    if entry.files:
        for name in names & entry.files.keys():
            file = entry.files[name]
            yield name, None if file is None else file["version"]


def settled_version(document: Document, runs: Mapping[str, Run]) -> Callable[[str], str | None]:
    """What a document's settled files say of the version of a key."""
    under = Under(tuple(runs[reference.sha256] for reference in document.runs))

    def version(name: str) -> str | None:
        file = look_up(name, (document.files,)) if name in document.files else under.look_up(name)
        return None if file is None else file["version"]

    return version


def undecided(ordered: Iterable[Entry], relevant: Iterable[Entry], bound: float) -> tuple[Entry, ...]:
    """The transactions before whose place something may still become visible.

    It depends on versions alone, so whoever sees the same ones decides alike.

    Args:
        ordered: In order, repetitions and all.
        relevant: Those among them that are no repetitions.
        bound: Whatever has an older time stamp, in seconds since 1970, is visible: a window before the newest stamp.
    """
    own = {entry.version for entry in relevant if entry.is_transaction}
    found: list[Entry] = []
    latest = -math.inf
    for entry in ordered:
        latest = max(latest, entry.modified)
        if entry.version in own and latest >= bound:
            found.append(entry)
    return tuple(found)
