"""``mps3 history``."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Final

from .. import DELETE, CorruptionError, ExpiredError, Revision
from .base.command import store_command
from .base.context import CommandContext
from .base.exits import NO
from .base.formatting import compact, moment, safe, short_id, whole
from .base.limit import Limit, limit_option
from .base.output import say

_AT_ONCE: Final = 32
_GONE: Final = object()


@store_command("KEY")
@limit_option()
async def command(context: CommandContext, key: str, *, limit: int | None) -> int | None:
    """Show what became of a key, the newest first.

    Ends with 1 if nothing is known of it.
    """
    most = Limit.of(limit)
    async with context.client() as client:
        revisions, more = most.cut(await client.history(key, limit=most.asked))
        if not revisions:
            say(f"nothing is known of a key {key!r}; mps3 ls lists what there is")
            return NO
        rows = []
        async for revision, value in _with_values(revisions):
            if context.out.human:
                rows.append(_row(revision, value))
            else:
                context.out.json(_members(revision, value))
    if context.out.human:
        context.out.table(("when", "commit", "version", "value"), rows)
    if more:
        most.tell(context.out)
    return None


def _row(revision: Revision, value: Any) -> tuple[str, ...]:
    shown = "(deleted)" if value is DELETE else "(collected)" if value is _GONE else compact(value, 120)
    commit = "(before)" if revision.id is None else short_id(revision.id)
    return moment(revision.time), commit, safe(revision.version or ""), shown


def _members(revision: Revision, value: Any) -> dict[str, Any]:
    said = {"deleted": True} if value is DELETE else {} if value is _GONE else {"value": whole(value)}
    return {"id": revision.id, "time": revision.time, "version": revision.version, **said}


async def _with_values(revisions: list[Revision]) -> AsyncIterator[tuple[Revision, Any]]:
    for start in range(0, len(revisions), _AT_ONCE):
        some = revisions[start : start + _AT_ONCE]
        for revision, value in zip(some, await asyncio.gather(*map(_value, some)), strict=True):
            yield revision, value


async def _value(revision: Revision) -> Any:
    try:
        return await revision.value()
    except (CorruptionError, ExpiredError):
        return _GONE
