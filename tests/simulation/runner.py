"""Many histories, over several processes; and what is printed of one that went wrong."""

from __future__ import annotations

import concurrent.futures
import logging
import multiprocessing
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Final

from .breaks import BREAKS
from .histories import Result, run_history
from .history import Kept, Killed, Violation
from .kinds import Kind

PROCESSES: Final = 2
CHUNK: Final = 20
FEW: Final = 6
"""So many histories take less time than it takes to start another process."""
ORDINARY: Final = Kind()


@dataclass
class Totals:
    """What many histories came to."""

    histories: int = 0
    acknowledged: int = 0
    kept: int = 0
    killed: int = 0
    events: int = 0
    collected: int = 0
    expiring: int = 0
    left_out: int = 0
    unknown: int = 0
    virtual_seconds: float = 0.0
    wrong: list[tuple[int, list[Violation]]] = field(default_factory=list)

    def add(self, other: Totals) -> None:
        self.histories += other.histories
        self.acknowledged += other.acknowledged
        self.kept += other.kept
        self.killed += other.killed
        self.events += other.events
        self.collected += other.collected
        self.expiring += other.expiring
        self.left_out += other.left_out
        self.unknown += other.unknown
        self.virtual_seconds += other.virtual_seconds
        self.wrong += other.wrong

    def __str__(self) -> str:
        kinds = Counter(promise for _, violations in self.wrong for promise in {one.promise for one in violations})
        return (
            f"{self.histories} histories, {self.acknowledged} acknowledged writes, {self.kept} kept ones, "
            f"{self.killed} kills, {self.events} events, "
            f"{self.collected} collected, {self.expiring} to expire, left out in {self.left_out} documents, "
            f"{self.unknown} outcomes unknown, "
            f"{self.virtual_seconds / 3600:.1f} virtual hours; {len(self.wrong)} histories with violations "
            f"{dict(kinds)} seeds {[seed for seed, _ in self.wrong[:20]]}"
        )


@contextmanager
def quiet() -> Iterator[None]:
    """Killed clients close nothing, and all of them log what the faults do to them."""
    level = logging.getLogger("mps3").level
    logging.getLogger("mps3").setLevel(logging.CRITICAL + 1)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            yield
    finally:
        logging.getLogger("mps3").setLevel(level)


def one(seed: int, kind: Kind = ORDINARY) -> Result:
    """One history."""
    with quiet(), kind.damage():
        result = run_history(seed, kind.options(seed))
    return replace(result, replay=f"python -m tests.simulation {seed} {kind.flags()}".rstrip())


def some(seeds: Sequence[int], kind: Kind = ORDINARY) -> Totals:
    """Histories one after the other, in this process; of a broken client, up to the first that shows it."""
    totals = Totals()
    for seed in seeds:
        result = one(seed, kind)
        totals.histories += 1
        totals.acknowledged += result.acknowledged
        totals.kept += sum(isinstance(event, Kept) for event in result.history)
        totals.killed += sum(isinstance(event, Killed) for event in result.history)
        totals.events += len(result.trace)
        totals.collected += result.collected
        totals.expiring += result.expiring
        totals.left_out += result.left_out
        totals.unknown += result.unknown
        totals.virtual_seconds += result.time
        if result.violations:
            totals.wrong.append((seed, result.violations))
            if kind.broken is not None:
                break
    return totals


def many(
    first: int,
    number: int,
    kind: Kind = ORDINARY,
    *,
    processes: int = PROCESSES,
    progress: Callable[[Totals], None] = lambda totals: None,
) -> Totals:
    """The histories of ``number`` seeds, beginning with ``first``."""
    totals = Totals()
    if number <= FEW:
        totals.add(some(range(first, first + number), kind))
        progress(totals)
        return totals
    chunks = [range(start, min(start + CHUNK, first + number)) for start in range(first, first + number, CHUNK)]
    # Not forked: a child of a process with threads may hang, and a fresh one proves that seeds are all there is.
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(processes, mp_context=context) as pool:
        for some_totals in pool.map(partial(some, kind=kind), chunks):
            totals.add(some_totals)
            progress(totals)
    totals.wrong.sort(key=lambda wrong: wrong[0])
    return totals


def find_first_violation(
    broken: str, most: int = 500, first: int | None = None, *, whole: bool = False
) -> tuple[int, list[Violation]] | None:
    """How many histories it takes to notice that the client is broken in this way, and what was noticed."""
    first = BREAKS[broken].first if first is None else first
    totals = some(range(first, first + most), Kind.that_shows(broken, whole=whole))
    return (totals.histories, totals.wrong[0][1]) if totals.wrong else None


def report(result: Result, *, idle: bool = False) -> str:
    """A history in readable form: its options, all that happened, the manifests, what was wrong.

    Args:
        result: Of the history.
        idle: Whether to show polls that found nothing new.
    """
    lines = [f"seed {result.seed}: {result.options}", ""]
    for time, client, operation, key, outcome in result.trace:
        if idle or not outcome.endswith("unchanged"):
            lines.append(f"{time:9.3f} {client:8} {operation:12} {key} {outcome}")
    lines += ["", "manifest versions, oldest first:", *(f"  {line}" for line in result.manifests), ""]
    lines += ["VIOLATIONS" if result.violations else "no violations", *(f"  {one}" for one in result.violations)]
    lines += [f"replay with: {result.replay}"] if result.violations else []
    return "\n".join(lines)
