"""The order of commits (rules R3 to R5). Pure.

Everyone who knows the same commits computes the same order from it, and that is what makes many
writers without locks agree.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import dropwhile

from ...format.document import CommitEntry
from ...format.schema import NOTHING


def store_order(log: Sequence[CommitEntry], listed: Sequence[CommitEntry]) -> list[CommitEntry]:
    """Return all entries in the store's version order, oldest first, each version once.

    Args:
        log: The head's log, in resolved order: it may reach further back than the listing.
        listed: The entries of listed versions, oldest first. Only the position counts: time stamps
            of stores with several nodes may rise down a listing.
    """
    known = {entry.version for entry in listed}
    # What the listing does not reach is older than all that it does; where R5 had moved it, R5 moves it again.
    return [*(entry for entry in log if entry.version not in known), *listed]


def causal_order(
    entries: Sequence[CommitEntry], sessions: Mapping[str, int] = NOTHING, log: Sequence[CommitEntry] = ()
) -> list[CommitEntry]:
    """Return entries in order (R5): none before what it was based on, nor before the earlier ones of its session.

    Args:
        entries: In the store's order, each version once.
        sessions: The last sequence of each session that is settled. What is settled comes before all else:
            a late repetition of it must not draw later commits of its session behind it, only those that
            were based on that very version.
        log: That of the head. What one of it was based on, and it does not hold any more, is settled, even if it is
            listed once more: transactions stay in it longer than what they came after.

    Entries that follow each other in a circle were not written in good faith. What closes a circle does not count, so
    that nobody can make the others unreadable.
    """
    if _is_causal(entries):
        return list(entries)
    index = {entry.version: position for position, entry in enumerate(entries)}
    held = {entry.version for entry in log}
    loose = {entry.version for entry in log if entry.previous not in held}
    after = [[] if entry.version in loose else _predecessors(entry, entries, index) for entry in entries]
    _add_session_order(entries, after, sessions)
    places: list[tuple[int, int, int] | None] = [None] * len(entries)
    for start in range(len(entries)):
        _place(start, after, places)
    return [entries[place[2]] for place in sorted(place for place in places if place is not None)]


def _is_causal(entries: Iterable[CommitEntry]) -> bool:
    """Return whether the store's order is the causal one, whatever is settled and logged.

    That is so if each entry stands behind what it is based on, and behind all of its session with a lower sequence.
    Then nothing is moved. It is the usual case.
    """
    sequences: dict[str, int] = {}
    awaited: set[str | None] = set()
    for entry in entries:
        if entry.version in awaited or entry.sequence <= sequences.get(entry.session, -1):
            return False
        sequences[entry.session] = entry.sequence
        awaited.add(entry.previous)
    return True


def _predecessors(entry: CommitEntry, entries: Sequence[CommitEntry], index: Mapping[str, int]) -> list[list[int]]:
    """Return groups of positions; an entry comes after the first of each group."""
    place = None if entry.previous is None else index.get(entry.previous)
    if place is None:
        return []
    before = entries[place]
    # Somebody else has used its session: nobody makes a commit before the one that it is based on.
    forged = before.session == entry.session and before.sequence > entry.sequence
    return [] if forged else [[place]]


def _add_session_order(
    entries: Sequence[CommitEntry], after: list[list[list[int]]], settled: Mapping[str, int]
) -> None:
    sessions: dict[str, dict[int, list[int]]] = {}
    for position, entry in enumerate(entries):
        if entry.sequence > settled.get(entry.session, -1):
            sessions.setdefault(entry.session, {}).setdefault(entry.sequence, []).append(position)
    for sequences in sessions.values():
        earlier: list[int] | None = None
        for sequence in sorted(sequences):
            if earlier is not None:
                for position in sequences[sequence]:
                    # What ends a transaction must not be drawn behind a try of it that arrives later (R20).
                    if not entries[position].closes:
                        after[position].append(earlier)
            earlier = sequences[sequence]


def _place(
    start: int,
    after: list[list[list[int]]],
    places: list[tuple[int, int, int] | None],
) -> None:
    # Depth first without recursion: chains are as long as the log.
    stack, under_way = [start], set[int]()
    while stack:
        position = stack[-1]
        if places[position] is not None:
            stack.pop()
            continue
        under_way.add(position)
        # What waits for this one itself closes a circle.
        waiting = [one for group in after[position] for one in group if places[one] is None and one not in under_way]
        if waiting:
            stack.extend(waiting)
            continue
        place = (position, 0, position)
        for group in after[position]:
            known = [found for one in group if (found := places[one]) is not None]
            if known:
                first = min(known)
                place = max(place, (first[0], first[1] + 1, position))
        places[position] = place
        stack.pop()


def once(entries: Iterable[CommitEntry], sessions: Mapping[str, int]) -> list[CommitEntry]:
    """R4: leave out repetitions: commits whose sequence is not above the last one applied of their session.

    Args:
        entries: In order.
        sessions: The last sequence of each session that is settled already.
    """
    applied = dict(sessions)
    kept = []
    for entry in entries:
        if entry.sequence > applied.get(entry.session, -1):
            applied[entry.session] = entry.sequence
            kept.append(entry)
    return kept


def needed(ordered: Iterable[CommitEntry], commits: Sequence[CommitEntry], since: float) -> tuple[CommitEntry, ...]:
    """Return what a log must hold for commits to keep their places: them, and the repetitions among them.

    Somebody may have seen one version of a commit as the last of all, and have based another on that,
    where a third counts now (R4). Without the first nobody would know any more what the other comes after.

    Args:
        ordered: All that is known, in order.
        commits: The last of the commits that count, in order.
        since: The oldest time stamp, in seconds since 1970, of the repetitions to be kept.
    """
    kept = {entry.version for entry in commits}
    # What is before all of them is settled, and so is all that it comes after.
    behind = dropwhile(lambda entry: entry.version not in kept, ordered)
    return tuple(entry for entry in behind if entry.version in kept or entry.modified >= since)
