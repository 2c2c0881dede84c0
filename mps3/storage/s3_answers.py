"""Whether an answer with status 200 is the store's. A portal or a proxy in between may answer anything."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from xml.etree import ElementTree as ET

from mps3.storage.s3_listing import GarbledError

_PLAIN: Final = {"", "identity", "aws-chunked"}


def require_object(response: Mapping[str, Any]) -> None:
    """Refuse an answer to GetObject that no store gives for what mps3 has stored.

    Args:
        response: The answer, of which the body need not have been read.

    Raises:
        GarbledError: It is not the store's, or something has changed it on the way.
    """
    encoding = str(response.get("ContentEncoding") or "").strip().lower()
    if encoding not in _PLAIN:
        raise GarbledError(
            f"something on the way here encodes what was stored as it is (Content-Encoding: {encoding:.20})"
        )
    if not response.get("ETag"):
        raise GarbledError("an object came without an ETag, so it is not the store that has answered")


def register(events: Any) -> None:
    """Have answers to GetBucketVersioning looked at: a web page is not to be taken for a bucket without versions.

    Args:
        events: The event system of the client.
    """
    events.register_first("before-parse.s3.GetBucketVersioning", _on_versioning)


def _on_versioning(response_dict: dict[str, Any], **_: Any) -> None:
    body = response_dict["body"]
    if response_dict["status_code"] != 200 or not body.strip():
        return
    try:
        root = ET.fromstring(body)  # noqa: S314 - expat bounds the expansion of entities
    except ET.ParseError:
        raise GarbledError("the answer is not about versioning") from None
    if "versioning" not in root.tag.lower():  # VersioningConfiguration, but not of every server
        raise GarbledError("the answer is not about versioning")
