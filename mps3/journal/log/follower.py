"""What a client knows of a log: reading the slots that follow, and opening it anew (L2, L7 to L9)."""

from __future__ import annotations

import math
from typing import Final

from ...errors import ConfigurationError, CorruptionError, MPS3Error, UnavailableError
from ...format.commit_age import Moment
from ...format.document import LIMIT, CommitEntry
from ...format.document_codec import decode
from ...format.slot import LAST
from ...format.state import View
from ...storage.protocol import Object, Storage
from ...support.environment import Environment
from ..attempt import Attempt
from ..base import WINDOW, BaseJournal
from ..document_io import wrong_journal
from ..outcome import CommitOutcome, outcome_of
from ..protocol import TransactionStatus
from ..run_pieces import RunReading
from ..run_reader import MissingRunError
from .checkpoints import Checkpoints
from .contact import LastContact
from .contention import Crowd
from .fold import collection
from .lookahead import Lookahead
from .opening import open_log
from .past import LogPast
from .reader import LogReader, ReadSlot
from .survey import Survey
from .tail import LogTail

AHEAD: Final = 16
"""Slots that are read at once, at the most, while there is news."""
FAR: Final = 256
"""Slots that are read one after the other, at the most, before the log is listed."""


class LogFollower(BaseJournal):
    """Follows the log of one manifest.

    Args:
        storage: Where the manifest is kept.
        bucket: Its bucket.
        key: Its key.
        environment: Time, chance and names.
        exists: Whether the manifest was seen to be there: then conditions were seen to be enforced. It may be missing
            beside its slots, if somebody has deleted it.
        trusted: Whether the store was seen to enforce conditions.
        contested: Whether somebody else may create the manifest with the merge journal: the bucket keeps versions.
        window: Seconds by which clocks of the store's nodes may differ, of a new manifest.
    """

    def __init__(
        self,
        storage: Storage,
        bucket: str,
        key: str,
        environment: Environment,
        *,
        exists: bool = False,
        trusted: bool = False,
        contested: bool = False,
        window: float = WINDOW,
        reading: RunReading | None = None,
    ) -> None:
        super().__init__(
            storage, bucket, key, environment, window=window, unique=environment.name, whole=True, reading=reading
        )
        self._reader = LogReader(storage, bucket, key, self._runs)
        self._past = LogPast(bucket, key, self._reader, self._runs, window)
        self._tail = LogTail(self._runs, window)
        self._contact = LastContact(storage, environment)
        self._crowd = Crowd()
        self._survey = Survey()
        self._listed_at = -math.inf
        self._put_took = 0.0
        self._skip_from = 0
        self._read_first_until = -math.inf
        self._unread: set[int] = set()
        self._checkpoints = Checkpoints(
            storage, bucket, key, self._tail, self._reader, self._runs, self._compactor, environment
        )
        self._ahead: dict[int, ReadSlot] = {}
        self._lookahead = Lookahead(self._reader, self._keep)
        self._created: set[int] = set()
        self._early: tuple[tuple[float, float], LogTail] | None = None
        self._opened = False
        self._exists = exists
        self._trusted = trusted
        self._contested = contested

    @property
    def view(self) -> View:
        """The newest state."""
        return self._tail.view

    @property
    def tentative(self) -> View:
        """The same: a commit is final when it is known."""
        return self._tail.view

    @property
    def position(self) -> str | None:
        """The number of the last slot that is known to count."""
        return str(max(self._tail.number, self._survey.floor)) if self.view.head is not None else None

    @property
    def decides_at(self) -> float:
        """Nothing is left to be decided later."""
        return math.inf

    @property
    def clock(self) -> float | None:
        """Nothing here depends on it: a collection is announced by a commit (R17)."""
        return None

    @property
    def past(self) -> LogPast:
        """What came before."""
        return self._past

    def _now(self) -> Moment:
        return Moment(self._environment.monotonic(), collected=collection(self.view))

    # What became of a commit

    def status_of(self, attempt: Attempt) -> TransactionStatus:
        """How a transaction stands."""
        if self.outcome(attempt) in (CommitOutcome.LANDED, CommitOutcome.SETTLED):
            return TransactionStatus.COMMITTED
        return (
            TransactionStatus.ABORTED
            if attempt.slot is not None and attempt.slot <= self._tail.number
            else TransactionStatus.UNKNOWN
        )

    def outcome(self, attempt: Attempt) -> CommitOutcome:
        """What became of a commit whose answer was lost, by what was read last."""
        if not attempt.doubtful and self.view.has(self._author(attempt), attempt.sequence):
            return CommitOutcome.LANDED
        return outcome_of(self.view, self._author(attempt), attempt)

    def may_arrive(self, attempt: Attempt) -> bool:
        """Whether a try that was never answered may still arrive, and count: its slot is free."""
        if not attempt.unanswered:
            return False
        return attempt.slot is None or attempt.slot > self._tail.number

    def is_usurped(self, attempt: Attempt) -> bool:
        """Whether somebody else has used the identity of a commit, so that no try of it can count."""
        return self.view.is_usurped(self._author(attempt), attempt.sequence, attempt.is_forged)

    def counting(self, attempt: Attempt) -> CommitEntry | None:
        """The commit, while it is not part of the checkpoint."""
        return next((entry for entry in reversed(self.view.commits) if self._is_own(entry, attempt)), None)

    def is_void(self, attempt: Attempt) -> bool:
        """Whether the place of an acknowledged commit is known, and somebody else's commit in its name counts."""
        slot = attempt.slot or 0
        if not self._tail.base.sequence < slot <= self._tail.number:
            return False
        return all(commit.version != str(slot) for commit in self.view.commits)

    # Reading

    def is_beyond(self, position: str) -> bool:
        """As `Journal.is_beyond`: a position is the number of a slot."""
        return _number(position) > max(self._tail.number, self._survey.floor)

    def shows(self, attempt: Attempt) -> bool:
        """Whether the place of an acknowledged commit is part of `view`."""
        return attempt.slot is not None and attempt.slot <= self._tail.number

    async def resolve(self, until: str | None = None) -> bool:
        """Read the slots after the last known one (L8)."""
        news = await self._resolve(until)
        if self._unread and max(self._unread) <= self._tail.number:
            self._checkpoints.consider(self._unread)
            self._unread = set()
        return news

    async def _resolve(self, until: str | None) -> bool:
        if not self._opened or self._runs.reader.lost or self._is_far_behind(AHEAD):
            return await self._open()
        before = self._tail.number
        if self._contested and not self._exists and not before and not await self._appeared():
            return False  # the manifest comes before its first slot
        try:
            while self._tail.number - before < FAR:
                news = await self._poll(min(AHEAD, max(1, self._tail.number - before)))
                if news is None:
                    break
                if not news or before < _number(until) <= self._tail.number:
                    return self._tail.number > before
        except MissingRunError:
            pass  # it was collected: newer states do not need it
        return await self._open() or self._tail.number > before

    def _is_far_behind(self, most: int) -> bool:
        """Return whether a commit of this client is acknowledged that many slots above the state (L12).

        Where listings did not help lately, that is not asked for: opening anew would take one.
        """
        listable = self._environment.monotonic() >= self._read_first_until
        return listable and self._survey.floor - self._tail.number > most

    async def _appeared(self) -> bool:
        """Return whether somebody has created the manifest since it was found to be absent.

        Raises:
            ConfigurationError: With the merge journal, whose commits are in no slot.
        """
        asked = self._contact.ask()
        await self._check_root()
        if not self._exists:
            self._contact.heard(asked)
        return self._exists

    async def _check_root(self) -> None:
        """Look for the manifest, and refuse one that is written with the merge journal."""
        found = await self._storage.get(self._bucket, self._key, limit=LIMIT)
        if not isinstance(found, Object):
            return
        kind = decode(found.body, bucket=self._bucket, key=self._key, version=found.version).journal
        if kind != "log":
            raise wrong_journal(kind, self._bucket, self._key, found.version)
        self._exists = True

    async def _poll(self, count: int) -> bool | None:
        """Read the next slots, as many as have come lately (L8).

        Returns:
            Whether all of them are there; ``None`` if the log has to be opened anew (L9).
        """
        first, asked = self._tail.number + 1, self._contact.ask()
        found = await self._reader.slots(range(first, first + count))
        if self._contact.is_long_ago():
            return None  # what was collected looks like what never was
        self._contact.heard(asked)
        self._exists = self._exists or (first == 1 and 1 in found)
        self._ahead.update(found)
        await self._advance()
        return len(found) == count

    def _keep(self, number: int, read: ReadSlot) -> None:
        if number > self._tail.number:
            self._ahead[number] = read

    async def _advance(self) -> None:
        """Take in the slots that are known to follow."""
        while (read := self._ahead.get(self._tail.number + 1)) is not None:
            await self._tail.extend(self._tail.number + 1, read)
            del self._ahead[self._tail.number]
        for number in [number for number in self._ahead if number <= self._tail.number]:
            del self._ahead[number]
        await self._checkpoints.shorten()

    async def _open(self) -> bool:
        """Begin with the newest checkpoint (L7). Return whether the state is another one."""
        before, head = self._tail.number, self.view.head
        asked, fresh = self._early or await self._read_newest()
        self._early = None
        if fresh.number < before:
            raise self._went_back(fresh.number)
        self._contact.heard(asked)
        self._ahead.clear()
        await self._tail.become(fresh)
        self._opened, self._runs.reader.lost = True, False
        return head != self.view.head

    async def open_early(self) -> None:
        """Read the newest state before it is needed, for the next call of `resolve`."""
        self._early = await self._read_newest()

    async def _read_newest(self) -> tuple[tuple[float, float], LogTail]:
        fresh = LogTail(self._runs, self._window)
        asked = self._contact.ask()
        await open_log(self._reader, fresh)
        return asked, fresh

    def _went_back(self, number: int) -> MPS3Error:
        """Return the error for a log that is shorter than before: it may be an old answer, but not for long."""
        place = f"s3://{self._bucket}/{self._key}"
        if self._contact.is_behind_for_long():
            if number == 0:
                return CorruptionError(
                    f"the log of the manifest {place} was deleted: restore it, or use another manifest",
                    bucket=self._bucket,
                    key=self._key,
                    operation="ListObjectsV2",
                )
            return ConfigurationError(
                f"{place} has been in an older state than this client has seen for a minute: somebody has deleted a "
                "part of its log, or something between this client and the store answers for it. Open a new client to "
                "go on from the older state",
                bucket=self._bucket,
                key=self._key,
                operation="ListObjectsV2",
            )
        return UnavailableError(
            f"the store answered with an older state of {place} than before",
            bucket=self._bucket,
            key=self._key,
            operation="ListObjectsV2",
        )


def _number(position: str | None) -> int:
    """Return the slot that a position names; -1 if it is none."""
    if position is None or not (position.isascii() and position.isdigit()) or len(position) > len(str(LAST)):
        return -1
    return int(position)
