"""Servers of stores that are not S3, which obstore reaches: how they are started, and their buckets examined."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

from servers import Server

from mps3 import MPS3
from mps3.storage.obstore.storage import ObstoreStorage
from mps3.storage.protocol import Storage
from stores import store
from stores.base import StoreServer
from stores.exam.bucket import POLL, Bucket
from stores.processes import free_port, running, wait_until_it_answers


@dataclass(frozen=True)
class NativeServer(Server):
    """Such a server, and how to get in."""

    scheme: Literal["gs", "az"] = "gs"
    path: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    create: Callable[[Server, str], None] = field(default=lambda server, name: None)

    def storage_options(self, endpoint: str | None = None) -> dict[str, Any]:
        """For `ObstoreStorage`, by another way to the server if an endpoint is given."""
        return {**self.options, "endpoint_url": f"{endpoint or self.url}{self.path}"}

    def make_bucket(self) -> NativeBucket:
        name = f"mps3-{secrets.token_hex(8)}"
        self.create(self, name)
        return NativeBucket(self, name, versioned=False)


@dataclass(frozen=True)
class NativeBucket(Bucket):
    """A bucket of such a server."""

    server: NativeServer

    def storage(self) -> Storage:
        return ObstoreStorage(self.server.scheme, self.server.storage_options())

    def client(self, manifest: str, *, endpoint: str | None = None, **options: Any) -> MPS3:
        options = {"poll_interval": POLL, "journal": self.journal, **options}
        url = f"{self.server.scheme}://{self.name}/{self.journal}/{manifest}"
        return MPS3.from_url(url, storage_options=self.server.storage_options(endpoint), **options)


class NativeStoreServer(StoreServer):
    """A server of a store that is not S3."""

    versioning = False
    scheme: ClassVar[Literal["gs", "az"]]
    path: ClassVar[str] = ""
    options: ClassVar[Mapping[str, Any]] = {}

    def create_bucket(self, server: Server, name: str) -> None:
        """Make a bucket."""
        raise NotImplementedError

    def at(self, url: str) -> NativeServer:
        """The server of this kind that listens there."""
        return NativeServer(url, scheme=self.scheme, path=self.path, options=self.options, create=self.create_bucket)

    @contextlib.contextmanager
    def running(self, directory: Path) -> Iterator[NativeServer]:
        port = free_port()
        server = self.at(f"http://127.0.0.1:{port}")
        with running(self.commands(directory, port), directory) as processes:
            wait_until_it_answers(server.url, processes)
            yield server


def named() -> NativeServer | None:
    """The server that the environment names; ``None`` without one."""
    if (url := os.environ.get("MPS3_TEST_NATIVE_URL")) is None:
        return None
    kind = store(os.environ["MPS3_TEST_NATIVE"])
    assert isinstance(kind, NativeStoreServer)
    return kind.at(url)
