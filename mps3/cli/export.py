"""``mps3 export``."""

from __future__ import annotations

import asyncio
import os
import stat
import sys
from collections.abc import Callable
from contextlib import ExitStack
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
from .base.point_in_time import Point, at_option, resolve_point
from .base.progress import Report, progress

_CONCURRENCY: Final = 256
"""Values that are fetched at a time."""


@store_command("[PREFIX]")
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, readable=False, allow_dash=True, path_type=Path),
    help="A file; standard output without, or with -.",
)
@at_option
async def command(context: CommandContext, prefix: str | None, *, output: Path | None, at: Point | None) -> None:
    """Write keys and values as JSON lines, all of one state, in order: {"key": "color", "value": "red"}.

    A key in another bucket has its "bucket", and one that expires has the time at which it "expires". A file is
    replaced when the export is complete; a device or a pipe is written to.
    """
    if output in (Path("-"), Path("/dev/stdout")):
        output = None
    async with context.client() as client:
        snapshot = await client.snapshot(None if at is None else await resolve_point(client, at))
        files = await snapshot.files(prefix or "")
        # A progress bar would mix with lines that go to the terminal, perhaps through a pipe.
        quiet = output is None and not _is_to_file()
        with progress(len(files), quiet=quiet) as report, ExitStack() as stack:
            target = standard_output() if output is None else replace_file(output)
            # Opening a pipe blocks until somebody reads from it.
            write = await run_blocking(lambda: stack.enter_context(target))
            await _write(write, context, snapshot, files, report)
        if snapshot.id is None:
            say("there is no such manifest, or nothing was in it then: there is nothing to export")
        elif not files:
            say(f"{f'no key begins with {prefix!r}' if prefix else 'there is no key'}: there is nothing to export")
    if output is not None:
        say(f"{count(len(files), 'key')} in {output}")


def _is_to_file() -> bool:
    try:
        return stat.S_ISREG(os.fstat(sys.stdout.fileno()).st_mode)
    except (OSError, ValueError):
        return False  # standard output is not a file of the system


async def _write(
    write: Callable[[bytes], None], context: CommandContext, snapshot: Snapshot, files: list[FileInfo], report: Report
) -> None:
    done = 0
    for start in range(0, len(files), _CONCURRENCY):
        some = files[start : start + _CONCURRENCY]
        values = await asyncio.gather(*(snapshot.get(one.ref) for one in some))
        lines = [_line(one, value, context.location.bucket) for one, value in zip(some, values, strict=True)]
        # A slow reader may block this, and Ctrl-C does not wait for it.
        await run_blocking(partial(write, "".join(lines).encode()))
        done += len(some)
        report(done, f"{done:,} of {count(len(files), 'key')}")


def _line(one: FileInfo, value: Any, bucket: str) -> str:
    members: dict[str, Any] = {"key": one.ref.key}
    if one.ref.bucket != bucket:
        members["bucket"] = one.ref.bucket
    if one.expires is not None:
        members["expires"] = format_time(one.expires.timestamp())
    return json_text({**members, "value": whole(value)}) + "\n"
