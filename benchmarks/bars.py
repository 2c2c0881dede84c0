"""What is asked of mps3, and whether it was found to be so: the bars are those of the log journal, or of both."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import former
from dataset import entry_bytes, names
from results import JOURNALS, Results, Row, named
from scenarios.operations import OPERATIONS

BOTH: Final = JOURNALS
LOG: Final = ("log",)

Found: TypeAlias = tuple[str, bool]
Judge: TypeAlias = Callable[[Row], Found]


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found with one journal.

    Attributes:
        measured: What was found, or why nothing was.
        holds: Whether it is within the limit; ``None`` if it was not measured.
        judged: Whether the limit is for this journal, too.
    """

    measured: str
    holds: bool | None
    judged: bool

    @property
    def verdict(self) -> str:
        """In words."""
        if not self.judged:
            return ""
        return {True: "within the bar", False: "misses it", None: "NOT MEASURED"}[self.holds]


@dataclass(frozen=True, slots=True)
class Bar:
    """A limit.

    Attributes:
        what: What is limited, and to what.
        found: What was found, by the names of the journals.
    """

    what: str
    found: dict[str, Finding]

    @property
    def holds(self) -> bool:
        """Whether it was measured, and is within the limit, with each journal that it is for."""
        return all(finding.holds for finding in self.found.values() if finding.judged)


def bars(results: Results, largest: int, huge: int = 0) -> list[Bar]:
    """All of them.

    Args:
        results: What was found.
        largest: The greatest number of keys that most of this run was about; the bars speak of 1,000,000.
        huge: That of which only a few were read; 0 if there was none. The bars speak of 10,000,000.
    """
    groups = _commits(results, largest), _reads(results), _contention(results), _wakes(results)
    few = _few(results, largest, huge)
    return [bar for group in (*groups, few, _lasting(results, largest)) for bar in group]


def _commits(results: Results, largest: int) -> Iterable[Bar]:
    count = next((row.operations for row in results.all("put", keys=largest)), 10_000)
    at_all = f"an awaited put of 100 bytes, at 10 to {largest:,} keys"
    yield _bar(
        results, "put", f"{at_all}: 1 request, at most 2 kB sent (medians of {count:,})", _every(_one_request), LOG
    )
    yield _bar(results, "put", "the same with the merge journal: 2 requests", _every(_two_requests), ("merge",))
    yield _bar(
        results,
        "put",
        f"{at_all}, on average over {count:,}, checkpoints included: at most 1.1 requests and 4 kB sent",
        _every(_on_average),
        LOG,
    )
    yield _beside(results, "an awaited put over HTTP: at most 1.2x the time of its requests made raw", _slower)
    yield _beside(results, "CPU of an awaited put over HTTP: at most 1.5x that of its requests made raw", _more_work)
    yield _bar(results, "CPU of a put", "CPU of an awaited put in memory: under 0.7 ms, however many came before", _cpu)
    for name in ("update", "transaction"):
        what = f"`{name}` of one key, uncontended: at most 2 requests, one after another"
        yield _bar(results, name, what, _trips(2, 2))
    what = "the first put of a process, with opening: at most 4 requests in 3 round trips"
    yield _bar(results, "first put of a process", what, _trips(4, 3))
    yield _bar(results, "1,000 puts at once", "1,000 puts at once: at most 20 requests", _trips(20))
    row = results.find("put_all")
    what = f"`put_all` of {row.keys if row else 100_000:,} small keys: at most 5 s of CPU, and after the call, which"
    yield _bar(results, "put_all", f"{what} encodes all of it, no stop of the event loop above 20 ms", _large)


def _reads(results: Results) -> Iterable[Bar]:
    yield _bar(
        results,
        "change",
        "a change heard by another client, at any number of keys: 1 GET",
        _every(_heard),
    )
    yield _bar(
        results, "get_all of 10,000", "`get_all` of 10,000 small values, first time: at most 20 requests", _trips(20)
    )
    count = next((row.keys for row in results.all("get_all after single puts")), 10_000)
    what = f"the same of {count:,} values that were written one by one"
    yield _bar(results, "get_all after single puts", what, _trips(20))
    what = "opening an idle store of 1,000 keys: at most 5 requests in 2 round trips"
    yield _bar(results, "opening 1,000 keys", what, _trips(5, 2))


