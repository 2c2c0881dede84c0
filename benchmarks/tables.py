"""What the tables of `docs/performance.md` are made of."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from results import Row

PRICES: Final = {"PUT": 5.0, "LIST": 5.0, "GET": 0.4, "HEAD": 0.4, "DELETE": 0.0, "OTHER": 0.4}
"""US dollars for a million requests: S3 Standard, us-east-1, list prices of 2025."""


def dollars(row: Row) -> float:
    """What a million of these cost in requests."""
    return sum(price * row.per_operation(kind) for kind, price in PRICES.items())


def requests_of(row: Row) -> str:
    """The requests of an operation, by their kind."""
    each = {"PUT": "PUT", "GET": "GET", "HEAD": "HEAD", "LIST": "listing", "DELETE": "DELETE", "OTHER": "other"}
    said = [
        f"{row.per_operation(kind):,.2f}".rstrip("0").rstrip(".") + f" {name}"
        for kind, name in each.items()
        if row.tally.count(kind)
    ]
    return ", ".join(said) or "none"


def bytes_of(count: float) -> str:
    """A number of bytes."""
    for unit, size in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            return f"{count / size:,.1f} {unit}"
    return f"{count:,.0f} B"


def fact_of(name: str, value: float) -> str:
    """A fact, and what it is about."""
    return f"{name} {value:,.0f}" if value >= 100 or value == int(value) else f"{name} {value:,.2f}"


def table_of(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
