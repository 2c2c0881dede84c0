"""Whether a commit whose answer nobody heard took effect. Pure.

A document remembers a bounded number of sessions. So a session that it does not list has either not committed, or
was forgotten. Whoever sends a commit notes which sessions the state remembers then, the *witnesses*: as long as a later
document lists one of them unchanged, it has forgotten none that committed after that one, and what it does not list has
not committed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import Enum
from itertools import islice
from operator import attrgetter
from typing import Any, Final

from ..errors import UnknownOutcomeError
from ..format.patches import comes_from, stored_version
from ..format.run import NotAtHandError
from ..format.schema import NOTHING
from ..format.state import View
from . import settle
from .attempt import Attempt

KEPT_MARKERS: Final = 8
"""How many of the sessions settled last are kept on disk when something is sent."""
FURTHER: Final = (16, 32, 64, 128, 256, 384, 448, 480)
"""Which of the sessions settled before those are kept, too, counted from the last: the last ones may all be busy."""
NAMED: Final = 1000
"""Keys of a commit of which the versions are noted."""


class CommitOutcome(Enum):
    """What became of a commit."""

    LANDED = "landed"
    SETTLED = "settled"
    """Landed so long ago that nobody can move past it any more."""
    NOT_YET = "not yet"
    UNKNOWN = "unknown"


def remembered(view: View) -> dict[str, int]:
    """Return the sessions that a state remembers, and how far they have come, in the order of their last commits."""
    found = dict(settled_sessions(view))
    newest_first = dict.fromkeys(map(attrgetter("session"), reversed(view.commits)))
    for session in reversed(newest_first):
        found.pop(session, None)
        found[session] = view.sessions[session]
    return found


def settled_sessions(view: View) -> Mapping[str, int]:
    """Return the sessions that a state remembers of the settled commits, in the order of settling."""
    return NOTHING if view.document is None else view.document.sessions


def few(seen: Mapping[str, int]) -> dict[str, int]:
    """Return the witnesses that are kept on disk: those that a document forgets last, and some before them."""
    names = list(seen)
    older = [names[-place] for place in FURTHER if KEPT_MARKERS < place <= len(names) and len(names) > FURTHER[1]]
    return {name: seen[name] for name in (*islice(reversed(names), KEPT_MARKERS), *older)}


def kept_markers(view: View) -> dict[str, int]:
    """Return the sessions that committed last in a state, and how far they had come.

    A document forgets the sessions first that were settled first. So while it remembers one of these just as it was,
    it remembers all that were settled later.
    """
    return few(remembered(view))


def spans(view: View, seen: Mapping[str, int], most: int | None = None) -> bool:
    """Return whether a state remembers every session that has committed since some witnesses were noted.

    Args:
        view: The state.
        seen: The witnesses.
        most: How many sessions a document remembers; ``None``: as many as documents do.
    """
    settled = settled_sessions(view)
    return len(settled) < (settle.SESSIONS if most is None else most) or any(
        settled.get(name) == last for name, last in seen.items()
    )


def outcome_of_kept(
    view: View,
    session: str,
    sequence: int,
    update: Mapping[str, Any],
    seen: Mapping[str, int],
    most: int | None = None,
) -> CommitOutcome:
    """Return what became of a commit whose answer nobody heard.

    Args:
        view: A state resolved later.
        session: Of the commit.
        sequence: Of the commit.
        update: What it says.
        seen: The `kept_markers` of the time when it was first sent.
        most: How many sessions a document remembers; ``None``: as many as documents do.
    """
    return _outcome(view, session, sequence, versions_in(update), seen, most)


def outcome_of(view: View, session: str, attempt: Attempt) -> CommitOutcome:
    """Return the same of an attempt, whatever its tries were.

    Args:
        view: A state resolved after the last of them.
        session: Whose it is.
        attempt: The attempt.
    """
    if not attempt.doubtful:
        return CommitOutcome.NOT_YET
    return _outcome(view, session, attempt.sequence, attempt.named, attempt.witnesses or NOTHING, None)


def note(attempt: Attempt, view: View) -> None:
    """Note the witnesses of an attempt before it is first sent, and the versions that it names each time."""
    if attempt.witnesses is None:
        attempt.witnesses = remembered(view)
    if attempt.noted is not attempt.update:
        attempt.named.update(versions_in(attempt.update))
        attempt.noted = attempt.update


def not_yet(attempt: Attempt, seen: Mapping[str, int]) -> None:
    """Note later witnesses of an attempt that is known not to have come before them."""
    attempt.witnesses = {**(attempt.witnesses or NOTHING), **seen}


def unknown(bucket: str | None, key: str, why: str = "") -> UnknownOutcomeError:
    """Return what to say of a write when nobody can tell whether it took effect.

    Args:
        bucket: The manifest's bucket.
        key: The manifest's key.
        why: Since when nobody can, if there is more to say.
    """
    return UnknownOutcomeError(
        f"nobody can tell whether the write took effect: the answer of the store was lost{why}, and so much was "
        f"committed to s3://{bucket}/{key} since that the manifest does not remember it. The write is not sent again, "
        "because it might be applied twice; read what is there before you repeat it",
        bucket=bucket,
        key=key,
        operation="PutObject",
    )


def versions_in(update: Mapping[str, Any]) -> set[tuple[str, str]]:
    """Return some of the keys that a commit sets, and the versions that it gives them.

    One that is still there is enough.
    """
    files = islice(update.get("files", NOTHING).items(), NAMED)
    return {(name, file["version"]) for name, file in files if file is not None and file.get("version") is not None}


def _outcome(
    view: View,
    session: str,
    sequence: int,
    named: Iterable[tuple[str, str]],
    seen: Mapping[str, int],
    most: int | None,
) -> CommitOutcome:
    if settled_sessions(view).get(session, -1) >= sequence:
        return CommitOutcome.SETTLED
    if view.has(session, sequence):
        return CommitOutcome.LANDED
    if shows(view, named):
        return CommitOutcome.SETTLED  # and its session is forgotten
    return CommitOutcome.NOT_YET if session in view.sessions or spans(view, seen, most) else CommitOutcome.UNKNOWN


def shows(view: View, named: Iterable[tuple[str, str]]) -> bool:
    """Return whether a state has one of some keys at the version that a commit gave it."""
    for name, version in named:
        try:
            found = view.look_up(name)
        except NotAtHandError:
            continue  # then it is less certain what became of it, which is said
        if found is not None and (comes_from(found["version"], version) or stored_version(found) == version):
            return True
    return False