def _contention(results: Results) -> Iterable[Bar]:
    for where, told in (("seam", "in virtual time"), ("wire", "over HTTP")):
        many, few = "contention of 32", "contention of 4"
        what = f"32 writers without pause, {told}"
        yield _bar(results, many, f"{what}: no acknowledged write is lost", _lost, BOTH, where=where)
        limits = {"median": 6, "p95": 12}
        what_times = f"{what}: median at most 6 round trips, p95 at most 12"
        yield _bar(results, many, what_times, _most(limits), where=where)
        yield _bar(results, many, f"{what}: at most 7 PUTs a commit", _most({"PUTs": 7}), where=where)
        yield _bar(results, many, f"{what}: at most 20 reads a commit", _most({"reads": 20}), where=where)
        what = f"4 writers without pause, {told}: median at most 3.5 round trips, at most 4 PUTs a commit"
        yield _bar(results, few, what, _most({"median": 3.5, "PUTs": 4}), where=where)
    yield _bar(results, "turns", "two writers taking turns at human speed: 1 request each", _trips(1))
    row = results.find("counter of 32")
    count = f"{row.facts['increments'] / 32:.0f}" if row else "100"
    what = f"32 clients x {count} increments of one counter, with faults"
    yield _bar(results, "counter of 32", f"{what}: the sum is exact", _most({"wrong by": 0}), BOTH)
    what_time = f"{what}: at most 1.5x the time of as many puts of different keys"
    yield _bar(results, "counter of 32", what_time, _most({"times that of puts": 1.5}), BOTH)
    what = "a store that refuses more than one PUT a second to the same key: 20 commits a second by"
    yield _bar(results, "paced of 1", f"{what} one writer", _rate)
    yield _bar(results, "paced of 4", f"{what} 4 writers at once", _rate)


def _wakes(results: Results) -> Iterable[Bar]:
    what = "with a wake-up of 1 ms, from the call of `put` to another client: at most 2.5 round trips (median), 4 (p95)"
    yield _bar(results, "heard", what, _most({"median": 2.5, "p95": 4}))
    what = "an idle client with wake-ups: at most 130 requests an hour"
    yield _bar(results, "idle with wake-ups", what, _most({"requests an hour": 130}), BOTH)
    what = "10,000 false wake-ups a second: at most 2 requests a second"
    yield _bar(results, "false wake-ups", what, _most({"requests a second": 2}), BOTH)
    row = results.find("lost wake-ups")
    what = f"wake-ups killed and started ten times during {row.operations if row else 2_000:,} commits: none missed,"
    most = {"missed": 0.0, "latest, seconds": 1.0}
    yield _bar(results, "lost wake-ups", f"{what} each heard within the ordinary poll interval", _most(most), BOTH)
    what = "a view of all keys: what it adds to a commit of one key depends on their number by less than half;"
    yield _bar(results, "view", f"{what} of 1,000 live queries, the commit wakes the one it concerns", _viewed(), BOTH)


def _few(results: Results, largest: int, huge: int) -> Iterable[Bar]:
    """Reading a few of very many keys, and what it takes to keep them in order."""
    for keys, most in ((largest, 30), (huge, 60)):
        if not keys:
            continue
        among = f"of {keys:,} keys in an idle store"
        what = f"opening {keys:,} keys in an idle store: at most 8 requests and 1 MB"
        yield _bar(results, "opening", what, _small(8, 1_000_000), BOTH, keys=keys)
        what = f"a client that opens {keys:,} keys, and reads one: at most {most} MB more resident memory"
        yield _bar(results, "memory of one key", what, _most({"MB": most}), BOTH, keys=keys)
        what = f"`get` of a random key {among}, by a fresh client that is open: at most 3 requests and 200 kB"
        yield _bar(results, "get", what, _coldest(3, 200_000), BOTH, keys=keys)
        count = next((row.operations for row in results.all("absent", keys=keys)), 10_000)
        what = f"`get` of a key that is not there, {among}: at most 1.1 requests, on average of {count:,} by one client"
        yield _bar(results, "absent", what, _never, BOTH, keys=keys)
    what = (
        f"`get_all` of a prefix of 1,000 values of 100 bytes, in an idle store of {largest:,} keys: at most 12 requests"
    )
    yield _bar(results, "get_all of a prefix", f"{what}, and 3x the bytes of the values", _prefix, BOTH, keys=largest)
    yield _grown(results, largest)
    row = results.find("merging two runs")
    size = f"{row.facts['MB merged'] / 2:,.0f}" if row else "100"
    what = f"merging two runs of {size} MB: at most 50 MB of memory, no stop of the event loop above 20 ms"
    yield _bar(results, "merging two runs", what, _most({"MB more at the peak": 50, "stop, ms": 20}))
    yield _as_fast(results, largest)


