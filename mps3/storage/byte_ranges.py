"""Byte ranges: which part of an object a ``get`` returns."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from ..errors import ConfigurationError, MPS3Error, UnavailableError
from .etags import strong
from .protocol import UNCHANGED, Absence, Object

MAX_POSITION: Final = 2**63 - 1
"""The greatest position, as SQLite and other stores have it."""
MAX_WHOLE_BYTES: Final = 1 << 26
"""The most bytes that are read for a part where a server, or an intermediary, ignores the range."""
RANGE_IGNORED: Final = (
    "the server, or an intermediary before it, ignores the range that was asked for, and the object is too large to be "
    "read whole for each of its parts"
)
"""Why such a part is not read."""


def check_byte_range(byte_range: tuple[int, int] | None, bucket: str, key: str) -> None:
    """Refuse a range that is empty, begins before the object, or is beyond all objects.

    Raises:
        ConfigurationError: It is refused.
    """
    if byte_range is not None and not 0 <= byte_range[0] < byte_range[1] <= MAX_POSITION:
        raise ConfigurationError(
            f"byte_range is the position of the first byte and that after the last, not {byte_range}",
            bucket=bucket,
            key=key,
            operation="GetObject",
        )


def part_of(body: bytes, byte_range: tuple[int, int] | None) -> bytes:
    """Return the part of the body of an object; all of it if ``byte_range`` is ``None``."""
    return body if byte_range is None else body[byte_range[0] : byte_range[1]]


def size_of_part(size: int, byte_range: tuple[int, int] | None) -> int:
    """Return how many bytes the part has of an object with ``size`` bytes."""
    return size if byte_range is None else max(0, min(size, byte_range[1]) - byte_range[0])


def part_behind_end(
    found: Object, size: int, start: int, if_none_match: str | None, error: Callable[[type[MPS3Error], str], MPS3Error]
) -> Object | Absence:
    """Return an empty part of an object that is said to end before it.

    Args:
        found: The part, with the version and the ETag of the object.
        size: The bytes of the object, as the store says now.
        start: Where the part begins.
        if_none_match: As in ``get``.
        error: Makes an error about the request.

    Raises:
        UnavailableError: The object does not end before it.
    """
    if if_none_match is not None and strong(found.etag) == strong(if_none_match):
        return UNCHANGED
    if size > start:
        why = f"the object has {size} bytes, but the store says that it ends before byte {start}"
        raise error(UnavailableError, why)
    return found
