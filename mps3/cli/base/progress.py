"""Progress on standard error: a bar on a terminal, and elsewhere a line every few seconds."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, TextIO, TypeAlias

LINE_INTERVAL: Final = 5.0
"""Seconds between two lines, where there is no bar."""

Report: TypeAlias = Callable[[int, str], None]
"""Takes how much is done, and a text about it."""


@contextmanager
def progress(total: int | None = None, *, quiet: bool = False, stream: TextIO | None = None) -> Iterator[Report]:
    """Show progress.

    Args:
        total: How much there is to do, if that is known.
        quiet: Show nothing.
        stream: Standard error if ``None``.
    """
    stream = sys.stderr if stream is None else stream
    if quiet:
        yield lambda _done, _text: None
    elif stream.isatty():
        from rich import progress as rich  # noqa: PLC0415 - takes a while to load
        from rich.console import Console  # noqa: PLC0415

        known = (rich.MofNCompleteColumn(), rich.TimeRemainingColumn()) if total else ()
        text = rich.TextColumn("{task.description}", markup=False)
        columns = (rich.SpinnerColumn(), rich.BarColumn(20), text, *known, rich.TimeElapsedColumn())
        with rich.Progress(*columns, console=Console(file=stream), transient=True) as bars:
            task = bars.add_task("", total=total)
            yield lambda done, text: bars.update(task, completed=done, description=text)
    else:
        last = time.monotonic()

        def report(_done: int, text: str) -> None:
            nonlocal last
            if time.monotonic() - last >= LINE_INTERVAL:
                last = time.monotonic()
                print(text, file=stream, flush=True)

        yield report
