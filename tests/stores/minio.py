"""MinIO, whose repository is archived: its last state, built from source."""

from __future__ import annotations

from pathlib import Path

from stores.base import StoreServer
from stores.packages import go_install
from stores.processes import Command

MODULE = "github.com/minio/minio"


class MinIO(StoreServer):
    name = "MinIO (archived in 2026)"
    version = "v0.0.0-20260212201848-7aac2a2c5b7c"
    source = f"Go module {MODULE}"
    weaknesses = {"awkward_keys": "it refuses keys with . and .. and // in them"}

    def install(self) -> None:
        self.program = go_install(MODULE, self.version, self.cache)

    def commands(self, directory: Path, port: int) -> list[Command]:
        data = directory / "data"
        data.mkdir(parents=True, exist_ok=True)
        keys = {"MINIO_ROOT_USER": self.access_key, "MINIO_ROOT_PASSWORD": self.secret_key, "MINIO_UPDATE": "off"}
        return [Command([self.program, "server", "--address", f"127.0.0.1:{port}", "--quiet", data], keys)]
