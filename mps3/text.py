"""Text for terminals, messages and logs. Names and foreign messages are untrusted: they must not forge a line."""

from __future__ import annotations

import logging
import re
from typing import Final

HIDDEN: Final = (
    "\x80-\x9f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
"""Characters for a class of a regular expression: C1 controls, line ends, and invisible or bidirectional controls."""
_UNSEEN: Final = re.compile(f"[\x00-\x1f\x7f{HIDDEN}\ud800-\udfff]")


def printable(text: str) -> str:
    """Return a text with control characters and invisible characters escaped. Idempotent."""
    return _UNSEEN.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def one_line(message: str) -> str:
    """Return a message on one line: line breaks become spaces, and the rest is escaped as by `printable`."""
    return printable(" ".join(message.split("\n")))


class OneLine(logging.Filter):
    """A logging filter that makes each message one line."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Escape the message of a record."""
        message = record.getMessage()
        if (plain := one_line(message)) != message:
            record.msg, record.args = plain, ()
        return True


# All modules log there, and import this module through the errors.
logging.getLogger("mps3").addFilter(OneLine())
