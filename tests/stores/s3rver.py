"""s3rver, a server for tests of Node.js programs."""

from __future__ import annotations

from pathlib import Path

from stores.base import StoreServer
from stores.packages import npm_install
from stores.processes import Command


class S3rver(StoreServer):
    name = "s3rver (for tests)"
    version = "3.7.1"
    source = "npm s3rver"
    versioning = False
    access_key = "S3RVER"
    secret_key = "S3RVER"

    def install(self) -> None:
        self.program = npm_install("s3rver", self.version, self.cache, "s3rver")

    def commands(self, directory: Path, port: int) -> list[Command]:
        data = directory / "data"
        data.mkdir()
        return [Command([self.program, "-d", data, "-a", "127.0.0.1", "-p", str(port)])]
