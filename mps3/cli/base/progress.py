"""How far something has come, on standard error: bars on a terminal, and else a line now and then."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, TextIO, TypeAlias

EVERY: Final = 5.0
"""Seconds between two lines, where there is no bar."""

Tell: TypeAlias = Callable[[int, str], None]
"""Takes how much is done, and what to say of it."""


@contextmanager
def progress(total: int | None = None, *, quiet: bool = False, stream: TextIO | None = None) -> Iterator[Tell]:
    """Show how far something has come.

    Args:
        total: What there is to do; ``None`` if nobody knows.
        quiet: Show nothing.
        stream: Where; standard error if ``None``.
    """
    stream = sys.stderr if stream is None else stream
    if quiet:
        yield lambda _done, _text: None
    elif stream.isatty():
        from rich import progress as rich  # noqa: PLC0415 - takes a while to load
        from rich.console import Console  # noqa: PLC0415

        known = (rich.MofNCompleteColumn(), rich.TimeRemainingColumn()) if total else ()
        # Texts of ours, which are no markup.
        text = rich.TextColumn("{task.description}", markup=False)
        columns = (rich.SpinnerColumn(), rich.BarColumn(20), text, *known, rich.TimeElapsedColumn())
        with rich.Progress(*columns, console=Console(file=stream), transient=True) as bars:
            task = bars.add_task("", total=total)
            yield lambda done, text: bars.update(task, completed=done, description=text)
    else:
        last = time.monotonic()

        def tell(_done: int, text: str) -> None:
            nonlocal last
            if time.monotonic() - last >= EVERY:
                last = time.monotonic()
                print(text, file=stream, flush=True)

        yield tell
