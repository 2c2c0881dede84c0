"""How the commits of one manifest get their order."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from ..document import Kind
from ..state import View
from .past import Past
from .saved import Saved


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
    """

    sequence: int
    update: Mapping[str, Any]
    doubtful: bool = False
    tries: int = 0
    stored: float | None = None
    collected: str | None = None
    fence: bool = False
    session: str | None = None


@dataclass(frozen=True, slots=True)
class Retained:
    """What collecting leaves alone.

    Attributes:
        moment: From when on all states are kept, by the store's clock, in seconds since 1970.
        views: The states whose values are kept: the newest one older than that, and the newest of all.
        named: Further values that are kept, as the manifest's name of the key and the version.
        versions_before: Older versions of the manifest than this are not needed any more, but for the head.
        runs: Finds out the keys of the runs that are still needed.
    """

    moment: float
    views: tuple[View, ...]
    named: frozenset[tuple[str, str]]
    versions_before: float
    runs: Callable[[], Awaitable[frozenset[str]]]


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

        Raises:
            UnavailableError: Not known to be committed; call again with the same attempt.
            ConflictError: Not committed; call again, with values stored again if `view` tells of a collection.
            MPS3Error: It can not be committed.
        """
        ...

    def save(self) -> Saved:
        """What another journal of this manifest can go on from."""
        ...

    async def restore(self, saved: Saved) -> None:
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