def _lasting(results: Results, largest: int) -> Iterable[Bar]:
    """What the first protocol was asked for, and this one still is."""
    big = f"at {largest:,} keys"
    yield _bar(
        results,
        "open",
        f"opening {big}: at most 60 requests, and 1.5x the bytes of the entries",
        _opened,
        BOTH,
        keys=largest,
    )
    what = f"loading {largest:,} keys with `put_all`, 1,000 at a time: bytes of the manifest written, at most 8x those"
    yield _bar(results, "load", f"{what} of the entries", _most({"written, of the entries": 8}), BOTH, keys=largest)
    what = f"a client that opens {big}: at most 250 MB more resident memory"
    yield _bar(results, "memory", what, _most({"MB": 250}), BOTH, keys=largest)
    yield _bar(results, "loop stops", f"no stop of the event loop {big} above 20 ms", _stops, BOTH, keys=largest)
    what = "10,000 subscriptions: one request a poll, and a commit of one key wakes one"
    yield _bar(results, "subscriptions", what, _woken, BOTH)
    what = "collecting takes what is older than the retention, and nothing that is needed"
    yield _bar(results, "collection", what, _collected, BOTH)
    yield _agreement(results)


def _bar(
    results: Results,
    scenario: str,
    what: str,
    judge: Judge | Callable[[Sequence[Row]], Found],
    journals: Sequence[str] = LOG,
    **wanted: object,
) -> Bar:
    """A bar, judged by the first row that is wanted, or by all rows if the judge is one of `_every`."""
    found = {}
    wanted.setdefault("where", "seam")
    for journal in JOURNALS:
        rows = list(results.all(scenario, journal=journal, **wanted))
        judged = journal in journals
        if not rows:
            group = {"seam": "", "wire": ", wire"}[str(wanted["where"])]
            # What was skipped is named after the group that it belongs to.
            short = scenario.partition(" of ")[0]
            why = [named(name, journal) for name in (scenario, f"{short}{group}", "operations", "load")]
            found[journal] = Finding(results.why_not(*why), None, judged)
        else:
            said = judge(rows) if isinstance(judge, _every) else judge(rows[0])  # type: ignore[arg-type]
            found[journal] = Finding(*said, judged)
    return Bar(what, found)


class _every:  # noqa: N801 - reads like a function
    """Judge all rows, and say what is found at each number of keys, or once if it is the same."""

    def __init__(self, judge: Judge) -> None:
        self._judge = judge

    def __call__(self, rows: Sequence[Row]) -> Found:
        judged = {row.keys: self._judge(row) for row in rows}
        said: dict[str, list[str]] = {}
        for keys, (found, _) in judged.items():
            said.setdefault(found, []).append(f"{keys:,}")
        text = "; ".join(f"{found} (at {', '.join(keys)})" for found, keys in said.items())
        return text if len(said) > 1 else next(iter(said)), all(holds for _, holds in judged.values())


class _viewed(_every):  # noqa: N801 - reads like a function
    """Judge whether a view costs the same at each number of keys."""

    def __init__(self) -> None:
        super().__init__(lambda row: (f"{row.keys}", True))

    def __call__(self, rows: Sequence[Row]) -> Found:
        added = {row.keys: row.facts["CPU, ms"] - row.facts["CPU without a view, ms"] for row in rows}
        woken = {row.facts["queries that yielded"] for row in rows}
        said = ", ".join(f"{one:.2f} ms at {keys:,}" for keys, one in added.items())
        least, most = min(added), max(added)
        return (
            f"{said}; {max(woken):.0f} woken",
            least < most and added[most] <= 1.5 * added[least] and woken == {1},
        )


