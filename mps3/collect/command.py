"""``mps3 gc``."""

from __future__ import annotations

import argparse
import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import timedelta
from typing import TYPE_CHECKING, Final, TextIO

import orjson

from .options import options
from .report import Collected, Collecting, Progress, Tally

if TYPE_CHECKING:
    from ..client import MPS3

EVERY: Final = 5.0
"""Seconds between two lines of progress, where there is no bar."""
_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_SPAN: Final = re.compile(r"(\d+(?:\.\d+)?)([smhdw]?)\Z")
_NAMES: Final = {"manifest": "versions of the manifest", "runs": "runs", "values": "values"}


def span(text: str) -> timedelta:
    """Read ``7d``, ``12h``, ``30m``, ``1w`` or a number of seconds.

    Raises:
        ValueError: It is none of these.
    """
    found = _SPAN.match(text)
    if found is None:
        raise ValueError(text)
    try:
        return timedelta(**{_UNITS[found[2] or "s"]: float(found[1])})
    except OverflowError as error:
        raise ValueError(text) from error


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what ``mps3 gc`` takes."""
    parser.add_argument("url", help="s3://bucket/manifest.json?endpoint_url=…, file:///some/dir")
    parser.add_argument("--dry-run", action="store_true", help="delete nothing, and say what would be deleted")
    parser.add_argument("--retention", type=span, default="7d", help="how far back all states are kept (7d)")
    parser.add_argument("--grace", type=span, default="1d", help="nothing younger is deleted (1d; at least 20m)")
    parser.add_argument("--manifest", help="the manifest's key, instead of the one in the URL")
    parser.add_argument("--rate", type=float, metavar="N", help="look at and delete at most so many objects a second")
    parser.add_argument("--json", action="store_true", help="print JSON")


def check_arguments(given: argparse.Namespace) -> None:
    """Refuse what can never work.

    Raises:
        ValueError: Says why.
    """
    options(retention=given.retention, grace=given.grace, rate=given.rate)


async def gc(client: MPS3, given: argparse.Namespace) -> Collected:
    """Collect, and show on standard error how far it has come."""
    async with client:
        with _shown(sys.stderr) as progress:
            return await client.collect(
                retention=given.retention,
                grace=given.grace,
                dry_run=given.dry_run,
                manifest=given.manifest,
                progress=progress,
                rate=given.rate,
            )


@contextmanager
def _shown(stream: TextIO) -> Iterator[Progress]:
    if stream.isatty():
        try:
            from rich.console import Console  # noqa: PLC0415 - in the extra `cli`
            from rich.progress import BarColumn, SpinnerColumn, TextColumn, TimeElapsedColumn  # noqa: PLC0415
            from rich.progress import Progress as Bars  # noqa: PLC0415
        except ImportError:
            pass
        else:
            columns = (SpinnerColumn(), BarColumn(20), TextColumn("{task.description}"), TimeElapsedColumn())
            with Bars(*columns, console=Console(file=stream), transient=True) as bars:
                task = bars.add_task("", total=None)  # how many there are is known in the end
                yield lambda event: bars.update(task, description=_line(event))
            return
    last = time.monotonic()

    def tell(event: Collecting) -> None:
        nonlocal last
        if time.monotonic() - last >= EVERY:
            last = time.monotonic()
            print(_line(event), file=stream, flush=True)

    yield tell


def _line(event: Collecting) -> str:
    return f"{event.looked_at:,} {_NAMES[event.part]}; garbage so far: {event.deleted:,}, {size(event.bytes)}"


def report(found: Collected) -> str:
    """For people."""
    verb = "would be deleted" if found.dry_run else "deleted"
    lines = [f"{'':26}{verb:>24}{'kept':>24}"]
    for name, tally in (*_tallies(found).items(), ("together", _sum(*_tallies(found).values()))):
        gone = f"{tally.deleted:,} ({size(tally.bytes)})"
        kept = f"{tally.kept:,} ({size(tally.kept_bytes)})"
        lines.append(f"{name:26}{gone:>24}{kept:>24}")
    if found.since is not None:
        lines += ["", f"all states since {found.since:%Y-%m-%d %H:%M:%S} UTC are kept"]
    if found.foreign:
        lines.append(f"{found.foreign:,} of the objects kept are not known to be this manifest's")
    return "\n".join(lines)


def as_json(found: Collected) -> str:
    """For programs."""
    return orjson.dumps(
        asdict(found) | {"deleted": found.deleted, "bytes": found.bytes}, option=orjson.OPT_INDENT_2
    ).decode()


def _tallies(found: Collected) -> dict[str, Tally]:
    return {_NAMES["manifest"]: found.manifest, _NAMES["runs"]: found.runs, _NAMES["values"]: found.values}


def _sum(*tallies: Tally) -> Tally:
    return Tally(
        sum(one.deleted for one in tallies),
        sum(one.bytes for one in tallies),
        sum(one.kept for one in tallies),
        sum(one.kept_bytes for one in tallies),
    )


def size(number: float) -> str:
    """Bytes for people."""
    for unit in ("B", "kB", "MB", "GB"):
        if number < 1000:
            return f"{number:.0f} B" if unit == "B" else f"{number:.1f} {unit}"
        number /= 1000
    return f"{number:.1f} TB"
