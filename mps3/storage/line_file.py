"""A file to which several processes append lines, and of which each reads those that are new to it. Blocking."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Final

from .inotify import watch

LARGEST: Final = 1 << 16
"""Bytes from which the file starts again. Lines that a process has not read by then are lost to it."""
_FLAGS: Final = os.O_RDWR | os.O_APPEND | os.O_CREAT | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)


class LineFile:
    """The file. Lines may be lost, and parts of lines may be read: they are hints.

    Args:
        path: Where it is, or is to be.

    Attributes:
        changes: A non-blocking file that is readable after each change; ``None`` if the system does not tell.

    Raises:
        OSError: It cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        # A thread may still use it when it is closed.
        self._lock = threading.Lock()
        self._file = os.fdopen(os.open(path, _FLAGS, 0o644), "rb", buffering=0)
        self._end = self._size()
        self.changes: IO[bytes] | None = None
        with contextlib.suppress(OSError):  # there are too many watches
            self.changes = watch(path)

    def exchange(self, lines: Iterable[bytes]) -> list[bytes]:
        """Append lines, and return all lines since the last call, these included.

        Raises:
            OSError: The disk is full, or fails.
        """
        with self._lock:
            if self._file.closed:
                return []
            # The first end of a line ends what somebody else has left without one.
            added = b"".join(b"\n" + line + b"\n" for line in lines)
            if added:
                if self._size() > LARGEST:
                    os.ftruncate(self._file.fileno(), 0)
                os.write(self._file.fileno(), added)
            size = self._size()
            if not 0 <= size - self._end <= 2 * LARGEST:
                self._end = 0 if size <= LARGEST else size
            self._file.seek(self._end)
            found = self._file.read(size - self._end) if size > self._end else b""
            whole = found.rfind(b"\n") + 1
            self._end += whole
            return [line for line in found[:whole].split(b"\n") if line]

    def close(self) -> None:
        """Close it."""
        with self._lock:
            self._file.close()
            if self.changes is not None:
                self.changes.close()

    def _size(self) -> int:
        return os.fstat(self._file.fileno()).st_size
