"""What an answer of S3 must have to be one. Whoever stands between here and the store can answer 200 too."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final

from botocore.exceptions import IncompleteReadError

from ...errors import CorruptionError, MPS3Error
from .listing import MalformedResponseError
from .request import S3Request
from .transport import CHUNK

_PLAIN: Final = {"", "identity", "aws-chunked"}
_MEMBER: Final = "mps3.NotS3"
_LOOKED_AT: Final = 1024
_ROOT: Final = re.compile(
    rb"\s{0,99}(?:<\?[^>]{0,200}\?>\s{0,99})?(?:<!--[^>]{0,500}-->\s{0,99})?<(?:[\w.-]{1,50}:)?(\w{1,50})"
)
LARGEST: Final = 1 << 28
"""Bytes of an object of which nobody says how many it may have. This library always says so of what it writes."""


def register(events: Any) -> None:
    """Have the answers that a client receives looked at here.

    Args:
        events: The event system of the client.
    """
    events.register_first("before-parse.s3", _look)


def _look(
    operation_model: Any, response_dict: dict[str, Any], customized_response_dict: dict[str, Any], **_: Any
) -> None:
    if isinstance(response_dict["body"], bytes):  # what else there is is the stream of an object
        why = _why_not_s3(operation_model.name, response_dict["status_code"], response_dict["body"])
        if why is not None:
            customized_response_dict[_MEMBER] = why


def _why_not_s3(operation: str, status: int, body: bytes) -> str | None:
    if status >= 300:
        return _not(body, "Error") if body.strip() else None
    if operation == "GetBucketVersioning":
        return _not(body, "Versioning")
    if operation in {"PutObject", "DeleteObject"}:
        return _not(body, "Result") if body.strip() else None
    return None


def _not(body: bytes, expected: str) -> str | None:
    """Why a body is not what it should be: XML whose root has a name with this in it."""
    head = body[:_LOOKED_AT].removeprefix(b"\xef\xbb\xbf")
    root = _ROOT.match(head)
    name = root[1].decode() if root else ""
    if expected in name:
        return None
    if name.lower() == "html" or b"<!doctype html" in head.lower() or b"<html" in head.lower():
        return "a web page came instead of an answer of S3"
    if not body.strip():
        return "an empty answer came instead of one of S3"
    return "something else came instead of an answer of S3"


def why_not_s3(response: Mapping[str, Any]) -> str | None:
    """Why an answer, or an error, is none of S3; ``None`` if it may be one."""
    why = response.get(_MEMBER)
    return None if why is None else str(why)


def require(response: Mapping[str, Any]) -> None:
    """Refuse an answer with a body that is none of S3.

    Raises:
        MalformedResponseError: It is such a one.
    """
    why = why_not_s3(response)
    if why is not None:
        raise MalformedResponseError(why)


def require_object(response: Mapping[str, Any]) -> None:
    """Refuse an answer that is about an object, and does not say which: S3 names its ETag, or its version.

    Raises:
        MalformedResponseError: It names neither, or is not an answer of S3 at all.
    """
    require(response)
    status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 200)
    if status not in {200, 201, 204}:
        raise MalformedResponseError(f"status {status} says neither that it was done nor that it was not")
    encoding = str(response.get("ContentEncoding") or "").strip().lower()
    if encoding not in _PLAIN:
        raise MalformedResponseError(
            f"something on the way here encodes what was stored as it is (Content-Encoding: {encoding:.20})"
        )
    if etag_of(response) is None and version_of(response) is None:
        raise MalformedResponseError("it has neither an ETag nor a version, so it is not the store that answered")


def version_of(response: Mapping[str, Any]) -> str | None:
    """The version that an answer names; ``None`` in a bucket without versions."""
    version = response.get("VersionId")
    return None if version in {None, "", "null"} else str(version)


def etag_of(response: Mapping[str, Any]) -> str | None:
    """The ETag that an answer names, as the store sent it."""
    etag = str(response.get("ETag") or "")
    return etag if etag.strip('" ') else None


def stamp(moment: datetime | None) -> float | None:
    """A time stamp in seconds since 1970."""
    return None if moment is None else moment.timestamp()


def server_time(response: Mapping[str, Any]) -> float | None:
    """The store's clock when it answered."""
    date = response.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date")
    try:
        return None if date is None else parsedate_to_datetime(date).timestamp()
    except ValueError:
        return None


async def read(body: Any, length: int | None, limit: int | None, request: S3Request) -> bytes:
    """Read an object.

    Args:
        body: The stream of its bytes.
        length: How many there are, if the store said so.
        limit: How many there may be; `LARGEST` if ``None``.
        request: Of which object.

    Raises:
        CorruptionError: There are more than ``limit``.
        IncompleteReadError: There are fewer or more than ``length``.
    """
    limit = LARGEST if limit is None else limit
    if length is not None and length > limit:
        raise _too_large(request, limit)
    most = limit if length is None else length
    chunks: list[bytes] = []
    size = 0
    while chunk := await body.read(CHUNK):
        chunks.append(chunk)
        size += len(chunk)
        if size > most:
            break
    if length is not None and size != length:
        raise IncompleteReadError(actual_bytes=size, expected_bytes=length)
    if size > most:
        raise _too_large(request, limit)
    return b"".join(chunks)


def _too_large(request: S3Request, limit: int) -> MPS3Error:
    return request.error(CorruptionError, f"the object has more than {limit} bytes")
