"""``mps3 doctor``."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Final

import click
import orjson

from ..support.environment import Environment
from ..types import JournalKind
from .base.command import store_command
from .base.context import CommandContext
from .base.exits import NO
from .base.formatting import safe
from .base.point_in_time import Seconds

if TYPE_CHECKING:
    from ..doctor.findings import Diagnosis

_MARKS: Final = {True: ("ok  ", "green"), False: ("FAIL", "red bold"), None: ("-   ", "dim")}


@store_command()
@click.option("--journal", type=click.Choice(["auto", "log", "merge"]), default="auto", help="Which is wanted.")
@click.option(
    "--poll-interval",
    type=Seconds(),
    default=1.0,
    metavar="SECONDS",
    help="For the cost of polling (1).",
)
async def command(context: CommandContext, *, journal: JournalKind, poll_interval: float) -> int | None:
    """Try what a bucket can do, and say how it would be used.

    It does what a client does: writes, reads back, lists and deletes objects of its own beside the manifest, which it
    removes again. Ends with 1 if the bucket is not ready.
    """
    from ..doctor.diagnosis import diagnose  # noqa: PLC0415 - nobody else needs it

    where, environment = context.location, Environment()
    storage = context.storage(create=True)
    try:
        await storage.open()
        found = await diagnose(
            storage,
            where.bucket,
            where.manifest,
            journal=journal,
            poll_interval=poll_interval,
            environment=environment,
            priced=where.scheme == "s3",
        )
    finally:
        await storage.aclose()
    if context.out.human:
        _show(context, found)
    else:
        policy = None if found.policy is None else orjson.loads(found.policy)
        context.out.json(asdict(found) | {"healthy": found.healthy, "policy": policy})
    return None if found.healthy else NO


def _show(context: CommandContext, found: Diagnosis) -> None:
    line = context.out.line
    if found.vendor:
        for text in (f"vendor: {found.vendor}", *found.notes, ""):
            line(text)
    width = max(len(finding.what) for finding in found.findings)
    for finding in found.findings:
        line(_MARKS[finding.good], f"  {finding.what:{width}}  {safe(finding.result)}")
    if found.monthly_cost is not None:
        costs = ", ".join(f"{1000 * cost:.4f} ({journal})" for journal, cost in found.cost_of_change.items())
        line()
        line(
            f"polling: about ${found.monthly_cost:.2f} a month for each client while nothing happens, with either "
            "journal,"
        )
        line(f"and ${costs} for each client that sees a thousand changes, at AWS's prices")
    if found.policy is not None:
        line("the least that an IAM policy has to allow:")
        line(found.policy)
    line()
    if found.healthy:
        line((f"ready for the {found.journal} journal", "green"))
    else:
        line(("not ready", "red"))
