"""The log journal (rules L1 to L11): create-if-absent of the next slot.

One request acknowledges a commit, and its place is final. It needs a store that enforces ``If-None-Match: *``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

from ...errors import ConfigurationError, ConflictError, CorruptionError, MPS3Error, UnavailableError
from ...format.commit_age import Moment
from ...format.document import LIMIT, CommitEntry, Document
from ...format.document_codec import decode
from ...format.file_entry import expires_of
from ...format.slot import filler, root_document, slot_key
from ...format.state import EMPTY, View
from ...storage.protocol import ABSENT, Storage
from ...support.environment import Environment
from ...support.gather import gather_bounded
from ..attempt import Attempt, require
from ..compactor import Compactor
from ..document_io import encode_document, wrong_journal
from ..outcome import CommitOutcome, not_yet, note, outcome_of, remembered, unknown
from ..probe import require_creation
from ..protocol import Retained, Verdict
from ..runs import MissingRunError, Runs
from ..snapshot import JournalSnapshot
from ..stall_detector import StallDetector
from .checkpoints import Checkpoints
from .contact import LastContact
from .contention import Crowd
from .fold import COLLECTED, COLLECTS, Judgement, collection
from .opening import open_log
from .past import LogPast
from .reader import LogReader, ReadSlot, stamp_of
from .retention import retained
from .tail import LogTail

WINDOW: Final = 3.0
AHEAD: Final = 16
"""Slots that are read at once, at the most, while there is news."""
FAR: Final = 256
"""Slots that are read one after the other, at the most, before the log is listed."""


class LogJournal:
    """Orders commits by the number of their slot.

    Args:
        storage: Where the manifest is kept.
        bucket: Its bucket.
        key: Its key.
        environment: Time, chance and names.
        exists: Whether the manifest was seen to be there: then conditions were seen to be enforced.
        trusted: Whether the store was seen to enforce conditions.
        window: Seconds by which clocks of the store's nodes may differ, of a new manifest.
    """

    kind: Final = "log"

    def __init__(
        self,
        storage: Storage,
        bucket: str,
        key: str,
        environment: Environment,
        *,
        exists: bool = False,
        trusted: bool = False,
        window: float = WINDOW,
    ) -> None:
        self._storage = storage
        self._bucket = bucket
        self._key = key
        self._environment = environment
        self._window = window
        self._session = environment.name()
        self._runs = Runs(storage, bucket, key, self._now, unique=environment.name)
        self._compactor = Compactor(self._runs, environment)
        self._reader = LogReader(storage, bucket, key, self._runs)
        self._tail = LogTail(self._runs, window)
        self._contact = LastContact(storage, environment)
        self._crowd = Crowd()
        self._checkpoints = Checkpoints(
            storage, bucket, key, self._tail, self._reader, self._runs, self._compactor, environment
        )
        self._stalls = StallDetector(environment, f"s3://{bucket}/{key}")
        self._ahead: dict[int, ReadSlot] = {}
        self._opened = False
        self._exists = exists
        self._trusted = trusted

    @property
    def session(self) -> str:
        """This client's name among the writers."""
        return self._session

    @property
    def view(self) -> View:
        """The newest state."""
        return self._tail.view

    @property
    def tentative(self) -> View:
        """The same: a commit is final when it is known."""
        return self._tail.view

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
        return LogPast(self._bucket, self._key, self._reader, self._runs, self._window)

    def _now(self) -> Moment:
        return Moment(self._environment.monotonic(), collected=collection(self.view))

    def _author(self, attempt: Attempt) -> str:
        return attempt.session or self._session

    def _is_own(self, entry: CommitEntry | Document, attempt: Attempt) -> bool:
        return (entry.session, entry.sequence) == (self._author(attempt), attempt.sequence)

    # What became of a commit

    def verdict(self, attempt: Attempt) -> Verdict:
        """How a transaction stands."""
        if self.fate(attempt) in (CommitOutcome.LANDED, CommitOutcome.SETTLED):
            return Verdict.COMMITTED
        return Verdict.ABORTED if attempt.slot is not None and attempt.slot <= self._tail.number else Verdict.UNKNOWN

    def fate(self, attempt: Attempt) -> CommitOutcome:
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

    # Reading

    async def resolve(self) -> bool:
        """Read the slots after the last known one (L8)."""
        if not self._opened:
            return await self._open()
        before = self._tail.number
        try:
            while self._tail.number - before < FAR:
                news = await self._poll(min(AHEAD, max(1, self._tail.number - before)))
                if news is None:
                    break
                if not news:
                    return self._tail.number > before
        except MissingRunError:
            pass  # it was collected: newer states do not need it
        return await self._open() or self._tail.number > before

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
        self._ahead.update(found)
        await self._advance()
        return len(found) == count

    async def _advance(self) -> bool:
        """Take in the slots that are known to follow. Return whether there were any."""
        before = self._tail.number
        while (read := self._ahead.get(self._tail.number + 1)) is not None:
            await self._tail.extend(self._tail.number + 1, read)
            del self._ahead[self._tail.number]
        for number in [number for number in self._ahead if number <= self._tail.number]:
            del self._ahead[number]
        await self._checkpoints.shorten()
        return self._tail.number > before

    async def _open(self) -> bool:
        """Begin with the newest checkpoint (L7). Return whether the state is another one."""
        before, head = self._tail.number, self.view.head
        fresh = LogTail(self._runs, self._window)
        asked = self._contact.ask()
        await open_log(self._reader, fresh)
        if fresh.number < before:
            raise self._went_back(fresh.number)
        self._contact.heard(asked)
        self._ahead.clear()
        await self._tail.become(fresh)
        self._opened = True
        self._exists = self._exists or fresh.number > 0
        return head != self.view.head

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

    # Writing

    async def append(self, attempt: Attempt) -> None:
        """Try to commit. When it returns, the commit has its place, and everything below is known.

        Raises:
            OutdatedError: It is a transaction, and would be void.
            ConflictError: A collection was announced meanwhile; call again, with values stored again.
            UnknownOutcomeError: An earlier try may have been committed, and nobody can tell any more.
            UnavailableError: Not known to be committed; call again with the same attempt.
        """
        if not self._opened:
            await self._open()
        slot = await self._settle(attempt) if attempt.doubtful else self._tail.number + 1
        if slot is not None:
            if attempt.closes and self.view.has(self._author(attempt), attempt.sequence - 1):
                return  # the transaction that it should end has arrived
            if slot != attempt.slot:
                self._require(attempt)
            await self._require_root()
            await self._write(attempt, slot)
        self._stalls.moved()
        self._runs.named()
        self._compactor.consider(self.view)
        self._checkpoints.consider(attempt.slot)

    def _require(self, attempt: Attempt) -> None:
        require(attempt, self.view, self._bucket, self._key)
        if _names_objects(attempt.update) and attempt.collected != collection(self.view):
            raise self._outlived()

    def _outlived(self) -> ConflictError:
        return ConflictError(
            f"a collection of s3://{self._bucket}/{self._key} was announced after the values of a commit were stored; "
            "they are stored again",
            bucket=self._bucket,
            key=self._key,
            operation="PutObject",
        )

    async def _require_root(self) -> None:
        """Create the manifest before its first commit, once the store was seen to enforce conditions."""
        if self._exists:
            return
        if not self._trusted:
            await require_creation(self._storage, self._bucket, self._key, self._environment)
            self._trusted = True
        document = root_document(self._window)
        body = await encode_document(document, self._runs, bucket=self._bucket, key=self._key)
        try:
            await self._storage.put(self._bucket, self._key, body, if_none_match=True)
        except ConflictError:
            await self._check_root()
        except MPS3Error as error:
            error.maybe_written = False  # a manifest without commits says nothing
            raise
        self._exists = True

    async def _check_root(self) -> None:
        found = await self._storage.get(self._bucket, self._key, limit=LIMIT)
        if found is ABSENT:
            return
        version = getattr(found, "version", None)
        kind = decode(getattr(found, "body", b""), bucket=self._bucket, key=self._key, version=version).journal
        if kind != "log":
            raise wrong_journal(kind, self._bucket, self._key, version)

    async def _compose(self, attempt: Attempt) -> tuple[Document, bytes]:
        note(attempt, self.view)
        attempt.tries += 1
        update = await self._runs.by_reference(attempt.update, self.view.commits)
        attempt.update = update
        members = dict(update)
        if _names_objects(update):
            members[COLLECTED] = attempt.collected
        if attempt.fence:
            members[COLLECTS] = True
        attempt.said.append(members)
        document = Document("log", self._window, self._author(attempt), attempt.sequence, None, members)
        return document, await encode_document(document, self._runs, bucket=self._bucket, key=self._key)

    async def _write(self, attempt: Attempt, slot: int) -> None:
        """Find a slot for a commit, and take in everything up to it (L1, L4)."""
        document, body = await self._compose(attempt)
        while True:
            read = await self._put(attempt, slot, document, body)
            if read is not None:
                break
            slot = await self._next_slot(slot)
            note(attempt, self.view)
            if attempt.expect or self._tail.number + 1 == slot:
                self._require(attempt)
        self._crowd.won()
        judgement = await self._confirm(slot, read)
        self._conclude(attempt, judgement)

    def _conclude(self, attempt: Attempt, judgement: Judgement | None) -> None:
        """Act upon what became of a commit at its place; ``None`` if `fate` has found that, and goes on telling."""
        attempt.doubtful, attempt.unanswered = judgement is None, 0
        if judgement is Judgement.OUTLIVED:
            raise self._outlived()
        counting = self.counting(attempt)
        if judgement is Judgement.REPEATED and (counting is None or attempt.is_forged(counting)):
            if not self.view.has(self._author(attempt), attempt.sequence) or attempt.closes:
                return
            attempt.tries = 0
            attempt.said.clear()
            raise ConflictError(
                f"somebody else has made a commit to s3://{self._bucket}/{self._key} in the name of this client; it is "
                "made again under another one",
                bucket=self._bucket,
                key=self._key,
                operation="PutObject",
            )

    async def _put(self, attempt: Attempt, slot: int, document: Document, body: bytes) -> ReadSlot | None:
        """Create a slot. Return it as the store has it; ``None`` if somebody else was first."""
        before = attempt.doubtful
        attempt.doubtful, attempt.slot = True, slot
        attempt.unanswered = 1
        asked = self._contact.ask()
        try:
            stored = await self._storage.put(self._bucket, slot_key(self._key, slot), body, if_none_match=True)
        except (ConflictError, UnavailableError) as error:
            # A lost answer may look like a conflict, and a lost race like a failure: the slot tells (L3).
            found = await self._whose(attempt, slot)
            if found is None:
                if isinstance(error, ConflictError):
                    raise self._refused(slot, error) from error
                raise
            self._ahead[slot] = found
            if self._is_own(found.document, attempt) and not self._is_foreign(attempt, found.document):
                return found
            _lost(attempt)
            attempt.lost += 1
            self._crowd.lost()
            return None
        except MPS3Error as error:
            if not error.maybe_written:
                attempt.doubtful, attempt.unanswered = before, int(before)
            raise
        if self._contact.is_long_ago():
            # The slot may have been collected before this PUT arrived (L9).
            await self._open()
            if self._tail.number >= slot:
                return self._found_again(attempt)
            found = await self._reader.slot(slot)
            if found is None:
                raise UnavailableError(
                    f"the store does not show s3://{self._bucket}/{slot_key(self._key, slot)}, which it has created",
                    bucket=self._bucket,
                    key=self._key,
                    operation="PutObject",
                    maybe_written=True,
                )
            if self._is_own(found.document, attempt):
                return found
            _lost(attempt)
            return None
        if slot == self._tail.number + 1:
            self._contact.heard(asked)
        if stored.modified is None or self._is_near_an_end(attempt, stored.modified):
            return await self._reader.slot(slot) or ReadSlot(document, stamp_of(stored.modified), len(body))
        return ReadSlot(document, stamp_of(stored.modified), len(body))

    def _refused(self, slot: int, error: ConflictError) -> MPS3Error:
        """Return the error for a slot that the store refuses to create, and does not show."""
        self._stalls.failed(slot, error)
        if not self._stalls.is_hopeless():
            return UnavailableError(
                f"the store refuses to create s3://{self._bucket}/{slot_key(self._key, slot)}, and does not show it",
                bucket=self._bucket,
                key=self._key,
                operation="PutObject",
                maybe_written=True,
            )
        failures, lasted = self._stalls.failures, self._stalls.lasted
        self._stalls.moved()  # the next commit is tried anew
        return ConfigurationError(
            f"the store has refused {failures} times in {lasted:.0f} s to create "
            f"s3://{self._bucket}/{slot_key(self._key, slot)} because it exists, but shows that it does not: something "
            "between this client and the store answers in its place",
            bucket=self._bucket,
            key=self._key,
            operation="PutObject",
            maybe_written=True,
        )

    def _is_near_an_end(self, attempt: Attempt, modified: float) -> bool:
        """Return whether it depends on the stamp that others see whether a transaction counts.

        The time of the answer is not that stamp, though near it.
        """
        state = self.view.at(-math.inf)
        ends = (expires_of(state.look_up(name)) for name in attempt.expect)
        return any(end is not None and end <= modified + 2 * self._window for end in ends)

    def _found_again(self, attempt: Attempt) -> ReadSlot | None:
        """Return the commit as the state has it, after its slot may have been collected.

        Raises:
            UnknownOutcomeError: Nobody can tell whether it counts (L11).
        """
        if self._has_arrived(attempt):
            counting = self.counting(attempt)
            modified = self._tail.modified if counting is None else counting.modified
            update = attempt.said[-1] if counting is None else counting.update
            session, sequence = self._author(attempt), attempt.sequence
            return ReadSlot(Document("log", self._window, session, sequence, None, update), modified, 0)
        _lost(attempt)
        return None

    def _is_foreign(self, attempt: Attempt, document: Document) -> bool:
        entry = CommitEntry(document.session, document.sequence, "", 0.0, None, document.update)
        return attempt.is_forged(entry)

    async def _whose(self, attempt: Attempt, slot: int) -> ReadSlot | None:
        found = await self._reader.slot(slot)
        if self._contact.is_long_ago():
            await self._open()
            if slot <= self._tail.number:
                return self._found_again(attempt) or ReadSlot(filler(self._window), 0.0, 0)
        return found

    async def _next_slot(self, lost: int) -> int:
        """Return the slot to try after one was lost: near the tail, which a few parallel reads find (L4)."""
        wanted = [lost + offset for offset in self._crowd.look_at() if lost + offset not in self._ahead]
        self._ahead.update(await self._reader.slots(wanted))
        await self._advance()
        top = max([lost, self._tail.number, *self._ahead])
        return top + 1 + self._crowd.jump(self._environment.random)

    async def _confirm(self, slot: int, read: ReadSlot) -> Judgement | None:
        """Take in all slots up to one of this client; fill the holes below it, so that it counts (L2, L4)."""
        if slot <= self._tail.number:
            return None
        self._ahead[slot] = read
        while missing := [n for n in range(self._tail.number + 1, slot) if n not in self._ahead]:
            self._ahead.update(await self._reader.slots(missing))
            for result in await gather_bounded(self._fill, [n for n in missing if n not in self._ahead], AHEAD):
                if isinstance(result, BaseException):
                    raise result
        judgement: Judgement | None = None
        while self._tail.number < slot:
            number = self._tail.number + 1
            judgement = await self._tail.extend(number, self._ahead.pop(number))
        await self._advance()
        return judgement

    async def _fill(self, number: int) -> None:
        """Put a filler into a slot that nobody has taken."""
        document = filler(self._window)
        body = await encode_document(document, self._runs, bucket=self._bucket, key=self._key)
        try:
            stored = await self._storage.put(self._bucket, slot_key(self._key, number), body, if_none_match=True)
        except ConflictError:
            return  # it is read again
        except MPS3Error as error:
            error.maybe_written = True  # the commit above it is there
            raise
        self._ahead[number] = ReadSlot(document, stamp_of(stored.modified), len(body))

    async def _settle(self, attempt: Attempt) -> int | None:
        """Find out what became of a commit whose answer was lost (L3).

        Returns:
            The slot to try next; ``None`` if the commit has its place.
        """
        slot = attempt.slot
        if slot is not None and slot > self._tail.number:
            found = await self._whose(attempt, slot)
            if slot > self._tail.number:
                if found is None:
                    return slot  # never another one, before it is known that this one is not ours
                self._ahead[slot] = found
                if self._is_own(found.document, attempt) and not self._is_foreign(attempt, found.document):
                    self._conclude(attempt, await self._confirm(slot, found))
                    return None
                _lost(attempt)
                return await self._next_slot(slot)
        elif slot is None:
            await self.resolve()
        if self.is_usurped(attempt):
            attempt.doubtful = False
            raise ConflictError(
                f"somebody else has made a commit to s3://{self._bucket}/{self._key} in the name of this client",
                bucket=self._bucket,
                key=self._key,
                operation="PutObject",
            )
        if self._has_arrived(attempt):
            return None
        if slot is not None:
            _lost(attempt)  # its slot has something else
        return self._tail.number + 1

    def _has_arrived(self, attempt: Attempt) -> bool:
        """Return whether a commit is part of the state.

        Raises:
            UnknownOutcomeError: Nobody can tell any more (L11).
        """
        match self.fate(attempt):
            case CommitOutcome.SETTLED | CommitOutcome.LANDED:
                return True
            case CommitOutcome.UNKNOWN:
                raise unknown(self._bucket, self._key)
            case CommitOutcome.NOT_YET:
                not_yet(attempt, remembered(self.view))
                return False

    # Keeping, collecting, closing

    def save(self) -> JournalSnapshot:
        """What another journal of this manifest can go on from."""
        return JournalSnapshot.of(self.kind, self.view, None, self._contact.store_time)

    async def restore(self, saved: JournalSnapshot) -> None:
        """Go on from what a journal of this manifest had read or written."""
        view = await saved.view(self._runs)
        if view is EMPTY or view.document is None:
            return
        try:
            self._tail.restore(view, int(saved.head or ""))
        except ValueError as error:
            raise CorruptionError(f"the saved state is not that of a log: {error}") from error
        self._contact.restore(saved.stamp)
        self._opened = self._exists = True

    async def retained(self, seconds: float, *, announced: bool = False) -> Retained | None:
        """What collecting leaves alone."""
        if announced:
            # So that no checkpoint that was made before the announcement, and arrives later, is the newest.
            await self._checkpoints.write()
        return await retained(self.past, self.view, self._runs, seconds)

    async def aclose(self) -> None:
        """Stop what is done in the background."""
        await self._checkpoints.aclose()
        await self._compactor.aclose()


def _lost(attempt: Attempt) -> None:
    """Record that no try of a commit has a slot, so that what is remembered from now on tells whether one has."""
    attempt.doubtful, attempt.unanswered, attempt.witnesses = False, 0, None


def _names_objects(update: Mapping[str, Any]) -> bool:
    """Return whether a commit names objects that a collection may delete: values or runs."""
    files: Mapping[str, Any] = update.get("files", {})
    return "runs" in update or any(file is not None and "value" not in file for file in files.values())
