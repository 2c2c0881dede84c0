"""How the commits of one manifest get their order."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from ..format.document import CommitEntry, Kind
from ..format.state import View
from .attempt import Attempt
from .outcome import CommitOutcome
from .past import Past
from .snapshot import JournalSnapshot


class TransactionStatus(Enum):
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
    """It has not arrived, or so long ago that nobody remembers: see `Journal.outcome`."""


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
        slots_before: With the log journal, the slot of the oldest checkpoint that is needed, zero if all slots are;
            ``None`` with the merge journal.
    """

    moment: float
    views: tuple[View, ...]
    named: frozenset[tuple[str, str]]
    versions_before: float
    runs: Callable[[], Awaitable[frozenset[str] | None]]
    head: str | None
    slots_before: int | None = None


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
    def position(self) -> str | None:
        """The newest position that is known to count: that of `view`, or a later one; ``None`` before the first."""
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

    @property
    def tidies_at(self) -> float:
        """When to call `tidy`, by this client's clock; infinite if there is nothing to be tidied."""
        ...

    def tidy(self) -> bool:
        """Go on leaving few runs, since nobody commits; return whether that takes another commit, whatever it says."""
        ...

    def status_of(self, attempt: Attempt) -> TransactionStatus:
        """Return how a transaction stands, by what was resolved last."""
        ...

    def outcome(self, attempt: Attempt) -> CommitOutcome:
        """Return what became of a commit whose answer was lost, by what was resolved last."""
        ...

    def may_arrive(self, attempt: Attempt) -> bool:
        """Return whether a try of a commit that was never answered may still arrive, and count."""
        ...

    def is_usurped(self, attempt: Attempt) -> bool:
        """Return whether somebody else has used the identity of a doubtful commit, so that no try of it can count."""
        ...

    def counting(self, attempt: Attempt) -> CommitEntry | None:
        """Return what of several tries of a commit counts; ``None`` if that is not known (any more)."""
        ...

    @property
    def clock(self) -> float | None:
        """The store's clock as it was seen last, in seconds since 1970, if the store tells."""
        ...

    @property
    def past(self) -> Past:
        """What came before."""
        ...

    def is_beyond(self, position: str) -> bool:
        """Return whether a position, which somebody says is the newest, is later than all that are known to count."""
        ...

    def shows(self, attempt: Attempt) -> bool:
        """Return whether the place of an acknowledged commit is part of `view`."""
        ...

    def is_void(self, attempt: Attempt) -> bool:
        """Return whether an acknowledged commit does not count: somebody else has used the name of this client."""
        ...

    async def resolve(self, until: str | None = None) -> bool:
        """Look for what others committed: one conditional GET when there is nothing new.

        Args:
            until: A position that suffices: whether there is more need not be looked for.

        Returns:
            Whether `view` is another now.

        Raises:
            CorruptionError: The manifest is not one.
            FormatError: A newer client wrote it.
        """
        ...

    async def append(self, attempt: Attempt) -> None:
        """Try to commit. When it returns, the commit is acknowledged, and part of `view` unless it is `Attempt.ahead`.

        A transaction, that is an attempt with ``expect``, has only arrived then: see `status_of`.

        Raises:
            OutdatedError: It is a transaction, and would be void. This try was not sent; an earlier one may have been.
            UnknownOutcomeError: An earlier try may have been committed, and nobody can tell any more.
            UnavailableError: Not known to be committed; call again with the same attempt.
            ConflictError: Not committed; call again, with values stored again if `view` tells of a collection.
            MPS3Error: It can not be committed.
        """
        ...

    def save(self) -> JournalSnapshot:
        """Return what another journal of this manifest can go on from."""
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

    async def retained(self, seconds: float, *, announced: bool = False) -> Retained | None:
        """Return what collecting leaves alone. It may be called while other calls are under way.

        Args:
            seconds: How far back all states are kept.
            announced: Whether a commit of this client has announced the collection (R17).

        Returns:
            ``None`` if there is no manifest.

        Raises:
            MPS3Error: It cannot be found out.
        """
        ...
