"""``mps3 restore``."""

from __future__ import annotations

import sys
from datetime import datetime
from typing import Any, Final

import click

from .. import DELETE, MPS3, Commit, FileInfo, Snapshot
from ..format.names import check_buckets
from .base.command import store_command
from .base.context import CommandContext
from .base.formatting import compact, count, diff, is_same, is_small, moment, safe, short_id, some
from .base.input import confirm
from .base.output import Output, say
from .base.point_in_time import AbbreviatedId, PointInTime, resolve_point
from .base.waiting import wait_restored

_LISTED: Final = 20
_ABSENT: Final = DELETE


@store_command("[KEY]")
@click.option(
    "--to", type=PointInTime(), required=True, metavar="WHEN", help="A commit, a time, or an age such as 10m."
)
@click.option("--all", "everything", is_flag=True, help="All keys.")
@click.option("--prefix", metavar="PREFIX", help="All keys that begin with it.")
@click.option(
    "--bucket", "buckets", multiple=True, metavar="NAME", help="Another bucket to write values into, too. Repeat it."
)
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
async def command(
    context: CommandContext,
    key: str | None,
    to: datetime | str | AbbreviatedId,
    *,
    everything: bool,
    prefix: str | None,
    buckets: tuple[str, ...],
    yes: bool,
) -> None:
    """Bring back what was: the value of KEY, or everything, as one commit like any other.

    What is replaced stays in the past, so that it can be brought back, too. On a terminal it shows what would be
    different and asks; elsewhere it wants --yes. A key that was to expire still does, at the same time; one that has
    expired by now counts as absent.
    """
    if (key is not None) + everything + (prefix is not None) != 1:
        raise click.UsageError("say what to bring back: a KEY, --prefix PREFIX, or --all")
    try:
        allowed = check_buckets(buckets)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    async with context.client() as client:
        at = await resolve_point(client, to)
        if key is not None:
            commit = await _one(client, context.out, key, at, yes=yes)
        else:
            commit = await _many(client, context.out, prefix or "", at, allowed | {context.location.bucket}, yes=yes)
    if not context.out.human:
        context.out.json({"commit": commit and commit.id, "versions": dict(commit.versions) if commit else {}})
    elif commit is None:
        context.out.line("nothing is different")
    else:
        context.out.line(f"restored {some(list(commit.versions))}", (f"  {short_id(commit.id)}", "dim"))


async def _one(client: MPS3, out: Output, key: str, at: datetime | str, *, yes: bool) -> Commit | None:
    here, there = await client.snapshot(), await client.snapshot(at)
    time = client.store_time()
    before, file = _files(here, key, None).get(key), _files(there, key, time).get(key)
    now: Any = await here.get(key, _ABSENT)
    then: Any = _ABSENT if file is None else await there.get(key, _ABSENT)
    if is_same(now, then) and _expiry(before) == _expiry(file):
        return None
    if out.human:
        _show(out, safe(key), now, then)
    question = f"bring back {safe(key)} as of {_named(at)}?"
    await _ask(question if file is not None else f"delete {safe(key)}, which was not there at {_named(at)}?", yes=yes)
    return await wait_restored(client.restore(key, at))


def _show(out: Output, key: str, now: Any, then: Any) -> None:
    if now is DELETE or then is DELETE or (is_small(now) and is_small(then)):
        words = ["(absent)" if value is DELETE else compact(value, 100) for value in (now, then)]
        out.line(f"{key}  ", (words[0], "red"), " → ", (words[1], "green"))
        return
    out.line(key)
    for mark, text in diff(now, then):
        out.line((f"    {mark} {text}", {"+": "green", "-": "red"}.get(mark, "dim")))


async def _many(
    client: MPS3, out: Output, prefix: str, at: datetime | str, buckets: frozenset[str], *, yes: bool
) -> Commit | None:
    here, there = await client.snapshot(), await client.snapshot(at)
    changes = _changes(_files(here, prefix, None), _files(there, prefix, client.store_time()), buckets)
    if not changes:
        return None
    if out.human:
        for mark, key in changes[:_LISTED]:
            out.line((f"{mark} {safe(key)}", {"+": "green", "-": "red", "~": "yellow"}[mark]))
        if len(changes) > _LISTED:
            out.line((f"… and {len(changes) - _LISTED:,} more", "dim"))
    question = f"change {count(len(changes), 'key')} to what was at {_named(at)}?"
    if there.id is None:
        said = f"{_named(at)} is before the first commit: this deletes {count(len(changes), 'key')}"
        question = f"{said}. Go on?"
        if yes:
            say(said)
    await _ask(question, yes=yes)
    return await wait_restored(client.restore_all(at, prefix=prefix, buckets=buckets))


def _files(snapshot: Snapshot, prefix: str, time: datetime | None) -> dict[str, FileInfo]:
    """What a snapshot has under a prefix, without what has expired since."""
    files = snapshot.files(prefix)
    return {one.key: one for one in files if time is None or one.expires is None or one.expires > time}


def _changes(here: dict[str, FileInfo], there: dict[str, FileInfo], buckets: frozenset[str]) -> list[tuple[str, str]]:
    """What would be different: a mark and a key each."""
    marks = []
    if elsewhere := sorted({one.ref.bucket or "" for one in there.values()} - buckets):
        say(f"keys in {some(elsewhere)} are left alone; --bucket NAME brings them back, too")
        left = {key for key, one in there.items() if one.ref.bucket not in buckets}
        here, there = ({key: one for key, one in each.items() if key not in left} for each in (here, there))
    for key in sorted({*here, *there}):
        if key not in here:
            marks.append(("+", key))
        elif key not in there:
            if here[key].expires is None:  # what expires is left to that
                marks.append(("-", key))
        elif not _is_same_file(here[key], there[key]):
            marks.append(("~", key))
    return marks


def _is_same_file(one: FileInfo, other: FileInfo) -> bool:
    known = one.sha256 is not None and (one.sha256, one.size) == (other.sha256, other.size)
    return known and _expiry(one) == _expiry(other)


def _expiry(file: FileInfo | None) -> datetime | None:
    return None if file is None else file.expires


def _named(at: datetime | str) -> str:
    return moment(at) if isinstance(at, datetime) else short_id(at)


async def _ask(question: str, *, yes: bool) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        raise click.UsageError(f"{question} Without a terminal to ask on it takes --yes")
    if not await confirm(question):
        raise click.Abort
