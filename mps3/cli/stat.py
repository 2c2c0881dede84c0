"""``mps3 stat``."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import click

from .. import MPS3, Tally
from ..collect.options import options as check
from .base.command import store_command
from .base.context import CommandContext
from .base.exits import NO
from .base.formatting import count, moment, short_id, size
from .base.output import Output
from .base.point_in_time import DURATION
from .base.progress import progress
from .gc import progress_line


@store_command()
@click.option("--quick", is_flag=True, help="Only keys and bytes, without looking through the bucket.")
@click.option("--retention", type=DURATION, default="7d", help="How far back nothing counts as garbage (7d).")
@click.option("--grace", type=DURATION, default="1d", help="Nothing younger is garbage (1d; at least 20m).")
async def command(context: CommandContext, *, quick: bool, retention: timedelta, grace: timedelta) -> int | None:
    """Count keys and bytes, and what is stored for them: the manifest, runs, values, and garbage.

    It changes nothing. Without --quick it sends one listing for each thousand objects in the bucket. Ends with 1 if
    there is no such manifest, as mps3 gc does.
    """
    check(retention=retention, grace=grace)  # before anything is sent
    async with context.client() as client:
        found = await _present(client)
        if not quick and found["newest"] is not None:
            found |= await _stored(client, retention, grace)
    if context.out.human:
        _show(context.out, found)
    else:
        context.out.json(found)
    return NO if found["newest"] is None else None


async def _present(client: MPS3) -> dict[str, Any]:
    files = await (await client.snapshot()).files()
    newest = await client.log(limit=1)
    return {
        "keys": len(files),
        "bytes": sum(file.size or 0 for file in files),
        "newest": {"id": newest[0].id, "time": newest[0].time} if newest else None,
    }


async def _stored(client: MPS3, retention: timedelta, grace: timedelta) -> dict[str, Any]:
    with progress() as report:
        collected = await client.collect(
            retention=retention,
            grace=grace,
            dry_run=True,
            progress=lambda event: report(event.looked_at, progress_line(event)),
        )
    return {
        # A collection does not count the manifest itself, which it always keeps.
        "manifest": _all(collected.manifest, more=1),
        "runs": _all(collected.runs),
        "values": _all(collected.values),
        "garbage": {"objects": collected.deleted, "bytes": collected.bytes},
        "foreign": collected.foreign,
    }


def _all(tally: Tally, more: int = 0) -> dict[str, int]:
    return {"objects": tally.deleted + tally.kept + more, "bytes": tally.bytes + tally.kept_bytes}


def _show(out: Output, found: dict[str, Any]) -> None:
    rows = [("keys", f"{found['keys']:,}", size(found["bytes"]))]
    for name, label in {
        "manifest": "objects of the manifest",
        "runs": "runs",
        "values": "versions of values",
        "garbage": "garbage among these",
    }.items():
        if name in found:
            rows.append((label, f"{found[name]['objects']:,}", size(found[name]["bytes"])))
    out.table(("", "how many", "bytes"), rows, right=[1, 2])
    if found["newest"] is None:
        out.note("there is no commit yet: mps3 put makes one")
    else:
        out.note(f"the last commit: {short_id(found['newest']['id'])}, {moment(found['newest']['time'])}")
    if found.get("foreign"):
        out.note(f"{count(found['foreign'], 'object')} of others, or not known to be this manifest's")
    if found.get("garbage", {}).get("objects"):
        out.note("mps3 gc deletes the garbage")
