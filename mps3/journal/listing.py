"""The version listing of a manifest, read as far back as someone needs it."""

from __future__ import annotations

from dataclasses import replace

from ..document import whole_milliseconds
from ..storage import Storage, Version


class Listing:
    """The versions of one key, newest first, fetched page by page.

    Args:
        storage: Where the key is kept.
        bucket: Its bucket.
        key: The key.
        page: How many versions the first request asks for; a listing is paid by its bytes.
    """

    def __init__(self, storage: Storage, bucket: str, key: str, *, page: int) -> None:
        self._storage = storage
        self._bucket = bucket
        self._key = key
        self._page = page
        self._next: str | None = None
        self._complete = False
        self._seen: set[str] = set()
        self._confirmed = 0
        self.versions: list[Version] = []
        self.pages = 0

    async def back_to(self, moment: float) -> None:
        """Read on until a page ends with a version older than ``moment`` (seconds since 1970), or at the end."""
        while not self._complete and not (self.versions and self.versions[-1].modified < moment):
            page = await self._storage.versions(self._bucket, self._key, start=self._next, limit=self._page)
            for version in page.versions:
                if version.version not in self._seen:
                    self._seen.add(version.version)
                    # To the precision that documents keep, so that a stamp is the same wherever it comes from.
                    modified = whole_milliseconds(version.modified) / 1000
                    same = modified == version.modified
                    self.versions.append(version if same else replace(version, modified=modified))
            self.pages += 1
            self._next, self._page = page.next, 1000
            self._complete = page.next is None

    @property
    def torn(self) -> bool:
        """Whether it was read at several moments, so that it may show a commit without its cause."""
        return self.pages > 1 and self._confirmed != len(self.versions)

    async def again(self, moment: float) -> Listing:
        """The same once more, in as few pages as can be."""
        listing = Listing(self._storage, self._bucket, self._key, page=1000)
        await listing.back_to(moment)
        if [one.version for one in listing.versions] == [one.version for one in self.versions]:
            listing._confirmed = len(listing.versions)
        return listing

    @property
    def newest(self) -> Version | None:
        """The head, as far as this listing knows."""
        return self.versions[0] if self.versions else None
