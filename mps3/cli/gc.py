"""``mps3 gc``."""

from __future__ import annotations

from dataclasses import asdict
from datetime import timedelta
from typing import Final

import click

from .. import Collected, Collecting, Tally
from ..collect.options import options as check
from .base.command import store_command
from .base.context import CommandContext
from .base.exits import NO
from .base.formatting import moment, size, some
from .base.output import Output, say
from .base.point_in_time import DURATION
from .base.progress import progress

_PARTS: Final = {"manifest": "objects of the manifest", "runs": "runs", "values": "values"}


@store_command()
@click.option("--dry-run", is_flag=True, help="Delete nothing, and say what would be deleted.")
@click.option("--retention", type=DURATION, default="7d", help="How far back all states are kept (7d).")
@click.option("--grace", type=DURATION, default="1d", help="Nothing younger is deleted (1d; at least 20m).")
@click.option(
    "--bucket", "buckets", multiple=True, metavar="NAME", help="Another bucket to delete values in, too. Repeat it."
)
@click.option("--rate", type=float, metavar="N", help="Look at and delete at most so many objects a second.")
async def command(
    context: CommandContext,
    *,
    dry_run: bool,
    retention: timedelta,
    grace: timedelta,
    buckets: tuple[str, ...],
    rate: float | None,
) -> int | None:
    """Delete what no state of the manifest refers to any more: its old versions, runs, and old values.

    Ends with 1 if there is no such manifest.
    """
    check(retention=retention, grace=grace, rate=rate, buckets=buckets)  # before anything is sent
    async with context.client() as client:
        with progress() as report:
            found = await client.collect(
                retention=retention,
                grace=grace,
                dry_run=dry_run,
                progress=lambda event: report(event.looked_at, progress_line(event)),
                rate=rate,
                buckets=buckets,
            )
    if found.since is None:
        say("there is no such manifest, so nothing is known to be garbage")
        return NO
    if context.out.human:
        _show(context.out, found)
    else:
        context.out.json(asdict(found) | {"deleted": found.deleted, "bytes": found.bytes})
    return None


def progress_line(event: Collecting) -> str:
    """Return the progress of a collection as text."""
    return f"{event.looked_at:,} {_PARTS[event.part]}; garbage so far: {event.deleted:,}, {size(event.bytes)}"


def _show(out: Output, found: Collected) -> None:
    tallies = {"manifest": found.manifest, "runs": found.runs, "values": found.values}
    rows = [(_PARTS[part], *cells(tally)) for part, tally in tallies.items()]
    rows.append(("together", *cells(total(*tallies.values()))))
    out.table(("", "would be deleted" if found.dry_run else "deleted", "kept"), rows, right=[1, 2])
    out.line()
    out.line(f"all states since {moment(found.since)} are kept")
    if found.skipped:
        names = some(list(found.skipped))
        out.line(f"keys in {names} are left alone; --bucket NAME looks for garbage there, too")
    if found.foreign:
        out.line(f"{found.foreign:,} of the objects kept are not known to be this manifest's")


def cells(tally: Tally) -> tuple[str, str]:
    """Return what was deleted, and what was kept, as text."""
    return f"{tally.deleted:,} ({size(tally.bytes)})", f"{tally.kept:,} ({size(tally.kept_bytes)})"


def total(*tallies: Tally) -> Tally:
    """Return the sum of several tallies."""
    return Tally(
        sum(one.deleted for one in tallies),
        sum(one.bytes for one in tallies),
        sum(one.kept for one in tallies),
        sum(one.kept_bytes for one in tallies),
    )
