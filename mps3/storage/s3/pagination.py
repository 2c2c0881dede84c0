"""Listings that end: a store that lists in circles, or for ever, is found out."""

from __future__ import annotations

import json
from typing import Final

from .listing import GarbledError

PAGES: Final = 100_000
"""Pages of one listing: a hundred million objects, or versions of one."""


def marker_of(start: str | None) -> str | None:
    """Where a page starts, in the words of the store.

    Args:
        start: What `onward` returned for the page before.
    """
    return None if start is None else str(json.loads(start)[0])


def onward(start: str | None, marker: str | None) -> str | None:
    """Where the next page starts.

    Args:
        start: Where this one started.
        marker: Where the next one starts, in the words of the store; ``None`` if there is none.

    Raises:
        GarbledError: The listing does not end.
    """
    if marker is None:
        return None
    _, pages, passed = (None, 0, None) if start is None else json.loads(start)
    if marker == passed:
        raise GarbledError("the listing goes in circles")
    pages += 1
    if pages >= PAGES:
        raise GarbledError(f"the listing has more than {PAGES} pages")
    # Remembering the markers of pages 1, 2, 4, 8, … is enough to see any circle (Brent).
    return json.dumps([marker, pages, marker if pages & (pages - 1) == 0 else passed])
