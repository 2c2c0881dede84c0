"""``mps3 log``."""

from __future__ import annotations

from typing import Any

from .. import LogEntry
from .base.command import store_command
from .base.context import CommandContext
from .base.formatting import moment, short_id, some
from .base.limit import Limit, limit_option
from .base.output import Output


@store_command("[PREFIX]")
@limit_option
async def command(context: CommandContext, prefix: str | None, *, limit: int | None) -> None:
    """List the commits, the newest first.

    With PREFIX, list those that change a key which begins with it. The first part of a commit is the session that made
    it: one run of one client. --at, --to and --since take a commit as it is printed here. With the log journal each
    commit has the number of its slot.
    """
    most = Limit(limit)
    async with context.client() as client:
        entries = await most.newest(lambda limit: client.log(prefix or "", limit=limit))
    if context.out.human:
        _show(context.out, entries)
    else:
        for entry in entries:
            context.out.json(_members(entry))
    most.tell_more(context.out)


def _show(out: Output, entries: list[LogEntry]) -> None:
    rows = [(moment(entry.time), short_id(entry.id), _changes(entry)) for entry in entries]
    if not any(entry.slot for entry in entries):
        out.table(("when", "commit", "what"), rows)
        return
    slots = [f"{entry.slot}" for entry in entries]
    out.table(("slot", "when", "commit", "what"), [(slot, *row) for slot, row in zip(slots, rows, strict=True)], [0])


def _members(entry: LogEntry) -> dict[str, Any]:
    slot = {} if entry.slot is None else {"slot": entry.slot}
    known = {"id": entry.id, "time": entry.time, "session": entry.session}
    return {**known, **slot, "versions": dict(entry.versions)}


def _changes(entry: LogEntry) -> str:
    if not entry.versions:
        return "(no keys)"
    put = [key for key, version in entry.versions.items() if version is not None]
    deleted = [key for key, version in entry.versions.items() if version is None]
    return "; ".join(f"{verb} {some(keys)}" for verb, keys in (("put", put), ("deleted", deleted)) if keys)
