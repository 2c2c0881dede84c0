"""Where in the versions of a manifest a moment is, so that nobody has to read all that came after it.

A version tells of what was settled when it was written. So a walk back may begin with any version that is later than
what it looks for by some windows, as well as with the newest: which commits counted until then, it says as exactly.
"""

from __future__ import annotations

from typing import Final

from ...errors import CorruptionError
from ...format.document import Document
from ...storage.protocol import Version
from .versions import ManifestVersions

FIRST: Final = 32
"""Versions of the first page of a listing. It costs as much as a longer one, but takes less time."""
PAGE: Final = 1000
"""Versions of each further page."""
WINDOWS: Final = 2
"""How many windows after a moment nothing may be unsettled in a version that a walk to it begins with."""
ROUNDING: Final = 2.0
"""Seconds on top, since stamps may be whole seconds."""


class PagedListing:
    """The versions of a manifest, newest first, page by page.

    Attributes:
        versions: Those that are listed so far, each once.
        taken: How many of them a walk has taken in.
        complete: Whether there are no more.
    """

    def __init__(self, source: ManifestVersions) -> None:
        self.versions: list[Version] = []
        self.taken = 0
        self.complete = False
        self._source = source
        self._next: str | None = None
        self._pages = source.pages()
        self._seen: set[str] = set()

    async def further(self) -> None:
        """List one more page."""
        page, following = await self._source.page(self._next, PAGE if self._next else FIRST)
        self._next = self._pages.forward(following)
        self.versions += [version for version in page if version.version not in self._seen]
        self._seen.update(version.version for version in page)
        self.complete = self._next is None


async def search_by_time(source: ManifestVersions, listing: PagedListing, moment: float) -> tuple[int, Document] | None:
    """Find the version that a walk back to a moment may begin with.

    Args:
        source: The versions of the manifest.
        listing: Its versions, of which nothing is listed yet.
        moment: By the store's clock, in seconds since 1970.

    Returns:
        Its place in the listing, and what it holds; ``None`` if the walk has to begin with the newest.
    """
    await listing.further()
    while not listing.complete and not any(version.modified <= moment for version in listing.versions[-1:]):
        await listing.further()
    after = [place for place, version in enumerate(listing.versions) if version.modified > moment]
    return await _begin(source, listing, after[-1], moment) if after else None


async def search_by_commit(
    source: ManifestVersions, listing: PagedListing, session: str, sequence: int
) -> tuple[int, Document] | None:
    """Search likewise for a commit: halve what is listed, by who knew of it.

    Args:
        source: The versions of the manifest.
        listing: Its versions, of which nothing is listed yet.
        session: That of the commit.
        sequence: Its number in the session.
    """

    async def knows(place: int) -> bool:
        document = await _fetch(source, listing.versions[place])
        return document is not None and _knows(document, session, sequence)

    await listing.further()
    known = 0  # the place of the oldest version that is known to know it
    while listing.versions and await knows(len(listing.versions) - 1):
        known = len(listing.versions) - 1
        if listing.complete:
            break
        await listing.further()
    unknown = len(listing.versions) - 1
    while unknown - known > 1:
        middle = (known + unknown) // 2
        known, unknown = (middle, unknown) if await knows(middle) else (known, middle)
    return await _begin(source, listing, known, listing.versions[known].modified) if known else None


async def _begin(
    source: ManifestVersions, listing: PagedListing, place: int, moment: float
) -> tuple[int, Document] | None:
    """Return the first version, from a place on to newer ones, that was written when all up to a moment was settled."""
    step = 1
    while place > 0:
        document = await _fetch(source, listing.versions[place])
        if document is None:
            return None
        late = not document.counts(listing.versions[place].modified)
        if not late and document.bound() > moment + WINDOWS * document.window + ROUNDING:
            return place, document
        place, step = place - step, 2 * step
    return None


async def _fetch(source: ManifestVersions, version: Version) -> Document | None:
    try:
        return await source.fetch(version, {})
    except CorruptionError:
        return None  # whoever needs this version says so


def _knows(document: Document, session: str, sequence: int) -> bool:
    settled = document.sessions.get(session, -1) >= sequence
    own = document.session == session and document.sequence == sequence
    return settled or own or any((one.session, one.sequence) == (session, sequence) for one in document.log)
