"""Whether a commit that may have landed before a crash did. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from itertools import islice
from typing import Any, Final

from ..journal.settle import SESSIONS
from ..shape import NOTHING
from ..state import View

WITNESSES: Final = 8
"""How many sessions are noted when something is sent."""


class Fate(Enum):
    """What became of it."""

    LANDED = "landed"
    SETTLED = "settled"
    """Landed so long ago that nobody can move past it any more."""
    NOT_YET = "not yet"
    UNKNOWN = "unknown"


def witnesses(view: View) -> dict[str, int]:
    """The sessions that were settled last in a state, and how far they had come.

    A document forgets the sessions first that were settled first. So while it remembers one of these just as it was,
    it remembers all that were settled later.
    """
    settled = NOTHING if view.document is None else view.document.sessions
    return {name: settled[name] for name in islice(reversed(list(settled)), WITNESSES)}


def fate(
    view: View, session: str, sequence: int, update: Mapping[str, Any], seen: Mapping[str, int], most: int = SESSIONS
) -> Fate:
    """What became of a commit whose answer nobody heard.

    Args:
        view: A state resolved later.
        session: Of the commit.
        sequence: Of the commit.
        update: What it says.
        seen: The `witnesses` of the time when it was sent.
        most: How many sessions a document remembers.
    """
    settled = NOTHING if view.document is None else view.document.sessions
    if settled.get(session, -1) >= sequence:
        return Fate.SETTLED
    if view.has(session, sequence):
        return Fate.LANDED
    if _shows(view, update):
        return Fate.SETTLED  # and its session is forgotten
    if session in view.sessions or len(settled) < most or any(settled.get(name) == last for name, last in seen.items()):
        return Fate.NOT_YET
    return Fate.UNKNOWN


def _shows(view: View, update: Mapping[str, Any]) -> bool:
    for name, file in update.get("files", NOTHING).items():
        found = view.look_up(name)
        if file is not None and found is not None and found["version"] == file["version"]:
            return True
    return False
