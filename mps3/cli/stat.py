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
from .base.point_in_time import Duration
from .base.progress import progress
from .gc import line


@store_command()
@click.option("--quick", is_flag=True, help="Only keys and bytes, without looking through the bucket.")
@click.option("--retention", type=Duration(), default="7d", help="How far back nothing counts as garbage (7d).")
@click.option("--grace", type=Duration(), default="1d", help="Nothing younger is garbage (1d; at least 20m).")
async def command(context: CommandContext, *, quick: bool, retention: timedelta, grace: timedelta) -> int | None:
    """Count keys and bytes, and what is stored for them: versions of the manifest, runs, values, and garbage.

    It changes nothing. All but --quick takes a listing for each thousand objects in the bucket. Ends with 1 if there is
    no such manifest, as mps3 gc does.
    """
    try:
        check(retention=retention, grace=grace)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    async with context.client() as client:
        found = await _present(client)
        if not quick and found["newest"] is not None:
            found |= await _stored(client, retention, grace)
    if context.out.human:
        _show(context, found)
    else:
        context.out.json(found)
    return NO if found["newest"] is None else None


async def _present(client: MPS3) -> dict[str, Any]:
    files = (await client.snapshot()).files()
    newest = await client.log(limit=1)
    return {
        "keys": len(files),
        "bytes": sum(file.size or 0 for file in files),
        "newest": {"id": newest[0].id, "time": newest[0].time} if newest else None,
    }


async def _stored(client: MPS3, retention: timedelta, grace: timedelta) -> dict[str, Any]:
    with progress() as tell:
        collected = await client.collect(
            retention=retention, grace=grace, dry_run=True, progress=lambda event: tell(event.looked_at, line(event))
        )
    # The newest version of the manifest is never looked at: it is what everything is measured by.
    return {
        "manifest": _all(collected.manifest, more=1),
        "runs": _all(collected.runs),
        "values": _all(collected.values),
        "garbage": {"objects": collected.deleted, "bytes": collected.bytes},
        "foreign": collected.foreign,
    }


def _all(tally: Tally, more: int = 0) -> dict[str, int]:
    return {"objects": tally.deleted + tally.kept + more, "bytes": tally.bytes + tally.kept_bytes}


def _show(context: CommandContext, found: dict[str, Any]) -> None:
    rows = [("keys", f"{found['keys']:,}", size(found["bytes"]))]
    for name, label in (("manifest", "versions of the manifest"), ("runs", "runs"), ("values", "versions of values")):
        if name in found:
            rows.append((label, f"{found[name]['objects']:,}", size(found[name]["bytes"])))
    if "garbage" in found:
        rows.append(("garbage among these", f"{found['garbage']['objects']:,}", size(found["garbage"]["bytes"])))
    context.out.table(("", "how many", "bytes"), rows, right=[1, 2])
    if found["newest"] is None:
        context.out.line(("there is no commit yet: mps3 put makes one", "dim"))
    else:
        context.out.line(
            (f"the last commit: {short_id(found['newest']['id'])}, {moment(found['newest']['time'])}", "dim")
        )
    if found.get("foreign"):
        context.out.line((f"{count(found['foreign'], 'object')} of others, or not known to be this manifest's", "dim"))
    if found.get("garbage", {}).get("objects"):
        context.out.line(("mps3 gc deletes the garbage", "dim"))
