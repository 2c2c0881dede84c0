"""``mps3 watch``."""

from __future__ import annotations

import asyncio
import select
import sys
from collections.abc import Coroutine, Sequence
from datetime import datetime
from typing import Any, Final

import click

from .. import DELETE, MPS3, Batch, Change, CorruptionError, ExpiredError
from .base.command import store_command
from .base.context import CommandContext
from .base.formatting import compact, count, diff, is_small, safe, short_id, whole
from .base.output import Output, say, silence_log
from .base.point_in_time import AbbreviatedId, PointInTime, Seconds, resolve_point

_SHOWN: Final = 20
"""Keys of the present that are listed one by one."""
_PERIOD: Final = 0.5
"""Seconds between two looks whether anybody still reads."""


@store_command("[PREFIX]")
@click.option(
    "--since", type=PointInTime(), metavar="COMMIT", help="Go on after a commit or a cursor, without the present."
)
@click.option(
    "--poll-interval",
    type=Seconds(),
    default=1.0,
    metavar="SECONDS",
    help="Between looks (1).",
)
async def command(
    context: CommandContext, prefix: str | None, since: datetime | str | AbbreviatedId | None, *, poll_interval: float
) -> None:
    """Show what changes, commit by commit, until Ctrl-C. First what there is.

    Into a pipe go JSON lines, one for each commit. The "cursor" of the last one is for --since: nothing is missed then,
    and nothing comes twice.
    """
    if isinstance(since, datetime):
        raise click.UsageError("--since takes a commit or a cursor (mps3 log lists commits)")
    # Whoever watches may be there first.
    async with context.client(poll_interval=poll_interval, create=True, announce=True) as client:
        start = None if since is None else str(await resolve_point(client, since))
        silence_log()  # `_tell_contact` says it better
        work = [_follow(context, client, prefix or "", start), _tell_contact(client)]
        if not context.out.human:
            work.append(_until_nobody_reads())
        await _until_one_ends(work)


async def _follow(context: CommandContext, client: MPS3, prefix: str, since: str | None) -> None:
    show = _Screen(client, context.out, prefix, since).show if context.out.human else _Lines(context.out).show
    async for batch in client.watch(prefix, since=since):
        await show(batch)


async def _until_one_ends(work: Sequence[Coroutine[Any, Any, None]]) -> None:
    """Do all of it until some of it fails, or is done."""
    tasks = [asyncio.ensure_future(each) for each in work]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class _Lines:
    """Batches for programs."""

    def __init__(self, out: Output) -> None:
        self._out = out

    async def show(self, batch: Batch[Any]) -> None:
        members = {
            "id": batch.id,
            "initial": batch.initial,
            "end_of_initial": batch.end_of_initial,
            "skipped": batch.skipped,
            "cursor": batch.cursor,
            "changes": [_change(change) for change in batch.changes],
        }
        self._out.json(members)


def _change(change: Change[Any]) -> dict[str, Any]:
    if change.value is DELETE:
        return {"key": change.key, "deleted": True}
    return {"key": change.key, "value": whole(change.value), "version": change.version}


class _Screen:
    """Batches for people: what is different from before.

    Args:
        client: Knows what was before a watch that goes on.
        out: Where to print.
        prefix: What is watched.
        since: The commit after which the watch goes on.
    """

    def __init__(self, client: MPS3, out: Output, prefix: str, since: str | None) -> None:
        self._client = client
        self._out = out
        self._prefix = prefix
        self._since = since
        self._values: dict[str, Any] | None = None if since else {}
        self._listed = 0

    async def show(self, batch: Batch[Any]) -> None:
        if self._values is None:
            self._values = await self._before()
        if batch.initial:
            self._list(batch)
            return
        time = f"{datetime.now().astimezone():%H:%M:%S}"
        skipped = "  several commits at once" if batch.skipped else ""
        self._out.line((f"{time}  {short_id(batch.id or '')}{skipped}", "dim"))
        for change in batch.changes:
            old = self._values.pop(change.key, DELETE)
            if change.value is not DELETE:
                self._values[change.key] = change.value
            self._show(safe(change.key), old, change.value)

    async def _before(self) -> dict[str, Any]:
        try:
            return dict(await (await self._client.snapshot(self._since)).get_all(self._prefix))
        except (ExpiredError, CorruptionError):
            return {}  # it is not kept any more: then everything is new

    def _list(self, batch: Batch[Any]) -> None:
        assert self._values is not None  # noqa: S101 - made by `show`
        for change in batch.changes:
            self._values[change.key] = change.value
            self._listed += 1
            if self._listed <= _SHOWN:
                self._out.line(f"  {safe(change.key)}  ", (compact(change.value, 60), "cyan"))
        if batch.end_of_initial:
            if self._listed > _SHOWN:
                self._out.line((f"  … and {self._listed - _SHOWN:,} more", "dim"))
            under = f" under {safe(self._prefix)}" if self._prefix else ""
            self._out.line((f"{count(self._listed, 'key')}{under}; watching, Ctrl-C ends it", "dim"))

    def _show(self, key: str, old: Any, new: Any) -> None:
        line = self._out.line
        if new is DELETE:
            line((f"- {key}", "red"), ("" if old is DELETE else f"  {compact(old, 60)}", "red dim"))
        elif old is DELETE:
            line((f"+ {key}  {compact(new, 200)}", "green"))
        elif is_small(old) and is_small(new):
            line((f"~ {key}", "yellow"), "  ", (compact(old), "red"), " → ", (compact(new), "green"))
        else:
            line((f"~ {key}", "yellow"))
            for mark, text in diff(old, new):
                line((f"    {mark} {text}", {"+": "green", "-": "red"}.get(mark, "dim")))


async def _tell_contact(client: MPS3) -> None:
    """Say when the store is gone, and when it is back."""
    online = True
    async for status in client.status_changes():
        if status.online and not online:
            say("in contact again")
        elif online and not status.online and status.last_error is not None:
            say(f"no contact with the store, trying again: {status.last_error}")
        online = status.online


async def _until_nobody_reads() -> None:
    """End as soon as whoever reads has gone, and not only with the next line for them."""
    try:
        poll = select.poll()
        poll.register(sys.stdout.fileno(), 0)
    except (AttributeError, OSError, ValueError):
        await asyncio.Event().wait()  # the system has none, or it is no file
    while not any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0)):  # noqa: ASYNC110 - of a descriptor
        await asyncio.sleep(_PERIOD)
    raise BrokenPipeError
