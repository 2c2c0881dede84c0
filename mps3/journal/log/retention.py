"""What collecting leaves alone of a log: the states within the retention, and what they are made of (L9)."""

from __future__ import annotations

import math

from ...errors import UnavailableError
from ...format.document import Document
from ...format.state import View, build_view
from ..named_values import named_values
from ..past import Walk
from ..protocol import Retained
from ..runs import Runs
from .fold import collection
from .past import LogPast


async def retained(
    past: LogPast, view: View, runs: Runs, seconds: float, *, announced: bool = False
) -> Retained | None:
    """Return what collecting leaves alone.

    Args:
        past: The past of the manifest.
        view: The newest state, in which the collection was announced (R17).
        runs: Its runs.
        seconds: How far back all states are kept.
        announced: Whether the collection was announced, as it is before anything is deleted.

    Returns:
        ``None`` if there is no manifest.

    Raises:
        UnavailableError: Another collection has deleted the announcement.
    """
    document = view.document
    if document is None:
        return None
    walk = await past.walk(view)
    last = view.commits[-1] if view.commits else document.log[-1]
    # What was stored since the announcement may be committed at any time, and is not older than that.
    moment = min(last.modified, await _announced(walk, view) if announced else math.inf) - seconds
    written = await past.written()
    # A state may be built upon a checkpoint that was never written, with which nobody can begin.
    while not walk.finished and (_made(walk.oldest) > moment or _number(walk.oldest) not in written):
        await walk.further()
    oldest = walk.oldest or document
    # The checkpoints of others between, which may name runs that nothing else does.
    documents = [document, oldest, *await past.checkpoints(oldest.sequence)]
    kept = tuple(commit for commit in walk.commits)
    references = [run for one in documents for run in one.runs] + [run for commit in kept for run in commit.runs]
    held = await runs.load([*oldest.runs, *(run for commit in kept for run in commit.runs)])
    named = await named_values(kept, held)

    async def keys() -> frozenset[str]:
        return frozenset(reference.key for reference in references)

    settled = build_view(oldest, str(oldest.sequence), (), held, 0.0)
    before = oldest.sequence if _made(oldest) <= moment and oldest.sequence in written else 0
    return Retained(moment, (settled, view), named, -math.inf, keys, view.head, before)


async def _announced(walk: Walk, view: View) -> float:
    """Return when the last collection was announced.

    Raises:
        UnavailableError: That is not kept any more.
    """
    announced = collection(view)
    place = await walk.find(lambda commit: commit.id == announced)
    if place is None:
        raise UnavailableError("another collection has overtaken this one: collect again", operation="DeleteObject")
    return walk.commits[place].modified


def _number(document: Document | None) -> int:
    return 0 if document is None else document.sequence


def _made(document: Document | None) -> float:
    """Return when the last commit of a checkpoint was made."""
    return document.log[-1].modified if document is not None and document.log else -math.inf
