"""``mps3 export``."""

from __future__ import annotations

import asyncio
import os
import stat
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, asynccontextmanager
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, Final

import click

from .. import FileInfo, Snapshot
from ..format.schema import format_time
from .base.command import store_command
from .base.context import CommandContext
from .base.formatting import count, json_text, whole
from .base.input import run_blocking
from .base.output import say
from .base.output_file import replace_file, standard_output
from .base.point_in_time import AbbreviatedId, PointInTime, resolve_point
from .base.progress import progress

_AT_ONCE: Final = 256


@store_command("[PREFIX]")
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, readable=False, allow_dash=True, path_type=Path),
    help="A file; standard output without, or with -.",
)
@click.option("--at", type=PointInTime(), metavar="WHEN", help="As it was: at a commit, at a time, or 10m ago.")
async def command(
    context: CommandContext, prefix: str | None, *, output: Path | None, at: datetime | str | AbbreviatedId | None
) -> None:
    """Write keys and values as JSON lines, all of one state, in order: {"key": "color", "value": "red"}.

    A key in another bucket has its "bucket", too, and one that expires says when it "expires". A file is replaced when
    it is complete; a device or a pipe is written to.
    """
    if output in (Path("-"), Path("/dev/stdout")):
        output = None
    async with context.client() as client:
        snapshot = await client.snapshot(None if at is None else await resolve_point(client, at))
        files = snapshot.files(prefix or "")
        # A bar would be in the way of lines that go to the terminal, or through a pipe perhaps.
        quiet = output is None and not _to_a_file()
        with progress(len(files), quiet=quiet) as tell:
            async with _sink(output) as sink:
                await _write(sink, context, snapshot, files, tell)
        if snapshot.id is None:
            say("there is no such manifest, or nothing was in it then: there is nothing to export")
    if output is not None:
        say(f"{count(len(files), 'key')} in {output}")


def _to_a_file() -> bool:
    try:
        return stat.S_ISREG(os.fstat(sys.stdout.fileno()).st_mode)
    except (OSError, ValueError):
        return False  # it is something of Python's own


@asynccontextmanager
async def _sink(output: Path | None) -> AsyncIterator[Callable[[bytes], None]]:
    opened: AbstractContextManager[Callable[[bytes], None]] = (
        standard_output() if output is None else replace_file(output)
    )
    # A pipe is opened when somebody reads from it.
    sink = await run_blocking(opened.__enter__)
    try:
        yield sink
    except BaseException:
        if not opened.__exit__(*sys.exc_info()):
            raise
    else:
        opened.__exit__(None, None, None)


async def _write(
    sink: Callable[[bytes], None], context: CommandContext, snapshot: Snapshot, files: list[FileInfo], tell: Any
) -> None:
    done = 0
    for start in range(0, len(files), _AT_ONCE):
        some = files[start : start + _AT_ONCE]
        values = await asyncio.gather(*(snapshot.get(one.ref) for one in some))
        lines = [_line(one, value, context.location.bucket) for one, value in zip(some, values, strict=True)]
        # Whoever reads may take as long as they like, and Ctrl-C does not wait for them.
        await run_blocking(partial(sink, "".join(lines).encode()))
        done += len(some)
        tell(done, f"{done:,} of {count(len(files), 'key')}")


def _line(one: FileInfo, value: Any, bucket: str) -> str:
    members: dict[str, Any] = {"key": one.ref.key}
    if one.ref.bucket != bucket:
        members["bucket"] = one.ref.bucket
    if one.expires is not None:
        members["expires"] = format_time(one.expires.timestamp())
    return json_text({**members, "value": whole(value)}) + "\n"