def _one_request(row: Row) -> Found:
    requests, sent = row.facts["requests, median"], row.facts["bytes sent, median"]
    return f"{_number(requests)} request{'s' * (requests != 1)}, {sent:,.0f} B", requests == 1 and sent <= 2_000


def _two_requests(row: Row) -> Found:
    requests = row.facts["requests, median"]
    return f"{_number(requests)} request{'s' * (requests != 1)}", requests == 2


def _on_average(row: Row) -> Found:
    requests, sent = row.per_operation(), row.tally.select().up / row.operations
    return f"{requests:.2f} requests, {sent:,.0f} B", requests <= 1.1 and sent <= 4_000


def _beside(results: Results, what: str, judge: Callable[[Row, Row], Found]) -> Bar:
    """A bar of what was measured beside raw requests."""
    found = {}
    for journal in JOURNALS:
        one, raw = results.find("one put", journal=journal), results.find("one put, raw", journal=journal)
        if one is None or raw is None:
            found[journal] = Finding(results.why_not(named("one put", journal)), None, journal in LOG)
        else:
            found[journal] = Finding(*judge(one, raw), journal in LOG)
    return Bar(what, found)


def _slower(one: Row, raw: Row) -> Found:
    ratio = one.seconds / raw.seconds
    return f"{ratio:.2f}x", ratio <= 1.2


def _more_work(one: Row, raw: Row) -> Found:
    ratio = one.facts["CPU, ms"] / raw.facts["CPU, ms"]
    return f"{ratio:.2f}x", ratio <= 1.5


def _cpu(row: Row) -> Found:
    return ", ".join(f"{value:.2f} {name}" for name, value in row.facts.items()), max(row.facts.values()) < 0.7


def _trips(requests: int, round_trips: int | None = None) -> Judge:
    """Judge the requests of an operation, and if told the round trips."""

    def judge(row: Row) -> Found:
        made = row.per_operation()
        said = f"{_number(made)} request{'s' if made != 1 else ''}"
        trips = row.facts.get("round trips", 0.0)
        if trips:
            said += f", {_number(trips)} round trip{'s' if round(trips, 2) != 1 else ''}"
        return said, made <= requests and (round_trips is None or round(trips, 2) <= round_trips)

    return judge


def _large(row: Row) -> Found:
    stop, cpu = row.facts["stop, ms"], row.facts["CPU, seconds"]
    return (
        f"{cpu:.1f} s of CPU, {stop:.0f} ms; the call itself {row.facts['the call, ms']:,.0f} ms",
        stop <= 20 and cpu <= 5,
    )


def _heard(row: Row) -> Found:
    gets, listings = row.facts["manifest GETs, at most"], row.facts["listings, at most"]
    values = row.facts["value GETs, at most"]
    said = f"{gets:.0f} GET" + f", {listings:.0f} listing" * bool(listings) + f", {values:.0f} of values" * bool(values)
    return said, gets == 1 and not listings and not values


def _small(requests: int, received: int) -> Judge:
    """Judge the requests of an operation, and the bytes of their bodies."""

    def judge(row: Row) -> Found:
        made, size = row.per_operation(), row.bytes_each
        return f"{_number(made)} requests, {size / 1000:,.0f} kB", made <= requests and size <= received

    return judge


def _coldest(requests: int, received: int) -> Judge:
    """Judge the most expensive of several."""

    def judge(row: Row) -> Found:
        made, size = row.facts["requests, at most"], row.facts["bytes, at most"]
        said = f"at most {made:.0f} requests, {size / 1000:,.0f} kB"
        return f"{said} (of {row.operations})", made <= requests and size <= received

    return judge


def _never(row: Row) -> Found:
    first = row.facts["requests of the first"]
    return f"{row.per_operation():.2f} requests; of the first {first:.0f}", row.per_operation() <= 1.1


def _prefix(row: Row) -> Found:
    made, times = row.tally.count(), row.facts["times those"]
    return f"{made:,} request{'s' * (made != 1)}, {times:.2f}x", made <= 12 and times <= 3


