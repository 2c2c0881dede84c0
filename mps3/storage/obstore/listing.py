"""Listings, page by page: obstore lists in a stream, which has the service's own mark of where it is."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any, Final

from ..pagination import PAGE_SIZE, page_size
from ..protocol import ListedObject, Page
from .keys import folder_of, key_of

PAGE: Final = PAGE_SIZE
LISTING_RETRIES: Final = 3
"""How often obstore asks for a page again: a listing that fails halfway begins anew."""
STREAMS: Final = 32
"""The most listings that are kept between two of their pages."""


class Listings:
    """The listings of one storage that are not at their end.

    The start of a page is the name of the last object before it. If the stream of the listing is gone, because it
    failed or because others were begun after it, a new one begins after that name.
    """

    def __init__(self) -> None:
        self._streams: OrderedDict[tuple[str, str, str], tuple[Any, int]] = OrderedDict()

    def clear(self) -> None:
        """Forget all listings."""
        self._streams.clear()

    async def page(self, store: Any, bucket: str, prefix: str, start: str | None, limit: int | None = None) -> Page:
        """Return the page that begins at ``start``. All pages of a stream have as many objects as its first."""
        known = None if start is None else self._streams.pop((bucket, prefix, start), None)
        if known is None:
            import obstore  # noqa: PLC0415 - it is an extra

            size = page_size(limit, PAGE)
            known = obstore.list(store, folder_of(prefix) or None, offset=start, chunk_size=size), size
        stream, size = known
        try:
            found: Sequence[Mapping[str, Any]] = await anext(stream)
        except StopAsyncIteration:
            return Page((), None)
        entries = []
        for item in found:
            key = key_of(item["path"])
            if key is not None and key.startswith(prefix):
                entries.append(ListedObject(key, item["last_modified"].timestamp(), item["size"]))
        following = str(found[-1]["path"]) if len(found) >= size else None
        if following is not None:
            self._streams[bucket, prefix, following] = stream, size
            if len(self._streams) > STREAMS:
                self._streams.popitem(last=False)
        return Page(tuple(entries), following)


async def require_bucket(store: Any) -> None:
    """Raise what obstore raises where there is no such bucket."""
    import obstore  # noqa: PLC0415 - it is an extra

    try:
        await anext(obstore.list(store, "mps3.none", chunk_size=1))
    except StopAsyncIteration:
        return
