"""Reading the listings of S3.

The SDK sorts versions and delete markers into two lists and so loses the order that they stand in,
which is the only thing that tells which one is newer: time stamps are coarse, and may even run backwards.
So listings are read here, and the SDK gets an empty one.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import datetime, timezone
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote_plus
from xml.etree import ElementTree as ET

from .request import MalformedResponseError

if TYPE_CHECKING:
    from collections.abc import Iterable

_MEMBER: Final = "mps3.Listing"
_ROOTS: Final = {"ListObjectVersions": "ListVersionsResult", "ListObjectsV2": "ListBucketResult"}
_ITEMS: Final = {"Version", "DeleteMarker", "Contents"}
_STUB: Final = b"<Listing/>"
MOST_EMPTY: Final = 100
"""Empty pages in a row that a listing may have."""

# XML 1.0 has no control characters, but keys do, and Ceph repeats them in places where it does not encode keys.
# Characters that Unicode assigns to nobody stand in for them.
_FORBIDDEN: Final = re.compile(rb"([\x00-\x08\x0b\x0c\x0e-\x1f])|&#(?:[xX]0*([0-9a-fA-F]{1,2})|0*([0-9]{1,2}));")
_STAND_IN: Final = 0xFDD0
_UNMENDED: Final = {_STAND_IN + code: code for code in range(0x20)}


@dataclass(frozen=True, slots=True)
class Item:
    """A ``Version``, a ``DeleteMarker`` or a ``Contents``."""

    key: str
    version: str
    modified: float
    etag: str | None
    size: int
    deleted: bool
    latest: bool


@dataclass(frozen=True, slots=True)
class Listing:
    """A page of a listing.

    Attributes:
        items: In the order of the document.
        truncated: Whether more follow.
        key_marker: The key from which the next page of versions follows, as the store sent it: Ceph
            encodes the keys of the items, and not this one.
        version_marker: And the version.
        token: With which the next page of objects is asked for.
    """

    items: tuple[Item, ...]
    truncated: bool
    key_marker: str | None
    version_marker: str | None
    token: str | None


def register(events: Any) -> None:
    """Have the listings that a client receives read here.

    Args:
        events: The event system of the client.
    """
    for operation in _ROOTS:
        events.register_first(f"before-parse.s3.{operation}", _on_answer)


def listing(response: dict[str, Any]) -> Listing:
    """The listing in a response of the SDK.

    Raises:
        MalformedResponseError: There is none, whatever the status said.
    """
    found = response.get(_MEMBER)
    if not isinstance(found, Listing):
        raise MalformedResponseError("the answer is not a listing")
    return found


def newest_first(items: Iterable[Item]) -> list[Item]:
    """Put versions of one key in order.

    That is the order they are in, unless the latest is not the first: some servers (moto) list all
    delete markers after all versions.
    """
    listed = [*items]
    if any(item.latest for item in listed[1:]) and not listed[0].latest:
        listed.sort(key=lambda item: (item.latest, item.modified, item.deleted), reverse=True)
    return listed


def _on_answer(
    operation_model: Any, response_dict: dict[str, Any], customized_response_dict: dict[str, Any], **_: Any
) -> None:
    # The SDK has seen it before and made a 500 of what it could not parse.
    if response_dict["status_code"] not in {200, 500}:
        return
    try:
        root = _parse(response_dict["body"])
        if _tag(root) != _ROOTS[operation_model.name]:
            return
        customized_response_dict[_MEMBER] = _read(root)
    except (ET.ParseError, ValueError):
        return  # Left to the SDK, which makes it an error.
    response_dict["status_code"], response_dict["body"] = 200, _STUB


def _parse(body: bytes) -> ET.Element:
    try:
        return ET.fromstring(body)  # noqa: S314 - expat bounds the expansion of entities
    except ET.ParseError:
        mended = _FORBIDDEN.sub(_mended, body)
        if mended == body:
            raise
    root = ET.fromstring(mended)  # noqa: S314
    for element in root.iter():
        element.text = element.text and element.text.translate(_UNMENDED)
    return root


def _mended(match: re.Match[bytes]) -> bytes:
    raw, hexadecimal, decimal = match.groups()
    code = raw[0] if raw else int(hexadecimal, 16) if hexadecimal else int(decimal)
    return chr(_STAND_IN + code).encode() if code < 0x20 else match[0]


def _read(root: ET.Element) -> Listing:
    fields = _texts(root)
    encoded = fields.get("EncodingType", "").lower() == "url"
    return Listing(
        items=tuple(_item(element, encoded=encoded) for element in root if _tag(element) in _ITEMS),
        truncated=fields.get("IsTruncated", "").strip().lower() == "true",
        key_marker=fields.get("NextKeyMarker"),
        version_marker=fields.get("NextVersionIdMarker"),
        token=fields.get("NextContinuationToken"),
    )


def _item(element: ET.Element, *, encoded: bool) -> Item:
    fields = _texts(element)
    key = fields.get("Key", "")
    return Item(
        # A key that is not UTF-8 cannot be ours, and must not keep us from reading those that are.
        key=unquote_plus(key, errors="surrogateescape") if encoded else key,
        version=fields.get("VersionId") or "null",
        modified=_seconds(fields["LastModified"]) if "LastModified" in fields else 0.0,
        etag=fields.get("ETag"),
        size=int(fields.get("Size") or 0),
        deleted=_tag(element) == "DeleteMarker",
        latest=fields.get("IsLatest") == "true",
    )


def _texts(element: ET.Element) -> dict[str, str]:
    return {_tag(child): child.text or "" for child in element}


def _tag(element: ET.Element) -> str:
    return element.tag.rpartition("}")[2]


def _seconds(text: str) -> float:
    moment = datetime.fromisoformat(text.strip())
    return (moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)).timestamp()


def next_versions(key: str, page: Listing, start: str | None) -> str | None:
    """Where the next page of a key's versions starts; ``None`` if there is none.

    Raises:
        MalformedResponseError: More versions follow or should have followed, but nothing tells where.
    """
    _check_end(page, start)
    # Whatever else starts with our key comes after it, so with that all of its versions have been listed.
    if not page.truncated or (page.items and page.items[-1].key != key):
        return None
    own = [item for item in page.items if item.key == key]
    if own:
        return _forward(start, [key, _last_version(own, page.version_marker)])
    if page.key_marker is None:
        raise MalformedResponseError("more versions follow, but not where")
    marker = key if key in _spellings(page.key_marker) else page.key_marker
    return _forward(start, [marker, page.version_marker], empty=True)


def next_scan(page: Listing, start: str | None) -> str | None:
    """Where the next page of all versions starts; ``None`` if there is none.

    Raises:
        MalformedResponseError: More versions follow or should have followed, but nothing tells where.
    """
    _check_end(page, start)
    if not page.truncated:
        return None
    if page.items:
        # Some servers (moto) list all delete markers after all versions: the last item is not the last key then.
        last = max((item.key for item in page.items), key=_in_order)
        own = [item for item in page.items if item.key == last]
        return _forward(start, [last, _last_version(own, page.version_marker)])
    if not page.key_marker:
        raise MalformedResponseError("more versions follow, but not where")
    return _forward(start, [unquote_plus(page.key_marker), page.version_marker], empty=True)


def next_objects(page: Listing, start: str | None) -> str | None:
    """Where the next page of objects starts; ``None`` if there is none.

    Raises:
        MalformedResponseError: More objects follow or should have followed, but nothing tells where.
    """
    _check_end(page, start)
    if not page.truncated:
        return None
    if page.token:
        return _forward(start, [page.token, None], empty=not page.items)
    if not page.items:
        raise MalformedResponseError("more objects follow, but not where")
    return _forward(start, [None, page.items[-1].key])


def start_of(start: str | None) -> tuple[str | None, str | None]:
    """The two markers that the next page is asked for with.

    Args:
        start: What `next_versions`, `next_scan` or `next_objects` returned for the page before.
    """
    if start is None:
        return None, None
    first, second, *_ = json.loads(start)
    return first, second


def _last_version(items: list[Item], marker: str | None) -> str:
    """The version after which the next page starts.

    It is that of the last item, whatever the marker says: Swift always says "null", which is the end of the key to it.
    Only where delete markers stand apart, the last item need not be the last of the page, and the marker tells.

    Args:
        items: All items of one key.
        marker: What the store calls the last version of the page.
    """
    ordered = newest_first(items)
    apart = all(one.deleted <= other.deleted for one, other in pairwise(items)) and items[-1].deleted
    if apart and any(item.version == marker and not item.deleted for item in items):
        return str(marker)
    return ordered[-1].version


def _spellings(marker: str) -> set[str]:
    """What a key marker may stand for: some stores encode it, and some encode only the keys of the items."""
    return {marker, unquote_plus(marker)}


def _in_order(key: str) -> bytes:
    return key.encode(errors="surrogateescape")


def _check_end(page: Listing, start: str | None) -> None:
    """Refuse an empty end after a page that said that more follows: something is missing."""
    if start is not None and not page.items and not page.truncated:
        raise MalformedResponseError("the page before said that more follows, and nothing does")


def _forward(start: str | None, marker: list[str | None], *, empty: bool = False) -> str:
    following = [*marker]
    before = json.loads(start) if start else []
    if following == before[:2]:
        raise MalformedResponseError("the listing does not move forward")
    # How many pages in a row were empty. There are some where a store skips what it may not show.
    pages = 1 + (before[2] if len(before) > 2 else 0) if empty else 0
    if pages > MOST_EMPTY:
        raise MalformedResponseError(f"{pages} pages in a row are empty, and each says that more follows")
    return json.dumps([*following, pages] if empty else following)
