"""Redaction: texts of servers and libraries, for messages, without secrets, on one line, and short.

A text of a server is cut before it is searched, because it may have any length and any shape.
"""

from __future__ import annotations

import re
from typing import Final

from ...text import printable

MAX_LENGTH: Final = 300
"""The most characters of a result."""
MAX_INPUT: Final = 2000
"""The most characters that are searched."""

# All repetitions are bounded, or can start in one place only, so that no search takes quadratic time.
_URL: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]{0,20})://(\S*)")
_KEY_ID: Final = re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{8,}")
_SECRET: Final = re.compile(
    r"(?i)(authorization|credentials?|signature|token|secret|password|passwd|access[-_ ]?key)([\"']?\s{0,3}[=:]\s{0,3})"
    r"(?:(?:bearer|basic|aws|aws4-hmac-sha256)\s{1,3})?[^\s,;&]+"
)
_PORT: Final = re.compile(r"[0-9a-f]{1,5}(?!\w)")
"""A port, or the end of an address of IPv6, with whatever mark follows it."""


def error_text(error: object) -> str:
    """Return the redacted message of an error; the name of its type if it has none."""
    return redact(str(error)) or type(error).__name__


def redact(text: str) -> str:
    """Return a text without secrets, on one line, and not longer than `MAX_LENGTH`."""
    text = _cut(text)
    text = _URL.sub(lambda match: f"{match[1]}://{_host_and_path(match[2])}", text)
    text = _KEY_ID.sub("…", text)
    text = _SECRET.sub(r"\1\2…", text)
    return printable(" ".join(text.split()))[:MAX_LENGTH].rstrip(". ")


def public_url(url: str) -> str:
    """Return a URL without user, password, query and fragment."""
    scheme, mark, rest = url.partition("://")
    if not mark:
        # Without a scheme, a password can end anywhere before the last "@".
        _, at, rest = url.rpartition("@")
        return redact(f"…@{rest}" if at else url)
    return redact(f"{scheme}://{_host_and_path(rest)}")


def has_credentials(url: str) -> bool:
    """Whether a URL may hold a user or a password. An unescaped password may look like a path."""
    return "@" in url or "%40" in url


def _cut(text: str) -> str:
    """Cut a text between words: in half of a URL, the secret part cannot be recognised."""
    if len(text) <= MAX_INPUT:
        return text
    head = text[:MAX_INPUT]
    end = max(head.rfind(blank) for blank in " \t\r\n")
    return head[: max(end, 0)] + " …"


def _host_and_path(rest: str) -> str:
    """Return the public part of what follows ``://``. A password may hold any character."""
    before, at, after = rest.rpartition("@")
    if at and ("?" in before or "#" in before):
        return "…"
    host, slash, path = re.split(r"[?#]", after, maxsplit=1)[0].partition("/")
    _, escaped, host = host.rpartition("%40")
    name, colon, port = host.rpartition(":")
    if colon and port and not _PORT.match(port):
        host = f"{name}:…"  # what has no "@" behind it may be a password, too
    return ("…@" if at or escaped else "") + host + slash + path
