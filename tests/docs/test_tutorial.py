"""The tutorial: its programs are run as a reader would, and print what the page says."""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from docs.code_blocks import ROOT, blocks

from mps3 import MPS3

PAGE = "docs/tutorial.md"

pytestmark = pytest.mark.skipif(not (ROOT / PAGE).is_file(), reason="the documentation is not beside the tests")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A directory that has the programs of the page."""
    for block in blocks(PAGE):
        if block.needs == "process":
            name = re.match(r"# (\S+\.py)\n", block.code)
            assert name is not None, str(block)
            (tmp_path / name[1]).write_text(block.code, encoding="utf-8")
    return tmp_path


def environment(place: Path) -> dict[str, str]:
    return {**os.environ, "MPS3_URL": (place / "store").as_uri(), "PYTHONWARNINGS": "error"}


async def test_two_programs_see_each_other(place: Path) -> None:
    async def play(name: str) -> set[str]:
        program = await asyncio.create_subprocess_exec(
            sys.executable, "play.py", name, cwd=place, env=environment(place), stdout=asyncio.subprocess.PIPE
        )
        printed, _ = await program.communicate()
        assert program.returncode == 0
        return set(printed.decode().splitlines())

    for printed in await asyncio.gather(play("ann"), play("bob")):
        assert {line for line in printed if line.startswith("score/ann")}
        assert {line for line in printed if line.startswith("score/bob")}
    async with MPS3.from_url((place / "store").as_uri()) as client:
        assert await client.get_all(prefix="score/") == {"score/ann": 5, "score/bob": 5}


def test_without_a_network(place: Path) -> None:
    """The transcript of the page, line by line."""
    [transcript] = [
        block.code for block in blocks(PAGE) if "not sent yet;" in block.code and block.language == "console"
    ]
    commands = re.split(r"^\$ ", transcript, flags=re.MULTILINE)[1:]
    assert len(commands) == 5
    for command, printed in (one.split("\n", 1) for one in commands):
        program, *arguments = shlex.split(command)
        if program == "mps3":
            arguments = ["-m", "mps3", *arguments, "--no-json"]
        ran = subprocess.run(
            [sys.executable, *arguments],
            cwd=place,
            env=environment(place),
            capture_output=True,
            text=True,
            check=True,
        )
        assert ran.stdout == printed, command
