"""The transcripts of docs/cli.md are what the commands print."""

from __future__ import annotations

import io
import re
import shlex
import sys
from pathlib import Path

import click
import pytest

from mps3.cli import app, main

PAGE = Path(__file__).parents[2] / "docs" / "cli.md"
MARK = "<!-- runs -->\n```console\n"
# What is another each time: commits and versions, which commands name again; times, and the sizes of manifests.
NAMES = re.compile(r"\b[0-9a-f]{8}\.\d+|(?<!\S)(?:[\w-]{32}|[0-9a-f]{16}-[0-9a-f]+)(?=,|\s|$)")
CHANGING = re.compile(rf"{NAMES.pattern}|\d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d|[\d.]+ kB")

pytestmark = pytest.mark.skipif(not PAGE.is_file(), reason="the documentation is not beside the tests")


class Screen(io.StringIO):
    """A terminal without colours."""

    def isatty(self) -> bool:
        return True


class Beside(io.StringIO):
    """Standard error, which is shown at the same place, without bars."""

    def __init__(self, screen: Screen) -> None:
        super().__init__()
        self.write = screen.write  # type: ignore[method-assign]


def lasting(lines: list[str]) -> list[str]:
    """Lines without what changes, and without what that pushes aside."""
    return [re.sub(" +", " ", CHANGING.sub("…", line)) for line in lines]


def transcripts() -> list[tuple[str, list[str]]]:
    """Commands, and the lines that follow them."""
    found: list[tuple[str, list[str]]] = []
    for block in PAGE.read_text(encoding="utf-8").split(MARK)[1:]:
        for line in block.partition("```")[0].splitlines():
            if line.startswith("$ "):
                found.append((line[2:], []))
            else:
                found[-1][1].append(line)
    return found


def test_the_page_is_true(url, monkeypatch):
    assert len(transcripts()) > 10
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setenv("NO_COLOR", "1")
    meant: dict[str, str] = {}
    for command, printed in transcripts():
        for name, real in meant.items():
            command = command.replace(name, real)
        screen = Screen()
        monkeypatch.setattr(sys, "stdout", screen)
        monkeypatch.setattr(sys, "stderr", Beside(screen))
        program, *arguments = shlex.split(command)
        assert program == "mps3"
        main(arguments)
        shown = screen.getvalue().splitlines()
        assert lasting(shown) == lasting(printed), command
        for line, real in zip(printed, shown, strict=True):
            meant.update(zip(NAMES.findall(line), NAMES.findall(real), strict=True))


def test_every_option_is_on_the_page():
    page = PAGE.read_text(encoding="utf-8")
    context = click.Context(app.app)
    for name in app.COMMANDS:
        command = app.app.get_command(context, name)  # type: ignore[attr-defined]
        for parameter in command.params:
            for option in (*parameter.opts, *parameter.secondary_opts):
                if option.startswith("--") and (name, option) not in {("demo", "--seconds"), ("demo", "--transcript")}:
                    assert re.search(rf"{option}(?![a-z-])", page), (name, option)
