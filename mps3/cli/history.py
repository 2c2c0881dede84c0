"""``mps3 history``."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Final

from .. import DELETE, CorruptionError, ExpiredError, Revision
from ..text import printable
from .base.command import store_command
from .base.context import CommandContext
from .base.exits import NO
from .base.formatting import compact, moment, short_id, whole
from .base.limit import Limit, limit_option
from .base.output import say

_CONCURRENCY: Final = 32
"""Values that are fetched at a time."""
_COLLECTED: Final = object()


@store_command("KEY")
@limit_option
async def command(context: CommandContext, key: str, *, limit: int | None) -> int | None:
    """List the values that a key has had, the newest first.

    Ends with 1 if nothing is known of it.
    """
    most, rows = Limit(limit), []
    async with context.client() as client:
        revisions = await most.newest(lambda limit: client.history(key, limit=limit))
        if not revisions:
            say(f"nothing is known of a key {key!r}; mps3 ls lists what there is")
            return NO
        async for revision, value in _with_values(revisions):
            if context.out.human:
                rows.append(_row(revision, value))
            else:
                context.out.json(_members(revision, value))
    if context.out.human:
        context.out.table(("when", "commit", "version", "value"), rows)
    most.tell_more(context.out)
    return None


def _row(revision: Revision, value: Any) -> tuple[str, ...]:
    shown = "(deleted)" if value is DELETE else "(collected)" if value is _COLLECTED else compact(value, 120)
    commit = "(before)" if revision.id is None else short_id(revision.id)
    return moment(revision.time), commit, printable(revision.version or ""), shown


def _members(revision: Revision, value: Any) -> dict[str, Any]:
    state = {"deleted": True} if value is DELETE else {} if value is _COLLECTED else {"value": whole(value)}
    return {"id": revision.id, "time": revision.time, "version": revision.version, **state}


async def _with_values(revisions: list[Revision]) -> AsyncIterator[tuple[Revision, Any]]:
    for start in range(0, len(revisions), _CONCURRENCY):
        some = revisions[start : start + _CONCURRENCY]
        for revision, value in zip(some, await asyncio.gather(*map(_value, some)), strict=True):
            yield revision, value


async def _value(revision: Revision) -> Any:
    try:
        return await revision.value()
    except (CorruptionError, ExpiredError):
        return _COLLECTED
