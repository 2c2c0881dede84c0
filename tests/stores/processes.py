"""The processes of a server, and the ports that they listen on."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

STARTING = 120.0  # seconds that a server may take to answer, on a machine however busy
ENDING = 15.0  # seconds that it may take to end


@dataclass(frozen=True)
class Command:
    """A process of a server.

    Attributes:
        ready: A port that it has to listen on before the next one starts.
        ending: The signal that ends it, though clients are connected.
    """

    arguments: Sequence[str | Path]
    environment: Mapping[str, str] = field(default_factory=dict)
    directory: Path | None = None
    ready: int | None = None
    ending: signal.Signals = signal.SIGTERM


@dataclass
class Process:
    """A process that was started, and the file with what it prints."""

    command: Command
    process: subprocess.Popen[bytes]
    log: Path

    def check(self) -> None:
        """Raise if it has ended, with the end of what it printed."""
        if self.process.poll() is not None:
            said = self.log.read_text(errors="replace")[-2000:]
            raise RuntimeError(f"{self.command.arguments[0]} ended with {self.process.returncode}:\n{said}")


def free_port() -> int:
    """A port that nobody listens on at this moment."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@contextlib.contextmanager
def running(commands: Sequence[Command], directory: Path) -> Iterator[list[Process]]:
    """Start the processes one after another, and end them with the context, the last one first."""
    directory.mkdir(parents=True, exist_ok=True)
    started: list[Process] = []
    try:
        for number, command in enumerate(commands):
            log = directory / f"process-{number}.log"
            with log.open("wb") as out:
                process = subprocess.Popen(
                    [str(argument) for argument in command.arguments],
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=subprocess.STDOUT,
                    cwd=command.directory or directory,
                    env={**os.environ, **command.environment},
                    start_new_session=True,  # Ctrl-C ends the exam first, and then the server
                )
            started.append(Process(command, process, log))
            if command.ready is not None:
                wait_until_it_listens(command.ready, started)
        yield started
    finally:
        for one in reversed(started):
            end(one.process, one.command.ending)


def end(process: subprocess.Popen[bytes], ending: signal.Signals = signal.SIGTERM) -> None:
    """End a process and all that it started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, ending)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(ENDING)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def wait_until_it_listens(port: int, processes: Sequence[Process]) -> None:
    deadline = time.monotonic() + STARTING
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            _check(processes, deadline, f"nothing listens on port {port}")
        else:
            return


def wait_until_it_answers(url: str, processes: Sequence[Process]) -> None:
    """Wait for an answer to a request without a signature; a server that is about to start refuses with 5xx."""
    deadline = time.monotonic() + STARTING
    while True:
        try:
            urllib.request.urlopen(url, timeout=5).close()
        except urllib.error.HTTPError as error:
            error.close()
            if error.code < 500:
                return
            _check(processes, deadline, f"{url} answers {error.code}")
        except OSError as error:
            _check(processes, deadline, f"{url} does not answer: {error}")
        else:
            return


def _check(processes: Sequence[Process], deadline: float, what: str) -> None:
    for one in processes:
        one.check()
    if time.monotonic() > deadline:
        raise TimeoutError(f"after {STARTING:g} s, {what}")
    time.sleep(0.1)
