"""``mps3 restore``."""

from __future__ import annotations

import sys
from datetime import datetime
from typing import Any, Final

import click

from .. import DELETE, MPS3, Commit, Snapshot
from ..names import check_buckets
from .base.command import Call, store_command
from .base.output import Output, say
from .base.reading import agreed
from .base.text import compact, count, diff, is_small, moment, safe, short_id, some
from .base.when import Short, When, resolve
from .base.writing import committed

_LISTED: Final = 20
_ABSENT: Final = DELETE


@store_command("[KEY]")
@click.option("--to", type=When(), required=True, metavar="WHEN", help="A commit, a time, or an age such as 10m.")
@click.option("--all", "everything", is_flag=True, help="All keys.")
@click.option("--prefix", metavar="PREFIX", help="All keys that begin with it.")
@click.option(
    "--bucket", "buckets", multiple=True, metavar="NAME", help="Another bucket to write values into, too. Repeat it."
)
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
async def command(
    call: Call,
    key: str | None,
    to: datetime | str | Short,
    *,
    everything: bool,
    prefix: str | None,
    buckets: tuple[str, ...],
    yes: bool,
) -> None:
    """Bring back what was: the value of KEY, or everything, as one commit like any other.

    What is replaced stays in the past, so that it can be brought back, too. On a terminal it shows what would be
    different and asks; elsewhere it wants --yes.
    """
    if (key is not None) + everything + (prefix is not None) != 1:
        raise click.UsageError("say what to bring back: a KEY, --prefix PREFIX, or --all")
    try:
        allowed = check_buckets(buckets)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    async with call.client() as client:
        at = await resolve(client, to)
        if key is not None:
            commit = await _one(client, call.out, key, at, yes=yes)
        else:
            commit = await _many(client, call.out, prefix or "", at, allowed | {call.location.bucket}, yes=yes)
    if not call.out.human:
        call.out.json({"commit": commit and commit.id, "versions": dict(commit.versions) if commit else {}})
    elif commit is None:
        call.out.line("nothing is different")
    else:
        call.out.line(f"restored {some(list(commit.versions))}", (f"  {short_id(commit.id)}", "dim"))


async def _one(client: MPS3, out: Output, key: str, at: datetime | str, *, yes: bool) -> Commit | None:
    then: Any = await client.get(key, _ABSENT, at=at)
    now: Any = await client.get(key, _ABSENT)
    if now == then and type(now) is type(then):
        return None
    if out.human:
        _show(out, safe(key), now, then)
    await _ask(f"bring back {safe(key)} as of {_named(at)}?", yes=yes)
    return await committed(client.put(key, then))


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
    changes = _changes(await client.snapshot(), await client.snapshot(at), prefix, buckets)
    if not changes:
        return None
    if out.human:
        for mark, key in changes[:_LISTED]:
            out.line((f"{mark} {safe(key)}", {"+": "green", "-": "red", "~": "yellow"}[mark]))
        if len(changes) > _LISTED:
            out.line((f"… and {len(changes) - _LISTED:,} more", "dim"))
    await _ask(f"change {count(len(changes), 'key')} to what was at {_named(at)}?", yes=yes)
    return await client.restore_all(at, prefix=prefix, buckets=buckets)


def _changes(now: Snapshot, then: Snapshot, prefix: str, buckets: frozenset[str]) -> list[tuple[str, str]]:
    """What would be different: a mark and a key each."""
    here, there = ({one.key: one for one in each.files(prefix)} for each in (now, then))
    marks = []
    if elsewhere := sorted({one.ref.bucket or "" for one in there.values()} - buckets):
        say(f"keys in {some(elsewhere)} are left alone; --bucket NAME brings them back, too")
        left = {key for key, one in there.items() if one.ref.bucket not in buckets}
        here, there = ({key: one for key, one in each.items() if key not in left} for each in (here, there))
    for key in sorted({*here, *there}):
        if key not in here:
            marks.append(("+", key))
        elif key not in there:
            marks.append(("-", key))
        elif (here[key].sha256, here[key].size) != (there[key].sha256, there[key].size) or not here[key].sha256:
            marks.append(("~", key))
    return marks


def _named(at: datetime | str) -> str:
    return moment(at) if isinstance(at, datetime) else short_id(at)


async def _ask(question: str, *, yes: bool) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        raise click.UsageError(f"{question} Without a terminal to ask on it takes --yes")
    if not await agreed(question):
        raise click.Abort
