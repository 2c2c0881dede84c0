"""Examples that run, each started as a user would."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"
PATIENCE = 120.0


class Program:
    """A running example."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.printed: list[str] = []

    def type(self, line: str) -> None:
        self.process.stdin.write(f"{line}\n".encode())

    def interrupt(self) -> None:
        self.process.send_signal(signal.SIGINT)

    async def prints(self, line: str) -> None:
        """Wait for a line."""
        async with asyncio.timeout(PATIENCE):
            while line not in self.printed:
                read = await self.process.stdout.readline()
                assert read, f"it ended without printing {line!r}: {self.printed}, {await self.process.stderr.read()}"
                self.printed.append(read.decode().rstrip())

    async def prints_start(self, begin: str) -> None:
        """Wait for a line that begins like this."""
        async with asyncio.timeout(PATIENCE):
            while not any(line.startswith(begin) for line in self.printed):
                read = await self.process.stdout.readline()
                assert read, f"it ended without printing {begin!r}…: {self.printed}"
                self.printed.append(read.decode().rstrip())

    async def prints_at_last(self, line: str, again: Callable[[], Awaitable[object]]) -> None:
        """Wait for a line, and do something that should cause it once a second until it is there.

        For what a busy machine may still refuse or miss: a value that cannot be read yet, a watch that has not begun.
        """
        async with asyncio.timeout(PATIENCE):
            while line not in self.printed:
                await again()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self.prints(line), 1)

    async def ends(self) -> int:
        """Close its input and wait; it must not have complained of anything."""
        self.process.stdin.close()
        async with asyncio.timeout(PATIENCE):
            out, err = await self.process.communicate()
        self.printed += out.decode().splitlines()
        assert err.decode() == ""
        return self.process.returncode


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Start]:
    programs: list[Program] = []

    async def start(example: str, *args: str) -> Program:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-W",
            "error",
            str(EXAMPLES / example),
            *args,
            cwd=tmp_path,
            env={**os.environ, "TMPDIR": str(tmp_path), "PYTHONIOENCODING": "utf-8"},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        programs.append(Program(process))
        return programs[-1]

    yield start
    for program in programs:
        if program.process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                program.process.kill()
            await program.process.communicate()


Start = Callable[..., Awaitable[Program]]
