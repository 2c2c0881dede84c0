"""What is asked of mps3, and whether it was found to be so."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from dataset import entry_bytes, names
from results import Results, Row, named

JOURNALS: Final = ("merge", "log")


@dataclass(frozen=True, slots=True)
class Bar:
    """A limit.

    Attributes:
        what: What is limited, and to what.
        measured: What was found, or why nothing was.
        holds: Whether it is within the limit; ``None`` if it was not measured.
    """

    what: str
    measured: str
    holds: bool | None

    @property
    def verdict(self) -> str:
        """In words."""
        return {True: "within the bar", False: "misses it", None: "NOT MEASURED"}[self.holds]


def bars(results: Results, largest: int) -> list[Bar]:
    """All of them.

    Args:
        results: What was found.
        largest: The greatest number of keys that this run was about; the bars speak of 1,000,000.
    """
    big = f"at {largest:,} keys"
    return [
        *_puts(results, largest, big),
        *_against_raw(results),
        *(_change(results, journal) for journal in JOURNALS),
        *_each(results, "open", f"opening {big}: at most 60 requests", _requests, largest),
        *_each(results, "open", f"opening {big}: at most 1.5x the bytes of the entries", _opened, largest),
        *_each(
            results,
            "load",
            f"loading {largest:,} keys with `put_all`, 1,000 at a time: bytes of the manifest written, at most 8x those"
            " of the entries",
            lambda row: (f"{row.facts['written, of the entries']:.1f}x", row.facts["written, of the entries"] <= 8),
            largest,
        ),
        *_each(
            results,
            "memory",
            f"a client that opens {big}: at most 250 MB more resident memory",
            lambda row: (f"{row.facts['MB']:,.0f} MB", row.facts["MB"] <= 250),
            largest,
        ),
        *_each(results, "loop stops", f"no stop of the event loop {big} above 20 ms", _stops, largest),
        _one(
            results,
            "subscriptions",
            "10,000 subscriptions: one request a poll, and a commit of one key wakes one",
            lambda row: (
                f"{row.facts['requests a poll']:.2f} requests, {row.facts['subscriptions that yielded']:.0f} woken",
                row.facts["requests a poll"] <= 1 and row.facts["subscriptions that yielded"] == 1,
            ),
        ),
        _all(
            results,
            "contention",
            "32 contending writers lose nothing that was acknowledged",
            lambda row: (f"{row.facts['lost']:.0f} lost ({row.journal}, {row.where})", row.facts["lost"] == 0),
        ),
        _one(
            results,
            "collection",
            "collecting takes what is older than the retention, and nothing that is needed",
            _collected,
        ),
        _agreement(results),
    ]


def _one(results: Results, scenario: str, what: str, judge: Callable[[Row], tuple[str, bool]]) -> Bar:
    row = results.find(scenario)
    return Bar(what, results.why_not(scenario), None) if row is None else Bar(what, *judge(row))


def _each(
    results: Results, scenario: str, what: str, judge: Callable[[Row], tuple[str, bool]], keys: int
) -> Iterable[Bar]:
    """A bar for each journal."""
    for journal in JOURNALS:
        row = results.find(scenario, keys=keys, journal=journal)
        told = named(what, journal)
        why = results.why_not(named(scenario, journal), named("load", journal))
        yield Bar(told, why, None) if row is None else Bar(told, *judge(row))


def _all(results: Results, scenario: str, what: str, judge: Callable[[Row], tuple[str, bool]], **wanted: object) -> Bar:
    rows = list(results.all(scenario, **wanted))
    if not rows:
        return Bar(what, results.why_not(scenario), None)
    judged = list(map(judge, rows))
    return Bar(what, _joined(found for found, _ in judged), all(holds for _, holds in judged))


def _joined(found: Iterable[str]) -> str:
    return "; ".join(dict.fromkeys(found))


def _puts(results: Results, largest: int, big: str) -> Iterable[Bar]:
    count = next((row.operations for row in results.all("put", keys=largest)), 10_000)
    average = f"bytes of an awaited put {big}, on average over {count:,}, compaction included"

    def times(row: Row) -> tuple[str, bool]:
        small = results.find("put", keys=10, journal=row.journal)
        ratio = row.bytes_each / small.bytes_each if small else math.nan
        return f"{ratio:.2f}x", ratio <= 3

    yield from _each(results, "put", f"{average}: at most 3x those at 10", times, largest)
    yield from _each(
        results,
        "put",
        f"{average}: at most 64 KiB",
        lambda row: (f"{row.bytes_each / 1024:.1f} KiB", row.bytes_each <= 65_536),
        largest,
    )


def _against_raw(results: Results) -> Iterable[Bar]:
    one, raw = results.find("one put"), results.find("one put, raw")
    told = (
        "an awaited put: at most 1.25x the time of its three requests made raw",
        "CPU of a put: at most 1.5x that of its requests made raw",
    )
    if one is None or raw is None:
        yield from (Bar(what, results.why_not("one put"), None) for what in told)
    else:
        slower, work = one.seconds / raw.seconds, one.facts["CPU, ms"] / raw.facts["CPU, ms"]
        yield Bar(told[0], f"{slower:.2f}x", slower <= 1.25)
        yield Bar(told[1], f"{work:.2f}x", work <= 1.5)
    many, raw = results.find("many puts"), results.find("many puts, raw")
    what = "1,000 puts at once: at least 70 % of the rate of 1,000 raw ones"
    if many is None or raw is None:
        yield Bar(what, results.why_not("many puts"), None)
    else:
        yield Bar(what, f"{raw.seconds / many.seconds:.0%}", raw.seconds / many.seconds >= 0.7)


def _change(results: Results, journal: str) -> Bar:
    listings = 1 if journal == "merge" else 0
    what = f"a change reaches a polling client with 1 GET of the manifest{', 1 listing' * listings} and the content"
    found = sorted(results.all("change", journal=journal), key=lambda row: row.keys)
    name = named("change", journal)
    missing = results.why_not(name) if any(one.scenario == name for one in results.skipped) else ""
    if not found:
        return Bar(f"{what} ({journal})", results.why_not(name, named("load", journal)), None)
    exact = {
        row.keys: (
            row.facts["manifest GETs, at most"] == 1
            and row.facts["listings, at most"] == listings
            and row.facts["value GETs, at most"] <= 1  # small values are in the commit
        )
        for row in found
    }
    wrong = [row for row in found if not exact[row.keys]]
    said = (
        "so at " + ", ".join(f"{keys:,}" for keys, good in exact.items() if good) + " keys"
        if any(exact.values())
        else ""
    )
    said += "".join(
        f"; at {row.keys:,} up to {row.facts['manifest GETs, at most']:.0f} GETs of the manifest, "
        f"{row.facts['listings, at most']:.0f} listings, {row.facts['value GETs, at most']:.0f} of values"
        for row in wrong
    )
    holds = False if wrong else None if missing else True  # at every N, it says
    return Bar(f"{what} ({journal})", said + (f"; {missing}" if missing else ""), holds)


def _requests(row: Row) -> tuple[str, bool]:
    return f"{row.tally.count():,} requests", row.tally.count() <= 60


def _opened(row: Row) -> tuple[str, bool]:
    ratio = row.tally.bodies / entry_bytes(names(row.keys))
    return f"{ratio:.2f}x", ratio <= 1.5


def _stops(row: Row) -> tuple[str, bool]:
    found = {name: row.facts[f"{name}, ms"] for name in ("opening", "committing", "merging", "merging all")}
    return ", ".join(f"{name} {stop:.0f} ms" for name, stop in found.items()), max(found.values()) <= 20


def _collected(row: Row) -> tuple[str, bool]:
    kinds = "manifest versions", "value versions"
    fewer = [f"{row.facts[f'{kind} before']:,.0f} {kind} became {row.facts[f'{kind} after']:,.0f}" for kind in kinds]
    lost = row.facts["values missing"] + row.facts["values wrong"]
    return (
        f"{', '.join(fewer)}; {lost:.0f} values lost",
        all(row.facts[f"{kind} after"] < row.facts[f"{kind} before"] for kind in kinds) and not lost,
    )


def _agreement(results: Results) -> Bar:
    what = (
        "both ways of counting agree within a tenth: bytes at the seam over those on the wire, listings as S3 has them"
    )
    found = []
    for row in results.rows:
        if row.scenario.startswith("agreement: ") and row.where == "seam":
            wire = results.find(row.scenario, where="wire", keys=row.keys)
            if wire is not None:
                found.append((row, row.tally.bodies / wire.tally.bodies_as_s3))
    if not found:
        return Bar(what, results.why_not("agreement"), None)
    said = ", ".join(f"{row.scenario.removeprefix('agreement: ')} at {row.keys:,}: {ratio:.3f}" for row, ratio in found)
    return Bar(what, said, all(0.9 <= ratio <= 1.1 for _, ratio in found))
