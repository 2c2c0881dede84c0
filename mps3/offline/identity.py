"""What a directory says of itself in ``store.json``: which store it belongs to, and what its clock is.

The clock gives the order of writes that were made in several processes. It is the monotonic clock of the machine, which
all of them share from one start of the machine to the next, put forward so that it goes on from there.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import orjson

from ..errors import ConfigurationError, CorruptionError, FormatError
from ..types import Ref
from .protocol import Store

FILE: Final = "store.json"
TICK: Final = 1e-6
"""Seconds between the last write of one start of the machine and the first of the next, at least."""
_BOOT: Final = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, slots=True)
class Belonging:
    """What ``store.json`` holds.

    Attributes:
        store: Which store the directory belongs to.
        boot: Which start of the machine the clock goes by; ``None`` where the system does not tell.
        offset: Seconds by which the clock is ahead of the machine's monotonic clock.
    """

    store: Store
    boot: str | None
    offset: float


def read(directory: Path) -> Belonging | None:
    """What a directory says of itself; ``None`` for one that is new, or that an older mps3 made.

    Raises:
        CorruptionError: Nobody can tell what it says.
        FormatError: A newer mps3 wrote it.
        OSError: It cannot be read.
    """
    file = directory / FILE
    try:
        body = file.read_bytes()
    except FileNotFoundError:
        return None
    try:
        raw: dict[str, Any] = orjson.loads(body)
        manifest = Ref(str(raw["manifest"]["key"]), str(raw["manifest"]["bucket"]))
        store = Store(str(raw["store"]), str(raw["bucket"]), manifest, int(raw["mps3"]))
        boot = raw["clock"]["boot"]
        return Belonging(store, None if boot is None else str(boot), float(raw["clock"]["offset"]))
    except (ValueError, TypeError, LookupError) as error:
        raise CorruptionError(
            f"{file} is damaged, so that nobody can tell which store {directory} belongs to: restore it from a copy, "
            "or remove it if you know that the directory was only used with the store of this client"
        ) from error


def write(directory: Path, belonging: Belonging) -> None:
    """Let a directory say that of itself, from now on, also after a power cut.

    Raises:
        OSError: It cannot be written.
    """
    store = belonging.store
    body = orjson.dumps(
        {
            "mps3": store.format,
            "store": store.place,
            "bucket": store.bucket,
            "manifest": {"bucket": store.manifest.bucket, "key": store.manifest.key},
            "clock": {"boot": belonging.boot, "offset": belonging.offset},
        },
        option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE,
    )
    draft = directory / f"{FILE}.new"  # whoever writes holds the lock of the directory
    with contextlib.suppress(FileNotFoundError):
        draft.unlink()
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
    with os.fdopen(handle, "wb") as opened:
        opened.write(body)
        opened.flush()
        os.fsync(opened.fileno())
    draft.replace(directory / FILE)
    if os.name == "posix":
        parent = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(parent)
        finally:
            os.close(parent)


def require_same(directory: Path, found: Store, wanted: Store) -> None:
    """Refuse a directory that belongs to another store.

    Raises:
        ConfigurationError: It does.
        FormatError: A newer mps3 used it.
    """
    if found.format > wanted.format:
        raise FormatError(
            f"the offline directory {directory} was used by a newer mps3 (format {found.format}, this version reads up "
            f"to {wanted.format}): upgrade, so that what is in it can be sent"
        )
    if found != wanted:
        raise ConfigurationError(
            f"the offline directory {directory} belongs to {found}, and this client is for {wanted}: use a directory "
            f"for each store. If both are the same store, and only its address has changed, remove {directory / FILE}",
            bucket=wanted.bucket,
            key=wanted.manifest.key,
        )


def boot() -> str | None:
    """Which start of the machine this is; ``None`` where the system does not tell."""
    try:
        return _BOOT.read_text().strip() or None
    except OSError:
        return None


def clock_of(found: Belonging | None, monotonic: float, wall: float, newest: float) -> tuple[str | None, float]:
    """The clock of a directory.

    Args:
        found: What the directory said of itself.
        monotonic: The machine's monotonic clock.
        wall: This machine's clock, in seconds since 1970.
        newest: The stamp of the newest write that a client which is no more has left; ``-inf`` if there is none.

    Returns:
        The start of the machine, and the offset of the clock.
    """
    now = boot()
    offset = wall - monotonic
    if found is not None:
        # Others may be going by the same clock at the moment, whatever the wall clock says by now.
        offset = found.offset if now is not None and found.boot == now else max(offset, found.offset)
    return now, max(offset, newest + TICK - monotonic)


def clock(offset: float, monotonic: Callable[[], float]) -> Callable[[], float]:
    """A clock that is ahead of a monotonic one."""
    return lambda: monotonic() + offset
