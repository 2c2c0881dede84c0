"""How much time writers leave between their commits (R15). Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from ...format.document import CommitEntry

PACE: Final = 50
"""Commits a second, of all writers together, above which each gathers more writes into one."""
ALONE: Final = 2
"""How many times as many commits a writer makes that is alone."""
ROOM: Final = 64 * 2**10
"""Bytes of a document up to which such a writer makes so many."""
FREE: Final = 0.25
"""The part of these commits, and of these bytes, for which it does not wait."""


def pace(commits: Sequence[CommitEntry], newest: float, window: float, sent: int) -> float:
    """Return how many seconds each writer should leave from the beginning of one commit to that of the next.

    Every commit sends, lists and reads those of the last window once more. A writer that is alone does that for itself
    only, and gathers little by waiting.

    Args:
        commits: The commits that are not settled, in order.
        newest: The newest time stamp, in seconds since 1970.
        window: The window, in seconds.
        sent: The bytes of the last document that this client has sent.
    """
    most = PACE * window
    if len(commits) <= ALONE * FREE * most:
        return 0.0
    recent = [commit for commit in commits if commit.modified >= newest - window]
    writers = len({commit.session for commit in recent})
    if writers > 1:
        return writers / PACE if len(recent) > most else 0.0
    full = max(len(recent) / (ALONE * most), sent / ROOM)
    return min(1.0, max(0.0, full - FREE) / (1 - FREE) / ALONE) / PACE
