"""Files that commands write: complete, or as they were before."""

from __future__ import annotations

import io
import os
import secrets
import stat
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

_OPEN_FILES: Final = ("/dev/stdout", "/dev/stderr", "/dev/fd/", "/proc/")
"""Paths that name files that this process has open already."""
_BINARY: Final = getattr(os, "O_BINARY", 0)
_NEW: Final = (
    os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0) | _BINARY
)


class FileWriter:
    """Writes bytes to a file descriptor. It may block in one thread, and be closed by another one."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self._lock = threading.Lock()
        self._open = True

    def __call__(self, data: bytes) -> None:
        """Write all of it, unless the file is closed meanwhile."""
        view = memoryview(data)
        while view:
            with self._lock:
                if not self._open:
                    return
                view = view[os.write(self.descriptor, view) :]

    def close(self) -> None:
        """Close the file, unless it is closed."""
        with self._lock:
            if self._open:
                self._open = False
                os.close(self.descriptor)


@contextmanager
def standard_output() -> Iterator[Callable[[bytes], None]]:
    """Open standard output for bytes."""
    sys.stdout.flush()
    try:
        descriptor = sys.stdout.fileno()
    except io.UnsupportedOperation:  # it is not a file of the system
        yield lambda data: print(data.decode(), end="", flush=True)  # noqa: T201
    else:
        # Python flushes `sys.stdout` at its end, and would wait for a reader that does not read.
        yield FileWriter(descriptor)


@contextmanager
def replace_file(path: Path) -> Iterator[FileWriter]:
    """Open a file to write that is replaced when all is written, and stays as it was after an error.

    A regular file keeps its mode, owner and extended attributes, and a symbolic link stays one. Anything else, such as
    a device or a pipe, is written to directly.

    Raises:
        OSError: It cannot be written to.
    """
    try:
        known = path.stat()
    except FileNotFoundError:
        known = None
    if known is not None and (not stat.S_ISREG(known.st_mode) or str(path.absolute()).startswith(_OPEN_FILES)):
        sink = FileWriter(os.open(path, os.O_WRONLY | os.O_APPEND | _BINARY))
        yield sink
        sink.close()  # not after an error, since a write in another thread may block; the end of the process closes it
        return
    if known is not None:
        os.close(os.open(path, os.O_WRONLY | _BINARY))  # replacing a file needs permission to write to it
    real = path.resolve()
    temporary = real.with_name(f".mps3-{secrets.token_hex(16)}")
    sink = FileWriter(os.open(temporary, _NEW, 0o666 if known is None else 0o600))
    try:
        if known is not None:
            _copy_attributes(temporary, sink.descriptor, real, known)
        yield sink
        os.fsync(sink.descriptor)
        sink.close()
        temporary.replace(real)
    finally:
        sink.close()
        temporary.unlink(missing_ok=True)


def _copy_attributes(temporary: Path, descriptor: int, real: Path, known: os.stat_result) -> None:
    """Give a file the owner, the mode and the extended attributes of the file that it replaces."""
    mode = stat.S_IMODE(known.st_mode)
    if hasattr(os, "fchown"):
        try:
            os.fchown(descriptor, -1, known.st_gid)
        except OSError:
            mode &= ~0o2070  # the permissions of the old group are not for the new one
        try:
            os.fchown(descriptor, known.st_uid, -1)
        except OSError:
            mode &= ~0o4000
    if hasattr(os, "listxattr"):
        with suppress(OSError):
            for attribute in os.listxattr(real):
                with suppress(OSError):
                    os.setxattr(descriptor, attribute, os.getxattr(real, attribute))
    if hasattr(os, "fchmod"):
        os.fchmod(descriptor, mode)
    else:
        temporary.chmod(mode)
