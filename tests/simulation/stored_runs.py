"""What a stored run says, read without the library."""

from __future__ import annotations

import json
import zlib
from typing import Any


def files_in(run: bytes) -> dict[str, Any]:
    """The keys and files of a run, however it is named."""
    files: dict[str, Any] = {}
    while not run.startswith(b"{"):  # its index
        reader = zlib.decompressobj()
        files.update(json.loads(line) for line in reader.decompress(run).split(b"\n"))
        run = reader.unused_data
    return files
