"""Checks that a response is one of S3, because an intermediary can answer 200 too, and access to its fields."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import Any, Final

from botocore.exceptions import IncompleteReadError

from ...errors import CorruptionError, MPS3Error
from ..failure import MalformedResponseError
from ..protocol import NULL_VERSION, Head
from .request import S3Request
from .transport import CHUNK

_PLAIN: Final = {"", "identity", "aws-chunked"}
_MEMBER: Final = "mps3.NotS3"
_LISTED: Final = "mps3.Listed"
_HEAD_BYTES: Final = 1024
_ROOT: Final = re.compile(
    rb"\s{0,99}(?:<\?[^>]{0,200}\?>\s{0,99})?(?:<!--[^>]{0,500}-->\s{0,99})?<(?:[\w.-]{1,50}:)?(\w{1,50})"
)
MAX_OBJECT_BYTES: Final = 1 << 28
"""The most bytes of an object that is read without a limit. This library always has a limit for what it writes."""


def register(events: Any) -> None:
    """Have the responses that a client receives checked here."""
    events.register_first("before-parse.s3", _on_response)


def _on_response(
    operation_model: Any, response_dict: dict[str, Any], customized_response_dict: dict[str, Any], **_: Any
) -> None:
    if isinstance(response_dict["body"], bytes):  # otherwise it is the stream of an object
        unknown = operation_model.name == "GetBucketVersioning" and response_dict["status_code"] < 300
        if unknown and _root(response_dict["body"]) == "ListBucketResult":
            customized_response_dict[_LISTED] = True
            return
        why = _why_not_s3(operation_model.name, response_dict["status_code"], response_dict["body"])
        if why is not None and not _names_version(operation_model.name, response_dict):
            customized_response_dict[_MEMBER] = why


def _names_version(operation: str, response_dict: dict[str, Any]) -> bool:
    """Whether a response to a PUT names the version that is stored, as no intermediary does.

    Swift sends a page beside it where a later PUT has overtaken this one.
    """
    stored = operation == "PutObject" and response_dict["status_code"] < 300
    return stored and bool(response_dict["headers"].get("x-amz-version-id"))


def _why_not_s3(operation: str, status: int, body: bytes) -> str | None:
    if status >= 300:
        return _why_unexpected(body, "Error") if body.strip() else None
    if operation == "GetBucketVersioning":
        return _why_unexpected(body, "Versioning")
    if operation in {"PutObject", "DeleteObject"}:
        return _why_unexpected(body, "Result") if body.strip() else None
    return None


def _why_unexpected(body: bytes, expected: str) -> str | None:
    """Return why a body is not XML with this text in the name of its root; ``None`` if it is."""
    head, name = body[:_HEAD_BYTES], _root(body)
    if expected in name:
        return None
    if name.lower() == "html" or b"<!doctype html" in head.lower() or b"<html" in head.lower():
        return "a web page came instead of a response of S3"
    if not body.strip():
        return "an empty response came instead of one of S3"
    return "something else came instead of a response of S3"


def _root(body: bytes) -> str:
    """Return the name of the root element of an XML document; an empty string if it is none."""
    root = _ROOT.match(body[:_HEAD_BYTES].removeprefix(b"\xef\xbb\xbf"))
    return root[1].decode() if root else ""


def is_listing(response: Mapping[str, Any]) -> bool:
    """Whether a store that does not know GetBucketVersioning has listed the bucket instead, as s3rver does."""
    return _LISTED in response


def why_not_s3(response: Mapping[str, Any]) -> str | None:
    """Return why a response, or an error, is not one of S3; ``None`` if it may be one."""
    why = response.get(_MEMBER)
    return None if why is None else str(why)


def require(response: Mapping[str, Any]) -> None:
    """Raise `MalformedResponseError` for a response whose body is not one of S3."""
    why = why_not_s3(response)
    if why is not None:
        raise MalformedResponseError(why)


def status_of_response(response: Mapping[str, Any]) -> int:
    """Return the HTTP status of a response that is no error."""
    return int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 200))


def require_object(response: Mapping[str, Any], *, partial: bool = False) -> None:
    """Raise `MalformedResponseError` for a response without the ETag or the version of an object.

    ``partial`` says that a part of the object was asked for.
    """
    require(response)
    status = status_of_response(response)
    if status not in {200, 201, 204} and not (partial and status == 206):
        raise MalformedResponseError(f"status {status} is neither a success nor an error")
    encoding = str(response.get("ContentEncoding") or "").strip().lower()
    if encoding not in _PLAIN:
        raise MalformedResponseError(
            f"an intermediary encodes what was stored without encoding (Content-Encoding: {encoding:.20})"
        )
    if etag_of(response) is None and version_of(response) is None:
        raise MalformedResponseError("it has neither an ETag nor a version, so it is not a response of the store")


def is_web_page(body: bytes) -> bool:
    """Return whether the body of an object looks like a web page of an intermediary: JSON does not."""
    return body[:_HEAD_BYTES].lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<")


def version_of(response: Mapping[str, Any]) -> str | None:
    """Return the version that a response names; ``None`` in a bucket without versions."""
    version = response.get("VersionId")
    return None if version in {None, "", NULL_VERSION} else str(version)


def etag_of(response: Mapping[str, Any]) -> str | None:
    """Return the ETag that a response names, as the store sent it."""
    etag = str(response.get("ETag") or "")
    return etag if etag.strip('" ') else None


def head_of(response: Mapping[str, Any]) -> Head:
    """Return what a response says about an object, without its body.

    Raises:
        MalformedResponseError: It is not the response of a store about an object.
    """
    require_object(response)
    metadata = {name.lower(): value for name, value in response.get("Metadata", {}).items()}
    return Head(metadata, int(response.get("ContentLength") or 0), stamp(response.get("LastModified")))


def stamp(moment: datetime | None) -> float | None:
    """Return a time stamp in seconds since 1970."""
    return None if moment is None else moment.timestamp()


def server_time(response: Mapping[str, Any]) -> float | None:
    """Return the time when the store sent a response, in seconds since 1970."""
    date = response.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date")
    return None if date is None else _time_of(date)


@lru_cache(maxsize=8)  # many responses are sent in the same second
def _time_of(date: str) -> float | None:
    try:
        return parsedate_to_datetime(date).timestamp()
    except ValueError:
        return None


async def read(body: Any, length: int | None, limit: int | None, request: S3Request) -> bytes:
    """Read the body of an object.

    Raises:
        CorruptionError: It has more bytes than ``limit``, or than `MAX_OBJECT_BYTES` without a limit.
        IncompleteReadError: It has not ``length`` bytes, if the store has sent its length.
    """
    limit = MAX_OBJECT_BYTES if limit is None else limit
    if length is not None and length > limit:
        raise too_large(request, limit)
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
        raise too_large(request, limit)
    return b"".join(chunks)


def too_large(request: S3Request, limit: int) -> MPS3Error:
    """Return the error for an object, or a part of one, that has more bytes than the reader accepts."""
    return request.error(CorruptionError, f"the object has more than {limit} bytes")
