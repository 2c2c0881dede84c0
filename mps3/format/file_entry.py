"""What a manifest says of one key. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, TypeAlias, cast

import orjson

from . import limits
from .patches import BASE, PATCH, REBASES, WAITING, check_patch, patched_body
from .schema import (
    MalformedError,
    as_object,
    as_sha256,
    as_text,
    as_time,
    as_whole,
    check_depth,
    check_number,
    check_unknown,
    depth_of,
    is_sha256,
)

_CHECKED: Final = frozenset(("value", PATCH, REBASES, WAITING, BASE))

FileEntry: TypeAlias = Mapping[str, Any]
"""What a manifest says of one key: ``version``, and ``expires`` if the key is to expire.

The value of a key is stored, or it is inline. Of a stored one there are ``sha256`` and ``size``, where they are known;
an inline one is the member ``value``. Patches may wait in front of either, see `mps3.format.patches`.
"""
Files: TypeAlias = Mapping[str, FileEntry | None]
"""Keys to files; ``None`` for a deleted key."""


def version_of(file: FileEntry | None) -> str | None:
    """The version of what is said of a key; ``None`` if there is no such key."""
    return None if file is None else file["version"]


def is_same(one: FileEntry | None, other: FileEntry | None) -> bool:
    """Whether what is said of a key is the same value until the same moment, wherever the value is."""
    if one is other:
        return True
    if one is None or other is None or one["version"] != other["version"]:
        return False
    return one == other or (_is_patched(one, other) and one.get("expires") == other.get("expires"))


def _is_patched(*files: FileEntry) -> bool:
    return any(BASE in file or WAITING in file for file in files)


def inline_body(file: FileEntry) -> bytes | None:
    """The bytes of an inline value; ``None`` if the value is stored."""
    if "value" not in file:
        return None
    return patched_body(file, file["value"]) if WAITING in file else orjson.dumps(file["value"])


def size_of_value(file: FileEntry) -> int | None:
    """The bytes of a value as JSON; ``None`` if they are not known. Of an inline value nobody has to be believed."""
    body = inline_body(file)
    if body is not None:
        return len(body)
    return None if WAITING in file else cast("int | None", file.get("size"))


def sha256_of_value(file: FileEntry) -> str | None:
    """The SHA-256 of a value as JSON, in hexadecimal; ``None`` if it is not known."""
    body = inline_body(file)
    if body is not None:
        return hashlib.sha256(body).hexdigest()
    return None if WAITING in file else cast("str | None", file.get("sha256"))


def nests_deep(body: bytes) -> bool:
    """Whether a value nests too deep to be inline.

    Args:
        body: Its bytes.
    """
    if body.count(b"[") + body.count(b"{") < limits.INLINE_DEPTH:
        return False  # with what is in the innermost one, it has not even so many levels
    return depth_of(orjson.loads(body), limits.INLINE_DEPTH) > limits.INLINE_DEPTH


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
        if file is not None and not is_plain(file):
            check_file(file, f"{where}[{name!r:.80}]", patch=patch)
        if not name:
            raise MalformedError(f"{where} names an empty key")
    return raw


def is_plain(file: object) -> bool:
    """Return whether something is a file description as nearly all are, which need not be looked at any closer."""
    if type(file) is not dict or len(file) != 3:
        return False
    version, size = file.get("version"), file.get("size")
    if type(version) is not str or not version or type(size) is not int or not 0 <= size < 2**53:
        return False
    if "value" in file:
        return _is_plain_value(file["value"])
    return type(sha256 := file.get("sha256")) is str and is_sha256(sha256)


def _is_plain_value(value: object) -> bool:
    try:
        body = orjson.dumps(value)
    except TypeError:
        return False
    return len(body) <= limits.INLINE and body.count(b"[") + body.count(b"{") < limits.INLINE_DEPTH


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
    if "value" in raw:
        _check_value(raw["value"], f"{where}.value")
        if raw.get("sha256") is not None:
            raise MalformedError(f"{where} has a value, and the SHA-256 of a stored one")
    check_patch(raw, where, change=patch)
    for member, value in raw.items():
        if member in _CHECKED or (value is None and patch and member != "version"):
            continue
        if member == "sha256":
            as_sha256(value, f"{where}.sha256")
        elif member == "size":
            as_whole(value, f"{where}.size")
        elif member == "expires":
            as_time(value, f"{where}.expires")
        elif member != "version":
            check_unknown(value, f"{where}.{member}")


def _check_value(value: object, where: str) -> None:
    if isinstance(value, dict | list):
        check_depth(value, where, limits.INLINE_DEPTH)
    if (size := len(orjson.dumps(value))) > limits.INLINE:
        raise MalformedError(f"{where} has {size} bytes, more than {limits.INLINE}")
