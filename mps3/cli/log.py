"""``mps3 log``."""

from __future__ import annotations

from typing import Final

from .. import LogEntry
from .base.command import store_command
from .base.context import CommandContext
from .base.formatting import moment, safe, short_id, some
from .base.limit import Limit, limit_option

_KEYS: Final = 6


@store_command("[PREFIX]")
@limit_option()
async def command(context: CommandContext, prefix: str | None, *, limit: int | None) -> None:
    """List the commits, the newest first: when, who, what.

    With PREFIX, those that touch a key which begins with it. The first part of a commit is the session that made it,
    one life of one client. A commit can be given to --at, --to and --since as it is printed here.
    """
    most = Limit.of(limit)
    async with context.client() as client:
        entries, more = most.cut(await client.log(prefix or "", limit=most.asked))
    if not context.out.human:
        for entry in entries:
            context.out.json(
                {"id": entry.id, "time": entry.time, "session": entry.session, "versions": dict(entry.versions)}
            )
        if more:
            most.tell(context.out)
        return
    rows = [(moment(entry.time), short_id(entry.id), _what(entry)) for entry in entries]
    context.out.table(("when", "commit", "what"), rows)
    if more:
        most.tell(context.out)


def _what(entry: LogEntry) -> str:
    written = [key for key, version in entry.versions.items() if version is not None]
    deleted = [key for key, version in entry.versions.items() if version is None]
    if not entry.versions:
        return "(somebody collects)"
    parts = ([f"put {some(written, _KEYS)}"] if written else []) + (
        [f"deleted {some(deleted, _KEYS)}"] if deleted else []
    )
    return safe("; ".join(parts))
