"""The parser of S3's listings.

The SDK splits versions and delete markers into two lists and so loses their order. Only the order tells which one is
newer, because time stamps are coarse and may even run backwards. So listings are parsed here, and the SDK gets an empty
one.
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

from ..failure import MalformedResponseError
from ..protocol import NULL_VERSION

if TYPE_CHECKING:
    from collections.abc import Iterable

_MEMBER: Final = "mps3.Listing"
_OBJECTS: Final = "mps3.ListsObjects"
_ROOTS: Final = {"ListObjectVersions": "ListVersionsResult", "ListObjectsV2": "ListBucketResult"}
_ITEMS: Final = {"Version", "DeleteMarker", "Contents"}
_STUB: Final = b"<Listing/>"
MAX_EMPTY_PAGES: Final = 100
"""The most consecutive empty pages of a listing."""

# XML 1.0 has no control characters, but keys may, and Ceph sends them where it does not encode keys.
# Unicode noncharacters replace them while the XML is parsed.
_FORBIDDEN: Final = re.compile(rb"([\x00-\x08\x0b\x0c\x0e-\x1f])|&#(?:[xX]0*([0-9a-fA-F]{1,2})|0*([0-9]{1,2}));")
_REPLACEMENT: Final = 0xFDD0
_CONTROLS: Final = {_REPLACEMENT + code: code for code in range(0x20)}


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
    """A page of a listing, with its items in the order of the document.

    The next page starts after the markers (of versions) or at the token (of objects). The key marker is as the store
    sent it: Ceph encodes the keys of the items, but not the marker.
    """

    items: tuple[Item, ...]
    truncated: bool
    key_marker: str | None
    version_marker: str | None
    token: str | None


def register(events: Any) -> None:
    """Have the listings that a client receives parsed here."""
    for operation in _ROOTS:
        events.register_first(f"before-parse.s3.{operation}", _on_answer)


def listing(response: dict[str, Any]) -> Listing:
    """Return the listing in a response of the SDK.

    Raises:
        MalformedResponseError: There is none.
        ValueError: The store does not list versions.
    """
    if _OBJECTS in response:
        raise ValueError(
            "the store answers with a listing of objects: it does not list versions as S3 does, and cannot be used for "
            "a bucket with versioning enabled"
        )
    found = response.get(_MEMBER)
    if not isinstance(found, Listing):
        raise MalformedResponseError("the answer is not a listing")
    return found


def newest_first(items: Iterable[Item]) -> list[Item]:
    """Return versions of one key, newest first.

    They are in this order already, except for servers (moto) that list all delete markers after all versions.
    """
    listed = [*items]
    if any(item.latest for item in listed[1:]) and not listed[0].latest:
        listed.sort(key=lambda item: (item.latest, item.modified, item.deleted), reverse=True)
    return listed


def _on_answer(
    operation_model: Any, response_dict: dict[str, Any], customized_response_dict: dict[str, Any], **_: Any
) -> None:
    # The SDK has seen the response before, and has set status 500 if it could not parse it.
    if response_dict["status_code"] not in {200, 500}:
        return
    try:
        root = _parse(response_dict["body"])
        if _tag(root) != _ROOTS[operation_model.name]:
            if operation_model.name == "ListObjectVersions" and _tag(root) == _ROOTS["ListObjectsV2"]:
                customized_response_dict[_OBJECTS] = True
                response_dict["status_code"], response_dict["body"] = 200, _STUB
            return
        customized_response_dict[_MEMBER] = _read(root)
    except (ET.ParseError, ValueError):
        return  # the SDK raises an error
    response_dict["status_code"], response_dict["body"] = 200, _STUB


def _parse(body: bytes) -> ET.Element:
    try:
        return ET.fromstring(body)  # noqa: S314 - expat bounds the expansion of entities
    except ET.ParseError:
        replaced = _FORBIDDEN.sub(_replace_control, body)
        if replaced == body:
            raise
    root = ET.fromstring(replaced)  # noqa: S314
    for element in root.iter():
        element.text = element.text and element.text.translate(_CONTROLS)
    return root


def _replace_control(match: re.Match[bytes]) -> bytes:
    raw, hexadecimal, decimal = match.groups()
    code = raw[0] if raw else int(hexadecimal, 16) if hexadecimal else int(decimal)
    return chr(_REPLACEMENT + code).encode() if code < 0x20 else match[0]


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
        # A key that is not UTF-8 is not a key of this library, and must not prevent reading the others.
        key=unquote_plus(key, errors="surrogateescape") if encoded else key,
        version=fields.get("VersionId") or NULL_VERSION,
        modified=_seconds(fields["LastModified"]) if "LastModified" in fields else 0.0,
        etag=fields.get("ETag") or None,  # MinIO gives delete markers an empty one
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
    """Return the start of the next page of a key's versions; ``None`` if there is none.

    Raises:
        MalformedResponseError: The listing is truncated without a marker, or does not move forward.
    """
    # Other keys with this prefix sort after the key, so the listing of its versions is complete.
    if not page.truncated or (page.items and page.items[-1].key != key):
        return None
    own = [item for item in page.items if item.key == key]
    if own:
        return _forward(start, [key, _last_version(own, page.version_marker)], page)
    if page.key_marker is None:
        raise MalformedResponseError("more versions follow, but not where")
    marker = key if key in _spellings(page.key_marker) else page.key_marker
    return _forward(start, [marker, page.version_marker])


def next_scan(page: Listing, start: str | None) -> str | None:
    """Return the start of the next page of all versions; ``None`` if there is none. It raises as `next_versions`."""
    if not page.truncated:
        return None
    if page.items:
        # Some servers (moto) list all delete markers after all versions: the last item is not the last key then. Others
        # (Versity S3 Gateway) list a control character of a key as U+FFFD, so that its place is another one.
        named = set() if page.key_marker is None else _spellings(page.key_marker)
        keys = [item.key for item in page.items]
        last = max([key for key in keys if key in named] or keys, key=_sort_key)
        own = [item for item in page.items if item.key == last]
        return _forward(start, [last, _last_version(own, page.version_marker)], page)
    if not page.key_marker:
        raise MalformedResponseError("more versions follow, but not where")
    return _forward(start, [unquote_plus(page.key_marker), page.version_marker])


def next_objects(page: Listing, start: str | None) -> str | None:
    """Return the start of the next page of objects; ``None`` if there is none. It raises as `next_versions`."""
    if start is not None and not page.items and not page.truncated:
        raise nothing_follows()
    if not page.truncated:
        return None
    if page.token:
        return _forward(start, [page.token, None], page)
    if not page.items:
        raise MalformedResponseError("more objects follow, but not where")
    return _forward(start, [None, page.items[-1].key], page)


def start_of(start: str | None) -> tuple[str | None, str | None]:
    """Return the two markers of a start that `next_versions`, `next_scan` or `next_objects` returned."""
    if start is None:
        return None, None
    first, second, *_ = json.loads(start)
    return first, second


def place_before(start: str) -> tuple[str, str] | None:
    """Return the markers of the version before that after which a page starts, if the previous page showed it."""
    place = json.loads(start)[3:]
    return (place[0], place[1]) if place else None


def _last_version(items: list[Item], marker: str | None) -> str:
    """Return the version after which the next page starts, from all items of one key.

    It is the version of the last item. The store's marker is not used, because Swift always sends "null". Only where
    delete markers are listed apart, the last item may not be the last of the page, and the marker is used.
    """
    ordered = newest_first(items)
    apart = all(one.deleted <= other.deleted for one, other in pairwise(items)) and items[-1].deleted
    if apart and any(item.version == marker and not item.deleted for item in items):
        return str(marker)
    return ordered[-1].version


def _spellings(marker: str) -> set[str]:
    """Return the keys that a key marker may mean: some stores encode it, and some encode only the keys of items."""
    return {marker, unquote_plus(marker)}


def _sort_key(key: str) -> bytes:
    return key.encode(errors="surrogateescape")


def nothing_follows() -> MalformedResponseError:
    """Return the error for an empty last page after a page that said that more follow."""
    return MalformedResponseError("the previous page said that more follows, and nothing does")


def _forward(start: str | None, marker: list[str | None], page: Listing | None = None) -> str:
    """Return the start of the next page, after a marker; ``page`` is the present one, unless it shows nothing."""
    following = [*marker]
    before = json.loads(start) if start else []
    if following == before[:2]:
        raise MalformedResponseError("the listing does not move forward")
    if page is not None and page.items:
        places = [(item.key, item.version) for item in page.items]
        at = places.index((str(marker[0]), str(marker[1]))) if (marker[0], marker[1]) in places else 0
        place = list(places[at - 1]) if at else before[:2]
        return json.dumps([*following, 0, *place])
    # Count consecutive empty pages. A store may send some where it skips what the client may not see.
    pages = 1 + (before[2] if len(before) > 2 else 0)
    if pages > MAX_EMPTY_PAGES:
        raise MalformedResponseError(f"{pages} pages in a row are empty, and each says that more follows")
    return json.dumps([*following, pages])
