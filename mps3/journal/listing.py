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
        self.versions: list[Version] = []

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
            self._next, self._page = page.next, 1000
            self._complete = page.next is None

    @property
    def newest(self) -> Version | None:
        """The head, as far as this listing knows."""
        return self.versions[0] if self.versions else None
