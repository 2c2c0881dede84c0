"""The parts of `docs/performance.md` that are generated. What stands around them is kept."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Final

from bars import Bar
from dataset import entry_bytes, names
from results import Results, Row, last_line

import mps3

PRICES: Final = {"PUT": 5.0, "LIST": 5.0, "GET": 0.4, "HEAD": 0.4, "DELETE": 0.0, "OTHER": 0.4}
"""US dollars for a million requests: S3 Standard, us-east-1, list prices of 2025."""

Table = Sequence[Sequence[str]]


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
        "bars": _table(["", "measured", ""], ([bar.what, bar.measured, f"**{bar.verdict}**"] for bar in judged)),
        "cost": cost(results),
        "raw": raw(results),
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


def cost(results: Results) -> str:
    """What operations cost for each number of keys."""
    order = ["put", "put slowly", "put_all of 10", "put_all of 100", "open", "first get", "change", "idle minute"]
    titles = {
        "put": "put, one after another",
        "put slowly": "put, one a second",
        "change": "a change, to another client",
        "idle minute": "a minute of nothing",
    }
    rows = [row for name in order for journal in ("merge", "log") for row in results.all(name, journal=journal)]
    table = [
        [
            titles.get(row.scenario, row.scenario) + (" (conditional)" if row.journal == "log" else ""),
            f"{row.keys:,}",
            _requests(row),
            _bytes(row.tally.select().up / row.operations),
            _bytes(row.tally.select().down / row.operations),
            f"{1000 * row.seconds / row.operations:,.0f} ms" if row.seconds else "",
            f"${dollars(row):,.2f}",
        ]
        for row in rows
    ]
    return _table(["", "keys", "requests", "sent", "received", "time", "a million"], table)


def dollars(row: Row) -> float:
    """What a million of these cost in requests."""
    return sum(price * row.per_operation(kind) for kind, price in PRICES.items())


def raw(results: Results) -> str:
    """What was measured beside raw requests, and how both ways of counting agree."""
    table = []
    for name, title in (("one put", "an awaited put"), ("many puts", "1,000 puts at once")):
        ours, theirs = results.find(name), results.find(f"{name}, raw")
        if ours is None or theirs is None:
            table.append([title, "not measured: " + results.why_not(name), "", "", "", ""])
            continue
        heads = ours.tally.select()
        times = ours.operations if name == "one put" else ours.operations // ours.keys
        table.append(
            [
                title,
                f"{1000 * ours.seconds / times:,.0f} ms",
                f"{1000 * theirs.seconds / times:,.0f} ms",
                f"{ours.facts['CPU, ms']:.2f} ms",
                f"{theirs.facts['CPU, ms']:.2f} ms",
                _bytes(heads.heads / max(1, heads.requests)),
            ]
        )
    text = _table(["", "mps3", "raw", "CPU a put, mps3", "CPU a put, raw", "headers a request, both ways"], table)
    agreed = [
        [
            row.scenario.removeprefix("agreement: "),
            f"{row.keys:,}",
            f"{wire.per_operation():.2f}",
            f"{row.per_operation():.2f}",
            _bytes(wire.bytes_each),
            _bytes(row.bytes_each),
            f"{row.tally.bodies / wire.tally.bodies:.3f}",
            f"{row.tally.bodies / wire.tally.bodies_as_s3:.3f}",
        ]
        for row in results.rows
        if row.scenario.startswith("agreement: ")
        and row.where == "seam"
        and (wire := results.find(row.scenario, where="wire", keys=row.keys)) is not None
    ]
    head = [
        "both ways of counting",
        "keys",
        "requests, HTTP",
        "seam",
        "bodies, HTTP",
        "seam",
        "ratio",
        "ratio, listings as S3's",
    ]
    return text + "\n\n" + _table(head, agreed)


def rest(results: Results) -> str:
    """What has no table of its own."""
    table = [
        [row.scenario, f"{row.keys:,}", row.journal, row.where, ", ".join(_fact(*fact) for fact in row.facts.items())]
        for name in (
            "load",
            "contention",
            "subscriptions",
            "commit among subscriptions",
            "memory",
            "loop stops",
            "collection",
        )
        for row in results.all(name)
    ]
    text = _table(["", "keys", "journal", "", "found"], table)
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


def _requests(row: Row) -> str:
    each = {"PUT": "PUT", "GET": "GET", "HEAD": "HEAD", "LIST": "listing", "DELETE": "DELETE", "OTHER": "other"}
    said = [
        f"{row.per_operation(kind):,.2f}".rstrip("0").rstrip(".") + f" {name}"
        for kind, name in each.items()
        if row.tally.count(kind)
    ]
    return ", ".join(said) or "none"


def _bytes(count: float) -> str:
    for unit, size in (("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            return f"{count / size:,.1f} {unit}"
    return f"{count:,.0f} B"


def _fact(name: str, value: float) -> str:
    return f"{name} {value:,.0f}" if value >= 100 or value == int(value) else f"{name} {value:,.2f}"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
