"""gofakes3, a server in memory for the tests of Go programs. Any key is good for it.

Its listings of versions are not those of S3, so the doctor refuses a bucket with versions, and clients do not open.
"""

from __future__ import annotations

from pathlib import Path

from stores.base import StoreServer
from stores.packages import go_install
from stores.processes import Command

MODULE = "github.com/johannesboyne/gofakes3/cmd/gofakes3"
LISTINGS = "its listings of versions have another root, the oldest first"


class GoFakeS3(StoreServer):
    name = "gofakes3 (for tests)"
    version = "v1.2.0"
    source = f"Go module {MODULE}"
    quick = True
    versioning = False
    weaknesses = {
        **dict.fromkeys(("awkward_keys", "control_characters", "deleted", "exact_key", "without_versions"), LISTINGS),
        "absent": LISTINGS,
        "listing": "a page of few objects says that more follow, and the next is empty; mps3 stops at what it looks for",
        "parts": "its HEAD, which is asked for after a range behind the end, names another version than its GET",
        "described": "a PUT without metadata leaves those of the object before; mps3 writes no value twice",
    }

    def install(self) -> None:
        self.program = go_install(MODULE, self.version, self.cache)

    def commands(self, directory: Path, port: int) -> list[Command]:
        return [Command([self.program, "-backend", "memory", "-host", f"127.0.0.1:{port}"])]
