"""What both journals do alike."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Final

from ..format.commit_age import Moment
from ..format.document import CommitEntry, Document, Kind
from ..format.state import EMPTY, View
from ..storage.protocol import Storage
from ..support.environment import Environment
from .attempt import Attempt
from .compactor import Compactor
from .document_io import encode_document
from .merge.versioned_past import VersionedPast
from .outcome import note
from .past import Past
from .runs import Runs
from .settle import Settled
from .stall_detector import StallDetector

WINDOW: Final = 3.0
"""Seconds that new manifests allow for a version to become visible; recorded in the manifest."""
MOST_READS: Final = 5
"""How often something is read, until nothing happens meanwhile that spoils it."""


class BaseJournal(ABC):
    """The state of a journal, and how a document is made of a commit.

    Args:
        storage: Where the manifest is kept.
        bucket: Its bucket.
        key: Its key.
        environment: Time, chance and names.
        window: Seconds; what a new manifest is created with. An existing one says its own.
        unique: As in `Runs`.
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
    ) -> None:
        self._storage = storage
        self._bucket = bucket
        self._key = key
        self._environment = environment
        self._window = window
        self._session = environment.name()
        self._runs = Runs(storage, bucket, key, self._now, unique=unique)
        self._compactor = Compactor(self._runs, environment)
        self._view = EMPTY
        self._etag: str | None = None
        self._stalls = StallDetector(environment, f"s3://{bucket}/{key}")

    @property
    @abstractmethod
    def kind(self) -> Kind:
        """What documents call the journal."""

    @property
    def session(self) -> str:
        """This client's name among the writers."""
        return self._session

    @property
    def view(self) -> View:
        """The newest state that was resolved."""
        return self._view

    def is_usurped(self, attempt: Attempt) -> bool:  # noqa: ARG002 - of a journal in which tries may arrive late
        """Whether somebody else has used the identity of a doubtful commit, so that no try of it can count any more."""
        return False

    @property
    def past(self) -> Past:
        """What came before."""
        return VersionedPast(self._storage, self._bucket, self._key, self.kind, self._runs)

    async def aclose(self) -> None:
        """Stop what is done in the background."""
        await self._compactor.aclose()

    @abstractmethod
    def _now(self) -> Moment:
        """Return the time, by all that can tell."""

    @abstractmethod
    async def _compose(self, attempt: Attempt) -> Document:
        """Return the next document."""

    def _author(self, attempt: Attempt) -> str:
        return attempt.session or self._session

    def _is_own(self, entry: CommitEntry, attempt: Attempt) -> bool:
        return (entry.session, entry.sequence) == (self._author(attempt), attempt.sequence)

    def _is_head(self, attempt: Attempt) -> bool:
        head = self._view.document
        return head is not None and (head.session, head.sequence) == (self._author(attempt), attempt.sequence)

    def _acknowledged(self) -> None:
        """Go on after a commit was acknowledged."""
        self._stalls.moved()
        self._runs.named()
        self._compactor.consider(self._view)

    async def _begin_try(self, attempt: Attempt) -> tuple[Document, bytes]:
        """Return the document to be written for a commit, and its bytes."""
        note(attempt, self._view)
        attempt.tries += 1
        attempt.update = await self._runs.by_reference(attempt.update, self._view.commits)
        attempt.said.append(attempt.update)
        document = await self._compose(attempt)
        return document, await encode_document(document, self._runs, bucket=self._bucket, key=self._key)

    def _first_document(self, attempt: Attempt, until: float | None = None) -> Document:
        """Return the document of the first commit."""
        return Document(
            journal=self.kind,
            window=self._window,
            session=self._author(attempt),
            sequence=attempt.sequence,
            previous=None,
            update=attempt.update,
            attempt=attempt.tries,
            until=until,
        )

    def _next_document(
        self,
        attempt: Attempt,
        base: Document,
        settled: Settled,
        *,
        previous: str | None,
        log: tuple[CommitEntry, ...],
        until: float | None,
        collected: str | None,
    ) -> Document:
        """Return the document of a commit upon another one.

        Args:
            attempt: The commit.
            base: The document that it is made upon.
            settled: What is settled in the new one.
            previous: As in `Document`.
            log: As in `Document`.
            until: As in `Document`.
            collected: As in `Document`.
        """
        return Document(
            journal=self.kind,
            window=base.window,
            session=self._author(attempt),
            sequence=attempt.sequence,
            previous=previous,
            update=attempt.update,
            log=log,
            files=settled.files,
            sessions=settled.sessions,
            recent=settled.recent,
            runs=settled.runs,
            attempt=attempt.tries,
            until=until,
            collected=collected,
            expired=settled.expired,
            extra=base.extra,
        )
