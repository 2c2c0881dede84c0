"""``mps3 restore``."""

from __future__ import annotations

import sys
from datetime import datetime
from typing import Any, Final

import click

from .. import DELETE, MPS3, Commit, FileInfo, Snapshot
from ..format.names import check_buckets
from ..text import printable
from .base.command import store_command
from .base.context import CommandContext
from .base.formatting import compact, count, is_same, is_small, moment, short_id, some
from .base.inline import inline_option
from .base.input import confirm
from .base.output import MARK_STYLES, Output, say
from .base.point_in_time import POINT, Point, resolve_point
from .base.waiting import wait_restored

_LISTED: Final = 20
"""Changed keys that are listed one by one."""


@store_command("[KEY]")
@click.option("--to", type=POINT, required=True, metavar="WHEN", help="A commit, a time, or an age such as 10m.")
@click.option("--all", "everything", is_flag=True, help="All keys.")
@click.option("--prefix", metavar="PREFIX", help="All keys that begin with it.")
@click.option(
    "--bucket", "buckets", multiple=True, metavar="NAME", help="Another bucket to write values into, too. Repeat it."
)
@inline_option
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
async def command(
    context: CommandContext,
    key: str | None,
    to: Point,
    *,
    everything: bool,
    prefix: str | None,
    buckets: tuple[str, ...],
    inline: int,
    yes: bool,
) -> None:
    """Restore the earlier value of KEY, or of many keys, in one new commit.

    Nothing is lost: what is replaced can be restored, too. On a terminal it shows what would change and asks; elsewhere
    it requires --yes. A restored key expires at the time at which it was to expire; if that has passed, it counts as
    absent.
    """
    if (key is not None) + everything + (prefix is not None) != 1:
        raise click.UsageError("say what to bring back: a KEY, --prefix PREFIX, or --all")
    allowed = check_buckets(buckets)
    async with context.client(inline=inline) as client:
        at = await resolve_point(client, to)
        if key is not None:
            commit = await _restore_one(client, context.out, key, at, yes=yes)
        else:
            allowed |= {context.location.bucket}
            commit = await _restore_many(client, context.out, prefix or "", at, allowed, yes=yes)
    if commit is not None:
        context.out.commit("restored", some(list(commit.versions)), commit)
    elif context.out.human:
        context.out.line("nothing is different")
    else:
        context.out.json({"commit": None, "versions": {}})


async def _restore_one(client: MPS3, out: Output, key: str, at: datetime | str, *, yes: bool) -> Commit | None:
    here, there = await client.snapshot(), await client.snapshot(at)
    before = (await _files(here, key, None)).get(key)
    file = (await _files(there, key, client.store_time())).get(key)
    now: Any = await here.get(key, DELETE)
    then: Any = DELETE if file is None else await there.get(key, DELETE)
    if is_same(now, then) and _expiry(before) == _expiry(file):
        return None
    if out.human:
        _show(out, printable(key), now, then)
    question = f"bring back {printable(key)} as of {_named(at)}?"
    if file is None:
        question = f"delete {printable(key)}, which was not there at {_named(at)}?"
    await _ask(question, yes=yes)
    return await wait_restored(client.restore(key, at))


def _show(out: Output, key: str, now: Any, then: Any) -> None:
    if now is DELETE or then is DELETE or (is_small(now) and is_small(then)):
        words = ["(absent)" if value is DELETE else compact(value, 100) for value in (now, then)]
        out.line(f"{key}  ", (words[0], "red"), " → ", (words[1], "green"))
    else:
        out.line(key)
        out.diff(now, then)


async def _restore_many(
    client: MPS3, out: Output, prefix: str, at: datetime | str, buckets: frozenset[str], *, yes: bool
) -> Commit | None:
    here, there = await client.snapshot(), await client.snapshot(at)
    changes = _changes(await _files(here, prefix, None), await _files(there, prefix, client.store_time()), buckets)
    if not changes:
        return None
    if out.human:
        for mark, key in changes[:_LISTED]:
            out.line((f"{mark} {printable(key)}", MARK_STYLES[mark]))
        if len(changes) > _LISTED:
            out.note(f"… and {len(changes) - _LISTED:,} more")
    question = f"change {count(len(changes), 'key')} to what was at {_named(at)}?"
    if there.id is None:
        warning = f"{_named(at)} is before the first commit: this deletes {count(len(changes), 'key')}"
        question = f"{warning}. Go on?"
        if yes:
            say(warning)
    await _ask(question, yes=yes)
    return await wait_restored(client.restore_all(at, prefix=prefix, buckets=buckets))


async def _files(snapshot: Snapshot, prefix: str, time: datetime | None) -> dict[str, FileInfo]:
    """Return the keys of a snapshot under a prefix, without those that have expired at ``time``."""
    files = await snapshot.files(prefix)
    return {one.key: one for one in files if time is None or one.expires is None or one.expires > time}


def _changes(here: dict[str, FileInfo], there: dict[str, FileInfo], buckets: frozenset[str]) -> list[tuple[str, str]]:
    """Return what would change: for each key a mark and the key."""
    marks = []
    if elsewhere := sorted({one.ref.bucket or "" for one in there.values()} - buckets):
        say(f"keys in {some(elsewhere)} are left alone; --bucket NAME brings them back, too")
        left = {key for key, one in there.items() if one.ref.bucket not in buckets}
        here, there = ({key: one for key, one in each.items() if key not in left} for each in (here, there))
    for key in sorted({*here, *there}):
        if key not in here:
            marks.append(("+", key))
        elif key not in there:
            if here[key].expires is None:  # the others are deleted when they expire
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
