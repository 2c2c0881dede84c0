"""``mps3 gc``: what it says, and what it answers to its caller."""

from __future__ import annotations

import asyncio
import io
import json
import os
import signal
import sys
from datetime import timedelta
from pathlib import Path
from time import time
from typing import Any

import pytest

from mps3 import MPS3, AccessError, Collecting, Tally
from mps3.cli import gc, main
from mps3.cli.base import formatting, progress
from mps3.cli.base.point_in_time import parse_duration
from mps3.format import commit_age
from mps3.storage import local_clock
from mps3.storage.local import LocalStorage


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("7d", 7 * 86400), ("12h", 43200), ("30m", 1800), ("90s", 90), ("90", 90), ("1w", 604800), ("1.5h", 5400)],
)
def test_spans(text, seconds):
    assert parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["", "d", "-1d", "7 d", "7dd", "1y", "nan", "1e3", "9" * 20 + "w"])
def test_what_is_no_span(text, capsys):
    with pytest.raises(ValueError):
        parse_duration(text)
    assert main(["gc", "memory:", f"--retention={text}"]) == 2
    assert "--retention" in capsys.readouterr().err


@pytest.mark.parametrize("given", [["--grace", "19m"], ["--rate", "0"], ["--rate", "-1"], ["--rate", "nan"]])
def test_wrong_arguments(given, capsys):
    assert main(["gc", "memory:", *given]) == 2
    said = capsys.readouterr().err
    assert given[0].strip("-") in said and said.count("\n") == 1


def test_nothing_is_done_for_a_manifest_that_is_not_there(tmp_path, capsys):
    assert main(["gc", f"file://{tmp_path}"]) == 1
    said = capsys.readouterr()
    assert said.err == "mps3: there is no such manifest, so nothing is known to be garbage\n" and not said.out


def test_a_wrong_url_is_one_line(capsys):
    assert main(["gc", "nonsense"]) == 3
    assert capsys.readouterr().err.count("\n") == 1


@pytest.fixture
def filled(tmp_path, monkeypatch):
    """The URL of a store where there is something to collect."""
    url = f"file://{tmp_path}/store"
    ahead = 0.0

    class Time:
        @staticmethod
        def time() -> float:
            return time() + ahead

    monkeypatch.setattr(local_clock, "time", Time)

    async def fill() -> None:
        nonlocal ahead
        async with MPS3.from_url(url, inline=0, journal="merge") as client:
            for number in range(3):
                await client.put_all({"k": number, "j": "x" * 600})
            ahead += 30 * 86400
            await client.put("new", 1)

    asyncio.run(fill())
    return url


def test_for_people(filled, capsys):
    assert main(["gc", filled, "--dry-run", "--no-json"]) == 0
    said = capsys.readouterr().out
    assert "would be deleted" in said and "4 (1.2 kB)" in said and "all states since" in said
    assert main(["gc", filled, "--rate", "1000", "--no-json"]) == 0
    assert "would be" not in capsys.readouterr().out
    assert main(["gc", filled, "--no-json"]) == 0
    assert "0 (0 B)" in capsys.readouterr().out.splitlines()[3]


def test_for_programs(filled, capsys):
    assert main(["gc", filled, "--json", "--retention", "1h", "--grace", "20m"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["values"]["deleted"] == 4 and said["deleted"] >= 4 and said["dry_run"] is False
    assert said["since"].endswith("+00:00")
    assert main(["gc", filled, "--manifest", "nobody.json"]) == 1


def test_what_is_refused_is_said(filled, capsys, monkeypatch):
    async def refuse(self: Any, *arguments: Any, **options: Any) -> None:
        raise AccessError("DeleteObject failed: 403 AccessDenied", operation="DeleteObject")

    monkeypatch.setattr(LocalStorage, "delete", refuse)
    assert main(["gc", filled]) == 4
    said = capsys.readouterr().err
    assert said.startswith("mps3: DeleteObject failed: 403 AccessDenied (mps3 doctor") and said.count("\n") == 1


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


EVENT = Collecting("values", 12345, 678, 9_000_000)


def test_a_bar_in_the_terminal():
    terminal = Terminal()
    with progress.progress(stream=terminal) as tell:
        tell(EVENT.looked_at, gc.progress_line(EVENT))
    assert "12,345 values; garbage so far: 678, 9.0 MB" in terminal.getvalue()


def test_lines_without_one(monkeypatch):
    monkeypatch.setattr(progress, "LINE_INTERVAL", 0.0)
    told = io.StringIO()
    with progress.progress(stream=told) as tell:
        tell(EVENT.looked_at, gc.progress_line(EVENT))
    assert told.getvalue() == "12,345 values; garbage so far: 678, 9.0 MB\n"


def test_sizes():
    assert [formatting.size(number) for number in (0, 999, 1000, 1_500_000, 2e9, 3e12, 4e15)] == [
        "0 B",
        "999 B",
        "1.0 kB",
        "1.5 MB",
        "2.0 GB",
        "3.0 TB",
        "4000.0 TB",
    ]


def test_the_report_adds_up():
    found = gc.total(Tally(1, 10, 2, 20), Tally(3, 30, 4, 40), Tally(5, 50, 6, 60))
    assert gc.cells(found) == ("9 (90 B)", "12 (120 B)")


@pytest.mark.skipif(os.name != "posix", reason="signals")
async def test_ctrl_c_is_quiet(tmp_path):
    async with MPS3.from_url(f"file://{tmp_path}/store", inline=0, journal="merge") as client:
        await client.put_all({f"k{number}": number for number in range(50)})
        await client.put_all({f"k{number}": number for number in range(50)})
    code = (
        "import sys; from mps3.format import commit_age; commit_age.LATENESS = 0.0; "
        "from mps3.cli import main; print('started', flush=True); sys.exit(main(sys.argv[1:]))"
    )
    arguments = ["gc", f"file://{tmp_path}/store", "--retention", "0", "--grace", "0", "--rate", "1"]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, *arguments,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(Path(commit_age.__file__).parents[2])},
    )  # fmt: skip
    assert await process.stdout.readline() == b"started\n"
    await asyncio.sleep(1.5)
    process.send_signal(signal.SIGINT)
    out, err = await process.communicate()
    assert (process.returncode, out, err) == (130, b"", b"")
