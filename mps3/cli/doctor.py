"""``mps3 doctor``."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Final

import click
import orjson

from ..support.environment import Environment
from ..text import printable
from ..types import JournalKind
from .base.command import store_command
from .base.context import CommandContext
from .base.exits import NO
from .base.point_in_time import SECONDS

if TYPE_CHECKING:
    from ..doctor.findings import Comparison, Diagnosis
    from .base.output import Output

_MARKS: Final = {True: ("ok  ", "green"), False: ("FAIL", "red bold"), None: ("-   ", "dim")}

_NAMING: Final = ("server", "x-powered-by", "via")
"""Headers that name a server. The others are made for one request, and only help to recognise a store."""


@store_command()
@click.option("--journal", type=click.Choice(["auto", "log", "merge"]), default="auto", help="Which is wanted.")
@click.option("--poll-interval", type=SECONDS, default=1.0, metavar="SECONDS", help="For the cost of polling (1).")
async def command(context: CommandContext, *, journal: JournalKind, poll_interval: float) -> int | None:
    """Test what a bucket can do, and print how it would be used.

    It does what a client does: it writes, reads, lists and deletes objects of its own beside the manifest, and removes
    them again. Ends with 1 if the bucket is not ready.
    """
    from ..doctor.diagnosis import diagnose  # noqa: PLC0415 - no other command needs it

    where = context.location
    storage = context.storage(create=True)
    try:
        await storage.open()
        found = await diagnose(
            storage,
            where.bucket,
            where.manifest,
            journal=journal,
            poll_interval=poll_interval,
            environment=Environment(),
            priced=where.scheme == "s3",
        )
    finally:
        await storage.aclose()
    if context.out.human:
        _show(context.out, found)
    else:
        policy = None if found.policy is None else orjson.loads(found.policy)
        context.out.json(asdict(found) | {"healthy": found.healthy, "policy": policy})
    return None if found.healthy else NO


def _show(out: Output, found: Diagnosis) -> None:
    if found.vendor:
        for text in (f"vendor: {found.vendor}", *found.notes, ""):
            out.line(text)
    width = max(len(finding.what) for finding in found.findings)
    for finding in found.findings:
        out.line(_MARKS[finding.good], f"  {finding.what:{width}}  {printable(finding.result)}")
    if found.known is not None:
        out.line()
        _show_known(out, found.known)
    if found.monthly_cost is not None:
        costs = ", ".join(f"{1000 * cost:.4f} ({journal})" for journal, cost in found.cost_of_change.items())
        out.line()
        out.line(
            f"polling: about ${found.monthly_cost:.2f} a month for each client while nothing happens, with either "
            "journal,"
        )
        out.line(f"and ${costs} for each client that sees a thousand changes, at AWS's prices")
    if found.policy is not None:
        out.line("the least that an IAM policy has to allow:")
        out.line(found.policy)
    out.line()
    out.line((f"ready for the {found.journal} journal", "green") if found.healthy else ("not ready", "red"))


def _show_known(out: Output, known: Comparison) -> None:
    if known.tried_date is None:
        how = f"by {known.source}, and not tried"
    else:
        how = f"tried with version {known.tried_version} on {known.tried_date} ({known.command})"
    if known.store is None:
        out.line("nothing is known of this store")
    elif not known.differences:
        out.line(f"as known of {known.store}, {how}")
    else:
        out.line(("warning: different from what is known", "yellow bold"), f" of {known.store}, {how}:")
        for one in known.differences:
            out.line(f"  {one.what}: known is that {one.known}; here: {printable(one.found)}")
        out.line(f"  {known.advice}")
    for note in known.notes:
        out.line(f"  {note}")
    for name, value in known.headers.items():
        if name in _NAMING:
            out.line(f"  its responses say {name}: {printable(value)}")
