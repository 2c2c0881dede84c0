"""``mps3 import``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, Final, NamedTuple

import click
import orjson

from .. import MPS3, ConfigurationError, Ref
from ..format.names import check_bucket, check_buckets, check_key, check_not_own
from ..format.schema import as_time
from ..format.values import encode
from ..storage.url import Location
from .base.command import store_command
from .base.context import CommandContext
from .base.exact_json import loads
from .base.formatting import count
from .base.inline import inline_option
from .base.input import read_lines, run_blocking, standard_input
from .base.output import say
from .base.progress import progress
from .base.waiting import wait_committed

MAX_KEYS: Final = 1000
"""Keys of a commit at the most, unless told otherwise."""
MAX_BYTES: Final = 16 * 2**20
"""Bytes of a commit, about, at the most."""
_MEMBERS: Final = frozenset({"key", "value", "bucket", "expires"})


class Line(NamedTuple):
    """The content of a line.

    Attributes:
        key: The key.
        value: Its value.
        expires: When it expires, in seconds since 1970 by the store's clock; ``None`` if it does not.
        length: The length of the line in bytes.
    """

    key: str | Ref
    value: Any
    expires: float | None
    length: int


@store_command("[FILE]")
@click.option(
    "--chunk", type=click.IntRange(1), default=MAX_KEYS, metavar="N", help=f"Keys of one commit ({MAX_KEYS:,})."
)
@click.option("--dry-run", is_flag=True, help="Only check the lines.")
@click.option(
    "--bucket", "buckets", multiple=True, metavar="NAME", help="Another bucket to write values into, too. Repeat it."
)
@inline_option
async def command(
    context: CommandContext, file: str | None, *, chunk: int, dry_run: bool, buckets: tuple[str, ...], inline: int
) -> None:
    """Write keys and values from JSON lines, as mps3 export prints them: {"key": "color", "value": "red"}.

    A FILE is checked as a whole before anything is written. Without one, or with -, the lines come from standard input;
    from a pipe they are written as they come. Many lines are one commit; the last line of a key wins. A key with an
    "expires" expires at that time, and is left out if the time has passed at the store. A line with a "bucket" is
    refused unless --bucket allows that bucket.
    """
    allowed = check_buckets(buckets)
    name = "standard input" if file in (None, "-") else str(file)
    total, commits, expired = None, 0, 0
    with _open(file) as stream:

        def read() -> Iterator[Line]:
            return entries(read_lines(stream, name), name, context.location, allowed)

        if stream.seekable():
            start = stream.tell()
            total = await run_blocking(lambda: sum(1 for _ in read()))
            stream.seek(start)
        if not dry_run:
            done, commits, expired = await _write(context, chunks(read(), chunk), total, inline)
        else:
            done = await run_blocking(lambda: sum(1 for _ in read())) if total is None else total
    if context.out.human:
        verb = "would be imported" if dry_run else f"imported in {count(commits, 'commit')}"
        context.out.line(f"{count(done, 'line')} {verb}")
        if expired:
            context.out.note(f"{count(expired, 'key')} left out, because they have expired")
    else:
        left_out = {"expired": expired} if expired else {}
        context.out.json({"lines": done, "commits": commits, "dry_run": dry_run, **left_out})


def _open(file: str | None) -> AbstractContextManager[BinaryIO]:
    if file is None or file == "-":
        return nullcontext(standard_input("JSON lines"))
    return Path(file).open("rb")


async def _write(
    context: CommandContext, groups: Iterator[list[Line]], total: int | None, inline: int
) -> tuple[int, int, int]:
    """Commit groups of lines; return how many lines, commits and expired keys there were."""
    done = commits = expired = 0
    following = partial(next, groups, None)
    async with context.client(inline=inline, create=True) as client:
        try:
            with progress(total) as report:
                while group := await run_blocking(following):
                    last = {line.key: line for line in group}
                    values, spans = _unexpired(client, last)
                    if values:
                        await wait_committed(client.put_all(values, expires_in=spans))
                        commits += 1
                    expired += len(last) - len(values)
                    done += len(group)
                    report(done, f"{count(done, 'line')} in {count(commits, 'commit')}")
        except BaseException:
            if done:
                say(f"the first {count(done, 'line')} are imported")
            raise
    return done, commits, expired


def _unexpired(client: MPS3, lines: dict[str | Ref, Line]) -> tuple[dict[str | Ref, Any], dict[str | Ref, float]]:
    """Return the values that have not expired, and the seconds until those expire that do."""
    ends = {key: line.expires for key, line in lines.items() if line.expires is not None}
    now = client.store_time() if ends else None
    if ends and now is None:
        raise ConfigurationError('the store does not tell the time, so no key can expire: leave "expires" out')
    passed = 0.0 if now is None else now.timestamp()
    spans = {key: left for key, end in ends.items() if (left := end - passed) > 0}
    return {key: line.value for key, line in lines.items() if key in spans or key not in ends}, spans


def entries(
    lines: Iterable[bytes], name: str, location: Location | None = None, buckets: frozenset[str] = frozenset()
) -> Iterator[Line]:
    """Read lines. Empty ones are left out.

    Args:
        lines: The lines.
        name: What errors call their source.
        location: Where they are to be written, if it is known.
        buckets: Other buckets that they may be written into.

    Raises:
        click.UsageError: A line is not as it should be, or cannot be written; the message has its number.
    """
    own = None if location is None else Ref(location.manifest, location.bucket)
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            yield _entry(line, own, buckets)
        except (ValueError, TypeError, ConfigurationError) as error:
            why = f"not JSON: {error}" if isinstance(error, orjson.JSONDecodeError) else str(error)
            raise click.UsageError(f"{name}, line {number}: {why}") from None


def _entry(line: bytes, own: Ref | None, buckets: frozenset[str]) -> Line:
    found = loads(line)
    if not isinstance(found, dict) or "key" not in found or "value" not in found:
        raise ValueError('it is not like {"key": "color", "value": "red"}')
    if unknown := sorted(found.keys() - _MEMBERS):
        raise ValueError(f"unexpected member {unknown[0]!r}")
    key, value = check_key(found["key"]), found["value"]
    bucket = check_bucket(found["bucket"]) if "bucket" in found else None
    expires = as_time(found["expires"], "expires") if "expires" in found else None
    # Everything that a write checks, so that it does not fail in the middle.
    encode(value, key)
    if own is not None:
        check_not_own(own, bucket or own.bucket or "", key)
        if bucket not in (None, own.bucket, *buckets):
            raise ValueError(f'{key!r} is a key of the bucket "{bucket}", and only --bucket {bucket} permits that')
    return Line(key if bucket is None else Ref(key, bucket), value, expires, len(line))


def chunks(lines: Iterable[Line], most: int) -> Iterator[list[Line]]:
    """Return groups of lines that are committed together, of ``most`` keys each."""
    group, keys, size = list[Line](), set[str | Ref](), 0
    for line in lines:
        group.append(line)
        keys.add(line.key)
        size += line.length
        if len(keys) >= most or size >= MAX_BYTES:
            yield group
            group, keys, size = [], set(), 0
    if group:
        yield group
