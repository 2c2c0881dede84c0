"""What a manifest says of one key. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, TypeAlias

from .schema import MalformedError, as_object, as_sha256, as_text, as_time, as_whole, check_number, check_unknown

FileEntry: TypeAlias = Mapping[str, Any]
"""What a manifest says of one key: ``version``, and ``sha256``, ``size`` and ``expires`` where they are known."""
Files: TypeAlias = Mapping[str, FileEntry | None]
"""Keys to files; ``None`` for a deleted key."""


def version_of(file: FileEntry | None) -> str | None:
    """The version of what is said of a key; ``None`` if there is no such key."""
    return None if file is None else file["version"]


def expires_of(file: FileEntry | None) -> float | None:
    """When a key is to expire, by the store's clock, in seconds since 1970; ``None`` if it is not to, or not there."""
    moment = None if file is None else file.get("expires")
    return None if moment is None else datetime.fromisoformat(moment).timestamp()


def check_files(raw: object, where: str, most: int, *, patch: bool) -> dict[str, Any]:
    """Refuse what is not an object of keys and their file descriptions.

    Args:
        raw: The object.
        where: Where it stands, for the error.
        most: How many there may be.
        patch: Whether members of the descriptions may be null, to be removed.

    Raises:
        MalformedError: It is not one.
    """
    raw = as_object(raw, where)
    check_number(raw, where, most)
    for name, file in raw.items():
        if file is not None:
            check_file(file, f"{where}[{name!r:.80}]", patch=patch)
        if not name:
            raise MalformedError(f"{where} names an empty key")
    return raw


def check_file(raw: object, where: str, *, patch: bool = False) -> None:
    """Refuse what is not a file description.

    Args:
        raw: The description.
        where: Where it stands, for the error.
        patch: Whether members may be null, to be removed.

    Raises:
        MalformedError: It is not one.
    """
    raw = as_object(raw, where)
    as_text(raw.get("version"), f"{where}.version")
    for member, value in raw.items():
        if value is None and patch and member != "version":
            continue
        if member == "sha256":
            as_sha256(value, f"{where}.sha256")
        elif member == "size":
            as_whole(value, f"{where}.size")
        elif member == "expires":
            as_time(value, f"{where}.expires")
        elif member != "version":
            check_unknown(value, f"{where}.{member}")
