"""``mps3 export``."""

from __future__ import annotations

import asyncio
import os
import stat
import sys
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path
from typing import IO, Any, Final

import click

from .. import FileInfo, Snapshot
from .base.command import Call, store_command
from .base.output import say
from .base.progress import progress
from .base.text import count, to_json
from .base.when import Short, When, resolve

_AT_ONCE: Final = 256


@store_command("[PREFIX]")
@click.option(
    "-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="A file; standard output without."
)
@click.option("--at", type=When(), metavar="WHEN", help="As it was: at a commit, at a time, or 10m ago.")
async def command(call: Call, prefix: str | None, *, output: Path | None, at: datetime | str | Short | None) -> None:
    """Write keys and values as JSON lines, all of one state, in order: {"key": "color", "value": "red"}.

    A key in another bucket has its "bucket", too. A file is replaced when it is complete.
    """
    async with call.client() as client:
        snapshot = await client.snapshot(None if at is None else await resolve(client, at))
        files = snapshot.files(prefix or "")
        # A bar would be in the way of lines that go to the terminal, or through a pipe perhaps.
        quiet = output is None and not _to_a_file()
        with progress(len(files), quiet=quiet) as tell:
            if output is None:
                await _write(sys.stdout.buffer, call, snapshot, files, tell)
                return
            beside = output.with_name(f"{output.name}.part")
            try:
                with beside.open("wb") as file:
                    await _write(file, call, snapshot, files, tell)
                os.replace(beside, output)  # noqa: PTH105 - atomic
            finally:
                beside.unlink(missing_ok=True)
    say(f"{count(len(files), 'key')} in {output}")


def _to_a_file() -> bool:
    try:
        return stat.S_ISREG(os.fstat(sys.stdout.fileno()).st_mode)
    except (OSError, ValueError):
        return False  # it is something of Python's own


async def _write(file: IO[bytes], call: Call, snapshot: Snapshot, files: list[FileInfo], tell: Any) -> None:
    done = 0
    async for one, value in _values(snapshot, files):
        bucket = {} if one.ref.bucket == call.location.bucket else {"bucket": one.ref.bucket}
        file.write(to_json({"key": one.ref.key, **bucket, "value": value}).encode() + b"\n")
        done += 1
        tell(done, f"{done:,} of {count(len(files), 'key')}")
    file.flush()


async def _values(snapshot: Snapshot, files: list[FileInfo]) -> AsyncIterator[tuple[FileInfo, Any]]:
    for start in range(0, len(files), _AT_ONCE):
        some = files[start : start + _AT_ONCE]
        values = await asyncio.gather(*(snapshot.get(one.ref) for one in some))
        for pair in zip(some, values, strict=True):
            yield pair
