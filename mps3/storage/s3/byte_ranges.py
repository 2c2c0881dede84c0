"""Reads of parts of objects: the header Range, and whether a response is what it asks for."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from botocore.exceptions import IncompleteReadError

from ...errors import ConfigurationError
from ..byte_ranges import MAX_WHOLE_BYTES, RANGE_IGNORED, size_of_part
from ..failure import MalformedResponseError
from .request import S3Request
from .responses import is_web_page, read, status_of_response, too_large
from .transport import CHUNK

_CONTENT_RANGE: Final = re.compile(r"\s*bytes\s+(\d{1,18})-(\d{1,18})/(\d{1,18}|\*)\s*\Z", re.IGNORECASE)
_CHECKSUM_MODE: Final = "x-amz-checksum-mode"


def register(events: Any) -> None:
    """Have the SDK verify no part with the checksum of a whole object, which some servers send with it."""
    events.register_last("before-call.s3.GetObject", _ignore_checksum)


def _ignore_checksum(params: dict[str, Any], context: dict[str, Any], **_: Any) -> None:
    if "Range" in params["headers"]:
        for name in [name for name in params["headers"] if name.lower() == _CHECKSUM_MODE]:
            del params["headers"][name]
        context.get("checksum", {}).pop("response_algorithms", None)


def range_header(byte_range: tuple[int, int] | None) -> str | None:
    """Return the header Range, whose second number is the last position."""
    return None if byte_range is None else f"bytes={byte_range[0]}-{byte_range[1] - 1}"


async def read_part(
    body: Any,
    response: Mapping[str, Any],
    byte_range: tuple[int, int],
    limit: int | None,
    request: S3Request,
) -> bytes:
    """Read the part of an object that was asked for, from a response with it or with the whole object.

    Raises:
        ConfigurationError: The response has the whole object, too much of which had to be read.
        CorruptionError: The part has more bytes than ``limit``.
        IncompleteReadError: It has not as many bytes as the response says.
        MalformedResponseError: The response has another part.
    """
    length = response.get("ContentLength")
    if status_of_response(response) == 206:
        return await read(body, _size_of_part(response, byte_range), limit, request)
    if limit is not None and length is not None and size_of_part(length, byte_range) > limit:
        raise too_large(request, limit)
    is_html = str(response.get("ContentType") or "").lower().startswith("text/html")
    part = await _read_from_whole(body, length, byte_range, request, is_html=is_html)
    if limit is not None and len(part) > limit:
        raise too_large(request, limit)
    return part


def _size_of_part(response: Mapping[str, Any], byte_range: tuple[int, int]) -> int:
    """Return the number of bytes of a part, if it is the one that was asked for."""
    said = str(response.get("ContentRange") or "")
    if said.rstrip().endswith("/0"):
        return 0  # some servers answer so for an empty object, with positions that cannot be
    found = _CONTENT_RANGE.match(said)
    if found is None:
        raise MalformedResponseError(f"it has a part of the object, and does not say which (Content-Range: {said:.40})")
    start, end = int(found[1]), int(found[2]) + 1
    # Only the end of the object may cut a part short.
    whole = end == byte_range[1] or (end < byte_range[1] and found[3] == str(end))
    if start != byte_range[0] or end <= start or not whole:
        asked = f"bytes {byte_range[0]}-{byte_range[1] - 1}"
        raise MalformedResponseError(f"it has another part of the object than {asked} (Content-Range: {said:.40})")
    return end - start


async def _read_from_whole(
    body: Any, length: int | None, byte_range: tuple[int, int], request: S3Request, *, is_html: bool
) -> bytes:
    """Read a part from the whole object. What is behind the part is not read."""
    start, end = byte_range
    most = end if length is None else min(length, end)
    if length is not None and most > MAX_WHOLE_BYTES:
        raise request.error(ConfigurationError, RANGE_IGNORED)
    chunks: list[bytes] = []
    position = 0
    while position < most and (chunk := await body.read(CHUNK)):
        if is_html and position == 0 and is_web_page(chunk):
            # Nobody could tell a part of it from a damaged one.
            raise MalformedResponseError("a web page came instead of a part of the object")
        chunks.append(chunk[max(0, start - position) : end - position])
        position += len(chunk)
        if position > MAX_WHOLE_BYTES:
            raise request.error(ConfigurationError, RANGE_IGNORED)
    if length is not None and position < most:
        raise IncompleteReadError(actual_bytes=position, expected_bytes=length)
    return b"".join(chunks)
