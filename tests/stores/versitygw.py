"""Versity S3 Gateway, before a directory: an object is a file there, and its attributes are the file's."""

from __future__ import annotations

from pathlib import Path

from stores.base import StoreServer
from stores.packages import go_install
from stores.processes import Command

MODULE = "github.com/versity/versitygw/cmd/versitygw"


class VersityGateway(StoreServer):
    name = "Versity S3 Gateway"
    version = "v1.8.0"
    source = f"Go module {MODULE}"
    weaknesses = {
        "awkward_keys": "it refuses . and .. as keys, and lists some others as other keys",
        "conditional_create": "a deleted object cannot be created again in a bucket with versions; mps3 never does",
        "control_characters": "it does not find versions by a prefix with control characters",
        "exact_key": "it cannot hold a key and another one below it",
    }

    def install(self) -> None:
        self.program = go_install(MODULE, self.version, self.cache)

    def commands(self, directory: Path, port: int) -> list[Command]:
        data, versions = directory / "data", directory / "versions"
        for one in (data, versions):
            one.mkdir(parents=True, exist_ok=True)
        gateway = [self.program, "--port", f"127.0.0.1:{port}", "--region", self.region, "--quiet"]
        keys = {"ROOT_ACCESS_KEY": self.access_key, "ROOT_SECRET_KEY": self.secret_key}
        return [Command([*gateway, "posix", "--versioning-dir", versions, data], keys)]
