"""Words for people: what messages repeat of the words of servers and libraries, without secrets and on one line.

Whatever a server says is cut before anything looks at it: it may be of any length and any shape.
"""

from __future__ import annotations

import re
from typing import Final

LONGEST: Final = 300
"""Letters that a message repeats."""
READ: Final = 2000
"""Letters that are looked at."""

# All repetitions are bounded, or can start in one place only: none takes a time that grows with the square.
_URL: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]{0,20})://(\S*)")
_KEY_ID: Final = re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{8,}")
_SECRET: Final = re.compile(
    r"(?i)(authorization|credentials?|signature|token|secret|password|passwd|access[-_ ]?key)([\"']?\s{0,3}[=:]\s{0,3})"
    r"(?:(?:bearer|basic|aws|aws4-hmac-sha256)\s{1,3})?[^\s,;&]+"
)


def words(error: object) -> str:
    """What an error says, for a message; the name of its type if it says nothing."""
    return clean(str(error)) or type(error).__name__


def clean(text: str) -> str:
    """A text of somebody else without secrets, on one line, and not long."""
    text = _cut(text)
    text = _URL.sub(_without_secrets, text)
    text = _KEY_ID.sub("…", text)
    text = _SECRET.sub(r"\1\2…", text)
    return printable(" ".join(text.split()))[:LONGEST].rstrip(". ")


def printable(text: str) -> str:
    """A text whose invisible characters are written as escapes."""
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)


def public_url(url: str) -> str:
    """Where a URL points to, for a message: without user, password, query and fragment."""
    scheme, mark, rest = url.partition("://")
    if not mark:
        # Without a scheme nobody can tell where a password ends, but that it does before the last "@".
        _, at, rest = url.rpartition("@")
        return clean(f"…@{rest}" if at else url)
    return clean(f"{scheme}://{_host_and_path(rest)}")


def has_credentials(url: str) -> bool:
    """Whether a URL holds a user or a password, or may: one that is not escaped as URLs ask for looks like a path."""
    return "@" in url


def _cut(text: str) -> str:
    """The beginning of a text, not cut within a word: of half a URL nobody can tell which part is secret."""
    if len(text) <= READ:
        return text
    head = text[:READ]
    end = max(head.rfind(blank) for blank in " \t\r\n")
    return head[: max(end, 0)] + " …"


def _without_secrets(match: re.Match[str]) -> str:
    return f"{match[1]}://{_host_and_path(match[2])}"


def _host_and_path(rest: str) -> str:
    """What follows ``://``, without what is secret in it or may be: passwords may hold any character."""
    before, at, after = rest.rpartition("@")
    if at and ("?" in before or "#" in before):
        return "…"
    return ("…@" if at else "") + re.split(r"[?#]", after, maxsplit=1)[0]
