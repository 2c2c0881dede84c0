"""Texts for people. Whatever comes from a bucket is untrusted: nothing of it may move the cursor. Pure."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterator
from datetime import datetime
from typing import Final

import orjson

_UNSEEN: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]")
_SECRET: Final = re.compile(r"((?:aws_)?(?:secret_access_key|access_key_id|session_token)=)[^&\s'\"]+", re.IGNORECASE)
# A password in the URL of a server may hold slashes; what follows the slash in s3://bucket/a@b is a key.
_PASSWORD: Final = re.compile(r"(https?://)\S{0,2000}@|(\w://)[^/@\s]+@", re.IGNORECASE)


def to_json(value: object) -> str:
    """Anything as JSON on one line, with values in it that nest as deep as values may."""
    try:
        return orjson.dumps(value, default=str).decode()
    except TypeError:  # what is around the value is too much for it
        return json.dumps(value, default=str, ensure_ascii=False, separators=(",", ":"))


def safe(text: str) -> str:
    """A text in which control characters and those that turn the direction of writing are spelt out."""
    return _UNSEEN.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def discreet(text: str) -> str:
    """A text without the secrets that a URL may hold."""
    return _PASSWORD.sub(r"\1\2…@", _SECRET.sub(r"\1…", text))


def compact(value: object, width: int = 0) -> str:
    """A value as JSON on one line, cut to so many characters if that is not 0."""
    text = safe(to_json(value))
    return text if not width or len(text) <= width else text[: width - 1] + "…"


def pretty(value: object) -> list[str]:
    """A value as JSON on as many lines as it takes."""
    return [safe(line) for line in orjson.dumps(value, option=orjson.OPT_INDENT_2).decode().split("\n")]


def diff(old: object, new: object) -> Iterator[tuple[str, str]]:
    """What is different between two values: lines, each with ``+``, ``-`` or a space before it."""
    for line in difflib.unified_diff(pretty(old), pretty(new), n=1, lineterm=""):
        if not line.startswith(("---", "+++", "@@")):
            yield line[0], line[1:]


def is_small(value: object) -> bool:
    """Whether a value is shown on one line as a matter of course."""
    return not isinstance(value, dict | list) or len(orjson.dumps(value)) <= 32


def short_id(commit: str) -> str:
    """As much of the id of a commit as tells it from others."""
    session, dot, sequence = commit.rpartition(".")
    return safe(session[:8] + dot + sequence)


def moment(time: datetime | None) -> str:
    """A time on the clock of whoever looks."""
    return "" if time is None else f"{time.astimezone():%Y-%m-%d %H:%M:%S}"


def size(number: float) -> str:
    """Bytes for people."""
    for unit in ("B", "kB", "MB", "GB"):
        if number < 1000:
            return f"{number:.0f} B" if unit == "B" else f"{number:.1f} {unit}"
        number /= 1000
    return f"{number:.1f} TB"


def some(names: list[str], most: int = 6) -> str:
    """A list of names that does not get long."""
    shown = ", ".join(map(safe, names[:most]))
    return shown if len(names) <= most else f"{shown} and {len(names) - most:,} more"


def count(number: int, what: str) -> str:
    """So many of something."""
    return f"{number:,} {what}" + ("" if number == 1 else "s")
