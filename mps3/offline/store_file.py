"""The file ``store.json`` of a directory, with the owner and the clock of the directory.

The clock orders the writes of several processes. It is the monotonic clock of the machine, which all processes share
from one boot to the next, plus an offset, with which it goes on after a reboot.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import orjson

from ..errors import ConfigurationError, CorruptionError, FormatError
from ..types import Ref
from .protocol import DirectoryOwner

FILE: Final = "store.json"
TICK: Final = 1e-6
"""The least seconds between the last write before a reboot and the first one after it."""
_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, slots=True)
class StoreFile:
    """The content of ``store.json``.

    Attributes:
        owner: The owner of the directory.
        boot: The id of the boot that the offset is for; ``None`` if the system has none.
        offset: Seconds by which the clock is ahead of the machine's monotonic clock.
    """

    owner: DirectoryOwner
    boot: str | None
    offset: float


def read(directory: Path) -> StoreFile | None:
    """Read the file; return ``None`` for a directory that is new, or that an older mps3 created.

    Raises:
        CorruptionError: The file is damaged.
        OSError: The file cannot be read.
    """
    file = directory / FILE
    try:
        body = file.read_bytes()
    except FileNotFoundError:
        return None
    try:
        raw: dict[str, Any] = orjson.loads(body)
        manifest = Ref(str(raw["manifest"]["key"]), str(raw["manifest"]["bucket"]))
        owner = DirectoryOwner(str(raw["store"]), str(raw["bucket"]), manifest, int(raw["mps3"]))
        boot = raw["clock"]["boot"]
        return StoreFile(owner, None if boot is None else str(boot), float(raw["clock"]["offset"]))
    except (ValueError, TypeError, LookupError) as error:
        raise CorruptionError(
            f"{file} is damaged, so it is unknown which store {directory} belongs to: restore it from a copy, "
            "or remove it if you know that the directory was only used with the store of this client"
        ) from error


def write(directory: Path, content: StoreFile) -> None:
    """Write the file atomically and durably, while the lock of the directory is held."""
    owner = content.owner
    body = orjson.dumps(
        {
            "mps3": owner.format,
            "store": owner.store,
            "bucket": owner.bucket,
            "manifest": {"bucket": owner.manifest.bucket, "key": owner.manifest.key},
            "clock": {"boot": content.boot, "offset": content.offset},
        },
        option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE,
    )
    draft = directory / f"{FILE}.new"
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


def require_owner(directory: Path, found: DirectoryOwner, wanted: DirectoryOwner) -> None:
    """Refuse a directory of another owner.

    Raises:
        ConfigurationError: The directory belongs to another store.
        FormatError: A newer mps3 used the directory.
    """
    if found.format > wanted.format:
        raise FormatError(
            f"the offline directory {directory} was used by a newer mps3 (format {found.format}, this version reads up "
            f"to {wanted.format}): upgrade, so that its writes can be sent"
        )
    if found != wanted:
        raise ConfigurationError(
            f"the offline directory {directory} belongs to {found}, and this client is for {wanted}: use a directory "
            f"for each store. If both are the same store, and only its address has changed, remove {directory / FILE}",
            bucket=wanted.bucket,
            key=wanted.manifest.key,
        )


def boot_id() -> str | None:
    """Return the id of the current boot of the machine; ``None`` if the system has none."""
    try:
        return _BOOT_ID.read_text().strip() or None
    except OSError:
        return None


def continue_clock(found: StoreFile | None, monotonic: float, wall: float, newest: float) -> tuple[str | None, float]:
    """Return the id of the boot, and the offset with which the clock of a directory goes on.

    Args:
        found: The file of the directory.
        monotonic: The machine's monotonic clock.
        wall: This machine's clock, in seconds since 1970.
        newest: The stamp of the newest write of a client that has ended; ``-inf`` if there is none.
    """
    now = boot_id()
    offset = wall - monotonic
    if found is not None:
        # Other processes may use the clock now, so its offset does not change before a reboot.
        offset = found.offset if now is not None and found.boot == now else max(offset, found.offset)
    return now, max(offset, newest + TICK - monotonic)
