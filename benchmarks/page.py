"""The parts of `docs/performance.md` that are generated. What stands around them is kept."""

from __future__ import annotations

import itertools
import os
import platform
import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path

import former
import keys_page
from bars import Bar
from dataset import entry_bytes, names
from results import JOURNALS, Results, last_line, named
from scenarios.operations import OPERATIONS
from tables import bytes_of, dollars, fact_of, requests_of, table_of

import mps3


def write(page: Path, parts: Mapping[str, str]) -> None:
    """Replace the parts of a page between their markers.

    Args:
        page: The page.
        parts: What each is to say now, by its name.

    Raises:
        ValueError: The page has no place for a part.
    """
    text = page.read_text(encoding="utf-8")
    for name, part in parts.items():
        marked = re.compile(rf"(<!-- benchmarks: {name} -->\n).*?(<!-- /benchmarks: {name} -->)", re.DOTALL)
        if not marked.search(text):
            raise ValueError(f"{page.name} has no markers for {name!r}")
        text = marked.sub(lambda found, part=part: f"{found[1]}{part.strip()}\n{found[2]}", text)  # type: ignore[misc]
    page.write_text(text, encoding="utf-8")


def parts(results: Results, judged: Sequence[Bar], *, command: str, store: str, latency: float) -> dict[str, str]:
    """All that is generated, by the names of its markers."""
    return {
        "about": about(command, store, latency),
        "bars": bars_table(judged),
        "operations": operations(results),
        "cost": cost(results),
        "contention": contention(results),
        "raw": raw(results),
        "keys": keys_page.few(results),
        "arithmetic": keys_page.arithmetic(results),
        "former": table_of(["", "merge journal", "conditional journal"], former.rows()),
        "rest": rest(results),
    }


def about(command: str, store: str, latency: float) -> str:
    """When, where, how."""
    processor = platform.processor() or platform.machine()
    try:
        found = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text(encoding="utf-8"))
        processor = found[1] if found else processor
    except OSError:
        pass
    return (
        f"Measured on {datetime.now(timezone.utc):%d %B %Y} with mps3 {mps3.__version__}, Python "
        f"{platform.python_version()} and {platform.system()} on {os.cpu_count()} cores ({processor}); "
        f"over HTTP: {store}. Each request takes {1000 * latency:.0f} ms on average, added by the harness. "
        "The command:\n\n"
        f"```console\n$ {command}\n```"
    )


def bars_table(judged: Sequence[Bar]) -> str:
    """The bars, and what each journal was found to do."""

    def cells(bar: Bar) -> list[str]:
        said = [bar.what]
        for journal in JOURNALS:
            finding = bar.found[journal]
            shown = finding.judged or finding.holds is not None
            said += [finding.measured if shown else "", f"**{finding.verdict}**" if finding.verdict else ""]
        return said

    return table_of(["", "log journal", "", "merge journal", ""], map(cells, judged))


def operations(results: Results) -> str:
    """What each operation asks of a store, counted in both places."""
    table = []
    for scenario in (*OPERATIONS, "get_all after single puts"):
        for journal in JOURNALS:
            row, wire = (results.find(scenario, journal=journal, where=where) for where in ("seam", "wire"))
            if row is None:
                continue
            trips = row.facts.get("round trips")
            total = row.tally.select()
            table.append(
                [
                    scenario,
                    journal,
                    requests_of(row),
                    "" if trips is None else f"{trips:,.1f}".removesuffix(".0"),
                    bytes_of(total.up / row.operations),
                    bytes_of(total.down / row.operations),
                    "not measured" if wire is None else requests_of(wire),
                ]
            )
    return table_of(["", "journal", "requests", "round trips", "sent", "received", "requests over HTTP"], table)


def cost(results: Results) -> str:
    """What operations cost for each number of keys."""
    titles = {
        "put": "put, one after another",
        "put slowly": "put, one a second",
        "put_all of 100": "put_all of 100",
        "open": "open",
        "change": "a change, to another client",
        "idle minute": "a minute of nothing",
    }
    rows = [row for name in titles for journal in JOURNALS for row in results.all(name, journal=journal)]
    table = [
        [
            titles[row.scenario],
            row.journal,
            f"{row.keys:,}",
            requests_of(row),
            bytes_of(row.tally.select().up / row.operations),
            bytes_of(row.tally.select().down / row.operations),
            f"{1000 * row.seconds / row.operations:,.0f} ms" if row.seconds else "",
            f"${dollars(row):,.2f}",
        ]
        for row in rows
    ]
    return table_of(["", "journal", "keys", "requests", "sent", "received", "time", "a million"], table)


def contention(results: Results) -> str:
    """What several writers do to each other."""
    table = []
    for scenario, title in (("contention", "writers without pause"), ("paced", "the same, one PUT a second to a key")):
        for writers, journal, where in itertools.product((32, 4, 1), JOURNALS, ("seam", "wire")):
            for row in results.all(f"{scenario} of {writers}", journal=journal, where=where):
                told = {name: f"{row.facts[name]:,.1f}" for name in ("median", "p95", "PUTs", "reads")}
                rate, lost = f"{row.facts['commits a second']:,.1f}", f"{row.facts['lost']:.0f}"
                place = {"seam": "virtual time", "wire": "HTTP"}[where]
                table.append([f"{writers} {title}", journal, place, rate, *told.values(), lost])
    head = [
        "",
        "journal",
        "",
        "commits a second",
        "median, round trips",
        "p95",
        "PUTs a commit",
        "reads a commit",
        "lost",
    ]
    return table_of(head, table)


def raw(results: Results) -> str:
    """What was measured beside raw requests."""
    table = []
    for journal in JOURNALS:
        ours, theirs = results.find("one put", journal=journal), results.find("one put, raw", journal=journal)
        if ours is None or theirs is None:
            table.append([journal, "not measured: " + results.why_not(named("one put", journal)), "", "", "", "", ""])
            continue
        heads = ours.tally.select()
        table.append(
            [
                journal,
                f"{1000 * ours.seconds / ours.operations:,.1f} ms",
                f"{1000 * theirs.seconds / theirs.operations:,.1f} ms",
                f"{ours.seconds / theirs.seconds:.2f}x",
                f"{ours.facts['CPU, ms']:.2f} ms",
                f"{theirs.facts['CPU, ms']:.2f} ms",
                bytes_of(heads.heads / max(1, heads.requests)),
            ]
        )
    head = ["journal", "mps3", "raw", "", "CPU a put, mps3", "CPU a put, raw", "headers a request, both ways"]
    return table_of(head, table)


def rest(results: Results) -> str:
    """What has no table of its own."""
    shown = (
        "load",
        "put_all",
        "CPU of a put",
        "subscriptions",
        "commit among subscriptions",
        "memory",
        "loop stops",
        "merging two runs",
    )
    woken = "heard", "idle with wake-ups", "false wake-ups", "lost wake-ups", "view"
    table = [
        [row.scenario, f"{row.keys:,}", row.journal, ", ".join(fact_of(*fact) for fact in row.facts.items())]
        for name in (*shown, "collection", *woken)
        for row in results.all(name)
    ]
    text = table_of(["", "keys", "journal", "found"], table)
    if results.skipped:
        whys = (
            f"- {one.scenario}{'' if one.keys is None else f' at {one.keys:,} keys'}: {last_line(one.why)}"
            for one in results.skipped
        )
        text += "\n\n**Not measured:**\n\n" + "\n".join(whys)
    return text


def whole_manifest(keys: int) -> int:
    """Bytes of a manifest that lists every key: computed, from the same entries."""
    return entry_bytes(names(keys))
