"""Servers that push, each started for a test, killed and started again at the same port."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from stores.processes import Command, free_port, running, wait_until_it_listens

from mps3 import wake

SECRET = "hush-7d1f"


class PushServer:
    """A server, and the wake-ups that go through it."""

    programs: tuple[str, ...]
    package: str

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.port = free_port()
        self._stack = contextlib.ExitStack()
        self._stack_of_all = contextlib.ExitStack()
        for program in self.programs:
            if _find(program) is None:
                if "CI" in os.environ:
                    pytest.fail(f"{program} is missing: install {self.package}")
                pytest.skip(f"{program} is missing: install {self.package} to try these wake-ups")
        self.prepare()

    def prepare(self) -> None:
        """Make what it needs before it starts."""

    def command(self) -> Command:
        raise NotImplementedError

    def wake(self) -> Any:
        raise NotImplementedError

    def start(self) -> None:
        started = self._stack.enter_context(running([self.command()], self.directory))
        wait_until_it_listens(self.port, started)

    def kill(self) -> None:
        self._stack.close()

    def remove(self) -> None:
        self.kill()
        self._stack_of_all.close()


class Redis(PushServer):
    programs = ("redis-server",)
    package = "redis-server"

    def command(self) -> Command:
        options = ["--port", str(self.port), "--save", "", "--appendonly", "no", "--requirepass", SECRET]
        return Command([_find("redis-server"), *options])

    def wake(self) -> Any:
        return wake.redis(f"redis://:{SECRET}@127.0.0.1:{self.port}")


class Nats(PushServer):
    programs = ("nats-server",)
    package = "nats-server"

    def command(self) -> Command:
        return Command([_find("nats-server"), "-a", "127.0.0.1", "-p", str(self.port), "--auth", SECRET])

    def wake(self) -> Any:
        return wake.nats(f"nats://{SECRET}@127.0.0.1:{self.port}")


class Postgres(PushServer):
    programs = ("initdb", "postgres")
    package = "postgresql"

    def prepare(self) -> None:
        # Its owner has to reach it, and root's directories for tests are root's.
        self.directory = Path(self._stack_of_all.enter_context(tempfile.TemporaryDirectory(prefix="mps3-postgres-")))
        password = self.directory / "password"
        password.write_text(SECRET)
        data = ["-D", str(self.directory / "data"), "-U", "mps3", "-A", "scram-sha-256", f"--pwfile={password}"]
        if os.geteuid() == 0:  # which the server refuses to run as
            owner = pwd.getpwnam("nobody")
            for path in (self.directory, password):
                os.chown(path, owner.pw_uid, owner.pw_gid)
        subprocess.run([*_as_nobody(), _find("initdb"), "-N", *data], check=True, capture_output=True)

    def command(self) -> Command:
        where = ["-D", self.directory / "data", "-p", str(self.port), "-k", "", "-c", "listen_addresses=127.0.0.1"]
        # SIGTERM would let it wait for its clients to leave.
        return Command([*_as_nobody(), _find("postgres"), *where], ending=signal.SIGQUIT)

    def wake(self) -> Any:
        return wake.postgres(f"postgresql://mps3:{SECRET}@127.0.0.1:{self.port}/postgres")


def _as_nobody() -> list[str]:
    return ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"] if os.geteuid() == 0 else []


def _find(program: str) -> str | None:
    installed = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{program}"), reverse=True)
    return shutil.which(program) or next(map(str, installed), None)


@pytest.fixture(params=[Redis, Nats, Postgres], ids=["redis", "nats", "postgres"])
def push_server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[PushServer]:
    found = request.param(tmp_path / "push")
    try:
        found.start()
        yield found
    finally:
        found.remove()
