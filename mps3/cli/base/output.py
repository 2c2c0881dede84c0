"""Printing: for people on a terminal, JSON lines into a pipe, and messages to standard error."""

from __future__ import annotations

import io
import logging
import os
import sys
import traceback
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any, Final

from ...storage.url import discreet
from ...text import printable
from .formatting import diff, json_text, short_id

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from ... import Commit

MARK_STYLES: Final = {"+": "green", "-": "red", "~": "yellow", " ": "dim"}
"""How lines about new, deleted, changed and unchanged things are shown."""


class Output:
    """Standard output.

    Args:
        json: Whether to print JSON; ``None``: on anything but a terminal.

    Attributes:
        human: Whether it is for people.
    """

    def __init__(self, *, json: bool | None = None) -> None:
        self.human = sys.stdout.isatty() if json is None else not json
        self._console: Console | None = None

    @property
    def console(self) -> Console:
        """A terminal, or what stands for one."""
        if self._console is None:
            from rich.console import Console  # noqa: PLC0415 - takes a while to load

            self._console = Console(highlight=False, soft_wrap=True)
        return self._console

    def json(self, value: object) -> None:
        """Print one line of JSON."""
        self.plain(json_text(value))

    def plain(self, line: str) -> None:
        """Print one line as it is, at once."""
        sys.stdout.write(line + "\n")
        sys.stdout.flush()

    def line(self, *parts: str | Text | tuple[str, str]) -> None:
        """Print one line for people: texts, some of them with a style."""
        from rich.text import Text  # noqa: PLC0415 - takes a while to load

        self.console.print(Text.assemble(*parts))

    def note(self, text: str) -> None:
        """Print a remark for people."""
        self.line((text, "dim"))

    def diff(self, old: Any, new: Any) -> None:
        """Print the difference between two values for people."""
        for mark, text in diff(old, new):
            self.line((f"    {mark} {text}", MARK_STYLES[mark]))

    def commit(self, what: str, names: str, commit: Commit) -> None:
        """Print a commit that this command has made.

        Args:
            what: What it has done to its keys.
            names: The keys, for people.
            commit: The commit.
        """
        if self.human:
            self.line(f"{what} ", (names, "bold"), (f"  {short_id(commit.id)}", "dim"))
        else:
            self.json({"commit": commit.id, "versions": dict(commit.versions)})

    def table(self, header: Sequence[str], rows: Sequence[Sequence[str]], right: Collection[int] = ()) -> None:
        """Print a table for people. The last column is not padded.

        Args:
            header: What stands above the columns.
            rows: Texts.
            right: Numbers of the columns that are flush right.
        """
        from rich.cells import cell_len  # noqa: PLC0415 - takes a while to load

        lines = [header, *rows]
        widths = [max(cell_len(line[column]) for line in lines) for column in range(len(header))]

        def laid_out(line: Sequence[str]) -> str:
            cells = []
            for column, cell in enumerate(line):
                space = " " * (widths[column] - cell_len(cell))
                cells.append(space + cell if column in right else cell + space)
            return "  ".join(cells).rstrip()

        self.note(laid_out(header))
        for row in rows:
            self.line(laid_out(row))


def say(message: str, *, raw: bool = False) -> None:
    """Print a message to standard error, on one line unless it is ``raw``."""
    line = message if raw else "mps3: " + printable(discreet(" ".join(message.split("\n"))))
    try:
        print(line, file=sys.stderr, flush=True)  # noqa: T201
    except (OSError, ValueError):
        return  # standard error is closed


def report_bug(error: Exception) -> None:
    """Print a message about an unexpected error."""
    if os.environ.get("MPS3_DEBUG"):
        lines = "".join(traceback.format_exception(error)).splitlines()
        say("\n".join(printable(discreet(line)) for line in lines), raw=True)
    say(f"this should not have happened ({type(error).__name__}); MPS3_DEBUG=1 shows where, for a bug report")


def set_encodings() -> None:
    """Print JSON as UTF-8, whatever the system is set to, and on a terminal what it can show.

    In a process without standard output or standard error, what is printed is discarded.
    """
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115 - until the process ends
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            if stream.isatty():
                stream.reconfigure(errors="backslashreplace")
            elif stream is sys.stdout:
                stream.reconfigure(encoding="utf-8", errors="backslashreplace")


def discard_output() -> None:
    """Discard further output, because its reader has closed the pipe: the interpreter flushes it at its end."""
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (OSError, ValueError):
        return  # standard output is not a file


class _LogHandler(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        say(record.getMessage())


def show_log() -> None:
    """Print warnings of the library as messages, and no log of other libraries."""
    log = logging.getLogger("mps3")
    log.setLevel(logging.NOTSET)
    if not any(isinstance(handler, _LogHandler) for handler in log.handlers):
        log.addHandler(_LogHandler(logging.WARNING))
        log.propagate = False
    logging.getLogger().addHandler(logging.NullHandler())


def silence_log() -> None:
    """Stop printing the log of the library."""
    logging.getLogger("mps3").setLevel(logging.CRITICAL + 1)
