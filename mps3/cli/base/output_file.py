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

_OWN: Final = ("/dev/stdout", "/dev/stderr", "/dev/fd/", "/proc/")
"""What names files that this process has open already."""
_BINARY: Final = getattr(os, "O_BINARY", 0)
_NEW: Final = getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0) | _BINARY


class FileWriter:
    """Takes bytes, and returns when they are written. It may block, and then be closed by another thread.

    Args:
        descriptor: Of the file.
    """

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self._turn = threading.Lock()
        self._open = True

    def __call__(self, data: bytes) -> None:
        """Write."""
        view = memoryview(data)
        while view:
            with self._turn:
                if not self._open:
                    return  # nobody wants it any more
                view = view[os.write(self.descriptor, view) :]

    def close(self) -> None:
        """Close the file, unless it was closed before."""
        with self._turn:
            if self._open:
                self._open = False
                os.close(self.descriptor)


@contextmanager
def standard_output() -> Iterator[Callable[[bytes], None]]:
    """Standard output, as bytes."""
    # Not through Python's own object: at its end the program flushes that, and would wait for whoever does not read.
    sys.stdout.flush()
    try:
        descriptor = sys.stdout.fileno()
    except io.UnsupportedOperation:  # it is something of Python's own
        yield lambda data: print(data.decode(), end="", flush=True)  # noqa: T201
    else:
        yield FileWriter(descriptor)


@contextmanager
def replace_file(path: Path) -> Iterator[FileWriter]:
    """A file to write, which is what it was before until all is written.

    A regular file is replaced as a whole, and keeps its mode, its owner and what else the system knows of it; a
    symbolic link stays, and what it leads to is replaced. What is no regular file, such as a device or a pipe, is
    written to as it is.

    Args:
        path: Its name.

    Raises:
        OSError: It cannot be written to.
    """
    try:
        known = path.stat()
    except FileNotFoundError:
        known = None
    if known is not None and (not stat.S_ISREG(known.st_mode) or str(path.absolute()).startswith(_OWN)):
        sink = FileWriter(os.open(path, os.O_WRONLY | os.O_APPEND | _BINARY))
        yield sink
        sink.close()  # after an error the end of the process does: nobody waits for a write that may block
        return
    if known is not None:
        os.close(os.open(path, os.O_WRONLY | _BINARY))  # whoever may not write to it may not replace it either
    real = path.resolve()
    with _temporary_file(real, 0o666 if known is None else 0o600) as (name, sink):
        if known is not None:
            _copy_attributes(name, sink.descriptor, real, known)
        yield sink
        os.fsync(sink.descriptor)
        sink.close()
        name.replace(real)


@contextmanager
def _temporary_file(real: Path, mode: int) -> Iterator[tuple[Path, FileWriter]]:
    """A new file in the directory of another, with a name that nobody can foresee; it is gone in the end."""
    name = real.with_name(f".mps3-{secrets.token_hex(16)}")
    sink = FileWriter(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _NEW, mode))
    try:
        yield name, sink
    finally:
        sink.close()
        name.unlink(missing_ok=True)


def _copy_attributes(name: Path, descriptor: int, real: Path, known: os.stat_result) -> None:
    """Give a file the owner, the mode and the attributes of the one that it replaces."""
    mode = stat.S_IMODE(known.st_mode)
    if hasattr(os, "fchown"):
        try:
            os.fchown(descriptor, -1, known.st_gid)
        except OSError:
            mode &= ~0o2070  # what the old group was allowed is not for this one
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
        name.chmod(mode)
