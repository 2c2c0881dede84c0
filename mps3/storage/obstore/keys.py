"""The names of objects: any key becomes a name that both services take, and that no path of a URL changes.

A usual key is its own name. Percent-encoded are: control characters and others that XML cannot carry, the backslash,
which Azure takes for a slash, and ``%``; also the dot at the end of a segment, and the segment that is empty, as
``%2F``.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import unquote

_UNSAFE: Final = re.compile("[\x00-\x1f\x7f-\x9f\\\\%\ufffe\uffff]")
_EMPTY: Final = "%2F"
_DOT: Final = "%2E"


def name_of(key: str) -> str:
    """Return the name of the object with a key."""
    return "/".join(map(_encode, key.split("/")))


def key_of(name: str) -> str | None:
    """Return the key of the object with a name; ``None`` if it is the name of no key, so that others have made it."""
    try:
        key = "/".join("" if part == _EMPTY else unquote(part, errors="strict") for part in name.split("/"))
        return key if name_of(key) == name else None
    except UnicodeError:
        return None


def folder_of(prefix: str) -> str:
    """Return the longest folder, by its name, that has all objects whose keys start with a prefix."""
    folder, slash, _ = prefix.rpartition("/")
    return name_of(folder) if slash else ""


def _encode(segment: str) -> str:
    if not segment:
        return _EMPTY
    encoded = _UNSAFE.sub(_escape, segment)
    return encoded[:-1] + _DOT if encoded.endswith(".") else encoded


def _escape(match: re.Match[str]) -> str:
    return "".join(f"%{byte:02X}" for byte in match[0].encode())
