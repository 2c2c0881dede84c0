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
from ..text import printable
from .base.command import store_command
from .base.context import CommandContext
from .base.formatting import compact, count, is_small, short_id, whole
from .base.output import Output, say, silence_log
from .base.point_in_time import POINT, SECONDS, Point, resolve_point

_LISTED: Final = 20
"""Present keys that are listed one by one."""
_CHECK_INTERVAL: Final = 0.5
"""Seconds between two checks whether the reader of the output has closed it."""


@store_command("[PREFIX]")
@click.option("--since", type=POINT, metavar="COMMIT", help="Go on after a commit or a cursor, without the present.")
@click.option("--poll-interval", type=SECONDS, default=1.0, metavar="SECONDS", help="Between looks (1).")
async def command(context: CommandContext, prefix: str | None, since: Point | None, *, poll_interval: float) -> None:
    """List the present keys, and then show changes, commit by commit, until Ctrl-C.

    In a pipe it prints JSON lines, one for each commit. --since takes the "cursor" of a line, and continues after it
    without missing or repeating anything.
    """
    if isinstance(since, datetime):
        raise click.UsageError("--since takes a commit or a cursor (mps3 log lists commits)")
    # A watch may be started before the first write creates the directory.
    async with context.client(poll_interval=poll_interval, create=True, announce=True) as client:
        start = None if since is None else str(await resolve_point(client, since))
        silence_log()  # `_show_contact` reports failures
        work = [_follow(context.out, client, prefix or "", start), _show_contact(client)]
        if not context.out.human:
            work.append(_until_reader_is_gone())
        await _until_one_ends(work)


async def _follow(out: Output, client: MPS3, prefix: str, since: str | None) -> None:
    screen = _Screen(client, out, prefix, since)
    async for batch in client.watch(prefix, since=since):
        if out.human:
            await screen.show(batch)
        else:
            out.json(
                {
                    "id": batch.id,
                    "initial": batch.initial,
                    "end_of_initial": batch.end_of_initial,
                    "skipped": batch.skipped,
                    "cursor": batch.cursor,
                    "changes": [_change(change) for change in batch.changes],
                }
            )


def _change(change: Change[Any]) -> dict[str, Any]:
    if change.value is DELETE:
        return {"key": change.key, "deleted": True}
    return {"key": change.key, "value": whole(change.value), "version": change.version}


async def _until_one_ends(work: Sequence[Coroutine[Any, Any, None]]) -> None:
    tasks = [asyncio.ensure_future(each) for each in work]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class _Screen:
    """Batches for people: each change with the value before it."""

    def __init__(self, client: MPS3, out: Output, prefix: str, since: str | None) -> None:
        self._client = client
        self._out = out
        self._prefix = prefix
        self._since = since
        self._values: dict[str, Any] | None = None if since else {}
        self._listed = 0

    async def show(self, batch: Batch[Any]) -> None:
        """Print a batch."""
        if self._values is None:
            self._values = await self._values_before()
        if batch.initial:
            self._list(batch, self._values)
            return
        time = f"{datetime.now().astimezone():%H:%M:%S}"
        skipped = "  several commits at once" if batch.skipped else ""
        self._out.note(f"{time}  {short_id(batch.id or '')}{skipped}")
        for change in batch.changes:
            old = self._values.pop(change.key, DELETE)
            if change.value is not DELETE:
                self._values[change.key] = change.value
            self._show(printable(change.key), old, change.value)

    async def _values_before(self) -> dict[str, Any]:
        try:
            return dict(await (await self._client.snapshot(self._since)).get_all(self._prefix))
        except (ExpiredError, CorruptionError):
            return {}  # it is not kept any more: every key is shown as new

    def _list(self, batch: Batch[Any], values: dict[str, Any]) -> None:
        for change in batch.changes:
            values[change.key] = change.value
            self._listed += 1
            if self._listed <= _LISTED:
                self._out.line(f"  {printable(change.key)}  ", (compact(change.value, 60), "cyan"))
        if batch.end_of_initial:
            if self._listed > _LISTED:
                self._out.note(f"  … and {self._listed - _LISTED:,} more")
            under = f" under {printable(self._prefix)}" if self._prefix else ""
            self._out.note(f"{count(self._listed, 'key')}{under}; watching, Ctrl-C ends it")

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
            self._out.diff(old, new)


async def _show_contact(client: MPS3) -> None:
    """Print a message when the store stops answering, and when it answers again."""
    online = True
    async for status in client.status_changes():
        if status.online and not online:
            say("in contact again")
        elif online and not status.online and status.last_error is not None:
            say(f"no contact with the store, trying again: {status.last_error}")
        online = status.online


async def _until_reader_is_gone() -> None:
    """Fail once the reader of the output has closed it, even if there is nothing to print."""
    try:
        poll = select.poll()
        poll.register(sys.stdout.fileno(), 0)
    except (AttributeError, OSError, ValueError):
        await asyncio.Event().wait()  # the system has no poll, or standard output is not a file
    while not any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0)):  # noqa: ASYNC110 - of a descriptor
        await asyncio.sleep(_CHECK_INTERVAL)
    raise BrokenPipeError
