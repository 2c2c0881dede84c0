"""What scenarios find out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from meter import Tally

JOURNALS: Final = ("log", "merge")


@dataclass(slots=True)
class Row:
    """What something costs.

    Attributes:
        scenario: What was done.
        keys: How many keys the manifest had (N).
        journal: Which one.
        where: ``seam`` or ``wire``: where requests and bytes were counted.
        operations: How often it was done; the rest is the sum of them.
        tally: The requests.
        seconds: How long it took; virtual at the seam. A median times the operations, where facts say so.
        facts: What else is worth knowing of it.
    """

    scenario: str
    keys: int
    tally: Tally = field(default_factory=Tally)
    operations: int = 1
    seconds: float = 0.0
    journal: str = "log"
    where: str = "seam"
    facts: dict[str, float] = field(default_factory=dict)

    def per_operation(self, kind: str | None = None) -> float:
        """Requests of one kind, or all, an operation."""
        return self.tally.count(kind) / self.operations

    @property
    def bytes_each(self) -> float:
        """Bytes of bodies, both ways, an operation."""
        return self.tally.bodies / self.operations


@dataclass(frozen=True, slots=True)
class Skipped:
    """What could not be measured.

    Attributes:
        scenario: What.
        keys: How many keys the manifest should have had; ``None`` for any number.
        why: The reason.
    """

    scenario: str
    keys: int | None
    why: str


class Results:
    """All that was found out."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.skipped: list[Skipped] = []

    def add(self, *rows: Row) -> None:
        """Remember, and say so."""
        for row in rows:
            self.rows.append(row)
            print(_line(row), flush=True)

    def skip(self, scenario: str, keys: int | None, why: str) -> None:
        """Something is not measured: say so, loudly."""
        self.skipped.append(Skipped(scenario, keys, why))
        size = "" if keys is None else f" at {keys:,} keys"
        print(f"\n!!! NOT MEASURED: {scenario}{size}: {why}\n", flush=True)

    def all(self, scenario: str, **wanted: Any) -> Iterator[Row]:
        """The rows of a scenario whose attributes are these."""
        for row in self.rows:
            if row.scenario == scenario and all(getattr(row, name) == value for name, value in wanted.items()):
                yield row

    def find(self, scenario: str, **wanted: Any) -> Row | None:
        """The first such row."""
        return next(self.all(scenario, **wanted), None)

    def why_not(self, *scenarios: str) -> str:
        """Why one of these was not measured."""
        whys = dict.fromkeys(last_line(one.why) for one in self.skipped if one.scenario in scenarios)
        return "; ".join(whys) or "not part of this run"


def named(scenario: str, journal: str) -> str:
    """What a scenario is called that was not measured with this journal."""
    return f"{scenario} ({journal})"


def last_line(why: str) -> str:
    """What a reason comes down to, where it is a traceback."""
    return why.strip().splitlines()[-1]


def _line(row: Row) -> str:
    parts = [f"{row.scenario:<25} N={row.keys:<9,} {row.journal:<5} {row.where}:"]
    if row.tally.count():
        total = row.tally.select()
        parts.append(
            f"{row.per_operation():.2f} requests, {total.up / row.operations:,.0f} B up, "
            f"{total.down / row.operations:,.0f} B down,"
        )
    if row.seconds:
        parts.append(f"{1000 * row.seconds / row.operations:,.1f} ms each, x{row.operations:,}")
    parts += [f"{name}={value:,.4g}" for name, value in row.facts.items()]
    return " ".join(parts)
