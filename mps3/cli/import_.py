"""``mps3 import``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, BinaryIO, Final, TypeAlias

import click
import orjson

from .. import Ref
from ..names import check_bucket, check_key
from .base.command import Call, store_command
from .base.output import say
from .base.progress import progress
from .base.reading import blocking, standard_input
from .base.text import count
from .base.writing import committed

CHUNK: Final = 1000
"""Keys of a commit at the most."""
CHUNK_BYTES: Final = 16 * 2**20
"""Bytes of a commit, about."""

Group: TypeAlias = dict[str | Ref, tuple[Any, int]]
"""What is committed together: keys, their values, and how many lines said so."""


@store_command("[FILE]")
@click.option("--chunk", type=click.IntRange(1), default=CHUNK, metavar="N", help=f"Keys of one commit ({CHUNK:,}).")
@click.option("--dry-run", is_flag=True, help="Only check the lines.")
async def command(call: Call, file: str | None, *, chunk: int, dry_run: bool) -> None:
    """Write keys and values from JSON lines, as mps3 export makes them: {"key": "color", "value": "red"}.

    A FILE is checked as a whole before anything is written. Without one, or with -, the lines come from standard input;
    from a pipe they are written as they come. Many lines are one commit; a key that comes again counts again.
    """
    name = "standard input" if file in (None, "-") else str(file)
    with _opened(file) as lines:
        total, commits = None, 0
        if lines.seekable():
            start = lines.tell()
            total = _check(lines, name)
            lines.seek(start)
        if not dry_run:
            done, commits = await _write(call, chunks(entries(lines, name), chunk), total)
        else:
            done = await blocking(lambda: _check(lines, name)) if total is None else total
    if call.out.human:
        verb = "would be imported" if dry_run else f"imported in {count(commits, 'commit')}"
        call.out.line(f"{count(done, 'line')} {verb}")
    else:
        call.out.json({"lines": done, "commits": commits, "dry_run": dry_run})


def _opened(file: str | None) -> AbstractContextManager[BinaryIO]:
    if file is None or file == "-":
        return nullcontext(standard_input("JSON lines"))
    return Path(file).open("rb")


def _check(lines: Iterable[bytes], name: str) -> int:
    return sum(1 for _ in entries(lines, name))


async def _write(call: Call, groups: Iterator[Group], total: int | None) -> tuple[int, int]:
    done = commits = 0
    async with call.client(makes=True) as client:
        try:
            with progress(total) as tell:
                while group := await blocking(lambda: next(groups, None)):
                    await committed(client.put_all({key: value for key, (value, _) in group.items()}))
                    done += sum(times for _, times in group.values())
                    commits += 1
                    tell(done, f"{count(done, 'line')} in {count(commits, 'commit')}")
        except BaseException:
            if done:
                say(f"the first {count(done, 'line')} are imported")
            raise
    return done, commits


def entries(lines: Iterable[bytes], name: str) -> Iterator[tuple[str | Ref, Any, int]]:
    """Keys and values, and how long each line was. Empty lines are left out.

    Raises:
        click.UsageError: A line is not what it should be; says which.
    """
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            yield (*_entry(line), len(line))
        except (ValueError, TypeError) as error:
            why = f"not JSON: {error}" if isinstance(error, orjson.JSONDecodeError) else str(error)
            raise click.UsageError(f"{name}, line {number}: {why}") from None


def _entry(line: bytes) -> tuple[str | Ref, Any]:
    found = orjson.loads(line)
    if not isinstance(found, dict) or "key" not in found or "value" not in found:
        raise ValueError('it is not like {"key": "color", "value": "red"}')
    if unknown := sorted(found.keys() - {"key", "value", "bucket"}):
        raise ValueError(f"nobody knows what {unknown[0]!r} means here")
    key = check_key(found["key"])
    return (Ref(key, check_bucket(found["bucket"])) if "bucket" in found else key), found["value"]


def chunks(found: Iterable[tuple[str | Ref, Any, int]], most: int) -> Iterator[Group]:
    """Groups of lines that are committed together."""
    group: Group = {}
    size = 0
    for key, value, length in found:
        group[key] = value, group.get(key, (None, 0))[1] + 1
        size += length
        if len(group) >= most or size >= CHUNK_BYTES:
            yield group
            group, size = {}, 0
    if group:
        yield group
