"""moto, in a process of its own: what the everyday tests run on."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import ClassVar

import servers

from stores.base import StoreServer


class Moto(StoreServer):
    name = "moto (for tests)"
    version: ClassVar[str] = version("moto")
    source = "PyPI moto[server]"
    quick = True
    weaknesses = {"control_characters": "it routes no line feeds"}

    def install(self) -> None:
        """The tests have it."""

    @contextlib.contextmanager
    def running(self, directory: Path) -> Iterator[servers.Server]:
        with servers.moto() as url:
            yield servers.Server(url)
