"""The log journal (rules L1 to L11): create-if-absent of the next slot.

One request acknowledges a commit, and its place is final. It needs a store that enforces ``If-None-Match: *``.
"""

from __future__ import annotations

from typing import Final

from ...errors import ConflictError, CorruptionError, MPS3Error, UnavailableError
from ...format.slot import empty_document
from ...format.state import EMPTY
from ..attempt import Attempt
from ..document_io import encode_document
from ..probe import require_creation
from ..protocol import Retained
from ..run_reader import MissingRunError
from ..snapshot import JournalSnapshot
from .blind import BlindWriter
from .follower import AHEAD
from .retention import retained

MOST_AHEAD: Final = 1024
"""Slots that a commit is acknowledged above the state, at the most: checkpoints of others come sooner."""


class LogJournal(BlindWriter):
    """Orders commits by the number of their slot."""

    kind: Final = "log"

    async def append(self, attempt: Attempt) -> None:
        """Try to commit. When it returns, the commit has its place, and everything below is known.

        Raises:
            OutdatedError: It is a transaction, and would be void.
            ConflictError: A collection was announced meanwhile; call again, with values stored again.
            UnknownOutcomeError: An earlier try may have been committed, and nobody can tell any more.
            UnavailableError: Not known to be committed; call again with the same attempt.
        """
        try:
            await self._append(attempt)
        except MissingRunError as error:
            await self._open()  # it was collected: the newest checkpoint does not need it
            raise UnavailableError(
                f"the state was collected while a commit was made upon it: {error}",
                bucket=self._bucket,
                key=self._key,
                operation="PutObject",
                maybe_written=attempt.doubtful,
            ) from error

    async def _append(self, attempt: Attempt) -> None:
        if not self._opened or self._is_far_behind(MOST_AHEAD if self._may_be_blind(attempt) else AHEAD):
            await self._open()
        self._created.clear()
        slot = await self._find_slot(attempt) if attempt.doubtful else await self._next_slot()
        if slot is not None:
            if attempt.closes and self.view.has(self._author(attempt), attempt.sequence - 1):
                return  # the transaction that it should end has arrived
            if slot != attempt.slot:
                await self._require(attempt)
            await self._require_root()
            document, body = await self._compose(attempt)
            while not (
                await self._write(attempt, slot, document, body) or await self._write_blindly(attempt, document, body)
            ):
                await self.resolve()
                slot = await self._next_slot()
        self._stalls.moved()
        self._runs.named()
        self._compactor.consider(self.view)
        self._checkpoints.consider({*self._created, attempt.slot or 0})

    async def _require_root(self) -> None:
        """Create the manifest before its first commit, once the store was seen to enforce conditions.

        Where somebody has deleted it beside its slots, it is created again: it tells others which journal they are of.
        """
        if self._exists:
            return
        if not self._trusted and not self._tail.number:
            await require_creation(self._storage, self._bucket, self._key, self._environment)
            self._trusted = True
        document = empty_document(self._window)
        body = await encode_document(document, self._runs, bucket=self._bucket, key=self._key)
        try:
            await self._storage.put(self._bucket, self._key, body, if_none_match=True)
        except ConflictError:
            await self._check_root()
        except MPS3Error as error:
            error.maybe_written = False  # a manifest without commits says nothing
            raise
        self._exists = True

    # Keeping, collecting, closing

    def save(self) -> JournalSnapshot:
        """What another journal of this manifest can go on from."""
        return JournalSnapshot.of(self.kind, self.view, None, self._contact.store_time)

    async def restore(self, saved: JournalSnapshot) -> None:
        """Go on from what a journal of this manifest had read or written."""
        view = await saved.view(self._runs)
        # Whatever is saved from now on is newer, also where the clocks of the store's nodes differ.
        self._contact.restore(saved.stamp)
        if view is EMPTY or view.document is None:
            return
        try:
            self._tail.restore(view, int(saved.head or ""))
        except ValueError as error:
            raise CorruptionError(f"the saved state is not that of a log: {error}") from error
        self._opened = self._exists = True

    async def retained(self, seconds: float, *, announced: bool = False) -> Retained | None:
        """What collecting leaves alone."""
        if announced:
            # So that no checkpoint that was made before the announcement, and arrives later, is the newest.
            await self._checkpoints.write(announced=True)
        return await retained(self.past, self.view, self._runs, seconds, announced=announced)

    async def aclose(self) -> None:
        """Stop what is done in the background."""
        try:
            await self._lookahead.aclose()
            await self._checkpoints.aclose()
        finally:
            await super().aclose()
