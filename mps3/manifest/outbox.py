"""Pending writes of one manifest: their order, and which of them go out together (R12)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from itertools import takewhile
from typing import Final, Self

from ..content.store import AT_ONCE, ValueStore
from ..content.value import PendingValue
from ..errors import MPS3Error, WithdrawnError, doubted
from ..format.shape import NOTHING
from ..journal.attempt import Attempt
from ..offline.protocol import StoredWrite
from ..support.gather import gather_bounded
from ..types import UNCHECKED, Commit
from .session import Session, contents_of, time_of

QUEUED: Final = "queued"
READY: Final = "ready"
SENT: Final = "sent"
SEEN: Final = "seen"
"""Sent, and part of the resolved state though it is not acknowledged: what others built on it may show."""


class ConflictPolicy(Enum):
    """What is done about a transaction that does not hold."""

    RERUN = "rerun"
    """Whoever proposed it is told at once, and makes another try of it."""
    ONCE = "once"
    """It has failed as soon as that is certain."""
    CONCLUDE = "conclude"
    """Nobody wants it any more, but it has to be certain what became of its tries."""


@dataclass(frozen=True, slots=True)
class Resend:
    """How a group of writes may have left before, which it has to leave as again.

    Attributes:
        sequence: Its place in its session.
        tries: How often it may have been written.
        witnesses: As in `Attempt`.
        named: As in `Attempt`.
    """

    sequence: int
    tries: int
    witnesses: Mapping[str, int] | None = None
    named: frozenset[tuple[str, str]] = frozenset()


class Pending:
    """One write to one manifest, until it is durable or has failed.

    Args:
        changes: The manifest's names of keys, and their new values; ``None`` deletes.
        labels: The same names as the user knows them.
        places: The buckets and keys that they stand for.
        made: When, by this machine's clock.
        session: Under whose name it is committed.
        fence: Whether it only announces a collection.
        expect: The versions that keys must have for it to be committed: then it is a transaction, with a session
            that nothing else uses at the same time.
        policy: What is done about a transaction that does not hold.
        fleeting: Whether it is of no use any more once this client has ended: then it is not kept.

    Attributes:
        outcome: The commit it became part of, or why it did not.
        stage: How far it has come.
        bases: The versions that were known of its keys when it was made, and what it may replace.
        kept: Done once it is kept durably; ``None`` if it is not to be.
        row: Its number where it is kept.
        resend: How it may have left in an earlier life of the client.
        collected: The last collection that was known before its values were stored.
        attempt: What was tried of a transaction so far.
        arrived: Done when a transaction is in the store, and holds as far as can be seen.
        covered: Keys of a transaction in the store that others have changed after it.
        lapsed: Keys that it deletes because their time was over before it could be sent; not if others have changed
            them since it was made.
    """

    __slots__ = (
        "arrived",
        "attempt",
        "bases",
        "changes",
        "collected",
        "covered",
        "expect",
        "fence",
        "fleeting",
        "kept",
        "labels",
        "lapsed",
        "made",
        "outcome",
        "places",
        "policy",
        "resend",
        "row",
        "session",
        "stage",
    )

    def __init__(
        self,
        changes: Mapping[str, PendingValue | None],
        labels: Mapping[str, str],
        places: Mapping[str, tuple[str, str]],
        made: datetime,
        session: Session,
        *,
        fence: bool = False,
        expect: Mapping[str, str | None] = NOTHING,
        policy: ConflictPolicy = ConflictPolicy.ONCE,
        fleeting: bool = False,
    ) -> None:
        self.changes = changes
        self.labels = labels
        self.places = places
        self.made = made
        self.session = session
        self.bases: dict[str, str | None] = {}
        self.kept: asyncio.Future[None] | None = None
        self.row: int | None = None
        self.resend: Resend | None = None
        self.outcome: asyncio.Future[Commit] = asyncio.get_running_loop().create_future()
        self.stage = QUEUED
        self.fence = fence
        self.collected: str | None = None
        self.expect = expect
        self.policy = policy
        self.fleeting = fleeting
        self.lapsed: frozenset[str] = frozenset()
        self.attempt: Attempt | None = None
        self.arrived: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.covered: frozenset[str] = frozenset()
        # Whether anybody hears of a failure is the business of `Write`.
        self.outcome.add_done_callback(lambda outcome: outcome.cancelled() or outcome.exception())

    @classmethod
    def of(cls, row: StoredWrite, session: Session) -> Self:
        """A write that was kept in an earlier life of the client."""
        pending = cls(
            contents_of(row, session.manifest),
            {name: change.label for name, change in row.changes.items()},
            {name: (change.bucket, change.key) for name, change in row.changes.items()},
            time_of(row.made),
            session,
            expect={name: change.expect for name, change in row.changes.items() if change.expect is not UNCHECKED},
        )
        pending.bases = {name: change.base for name, change in row.changes.items()}
        pending.row = row.id
        pending.kept = asyncio.get_running_loop().create_future()
        pending.kept.set_result(None)
        return pending

    @property
    def sent(self) -> bool:
        """Whether it may have left this client."""
        return self.stage in (SENT, SEEN)

    @property
    def ready(self) -> bool:
        """Whether its values are stored, and it is known whether it is kept."""
        return self.stage == READY and (self.kept is None or self.kept.done())

    @property
    def safe(self) -> bool:
        """Whether it is kept durably."""
        return self.kept is not None and self.kept.done() and not self.kept.cancelled() and not self.kept.exception()

    def fail(self, error: MPS3Error) -> None:
        """It did not happen, and will not, unless the error says that it may have been written."""
        if not self.outcome.done():
            self.outcome.set_exception(error)

    @property
    def maybe_written(self) -> bool:
        """Whether it may have reached the store, or another client may still send it."""
        tried = self.attempt is not None and self.attempt.doubtful
        return self.sent or self.resend is not None or self.safe or tried


class Outbox:
    """The writes that are not yet durable, in the order they were made.

    They pass two stations: first the values are stored, while an earlier commit may still be under
    way; then they wait to be taken, all that are ready at once, as one commit.

    Args:
        contents: Stores the values.
        ready: Called when there is something to take.
        changed: Called with the names whose pending values are others now.
        refused: Called with writes that were failed because their values can never be stored, and why.
    """

    def __init__(
        self,
        contents: ValueStore,
        *,
        ready: Callable[[], None],
        changed: Callable[[Mapping[str, object]], None],
        refused: Callable[[list[Pending], MPS3Error], None],
    ) -> None:
        self._contents = contents
        self._refused = refused
        self._ready = ready
        self._changed = changed
        self._pending: dict[Pending, None] = {}
        self._overlay: dict[str, PendingValue | None] = {}
        self._arrived = asyncio.Event()
        self._empty = asyncio.Event()
        self._empty.set()

    def __len__(self) -> int:
        return len(self._pending)

    @property
    def overlay(self) -> Mapping[str, PendingValue | None]:
        """The newest pending value of each key (R11); ``None`` for one to be deleted."""
        return self._overlay

    @property
    def oldest(self) -> datetime | None:
        """When the first of the writes was made."""
        return next((pending.made for pending in self._pending), None)

    def all(self) -> list[Pending]:
        """All that is pending, in the order it was made."""
        return list(self._pending)

    def waiting(self) -> list[Pending]:
        """The writes that have never left."""
        return [pending for pending in self._pending if not pending.sent and pending.resend is None]

    def add(self, pending: Pending) -> None:
        """Append a write. It shows at once."""
        self._pending[pending] = None
        self._overlay.update(pending.changes)
        self._empty.clear()
        self._arrived.set()
        self._changed(pending.changes)

    def withdraw(self, pending: Pending) -> bool:
        """Take a write back, unless it is on its way already."""
        if pending not in self._pending or pending.sent or pending.resend is not None:
            return False
        pending.fail(WithdrawnError("the write was withdrawn before it was sent"))
        pending.session.forget(pending)
        self.remove([pending])
        return True

    def replace(self, pending: Pending, changes: Mapping[str, PendingValue | None]) -> None:
        """Give a write that has not left other values for its keys."""
        pending.changes = changes
        pending.stage = QUEUED
        self._lay_over(changes)
        self._arrived.set()

    def leave_out(self, pending: Pending, names: AbstractSet[str]) -> None:
        """Take some keys out of a write that has not left; if it has no other, forget it."""
        pending.changes = {name: one for name, one in pending.changes.items() if name not in names}
        pending.labels = {name: label for name, label in pending.labels.items() if name not in names}
        if not pending.changes:
            pending.fail(WithdrawnError("what it wrote had expired before it could be sent"))
            pending.session.forget(pending)
            self.remove([pending])
        self._lay_over(dict.fromkeys(names))

    def again(self, group: list[Pending], resend: Resend) -> None:
        """Let a group leave as it did before, once its values are stored anew."""
        for pending in group:
            pending.stage = QUEUED
            pending.resend = resend
        for content in final_changes(group).values():
            if content is not None:
                content.version = None
        self._arrived.set()

    def remove(self, group: list[Pending]) -> None:
        """Forget writes that are decided, one way or the other."""
        names: dict[str, object] = {}
        for pending in group:
            if pending in self._pending:
                del self._pending[pending]
                names.update(pending.changes)
        if names:
            self._lay_over(names)
        if not self._pending:
            self._empty.set()

    def cover(self, group: list[Pending], *, seen: bool) -> None:
        """Say whether writes that are under way are part of the resolved state, which then shows them itself."""
        stage = SEEN if seen else SENT
        names: dict[str, object] = {}
        for pending in group:
            if pending.stage != stage:
                pending.stage = stage
                names.update(pending.changes)
        if names:
            self._lay_over(names)

    def cover_some(self, pending: Pending, names: frozenset[str]) -> None:
        """Say which keys of a transaction that has arrived others have changed after it."""
        if pending.covered != names:
            different = pending.covered ^ names
            pending.covered = names
            if pending in self._pending:
                self._lay_over(dict.fromkeys(different))

    def _lay_over(self, names: Mapping[str, object]) -> None:
        self._overlay = {}
        for pending in self._pending:
            if pending.stage != SEEN:
                changes = pending.changes
                if pending.covered:
                    changes = {name: one for name, one in changes.items() if name not in pending.covered}
                self._overlay.update(changes)
        self._changed(names)

    def fail(self, group: list[Pending], error: MPS3Error) -> None:
        """Writes that can never happen."""
        for pending in group:
            pending.fail(error)
        self.remove(group)

    def fail_all(self, error: MPS3Error) -> None:
        """Nothing that is pending can happen any more in this life of the client."""
        pendings = list(self._pending)
        for pending in pendings:
            pending.fail(doubted(error) if pending.maybe_written else error)
        self.remove(pendings)

    def take(self) -> list[Pending]:
        """All writes of one session whose values are stored, to be committed together.

        They cannot be withdrawn any more.
        """
        # Transactions that have arrived wait to be decided, and nothing has to wait for them.
        waiting = [pending for pending in self._pending if not pending.sent]
        if not waiting:
            return []
        first = waiting[0]
        group = list(
            takewhile(lambda one: one.ready and one.session is first.session and one.resend is first.resend, waiting)
        )
        if any(content is not None and content.version is None for content in final_changes(group).values()):
            # A withdrawal brought a value back that had not been stored, because another superseded it.
            for pending in group:
                pending.stage = QUEUED
            self._arrived.set()
            return []
        for pending in group:
            pending.stage = SENT
        return group

    async def run(self) -> None:
        """Store the values of writes as they arrive. Ends by being cancelled."""
        while True:
            await self._arrived.wait()
            await self._contents.wait_until_online()
            self._arrived.clear()
            batch = [pending for pending in self._pending if pending.stage == QUEUED]
            while batch and (failed := await self._store(batch)):
                group, error = failed
                # An earlier life of the client may have sent it with other versions of its values.
                if any(pending.resend is not None for pending in group):
                    error = doubted(error)
                self.fail(group, error)
                self._refused(group, error)
                batch = [pending for pending in batch if pending in self._pending]
            for pending in batch:
                if pending in self._pending:
                    pending.stage = READY
            if batch:
                self._ready()

    async def _store(self, batch: list[Pending]) -> tuple[list[Pending], MPS3Error] | None:
        """Store the newest value of each key; the others of the batch will never be seen by anyone.

        Returns:
            The writes whose values can never be stored, and why; ``None`` when all is stored.
        """
        while True:
            batch = [pending for pending in batch if pending in self._pending]
            wanted = [
                content for content in final_changes(batch).values() if content is not None and content.version is None
            ]
            if not wanted:
                return None
            results = await gather_bounded(self._contents.store, wanted, AT_ONCE)
            for content, result in zip(wanted, results, strict=True):
                if isinstance(result, MPS3Error):
                    return [one for one in batch if any(content is own for own in one.changes.values())], result
                if isinstance(result, BaseException):
                    raise result

    async def drained(self) -> None:
        """Wait until there is nothing pending."""
        await self._empty.wait()


def final_changes(group: list[Pending]) -> dict[str, PendingValue | None]:
    """What is left of several writes when they become one."""
    changes: dict[str, PendingValue | None] = {}
    for pending in group:
        changes.update(pending.changes)
    return changes
