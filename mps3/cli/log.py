"""``mps3 log``."""

from __future__ import annotations

from .. import LogEntry
from .base.command import store_command
from .base.context import CommandContext
from .base.formatting import moment, short_id, some
from .base.limit import Limit, limit_option


@store_command("[PREFIX]")
@limit_option
async def command(context: CommandContext, prefix: str | None, *, limit: int | None) -> None:
    """List the commits, the newest first.

    With PREFIX, list those that change a key which begins with it. The first part of a commit is the session that made
    it: one run of one client. --at, --to and --since take a commit as it is printed here.
    """
    most = Limit(limit)
    async with context.client() as client:
        entries = await most.newest(lambda limit: client.log(prefix or "", limit=limit))
    if context.out.human:
        rows = [(moment(entry.time), short_id(entry.id), _changes(entry)) for entry in entries]
        context.out.table(("when", "commit", "what"), rows)
    else:
        for entry in entries:
            context.out.json(
                {"id": entry.id, "time": entry.time, "session": entry.session, "versions": dict(entry.versions)}
            )
    most.tell_more(context.out)


def _changes(entry: LogEntry) -> str:
    if not entry.versions:
        return "(no keys)"
    put = [key for key, version in entry.versions.items() if version is not None]
    deleted = [key for key, version in entry.versions.items() if version is None]
    return "; ".join(f"{verb} {some(keys)}" for verb, keys in (("put", put), ("deleted", deleted)) if keys)
