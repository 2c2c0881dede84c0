"""``mps3 log``."""

from __future__ import annotations

from typing import Final

from .. import LogEntry
from .base.command import Call, store_command
from .base.limit import Limit, limit_option
from .base.text import moment, safe, short_id, some

_KEYS: Final = 6


@store_command("[PREFIX]")
@limit_option()
async def command(call: Call, prefix: str | None, *, limit: int | None) -> None:
    """List the commits, the newest first: when, who, what.

    With PREFIX, those that touch a key which begins with it. The first part of a commit is the session that made it,
    one life of one client. A commit can be given to --at, --to and --since as it is printed here.
    """
    most = Limit.of(limit)
    async with call.client() as client:
        entries, more = most.cut(await client.log(prefix or "", limit=most.asked))
    if not call.out.human:
        for entry in entries:
            call.out.json(
                {"id": entry.id, "time": entry.time, "session": entry.session, "versions": dict(entry.versions)}
            )
        if more:
            most.tell(call.out)
        return
    rows = [(moment(entry.time), short_id(entry.id), _what(entry)) for entry in entries]
    call.out.table(("when", "commit", "what"), rows)
    if more:
        most.tell(call.out)


def _what(entry: LogEntry) -> str:
    written = [key for key, version in entry.versions.items() if version is not None]
    deleted = [key for key, version in entry.versions.items() if version is None]
    if not entry.versions:
        return "(somebody collects)"
    parts = ([f"put {some(written, _KEYS)}"] if written else []) + (
        [f"deleted {some(deleted, _KEYS)}"] if deleted else []
    )
    return safe("; ".join(parts))
