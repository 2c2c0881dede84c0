"""Pages of listings of versions, also of stores that repeat a version, or announce a page that is empty.

Versity S3 Gateway begins a page with its marker if that is the newest version of its key, and says of a page that just
holds the rest that more follow.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ..pagination import PAGE_SIZE, page_size
from .listing import Listing, listing, nothing_follows, place_before, start_of


async def version_page(
    client: Any, bucket: str, prefix: str, start: str | None, limit: int | None = None
) -> tuple[Listing, Mapping[str, Any]]:
    """Return a page of versions, and the response with it.

    Args:
        client: The client of the SDK.
        bucket: The bucket.
        prefix: The prefix of the keys.
        start: Where the page starts, as `next_versions` and `next_scan` of `listing` return it.
        limit: The most versions in it.

    Raises:
        MalformedResponseError: It is empty although the previous one said that more follow, and the store does not
            say the same when it is asked another way.
    """
    markers, limit = start_of(start), page_size(limit)
    page, response = await _ask(client, bucket, prefix, markers, limit)
    if start is None or (page.truncated and not page.items):
        return page, response
    if not page.items:
        place = place_before(start)
        again = None if place is None else (await _ask(client, bucket, prefix, place, PAGE_SIZE))[0]
        if again is None or again.truncated or not again.items or _place(again, -1) != markers:
            raise nothing_follows()
        return page, response
    if _place(page, 0) == markers and len(page.items) == 1 and page.truncated:
        page, response = await _ask(client, bucket, prefix, markers, limit + 1)
    if page.items and _place(page, 0) == markers:
        page = replace(page, items=page.items[1:])
    return page, response


async def _ask(
    client: Any, bucket: str, prefix: str, markers: tuple[str | None, str | None], limit: int
) -> tuple[Listing, Mapping[str, Any]]:
    key, version = markers
    params = {"KeyMarker": key, "VersionIdMarker": version}
    response = await client.list_object_versions(
        Bucket=bucket,
        Prefix=prefix,
        MaxKeys=limit,
        EncodingType="url",
        **{name: marker for name, marker in params.items() if marker is not None},
    )
    return listing(response), response


def _place(page: Listing, number: int) -> tuple[str, str]:
    item = page.items[number]
    return item.key, item.version
