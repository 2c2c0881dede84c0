"""What a manifest was before: its commits and its states, as far back as its versions are kept.

Every commit is a version of the manifest that holds a log of the ones before it, so that not every version has to
be read to know every commit. Without versions there is only the log of the newest document.
"""

from __future__ import annotations

from ...format.state import View
from .replay import Replay
from .version_search import PagedListing, search_by_commit, search_by_time
from .versions import ManifestVersions


class VersionedPast(ManifestVersions):
    """Finds what a manifest was before."""

    async def walk(self, view: View) -> Replay:
        """Return the newest commits, and step by step the older ones.

        Args:
            view: The newest state: all that is known of a manifest without versions.
        """
        walk = Replay(self, view)
        await walk.further()
        return walk

    async def walk_to(self, view: View, moment: float | tuple[str, int]) -> Replay | None:
        """Walk likewise, but begin as shortly after a moment as is certain, without reading all that came later.

        Args:
            view: The newest state.
            moment: A time by the store's clock, in seconds since 1970, or the session and the sequence of a commit.

        Returns:
            ``None`` if that is not possible, or not worth it: the moment is a short while ago, or there are no
            versions, or no version knows of the commit.
        """
        walk = Replay(self, view)
        if _recent(view, moment):
            return None
        listing = PagedListing(self)
        found = (
            await search_by_commit(self, listing, *moment)
            if isinstance(moment, tuple)
            else await search_by_time(self, listing, moment)
        )
        if found is None:
            return None
        walk.begin_at(*found, listing)
        await walk.further()
        return walk


def _recent(view: View, moment: float | tuple[str, int]) -> bool:
    """Return whether the newest state tells of a moment, or nothing does."""
    if isinstance(moment, tuple):
        session, sequence = moment
        return any((one.session, one.sequence) == moment for one in view.commits) or not view.has(session, sequence)
    return not view.commits or view.commits[0].modified <= moment
