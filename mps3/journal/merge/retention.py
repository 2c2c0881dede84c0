"""What collecting garbage leaves alone of a manifest with the merge journal."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable

from ...format.commit_age import max_commit_age
from ...format.run import Run
from ...format.state import View, build_view
from ...storage.protocol import Version
from ..at_hand import at_hand
from ..named_values import named_values
from ..protocol import Retained
from ..run_reader import MissingRunError
from .listing import VersionListing
from .unsettled import FETCHES, MOST_READS, OvertakenError, Unsettled


async def retained(
    unsettled: Unsettled, new_listing: Callable[[], VersionListing], view: View, seconds: float
) -> Retained | None:
    """Return what collecting leaves alone.

    The oldest state that is kept needs its own version, and those back to the bound of its listing. A
    writer builds on a state that is at most `LATENESS` old, so a run that no document named for that long
    is never named again.

    Args:
        unsettled: Reads versions.
        new_listing: Begins to list them.
        view: The newest state.
        seconds: How far back all states are kept.

    Returns:
        ``None`` if there is no manifest.

    Raises:
        OvertakenError: Versions are deleted faster than they can be read.
    """
    if view.document is None:
        return None
    for _ in range(MOST_READS - 1):
        try:
            return await _retained(unsettled, new_listing(), view, seconds)
        except OvertakenError:
            continue
    return await _retained(unsettled, new_listing(), view, seconds)


async def _retained(unsettled: Unsettled, listing: VersionListing, view: View, seconds: float) -> Retained | None:
    await listing.back_to(math.inf)
    if listing.newest is None:
        return None
    top = listing.versions[0].version
    now = max(listing.newest.modified, listing.answered or -math.inf)
    moment = now - seconds
    await listing.skip_to(moment)
    head = await unsettled.head(listing, {})
    views, oldest = [view], -math.inf
    undecided, runs = [*view.undecided], {layer.sha256: layer for layer in view.layers if isinstance(layer, Run)}
    needed: list[Version] = []
    if head is not None:
        newest, document, _ = head
        bound = unsettled.bound(document, newest.version)
        slack = 2 * document.window
        # Whoever is late builds on what was the head before that.
        former = await unsettled.former(listing, newest.modified - max_commit_age() - slack)
        await listing.back_to(min(bound, former) - slack)
        needed = [one for one in listing.versions if one.modified >= former - slack and not one.deleted]
        oldest = min(bound, former) - slack
        _, ordered = await unsettled.context(document, newest, listing, bound)
        try:
            judged, held = await unsettled.judge(document, ordered, [newest.modified])
            views.insert(0, await at_hand(lambda: build_view(document, newest.version, judged.shown, held, 0.0)))
        except MissingRunError:
            raise OvertakenError from None
        # Where nobody has committed for long, a transaction is still undecided whose values are old.
        undecided += judged.undecided
        runs |= held

    if listing.complete:
        await unsettled.check_end(listing)

    async def named() -> frozenset[str] | None:
        references = [*(view.document.references() if view.document else ())]
        references += [run for commit in view.commits for run in commit.runs]
        for start in range(0, len(needed), FETCHES):
            batch = needed[start : start + FETCHES]
            for found in await asyncio.gather(*map(unsettled.fetch, batch)):
                if found is None:
                    return None  # collected by somebody else meanwhile, with all that it named
                references += found.references()
        return frozenset(reference.key for reference in references)

    try:
        values = await named_values(undecided, runs)
    except MissingRunError:
        raise OvertakenError from None
    return Retained(moment, tuple(views), values, oldest, named, top)
