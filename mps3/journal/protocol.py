"""How the commits of one manifest get their order."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any, Protocol

from ..errors import ConflictError
from ..format.document import CommitEntry, Kind
from ..format.state import View
from .past import Past
from .snapshot import JournalSnapshot

if TYPE_CHECKING:
    from .outcome import CommitOutcome


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
        bases: With the conditional journal, the ETags that the manifest had to have for those of its tries to count
            that were sent, and not answered; ``None`` for one that was to create it.
        earlier: Whether there were tries in an earlier life of the client.
        said: What its tries said, one after the other, but for those of an earlier life of the client.
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
    bases: list[str | None] = field(default_factory=list)
    earlier: bool = False
    said: list[Mapping[str, Any]] = field(default_factory=list)

    def is_forged(self, entry: CommitEntry) -> bool:
        """Whether a commit with the same identity is certainly none of its tries: somebody else has made it."""
        return len(self.said) == self.tries and all(entry.update != update for update in self.said)

    @property
    def is_transaction(self) -> bool:
        """Whether it depends on its place in the order whether it counts."""
        return self.closes or bool(self.expect)


class Verdict(Enum):
    """How a transaction stands."""

    COMMITTED = "holds"
    """It is part of the state, for good."""
    OPEN = "open"
    """It holds, unless something becomes visible before it."""
    FAILING = "failing"
    """It is void, unless something becomes visible before it."""
    ABORTED = "void"
    """It is void, for good."""
    UNKNOWN = "unknown"
    """It has not arrived, or so long ago that nobody remembers: see `Journal.fate`."""


class OutdatedError(ConflictError):
    """What a transaction was made from is not what there is. It was not sent."""


def require(attempt: Attempt, view: View, bucket: str, key: str) -> None:
    """Refuse a transaction that would be void.

    Args:
        attempt: The transaction.
        view: The newest state, with whatever is not decided yet.
        bucket: The manifest's bucket.
        key: The manifest's key.

    Raises:
        OutdatedError: A key has another version than was expected.
    """
    for name, expected in attempt.expect.items():
        file = view.at(attempt.now).look_up(name)
        found = None if file is None else file["version"]
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


@dataclass(frozen=True, slots=True)
class Retained:
    """What collecting leaves alone.

    Attributes:
        moment: From when on all states are kept, by the store's clock, in seconds since 1970.
        views: The states whose values are kept: the newest one older than that, and the newest of all.
        named: Further values that are kept, as the manifest's name of the key and the version.
        versions_before: Older versions of the manifest than this are not needed any more, but for the head.
        runs: Finds out the keys of the runs that are still needed; ``None`` if that cannot be told any more.
        head: The version, or the ETag, of the newest version of the manifest.
    """

    moment: float
    views: tuple[View, ...]
    named: frozenset[tuple[str, str]]
    versions_before: float
    runs: Callable[[], Awaitable[frozenset[str] | None]]
    head: str | None


class Journal(Protocol):
    """Orders the commits of one manifest. Its calls are made one at a time."""

    @property
    def kind(self) -> Kind:
        """What documents call it."""
        ...

    @property
    def session(self) -> str:
        """This client's name among the writers."""
        ...

    @property
    def view(self) -> View:
        """The newest state that was resolved; it only moves forward (R13)."""
        ...

    @property
    def tentative(self) -> View:
        """The newest state, with transactions that are not decided yet as they stand now."""
        ...

    @property
    def decides_at(self) -> float:
        """When another commit, whatever it says, would decide on a transaction, by this client's clock.

        Infinite if there is none to be decided on.
        """
        ...

    def verdict(self, attempt: Attempt) -> Verdict:
        """How a transaction stands, by what was resolved last."""
        ...

    def fate(self, attempt: Attempt) -> CommitOutcome:
        """What became of a commit whose answer was lost, by what was resolved last."""
        ...

    def may_arrive(self, attempt: Attempt) -> bool:
        """Whether a try of a commit that was never answered may still arrive, and count."""
        ...

    def counting(self, attempt: Attempt) -> CommitEntry | None:
        """What of several tries of a commit counts; ``None`` if that is not known (any more)."""
        ...

    @property
    def clock(self) -> float | None:
        """The store's clock as it was seen last, in seconds since 1970, if the store tells."""
        ...

    @property
    def past(self) -> Past:
        """What came before."""
        ...

    async def resolve(self) -> bool:
        """Look for what others committed: one conditional GET when there is nothing new.

        Returns:
            Whether `view` is another now.

        Raises:
            CorruptionError: The manifest is not one.
            FormatError: A newer client wrote it.
        """
        ...

    async def append(self, attempt: Attempt) -> None:
        """Try to commit. When it returns, the commit is acknowledged and part of `view`.

        A transaction, that is an attempt with ``expect``, has only arrived then: see `verdict`.

        Raises:
            OutdatedError: It is a transaction, and would be void. This try was not sent; an earlier one may have been.
            UnknownOutcomeError: An earlier try may have been committed, and nobody can tell any more.
            UnavailableError: Not known to be committed; call again with the same attempt.
            ConflictError: Not committed; call again, with values stored again if `view` tells of a collection.
            MPS3Error: It can not be committed.
        """
        ...

    def save(self) -> JournalSnapshot:
        """What another journal of this manifest can go on from."""
        ...

    async def restore(self, saved: JournalSnapshot) -> None:
        """Go on from what a journal of this manifest had resolved: `view` will not be older (R13).

        Raises:
            CorruptionError: A run that it names is not what it says.
            UnavailableError: A run that it names is not at hand.
        """
        ...

    async def aclose(self) -> None:
        """Stop what is done in the background."""
        ...

    async def retained(self, seconds: float) -> Retained | None:
        """What collecting leaves alone. It may be called while other calls are under way.

        Args:
            seconds: How far back all states are kept.

        Returns:
            ``None`` if there is no manifest.

        Raises:
            MPS3Error: It cannot be found out.
        """
        ...
