"""The command, called in this process and started as one of its own."""

from __future__ import annotations

import codecs
import contextlib
import json
import logging
import os
import re
import select
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from helpers import PATIENCE

import mps3 as package
from mps3.cli import main
from mps3.storage import local_clock


@dataclass(frozen=True)
class Result:
    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[Any]:
        """What was printed, as JSON lines."""
        return [json.loads(line) for line in self.out.splitlines()]


def environment(**more: str) -> dict[str, str]:
    """For processes that are started: they import what this one does, and no settings of ours are in their way."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "MPS3_"))}
    return kept | {"PYTHONPATH": str(Path(package.__file__).parents[1]), "PYTHONIOENCODING": "utf-8", **more}


def start(*arguments: str, **options: Any) -> subprocess.Popen[bytes]:
    env = environment(**options.pop("env", {}))
    settings = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    return subprocess.Popen([sys.executable, "-W", "error", "-m", "mps3", *arguments], env=env, **settings)


@pytest.fixture
def url(tmp_path, monkeypatch):
    """A store in a directory, which `MPS3_URL` names."""
    found = f"file://{tmp_path}/store"
    monkeypatch.setenv("MPS3_URL", found)
    return found


@pytest.fixture(
    params=["file", "merge", *(pytest.param(kind, marks=pytest.mark.server) for kind in ("versions", "plain"))]
)
def store(request, tmp_path, monkeypatch):
    """A store of every kind, which `MPS3_URL` names."""
    if request.param in ("file", "merge"):
        found = f"file://{tmp_path}/store"
    else:
        server = request.getfixturevalue("server")
        bucket = request.getfixturevalue("usable_bucket")("Enabled" if request.param == "versions" else None)
        for name, value in credentials(server).items():
            monkeypatch.setenv(name, value)
        found = f"s3://{bucket}/some/manifest.json?endpoint_url={server.url}"
    monkeypatch.setenv("MPS3_URL", found)
    return found


def credentials(server: Any) -> dict[str, str]:
    return {
        "AWS_ACCESS_KEY_ID": server.access_key,
        "AWS_SECRET_ACCESS_KEY": server.secret_key,
        "AWS_DEFAULT_REGION": server.region,
    }


@pytest.fixture(autouse=True)
def log_as_before():
    """The command, called in this process, changes how the library logs."""
    log = logging.getLogger("mps3")
    level, handlers, propagate = log.level, list(log.handlers), log.propagate
    yield
    log.setLevel(level)
    log.handlers, log.propagate = handlers, propagate


@pytest.fixture
def mps3(capfd):
    """Calls the command in this process."""

    def call(*arguments: str) -> Result:
        capfd.readouterr()
        code = main(arguments)
        return Result(code, *capfd.readouterr())

    return call


@pytest.fixture
def run():
    """Runs the command in a process of its own."""

    def call(*arguments: str, stdin: bytes = b"", **env: str) -> Result:
        process = start(*arguments, env={"MPS3_URL": os.environ.get("MPS3_URL", ""), **env}, stdin=subprocess.PIPE)
        out, err = process.communicate(stdin, timeout=PATIENCE)
        return Result(process.returncode, out.decode(), err.decode())

    return call


@pytest.fixture
def later(monkeypatch):
    """Moves the clock of stores in directories forward, by seconds."""
    ahead = 0.0

    class Time:
        @staticmethod
        def time() -> float:
            return time.time() + ahead

    monkeypatch.setattr(local_clock, "time", Time)

    def move(seconds: float) -> None:
        nonlocal ahead
        ahead += seconds

    return move


class Terminal:
    """The command on a terminal, and what it shows there."""

    def __init__(self, *arguments: str, **env: str) -> None:
        pty = pytest.importorskip("pty")
        self._own, theirs = pty.openpty()
        size = {"TERM": "xterm-256color", "COLUMNS": "100", "LINES": "40", "MPS3_URL": os.environ.get("MPS3_URL", "")}
        self.process = start(
            *arguments, stdin=theirs, stdout=theirs, stderr=theirs, env={**size, **env}, start_new_session=True
        )
        os.close(theirs)
        self.shown = ""
        self._decoder = codecs.getincrementaldecoder("utf-8")()

    def type(self, text: str) -> None:
        os.write(self._own, text.encode())

    def shows(self, text: str) -> str:
        """Wait until it shows something, colours left out."""
        return self._read(lambda: text in self.plain)

    def ends(self) -> int:
        self._read(lambda: False)
        os.close(self._own)
        return self.process.wait(PATIENCE)

    @property
    def plain(self) -> str:
        return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", self.shown).replace("\r\n", "\n")

    def _read(self, enough: Any) -> str:
        deadline = time.monotonic() + PATIENCE
        while not enough() and time.monotonic() < deadline:
            if not select.select([self._own], [], [], 1.0)[0]:
                continue
            try:
                read = os.read(self._own, 65536)
            except OSError:  # it has ended
                read = b""
            if not read:
                break
            self.shown += self._decoder.decode(read)
        return self.plain


@pytest.fixture
def terminal():
    """Starts the command on a terminal."""
    started: list[Terminal] = []

    def call(*arguments: str, **env: str) -> Terminal:
        started.append(Terminal(*arguments, **env))
        return started[-1]

    yield call
    for one in started:
        with contextlib.suppress(OSError):
            one.process.kill()
        one.process.wait(PATIENCE)
