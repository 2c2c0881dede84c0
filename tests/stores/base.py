"""A server of a store: how it is installed, started and ended."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import ClassVar

from servers import Server

from stores.processes import Command, free_port, running, wait_until_it_answers


class Unavailable(Exception):  # noqa: N818 - of a server, not a failure of the exam
    """The server cannot be had on this machine; the message says why, and what to do."""


class StoreServer:
    """A server of a store.

    A subclass says what it is, installs it, and gives the commands that serve it. ``module`` is its name on the command
    line, ``cache`` a directory for what it installs, which lasts.
    """

    name: ClassVar[str]
    """As in the table of providers."""
    version: ClassVar[str]
    source: ClassVar[str]
    """Which package it comes from."""
    quick: ClassVar[bool] = False
    """Whether it is installed within a minute, so that every run of the tests can use it."""
    versioning: ClassVar[bool] = True
    """Whether its buckets can keep versions."""
    weaknesses: ClassVar[Mapping[str, str]] = {}
    """Checks of the conformance suite that fail, and what the store does there; a client has to live with it."""
    access_key: ClassVar[str] = "mps3access"
    secret_key: ClassVar[str] = "mps3-secret-key"
    region: ClassVar[str] = "us-east-1"

    def __init__(self, module: str, cache: Path) -> None:
        self.module = module
        self.cache = cache / re.sub(r"[^\w.-]", "-", self.version)

    def install(self) -> None:
        """Install it, unless the cache has it.

        Raises:
            Unavailable: It cannot be had on this machine.
        """
        raise NotImplementedError

    def commands(self, directory: Path, port: int) -> list[Command]:
        """The commands that serve S3 at a port, with their data in a directory: they start in this order."""
        raise NotImplementedError

    def prepare(self, directory: Path, port: int) -> None:
        """Do what is left to do once it answers: make keys, say."""

    @contextlib.contextmanager
    def running(self, directory: Path) -> Iterator[Server]:
        """Serve for as long as the context lasts; installed before."""
        port = free_port()
        server = Server(f"http://127.0.0.1:{port}", self.access_key, self.secret_key, self.region)
        with running(self.commands(directory, port), directory) as processes:
            wait_until_it_answers(server.url, processes)
            self.prepare(directory, port)
            yield server
