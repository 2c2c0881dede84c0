"""JSON whose numbers are kept exactly, or refused: `orjson` makes a float of an integer beyond 64 bits. Pure."""

from __future__ import annotations

import json
import re
from typing import Any, Final

import orjson

_LONG: Final = re.compile(rb"[0-9]{19}")
_MAX_DIGITS: Final = 20
"""Digits of the longest integer that 64 bits hold."""


def loads(body: bytes | str) -> Any:
    """Read JSON.

    Raises:
        orjson.JSONDecodeError: It is not JSON.
        ValueError: It has an integer of more than 64 bits, or nests too deep.
    """
    value = orjson.loads(body)
    data = body.encode() if isinstance(body, str) else body
    if _LONG.search(data):
        # The standard library passes integers on as they are written.
        try:
            json.loads(data, parse_int=_check)
        except RecursionError:
            raise ValueError("it nests too deep") from None
    return value


def _check(digits: str) -> int:
    if len(digits.lstrip("-")) > _MAX_DIGITS or not -(2**63) <= (number := int(digits)) < 2**64:
        shown = digits if len(digits) <= 2 * _MAX_DIGITS else f"{digits[:_MAX_DIGITS]}…"
        raise ValueError(
            f"it has an integer of more than 64 bits ({shown}), which is not kept exactly: write it as a text"
        )
    return number
