"""The parts of a JSON document that anybody may have written: each is what it should be, or is refused. Pure.

Every check takes what was read and where it stood there, and raises `MalformedError`, which says so.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping
from datetime import datetime, timezone
from types import MappingProxyType
from typing import Any, Final

import orjson

from . import limits

LATEST: Final = 253_402_300_799
"""The last second of the year 9999, in seconds since 1970."""
DEEPEST: Final = limits.UNKNOWN_DEPTH
"""How deep unknown members may nest: what is carried along must be writable again."""

NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})

_SHA256 = re.compile(r"[0-9a-f]{64}\Z")


class MalformedError(ValueError):
    """What breaks the shape, and where."""


def as_object(raw: object, where: str) -> dict[str, Any]:
    """A JSON object."""
    if not isinstance(raw, dict):
        raise MalformedError(f"{where} is not an object")
    return raw


def as_list(raw: object, where: str, most: int) -> list[Any]:
    """A JSON array of at most so many elements."""
    if not isinstance(raw, list):
        raise MalformedError(f"{where} is not an array")
    check_number(raw, where, most)
    return raw


def check_number(raw: Collection[object], where: str, most: int) -> None:
    """Refuse more than anybody writes."""
    if len(raw) > most:
        raise MalformedError(f"{where} has {len(raw)} members, more than {most}")


def as_text(raw: object, where: str) -> str:
    """A text that is not empty."""
    if not isinstance(raw, str) or not raw:
        raise MalformedError(f"{where} is not a text")
    return raw


def as_optional_text(raw: object, where: str) -> str | None:
    """The same, or null."""
    return None if raw is None else as_text(raw, where)


def as_whole(raw: object, where: str) -> int:
    """A whole number that every JSON reader keeps exactly."""
    if type(raw) is not int or not 0 <= raw < 2**53:
        raise MalformedError(f"{where} is not a whole number")
    return raw


def as_sha256(raw: object, where: str) -> str:
    """A SHA-256 in hexadecimal."""
    if not isinstance(raw, str) or not is_sha256(raw):
        raise MalformedError(f"{where} is not a SHA-256 in hexadecimal")
    return raw


def is_sha256(text: str) -> bool:
    """Return whether a text is a SHA-256 in hexadecimal."""
    return _SHA256.match(text) is not None


def as_time(raw: object, where: str) -> float:
    """A moment, in seconds since 1970."""
    text = as_text(raw, where)
    try:
        moment = datetime.fromisoformat(text)
        seconds = moment.timestamp()
    except (ValueError, OverflowError):
        raise MalformedError(f"{where} is not a time") from None
    if moment.tzinfo is None:
        raise MalformedError(f"{where} has no time zone")
    if not 0 <= whole_milliseconds(seconds) < (LATEST + 1) * 1000:
        raise MalformedError(f"{where} is not a time that could be written again")
    return seconds


def whole_milliseconds(seconds: float) -> int:
    """A store's time stamp in the precision that documents keep: never later than it was."""
    return math.floor(round(seconds * 1000, 3))


def format_time(seconds: float) -> str:
    """A store's time stamp as documents hold it."""
    milliseconds = whole_milliseconds(seconds)
    moment = datetime.fromtimestamp(milliseconds // 1000, timezone.utc)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{milliseconds % 1000:03d}Z"


def unknown_members(raw: dict[str, Any], known: frozenset[str], where: str) -> Mapping[str, Any]:
    """The members that this version does not know, which are kept."""
    if raw.keys() <= known:
        return NOTHING
    extra = {member: value for member, value in raw.items() if member not in known}
    for member, value in extra.items():
        check_unknown(value, f"{where}: {member!r:.80}")
    return extra


def check_unknown(value: object, where: str) -> None:
    """Refuse what is so large, or nests so deep, that it cannot be carried along."""
    if isinstance(value, dict | list) and value:
        check_depth(value, where, DEEPEST)
    elif not isinstance(value, str):
        return
    if (size := len(orjson.dumps(value))) > limits.UNKNOWN:
        raise MalformedError(f"{where} has {size} bytes, more than {limits.UNKNOWN}")


def check_depth(value: object, where: str, most: int) -> None:
    """Refuse what nests deeper than that."""
    if depth_of(value, most) > most:
        raise MalformedError(f"{where} nests more than {most} deep")


def depth_of(value: object, most: int) -> int:
    """How deep the arrays and objects of a value nest; more than ``most`` if it is deeper than that.

    A value which is neither an array nor an object is one deep, an empty array or object too.
    """
    layer, depth = [value], 0
    while layer and depth <= most:
        depth += 1
        layer = [
            inner
            for outer in layer
            if isinstance(outer, dict | list)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
    return depth
