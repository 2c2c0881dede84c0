"""The parts of `docs/performance.md` about reading a few of very many keys, and what more keys than that would cost."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import former
from dataset import MILLION
from results import JOURNALS, Results, Row
from tables import PRICES, bytes_of, dollars, table_of

from mps3.format import limits
from mps3.journal.log.reader import SMALL

PARTS: Final = "keys", "arithmetic"
"""The names of the parts."""
GIGABYTE_MONTH: Final = 0.023
"""US dollars for a gigabyte that is stored for a month: S3 Standard, us-east-1, list prices of 2025."""
COMPUTED: Final = (100_000_000, 1_000_000_000)
"""Numbers of keys whose costs are computed."""
TITLES: Final = {
    "opening": "opening",
    "memory of one key": "opening and reading one key: resident memory",
    "get": "`get` of a random key",
    "absent": "`get` of a key that is not there",
    "page": "`keys` of a page of 20",
    "get_all of a prefix": "`get_all` of 1,000 values of 100 bytes",
    "get_all of numbers": "`get_all` of 1,000 numbers",
    "put": "an awaited put: sent",
    "load": "loading: CPU",
}


def few(results: Results) -> str:
    """What was measured, before the blocks and now."""
    table = []
    for scenario, title in TITLES.items():
        for journal in JOURNALS:
            for row in sorted(results.all(scenario, journal=journal), key=lambda row: row.keys):
                before = former.find(scenario, journal, row.keys)
                if scenario == "load" and row.keys < MILLION:
                    continue
                table.append([title, journal, f"{row.keys:,}", *_before(scenario, before), *_now(row)])
    return table_of(["", "journal", "keys", "before: requests", "", "now: requests", ""], table)


def _before(scenario: str, before: former.Former | None) -> tuple[str, str]:
    if before is None:
        return "", ""
    if before.megabytes is not None:
        return "", f"{before.megabytes:.1f} MB"
    if before.seconds is not None:
        return f"{before.requests:,.0f}", f"{before.seconds:.2f} s"
    return _number(before.requests), bytes_of(before.up if scenario == "put" else before.up + before.down)


def _now(row: Row) -> tuple[str, str]:
    if row.scenario == "memory of one key":
        return "", f"{row.facts['MB']:.1f} MB"
    if row.scenario == "load":
        return f"{row.tally.count():,}", f"{row.facts['CPU, seconds']:.2f} s"
    sent = row.tally.select().up / row.operations
    return _number(row.per_operation()), bytes_of(sent if row.scenario == "put" else row.bytes_each)


@dataclass(frozen=True, slots=True)
class Store:
    """What so many keys cost.

    Attributes:
        keys: How many.
        parts: The objects of their runs.
        size: Bytes of them.
        checkpoint: Bytes of their references, in each checkpoint, or in each manifest of the merge journal.
        opened: Bytes received by who opens.
        open_requests: How many that takes.
        memory: Resident memory of a client that has read one key, in megabytes; ``None`` if it is not known.
    """

    keys: int
    parts: float
    size: float
    checkpoint: float
    opened: float
    open_requests: float
    memory: float | None


def arithmetic(results: Results, journal: str = "log") -> str:
    """What more keys would cost, computed from what was measured of the most."""
    shapes = sorted(results.all("shape", journal=journal), key=lambda row: row.keys)
    shapes = [row for row in shapes if row.facts["parts"]]
    if not shapes or results.find("get", journal=journal, keys=shapes[-1].keys) is None:
        return "Not measured: not part of this run."
    stores = [_measured(results, row, journal) for row in shapes[-2:]]
    computed = [_computed(keys, stores, shapes[-1]) for keys in COMPUTED]
    columns = [*stores, *computed]
    head = ["log journal", *(f"{one.keys:,}, measured" for one in stores), *(f"{one.keys:,}" for one in computed)]
    return table_of(head, _lines(results, columns, stores, journal))


def _measured(results: Results, shape: Row, journal: str) -> Store:
    opening = results.find("opening", journal=journal, keys=shape.keys)
    memory = results.find("memory of one key", journal=journal, keys=shape.keys)
    facts = shape.facts
    return Store(
        keys=shape.keys,
        parts=facts["parts"],
        size=facts["bytes of indexes"] + facts["bytes of blocks"],
        checkpoint=facts["bytes of references"],
        opened=opening.tally.bodies if opening else 0.0,
        open_requests=opening.tally.count() if opening else 0.0,
        memory=memory.facts["MB"] if memory else None,
    )


def _computed(keys: int, stores: list[Store], shape: Row) -> Store:
    last, times = stores[-1], keys / shape.facts["entries"]
    parts, checkpoint = last.parts * times, last.checkpoint * times
    memory = None
    if len(stores) > 1 and last.memory is not None and stores[0].memory is not None:
        each = max(0.0, last.memory - stores[0].memory) / (last.parts - stores[0].parts)
        memory = last.memory + each * (parts - last.parts)
    return Store(
        keys=keys,
        parts=parts,
        size=last.size * times,
        checkpoint=checkpoint,
        opened=last.opened + checkpoint - last.checkpoint,
        # A checkpoint of more bytes is asked for twice: first with others at once, then alone.
        open_requests=last.open_requests + (checkpoint > SMALL >= last.checkpoint),
        memory=memory,
    )


def _lines(results: Results, columns: list[Store], stores: list[Store], journal: str) -> Iterator[list[str]]:
    last = stores[-1]
    get = results.find("get", journal=journal, keys=last.keys)
    assert get is not None  # it was looked up before
    yield ["objects of runs", *(f"{one.parts:,.0f}" for one in columns)]
    allowed = ("yes" if one.parts <= limits.RUNS else "**no**" for one in columns)
    yield [f"a manifest may name so many (at most {limits.RUNS:,})", *allowed]
    yield ["stored", *(f"{bytes_of(one.size)}, ${one.size / 1e9 * GIGABYTE_MONTH:,.3f} a month" for one in columns)]
    yield ["of that in a checkpoint: references of the objects", *(bytes_of(one.checkpoint) for one in columns)]
    yield ["opening: requests", *(_number(one.open_requests) for one in columns)]
    yield ["opening: received", *(bytes_of(one.opened) for one in columns)]
    yield ["a client that has read one key: memory", *(_megabytes(one.memory) for one in columns)]
    yield ["`get`: requests", *([_number(get.per_operation())] * len(columns))]
    yield ["`get`: received", *([bytes_of(get.bytes_each)] * len(columns))]
    yield ["a million of `get`", *([f"${dollars(get):,.2f}"] * len(columns))]
    # Of very many keys, nearly none of the indexes is at hand: a key that is not there takes one, after the news.
    most = f"${2 * PRICES['GET']:,.2f}"
    found = (results.find("absent", journal=journal, keys=one.keys) for one in columns)
    yield [
        "a million of `get` of keys that are not there",
        *(f"${dollars(row):,.2f}" if row else most for row in found),
    ]
    yield from _writing(results, columns, last)


def _writing(results: Results, columns: list[Store], last: Store) -> Iterator[list[str]]:
    for journal in JOURNALS:
        put = next((row for row in reversed(list(results.all("put", journal=journal)))), None)
        shape = None if put is None else results.find("shape", journal=journal, keys=put.keys)
        if put is None or shape is None:
            continue
        sent, references = put.tally.select().up / put.operations, shape.facts["bytes of references"]
        # Each manifest of the merge journal has them, and each checkpoint of a log: nearly all of its other PUTs.
        often = 1.0 if journal == "merge" else put.tally.count("PUT") / put.operations - 1
        said = (bytes_of(sent + often * (one.checkpoint - references)) for one in columns)
        yield [f"an awaited put, {journal} journal: sent", *said]
    load = results.find("load", journal="log", keys=last.keys)
    if load is not None:
        added = last.keys - max(
            (row.keys for row in results.all("load", journal="log") if row.keys < last.keys), default=0
        )
        cpu, price = load.facts["CPU, seconds"] / added, dollars(load) / 1e6 / added
        said = (f"{_hours(cpu * one.keys)} of CPU, ${price * one.keys:,.2f}" for one in columns)
        yield ["loading with `put_all`, 1,000 at a time", *said]
    merged = results.find("merging two runs")
    if merged is not None:
        cpu, gets = merged.facts["CPU, seconds"] / merged.keys, merged.facts["requests"] / merged.facts["MB merged"]
        said = (
            f"{_hours(cpu * one.keys)} of CPU,"
            f" ${(one.parts * PRICES['PUT'] + gets * one.size / 1e6 * PRICES['GET']) / 1e6:,.3f}"
            for one in columns
        )
        yield ["merging all of it into one run", *said]


def _number(value: float) -> str:
    return f"{value:,.2f}".rstrip("0").rstrip(".")


def _megabytes(value: float | None) -> str:
    return "not known" if value is None else f"{value:,.0f} MB"


def _hours(seconds: float) -> str:
    for unit, size in (("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:,.1f} {unit}"
    return f"{seconds:,.0f} s"
