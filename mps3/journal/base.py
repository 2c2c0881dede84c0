"""What both journals have: a manifest, a session, its runs, and what keeps them few."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Final

from ..format.commit_age import Moment
from ..format.document import CommitEntry, Document
from ..storage.protocol import Storage
from ..support.environment import Environment
from .attempt import Attempt
from .compactor import Compactor
from .run_pieces import RunReading
from .runs import Runs
from .stall_detector import StallDetector

WINDOW: Final = 3.0
"""The window of a new manifest, in seconds."""


class BaseJournal(ABC):
    """The fields of a journal, and whose a commit is.

    Args:
        storage: Where the manifest is kept.
        bucket: Its bucket.
        key: Its key.
        environment: Time, chance and names.
        window: Seconds; what a new manifest is created with. An existing one has its own.
        unique: As in `Runs`.
        whole: As in `Compactor`.
        reading: As in `Runs`.
    """

    def __init__(
        self,
        storage: Storage,
        bucket: str,
        key: str,
        environment: Environment,
        *,
        window: float,
        unique: Callable[[], str] | None = None,
        whole: bool = False,
        reading: RunReading | None = None,
    ) -> None:
        self._storage = storage
        self._bucket = bucket
        self._key = key
        self._environment = environment
        self._window = window
        self._session = environment.name()
        self._runs = Runs(storage, bucket, key, self._now, unique=unique, reading=reading)
        self._compactor = Compactor(self._runs, environment, whole=whole)
        self._stalls = StallDetector(environment, f"s3://{bucket}/{key}")

    @property
    def session(self) -> str:
        """This client's name among the writers."""
        return self._session

    @property
    def tidies_at(self) -> float:
        """When to call `tidy`, by this client's clock: never, where that takes no commit."""
        return math.inf

    def tidy(self) -> bool:
        """Go on leaving few runs, since nobody commits; return whether that takes another commit, whatever it says."""
        return False

    async def aclose(self) -> None:
        """Stop what is done in the background."""
        await self._compactor.aclose()

    @abstractmethod
    def _now(self) -> Moment:
        """Return the time, by all that can tell."""

    def _author(self, attempt: Attempt) -> str:
        """Return the session of a commit."""
        return attempt.session or self._session

    def _is_own(self, entry: CommitEntry | Document, attempt: Attempt) -> bool:
        """Return whether an entry is that of a commit, whichever of its tries it was."""
        return (entry.session, entry.sequence) == (self._author(attempt), attempt.sequence)
