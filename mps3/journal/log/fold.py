"""Whether a commit counts at its slot (L2, L5), and the state that it makes. Pure.

Everything below a slot is known when it is judged, so the judgement is final, and the same for everyone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from enum import Enum
from typing import Final

from ...format.document import CommitEntry
from ...format.file_entry import version_of
from ...format.run import Run
from ...format.schema import NOTHING
from ...format.state import View, extend_view

COLLECTED: Final = "collected"
"""The member of an update that names the collection before which its values were stored (R17)."""
COLLECTS: Final = "collects"
"""The member of an update that announces a collection."""


class Judgement(Enum):
    """What becomes of a commit at its slot."""

    COUNTS = "counts"
    REPEATED = "repeated"
    """Its session is beyond it: it counts elsewhere (R4)."""
    CHANGED = "changed"
    """A key has another version than it expects (L5)."""
    OUTLIVED = "outlived"
    """A collection was announced after its values were stored: they may be deleted (R17)."""


def judge(view: View, entry: CommitEntry) -> Judgement:
    """Return whether a commit counts.

    Args:
        view: The state of all slots below.
        entry: The commit.
    """
    if view.has(entry.session, entry.sequence):
        return Judgement.REPEATED
    if entry.closes and view.sessions.get(entry.session) == entry.sequence - 1:
        return Judgement.REPEATED  # the transaction that it ends has come before it
    if entry.expect:
        then = view.at(entry.modified)
        if any(version_of(then.look_up(name)) != version for name, version in entry.expect.items()):
            return Judgement.CHANGED
    if COLLECTED in entry.update and entry.update[COLLECTED] != collection(view):
        return Judgement.OUTLIVED
    return Judgement.COUNTS


def collection(view: View) -> str | None:
    """Return the last collection that was announced."""
    return None if view.document is None else view.document.collected


def apply(view: View, entry: CommitEntry, held: Mapping[str, Run] = NOTHING) -> View:
    """Return the state after a commit that counts.

    Args:
        view: The state of all slots below; its document is not ``None``.
        entry: The commit.
        held: The runs that it names, by their SHA-256.
    """
    assert view.document is not None  # noqa: S101 - a state with slots has a checkpoint, if only that before the first
    document = view.document
    if entry.update.get(COLLECTS) is True:
        document = replace(document, collected=entry.id)
    return extend_view(view, entry, entry.version, document, held)