def _grown(results: Results, largest: int) -> Bar:
    """The bytes that a put sends where there are many keys, and where there are ten."""
    found = {}
    for journal in JOURNALS:
        few, many = (results.find("put", journal=journal, keys=keys) for keys in (10, largest))
        if few is None or many is None:
            found[journal] = Finding(results.why_not(named("put", journal)), None, judged=True)
        else:
            sent = [row.tally.select().up / row.operations for row in (few, many)]
            said = f"{sent[1]:,.0f} B, {sent[1] / sent[0]:.2f}x"
            found[journal] = Finding(said, sent[1] <= 3 * sent[0], judged=True)
    what = f"bytes sent by an awaited put, merging included, at {largest:,} keys: at most 3x those at 10"
    return Bar(what, found)


def _as_fast(results: Results, largest: int) -> Bar:
    """The CPU that loading takes, and took before runs had blocks."""
    found = {}
    for journal in JOURNALS:
        row, before = results.find("load", journal=journal, keys=largest), former.find("load", journal, largest)
        if row is None or before is None or before.seconds is None:
            why = results.why_not(named("load", journal)) if row is None else "not measured before the blocks"
            found[journal] = Finding(why, None, judged=True)
        else:
            now = row.facts["CPU, seconds"]
            found[journal] = Finding(f"{now:.1f} s, {now / before.seconds:.2f}x", now <= before.seconds, judged=True)
    what = f"loading {largest:,} keys with `put_all`, 1,000 at a time: at most the CPU that it took before the blocks"
    return Bar(what, found)


def _lost(row: Row) -> Found:
    return f"{row.facts['lost']:.0f} lost", row.facts["lost"] == 0


def _most(limits: Mapping[str, float]) -> Judge:
    """Judge facts by what they may be at the most."""

    def judge(row: Row) -> Found:
        said = ", ".join(f"{name} {row.facts[name]:,.1f}" for name in limits)
        return said, all(row.facts[name] <= limit for name, limit in limits.items())

    return judge


def _rate(row: Row) -> Found:
    rate = row.facts["commits a second"]
    return f"{rate:.1f}", rate >= 20


def _woken(row: Row) -> Found:
    polled, woken = row.facts["requests a poll"], row.facts["subscriptions that yielded"]
    return f"{polled:.2f} requests, {woken:.0f} woken", polled <= 1 and woken == 1


def _opened(row: Row) -> Found:
    ratio = row.tally.bodies / entry_bytes(names(row.keys))
    return f"{row.tally.count():,} requests, {ratio:.2f}x", row.tally.count() <= 60 and ratio <= 1.5


def _stops(row: Row) -> Found:
    found = {name: row.facts[f"{name}, ms"] for name in ("opening", "committing", "merging", "merging all")}
    return ", ".join(f"{name} {stop:.0f} ms" for name, stop in found.items()), max(found.values()) <= 20


def _collected(row: Row) -> Found:
    kinds = "manifest versions", "value versions"
    fewer = [f"{row.facts[f'{kind} before']:,.0f} {kind} became {row.facts[f'{kind} after']:,.0f}" for kind in kinds]
    lost = row.facts["values missing"] + row.facts["values wrong"]
    return (
        f"{', '.join(fewer)}; {lost:.0f} values lost",
        all(row.facts[f"{kind} after"] < row.facts[f"{kind} before"] for kind in kinds) and not lost,
    )


def _agreement(results: Results) -> Bar:
    what = (
        "both ways of counting agree: as many requests at the seam as over HTTP, and as many bytes up to a tenth,"
        " with listings as S3 has them"
    )
    found = {}
    for journal in JOURNALS:
        said, holds = [], True
        for scenario in OPERATIONS:
            seam = results.find(scenario, journal=journal, where="seam")
            wire = results.find(scenario, journal=journal, where="wire")
            if seam is None or wire is None:
                continue
            ratio = seam.tally.bodies / max(1, wire.tally.bodies_as_s3)
            good = seam.tally.count() == wire.tally.count() and 0.9 <= ratio <= 1.1
            if not good:
                said.append(f"{scenario}: {seam.tally.count()} and {wire.tally.count()} requests, bytes {ratio:.2f}x")
            holds = holds and good
        if results.find(OPERATIONS[0], journal=journal, where="wire") is None:
            found[journal] = Finding(results.why_not(named("agreement", journal)), None, judged=journal in LOG)
        else:
            found[journal] = Finding("; ".join(said) or "so in all operations", holds, judged=journal in LOG)
    return Bar(what, found)


def _number(value: float) -> str:
    return f"{value:,.2f}".rstrip("0").rstrip(".")
