"""The version listing of a manifest, read as far back as someone needs it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

from ...format.schema import NOTHING, whole_milliseconds
from ...storage.pagination import PageProgress
from ...storage.protocol import Storage, Version

LARGEST: Final = 1000
"""Versions that a request asks for at the most."""
SECOND: Final = 128
"""Versions that the second request of a listing asks for: more than there are in most windows."""
NEWER: Final = 32
"""Versions that may have come while a listing was read in pages, and is read once more."""
NULL: Final = "null"
"""How a version is listed that is none."""


def rounded(version: Version) -> Version:
    """Return a version with its time stamp in the precision that documents keep, so that it is the same everywhere."""
    modified = whole_milliseconds(version.modified) / 1000
    if modified == version.modified:
        return version
    return Version(version.version, modified, version.etag, version.size, deleted=version.deleted)


class VersionListing:
    """The versions of one key, newest first, fetched page by page.

    Args:
        storage: Where the key is kept.
        bucket: Its bucket.
        key: The key.
        page: How many versions the first request asks for; a listing is paid by its bytes.
        known: What an earlier listing showed, by version. No version is `NULL`, which can be replaced.
    """

    def __init__(
        self, storage: Storage, bucket: str, key: str, *, page: int, known: Mapping[str, Version] = NOTHING
    ) -> None:
        self._storage = storage
        self._bucket = bucket
        self._key = key
        self._page = page
        self._known = known
        self._next: str | None = None
        self._progress = PageProgress(bucket, key, "ListObjectVersions")
        self._seen: set[str] = set()
        self._confirmed = 0
        self._is_again = False
        self._pages: tuple[list[Version], list[Version]] = ([], [])
        self.versions: list[Version] = []
        self.late = 0
        self.complete = False
        self.pages = 0
        self.answered: float | None = None

    async def back_to(self, moment: float) -> None:
        """Read on until a page ends with a version older than ``moment`` (seconds since 1970), or at the end."""
        while not self.complete and not (len(self.versions) > self.late and self.versions[-1].modified < moment):
            await self.more()

    async def more(self) -> None:
        """Read the next page."""
        page = await self._storage.versions(self._bucket, self._key, start=self._next, limit=self._page)
        known, seen = self._known, self._seen
        for version in page.versions:
            if (name := version.version) not in seen:
                seen.add(name)
                found = known.get(name)
                self.versions.append(rounded(version) if found is None or found.etag != version.etag else found)
        self._pages = (self._pages[1], list(page.versions) or self._pages[1])
        if not self.pages:
            self.answered = page.answered
        self.pages += 1
        self._next = self._progress.forward(page.next)
        self._page = LARGEST if self.pages > 1 else max(self._page, SECOND)
        self.complete = page.next is None

    @property
    def end(self) -> list[Version]:
        """The last versions that were read: those of two pages."""
        return [*self._pages[0], *self._pages[1]]

    async def skip_to(self, moment: float) -> None:
        """Read on to the first version older than ``moment``, and forget those before it."""
        while True:
            first = next((index for index, one in enumerate(self.versions) if one.modified < moment), None)
            del self.versions[:first]
            if first is not None or self.complete:
                return
            self._seen.clear()  # there may be very many
            await self.more()

    @property
    def torn(self) -> bool:
        """Whether it was read at several moments, so that it may show a commit without its cause."""
        return self.pages > 1 and self._confirmed != len(self.versions)

    async def again(self, moment: float) -> VersionListing:
        """Return the same listing once more, read in as few pages as can be."""
        # More than expected came while it was read once more: it would be torn again and again.
        page = LARGEST if self._is_again else min(LARGEST, len(self.versions) + NEWER)
        listing = VersionListing(self._storage, self._bucket, self._key, page=page, known=self._known)
        listing._is_again = True
        await listing.back_to(moment)
        if [one.version for one in listing.versions] == [one.version for one in self.versions]:
            listing._confirmed = len(listing.versions)
        return listing

    @property
    def newest(self) -> Version | None:
        """The newest version that counts, as far as this listing knows."""
        return self.versions[self.late] if len(self.versions) > self.late else None

    async def pass_over(self) -> None:
        """Take the version before the newest one for the head: the newest does not count (R16)."""
        self.late += 1
        await self.back_to(math.inf)
