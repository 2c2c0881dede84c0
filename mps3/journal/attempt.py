"""One commit that a client tries to make, and the check of what a transaction expects."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..errors import ConflictError
from ..format.document import CommitEntry
from ..format.file_entry import version_of
from ..format.state import View
from .at_hand import look_up_in


@dataclass(slots=True)
class Attempt:
    """One commit on its way, from the first try until it is acknowledged.

    Attributes:
        sequence: Its place in the session; every repetition has the same.
        update: The change.
        doubtful: Whether an earlier try may have reached the store.
        tries: How often it was written, so that no two versions are the same to the byte, or to their ETag.
        stored: The store's clock when the first of its values was stored, in seconds since 1970; ``None`` if
            it has none, or the store does not tell.
        collected: The last collection that was known when its values began to be stored.
        fence: Whether it announces a collection (R17).
        session: Whose commit it is, when it goes on with a session of an earlier life of a client; ``None``
            for the journal's own.
        expect: The versions that keys must have for it to count (R20): then it is a transaction.
        unanswered: How many of its tries were sent, and not answered: they may arrive at any time.
        closes: Whether it ends the transaction before it in its session.
        now: The store's clock when it is tried, in seconds since 1970, as far as it is known.
        witnesses: The sessions that the state remembered when it was first sent, and how far they had come; ``None``
            until then.
        named: The keys and versions that its tries have named.
        noted: The update whose keys and versions were added to those last.
        earlier: Whether there were tries in an earlier life of the client.
        sent_updates: The updates of its tries, one after the other, but for those of an earlier life of the client.
        until: With the merge journal, until when its last try counts (R16); ``None`` if it does not say.
        slot: With the log journal, the slot that it was last sent to.
        lost: With the log journal, how many slots another client was given that it was sent to.
        blind: Whether it may be acknowledged before what comes before it was read (L12).
        ahead: Whether it was, so that `Journal.view` may not have it yet.
    """

    sequence: int
    update: Mapping[str, Any]
    doubtful: bool = False
    tries: int = 0
    stored: float | None = None
    collected: str | None = None
    fence: bool = False
    session: str | None = None
    expect: Mapping[str, str | None] = field(default_factory=dict)
    unanswered: int = 0
    closes: bool = False
    now: float = -math.inf
    witnesses: Mapping[str, int] | None = None
    named: set[tuple[str, str]] = field(default_factory=set)
    noted: Mapping[str, Any] | None = None
    earlier: bool = False
    sent_updates: list[Mapping[str, Any]] = field(default_factory=list)
    until: float | None = None
    slot: int | None = None
    lost: int = 0
    blind: bool = False
    ahead: bool = False

    def is_forged(self, entry: CommitEntry) -> bool:
        """Return whether somebody else has certainly made a commit with the same identity: it is none of its tries."""
        return len(self.sent_updates) == self.tries and all(entry.update != update for update in self.sent_updates)

    def note_sent(self, update: Mapping[str, Any]) -> None:
        """Record the update of a try. Thousands of tries may say the same, which is kept once."""
        last = self.sent_updates[-1:]
        self.sent_updates.append(last[0] if last == [update] else update)

    @property
    def is_transaction(self) -> bool:
        """Whether it depends on its place in the order whether it counts."""
        return self.closes or bool(self.expect)


class OutdatedError(ConflictError):
    """What a transaction was made from is not what there is. It was not sent."""


async def require(attempt: Attempt, view: View, bucket: str, key: str) -> None:
    """Refuse a transaction that would be void.

    Args:
        attempt: The transaction.
        view: The newest state, with whatever is not decided yet.
        bucket: The manifest's bucket.
        key: The manifest's key.

    Raises:
        OutdatedError: A key has another version than was expected.
        MPS3Error: A run cannot be read.
    """
    files = await look_up_in(view.at(attempt.now), attempt.expect)
    for name, expected in attempt.expect.items():
        found = version_of(files[name])
        if found != expected:
            raise OutdatedError(
                f"{name!r} has changed: it {_is_at(found)}, where the write expects that it {_is_at(expected)}",
                bucket=bucket,
                key=key,
                operation="PutObject",
                version=found,
            )


def _is_at(version: str | None) -> str:
    return "does not exist" if version is None else f"is at version {version}"
