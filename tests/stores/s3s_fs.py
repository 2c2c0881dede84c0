"""s3s-fs, which serves a directory."""

from __future__ import annotations

from pathlib import Path

from stores.base import StoreServer
from stores.packages import cargo_install
from stores.processes import Command


class S3sFs(StoreServer):
    name = "s3s-fs"
    version = "0.14.1"
    source = "crate s3s-fs"
    versioning = False

    def install(self) -> None:
        self.program = cargo_install("s3s-fs", self.version, self.cache, "s3s-fs", "--features", "binary")

    def commands(self, directory: Path, port: int) -> list[Command]:
        objects = directory / "objects"
        objects.mkdir(parents=True, exist_ok=True)
        keys = ["--access-key", self.access_key, "--secret-key", self.secret_key]
        return [Command([self.program, "--host", "127.0.0.1", "--port", str(port), *keys, objects])]
