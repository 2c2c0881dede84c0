"""Texts for terminals, messages and logs. Names and messages of others are untrusted: none may forge a line."""

from __future__ import annotations

import logging
import re
from typing import Final

HIDDEN: Final = (
    "\x80-\x9f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
"""For a class of a regular expression: C1 controls, other line ends, and what nobody sees or turns the direction."""
_UNSEEN: Final = re.compile(f"[\x00-\x1f\x7f{HIDDEN}\ud800-\udfff]")


def printable(text: str) -> str:
    """A text on one line, in which control characters and those that nobody sees are spelt out.

    Doing it again changes nothing.
    """
    return _UNSEEN.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def one_line(message: str) -> str:
    """A message on one line: its line breaks become spaces, and all else is as in `printable`."""
    return printable(" ".join(message.split("\n")))


class OneLine(logging.Filter):
    """A filter of a logger that makes each message one line, whatever the names in it hold."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Spell out what a message must not have."""
        message = record.getMessage()
        if (plain := one_line(message)) != message:
            record.msg, record.args = plain, ()
        return True


# Everything in this library logs there, and imports the errors, which import this.
logging.getLogger("mps3").addFilter(OneLine())
