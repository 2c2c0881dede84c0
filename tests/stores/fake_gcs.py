"""fake-gcs-server, an emulator of Google Cloud Storage, behind a translation of the XML API, which obstore speaks.

The PyPI package gcp-storage-emulator cannot take its place: of the XML API it has GET and PUT, and it knows no conditions.
"""

from __future__ import annotations

import sys
import urllib.request
from pathlib import Path

import google_xml
from servers import Server

from stores.native import NativeStoreServer
from stores.packages import go_install
from stores.processes import Command, free_port


class FakeGCS(NativeStoreServer):
    name = "fake-gcs-server, for Google Cloud Storage (`gs:`)"
    version = "v1.56.1"
    source = "Go module github.com/fsouza/fake-gcs-server"
    quick = True
    scheme = "gs"
    options = {"bearer_token": "of-nobody"}

    def install(self) -> None:
        self.program = go_install("github.com/fsouza/fake-gcs-server", self.version, self.cache)

    def commands(self, directory: Path, port: int) -> list[Command]:
        inner = free_port()
        address = ("-scheme", "http", "-host", "127.0.0.1", "-port", str(inner))
        public = ("-public-host", f"127.0.0.1:{inner}", "-external-url", f"http://127.0.0.1:{inner}")
        front = [sys.executable, google_xml.__file__, str(port), f"http://127.0.0.1:{inner}"]
        return [
            Command([self.program, "-backend", "memory", "-log-level", "error", *address, *public], ready=inner),
            Command(front),
        ]

    def create_bucket(self, server: Server, name: str) -> None:
        urllib.request.urlopen(urllib.request.Request(f"{server.url}/{name}", method="PUT")).close()
