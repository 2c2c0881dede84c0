"""Listings page by page: how large a page is, and a guard that refuses a listing that does not end."""

from __future__ import annotations

from typing import Final

from ..errors import UnavailableError

PAGE_SIZE: Final = 1000
"""The most entries of a page, as on S3."""
MAX_PAGES: Final = 100_000
"""The most pages of one listing: a hundred million objects, or versions of one object."""


def page_size(limit: int | None, most: int = PAGE_SIZE) -> int:
    """Return the number of entries of a page with this ``limit``, at most ``most``."""
    return most if limit is None else max(1, min(limit, most))


class PageProgress:
    """The progress of one listing through its pages.

    It detects a cycle with Brent's algorithm, in constant memory: it remembers the start of one page, and replaces it
    whenever the number of pages is a power of two. The bucket, the key or prefix, and the operation are for the error.
    """

    def __init__(self, bucket: str, key: str | None, operation: str) -> None:
        self._bucket = bucket
        self._key = key
        self._operation = operation
        self._remembered: str | None = None
        self._pages = 0

    def forward(self, start: str | None) -> str | None:
        """Move on to the next page and return its start, which is ``None`` at the end of the listing.

        Raises:
            UnavailableError: The listing has a cycle, or more than `MAX_PAGES` pages.
        """
        if start is None:
            return None
        if start == self._remembered:
            raise self._endless("goes in circles: a page starts where an earlier one did")
        self._pages += 1
        if self._pages >= MAX_PAGES:
            raise self._endless(f"has more than {MAX_PAGES} pages")
        if self._pages & (self._pages - 1) == 0:
            self._remembered = start
        return start

    def _endless(self, why: str) -> UnavailableError:
        return UnavailableError(
            f"a listing of s3://{self._bucket}/{self._key or ''} {why}",
            bucket=self._bucket,
            key=self._key,
            operation=self._operation,
        )
