"""What a manifest was before: the interface of the two journals."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol

from ..errors import ExpiredError
from ..format.document import CommitEntry, Document
from ..format.run import Run
from ..format.run_reference import RunReference
from ..format.schema import NOTHING
from ..format.state import View


class Walk(Protocol):
    """Commits of a manifest, from the newest back.

    Attributes:
        commits: In order, the oldest first, each once.
        finished: Whether nothing older is kept.
        complete: Whether nothing older ever was.
        oldest: The oldest document that is kept, once it is reached.
        reach: All commits with later time stamps (in seconds since 1970) are known.
        settled: How far each session had come before the first of the commits. A log does not need it.
    """

    commits: list[CommitEntry]
    finished: bool
    complete: bool
    oldest: Document | None
    reach: float
    settled: Mapping[str, int] = NOTHING

    async def further(self) -> bool:
        """Go further back; return whether anything was left."""
        ...

    async def find(self, wanted: Callable[[CommitEntry], bool]) -> int | None:
        """Go back until there is such a commit; return the place of the last one among `commits`."""
        while True:
            for place in reversed(range(len(self.commits))):
                if wanted(self.commits[place]):
                    return place
            if not await self.further():
                return None

    async def state_at(self, place: int) -> View:
        """Return the state that the commit at this place of `commits` made, with all before it.

        Raises:
            ExpiredError: Parts of it are not kept any more.
        """
        ...


class Past(Protocol):
    """Finds what a manifest was before."""

    async def walk(self, view: View) -> Walk:
        """Return a walk that begins with the newest commits.

        Args:
            view: The newest state.
        """
        ...

    async def walk_to(self, view: View, moment: float | tuple[str, int]) -> Walk | None:
        """Return a walk that begins shortly after a moment, without reading all that came later.

        Args:
            view: The newest state.
            moment: A time by the store's clock, in seconds since 1970, or the session and the sequence of a commit.

        Returns:
            ``None`` if that is not possible, or not worth it.
        """
        ...

    async def runs_of(self, commits: Iterable[CommitEntry]) -> Mapping[str, Run]:
        """Return the runs that commits name, by their SHA-256.

        Raises:
            ExpiredError: One is not kept any more.
        """
        ...

    async def load(self, references: Sequence[RunReference]) -> Mapping[str, Run]:
        """Return runs of the past, by their SHA-256.

        Raises:
            ExpiredError: One is not kept any more.
        """
        ...

    def expired(self, why: str) -> ExpiredError:
        """Return the error for a past that does not reach so far."""
        ...
