"""Values as text for people. All that comes from a bucket is untrusted: it must not move the cursor. Pure."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterator
from datetime import datetime
from enum import Enum
from typing import Final

import orjson

from ...text import HIDDEN, printable

_TO_ESCAPE: Final = re.compile(f"[\x7f{HIDDEN}]")


def json_text(value: object) -> str:
    """Return a value as JSON on one line, with escapes for what a terminal would obey or would not show.

    Args:
        value: What `orjson` takes; `whole` makes it of a value that nests deep.
    """
    return _TO_ESCAPE.sub(_escape, orjson.dumps(value, default=str).decode())


def whole(value: object) -> orjson.Fragment:
    """Return a value as a part of a JSON document, in which it may nest as deep as on its own."""
    return orjson.Fragment(_dumped(value))


def compact(value: object, width: int = 0) -> str:
    """Return a value as JSON on one line, cut to ``width`` characters if that is not 0."""
    text = printable(_dumped(value).decode())
    return text if not width or len(text) <= width else text[: width - 1] + "…"


def pretty(value: object) -> list[str]:
    """Return a value as indented JSON, line by line."""
    return [printable(line) for line in _dumped(value, orjson.OPT_INDENT_2).decode().split("\n")]


def _dumped(value: object, option: int = 0) -> bytes:
    try:
        return orjson.dumps(value, option=option)
    except TypeError:
        # orjson reads what nests deeper than it writes.
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=bool(option)).encode()


def _escape(found: re.Match[str]) -> str:
    code = found[0].encode("utf-16-be")
    return "".join(f"\\u{code[start : start + 2].hex()}" for start in range(0, len(code), 2))


def diff(old: object, new: object) -> Iterator[tuple[str, str]]:
    """Return the difference between two values: lines, each with ``+``, ``-`` or a space before it."""
    for line in difflib.unified_diff(pretty(old), pretty(new), n=1, lineterm=""):
        if not line.startswith(("---", "+++", "@@")):
            yield line[0], line[1:]


def is_same(one: object, other: object) -> bool:
    """Return whether two values are the same as JSON, for which 1 is neither 1.0 nor true."""
    if isinstance(one, Enum) or isinstance(other, Enum):
        return one is other
    return _dumped(one, orjson.OPT_SORT_KEYS) == _dumped(other, orjson.OPT_SORT_KEYS)


def is_small(value: object) -> bool:
    """Return whether a value fits on a line together with another one."""
    return not isinstance(value, dict | list) or len(_dumped(value)) <= 32


def short_id(commit: str) -> str:
    """Return the id of a commit with its session shortened."""
    session, dot, sequence = commit.rpartition(".")
    return printable(session[:8] + dot + sequence)


def moment(time: datetime | None) -> str:
    """Return a time in the time zone of this machine; an empty text for ``None``."""
    if time is None:
        return ""
    try:
        return f"{time.astimezone():%Y-%m-%d %H:%M:%S}"
    except (OverflowError, ValueError):  # at the ends of the calendar
        return f"{time:%Y-%m-%d %H:%M:%S %Z}"


def size(number: float) -> str:
    """Return a number of bytes with a unit."""
    for unit in ("B", "kB", "MB", "GB"):
        if number < 1000:
            return f"{number:.0f} B" if unit == "B" else f"{number:.1f} {unit}"
        number /= 1000
    return f"{number:.1f} TB"


def some(names: list[str], most: int = 6) -> str:
    """Return the first names of a list, and how many more there are."""
    shown = ", ".join(map(printable, names[:most]))
    return shown if len(names) <= most else f"{shown} and {len(names) - most:,} more"


def count(number: int, what: str) -> str:
    """Return a number with its noun, in the plural if it is not one."""
    return f"{number:,} {what}" + ("" if number == 1 else "s")
