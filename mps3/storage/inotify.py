"""Notice changes of a file by inotify of Linux, which neither the standard library nor asyncio offers."""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path
from typing import IO, Final

IN_MODIFY: Final = 0x2
EVENTS: Final = 1 << 16
"""Bytes of events to read at once."""


def watch(file: Path) -> IO[bytes] | None:
    """Return a non-blocking file that is readable after each change of another file; ``None`` if there is no inotify.

    Raises:
        OSError: The file cannot be watched: there may be too many watches.
    """
    if sys.platform != "linux":
        return None
    library = ctypes.CDLL(None, use_errno=True)
    if not hasattr(library, "inotify_init1"):
        return None
    descriptor = library.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
    _check(descriptor)
    watching = os.fdopen(descriptor, "rb", buffering=0)
    try:
        _check(library.inotify_add_watch(descriptor, os.fsencode(file), IN_MODIFY))
    except BaseException:
        watching.close()
        raise
    return watching


def _check(result: int) -> None:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
