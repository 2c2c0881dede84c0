"""Finding a slot for a commit, and finding out what became of one whose answer was lost (L1, L3, L4, L9, L11)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from ...errors import ConfigurationError, ConflictError, MPS3Error, UnavailableError
from ...format.document import CommitEntry, Document
from ...format.file_entry import expires_of
from ...format.patches import is_patch
from ...format.schema import NOTHING
from ...format.slot import LAST, empty_document, slot_key
from ...storage.protocol import Stored
from ...support.gather import gather_bounded
from ..at_hand import look_up_in
from ..attempt import Attempt, require
from ..document_io import encode_document
from ..outcome import CommitOutcome, not_yet, note, remembered, unknown
from .fold import COLLECTED, COLLECTS, Judgement, collection
from .follower import LogFollower
from .reader import CONCURRENCY, ReadSlot, stamp_of

SLOW: Final = 0.5
"""Seconds that creating a slot takes, after which what was read meanwhile is old."""


class SlotWriter(LogFollower):
    """Writes the commits of one client into slots."""

    async def _require(self, attempt: Attempt) -> None:
        await require(attempt, self.view, self._bucket, self._key)
        if names_objects(attempt.update) and attempt.collected != collection(self.view):
            raise self._outlived()

    def _outlived(self) -> ConflictError:
        return ConflictError(
            f"a collection of s3://{self._bucket}/{self._key} was announced after the values of a commit were stored; "
            "they are stored again",
            bucket=self._bucket,
            key=self._key,
            operation="PutObject",
        )

    async def _compose(self, attempt: Attempt) -> tuple[Document, bytes]:
        note(attempt, self.view)
        attempt.tries += 1
        update = await self._runs.by_reference(attempt.update, held=self._tail.count_keys())
        attempt.update = update
        members = dict(update)
        if names_objects(update):
            members[COLLECTED] = attempt.collected
        if attempt.fence:
            members[COLLECTS] = True
        attempt.note_sent(members)
        document = Document("log", self._window, self._author(attempt), attempt.sequence, None, members)
        return document, await encode_document(document, self._runs, bucket=self._bucket, key=self._key)

    def _may_be_blind(self, attempt: Attempt) -> bool:
        """Return whether a commit depends on nothing before it, and many others are made at the same time."""
        if not (attempt.blind and self._crowd.is_dense) or self._environment.monotonic() < self._read_first_until:
            return False
        if attempt.doubtful or attempt.is_transaction or attempt.fence or names_objects(attempt.update):
            return False
        return not any(map(is_patch, attempt.update.get("files", NOTHING).values()))

    async def _write(self, attempt: Attempt, slot: int, document: Document, body: bytes) -> bool:
        """Find a slot for a commit, and take in everything up to it (L1, L4).

        Returns:
            Whether it has one; if not, so many others commit that this one should better be written blindly.
        """
        while not self._may_be_blind(attempt):
            if slot > LAST:
                raise self._full()
            top, started = self._top, self._environment.monotonic()
            self._look_around(slot)
            read = await self._put(attempt, slot, document, body, self._crowd.look_at())
            fresh, attempt.lost = attempt.lost > 0, attempt.lost + (read is None)
            slow = self._environment.monotonic() - started > SLOW
            if not slow:
                self._crowd.saw(sum(number > top for number in self._ahead), fresh=fresh)
            if read is not None:
                self._conclude(attempt, await self._confirm(slot, read))
                return True
            if slow:
                await self.resolve()
            slot = await self._next_slot(slot)
            note(attempt, self.view)
            if attempt.expect or self._tail.number + 1 == slot:
                await self._require(attempt)
        return False

    def _full(self) -> ConfigurationError:
        """Return the error for a log that has no number left: no client could have filled it."""
        return ConfigurationError(
            f"the log of s3://{self._bucket}/{self._key} says that it has {self._tail.number} slots, more than can be: "
            f"somebody has put a checkpoint there that no client writes. Delete that object, with a key from "
            f"{slot_key(self._key, self._tail.number)} on, or use another manifest",
            bucket=self._bucket,
            key=self._key,
            operation="PutObject",
        )

    def _conclude(self, attempt: Attempt, judgement: Judgement | None) -> None:
        """Act upon what became of a commit at its place; ``None`` if `outcome` has found that, and goes on telling."""
        attempt.doubtful, attempt.unanswered = judgement is None, 0
        if judgement is Judgement.OUTLIVED:
            raise self._outlived()
        counting = self.counting(attempt)
        if judgement is Judgement.REPEATED and (counting is None or attempt.is_forged(counting)):
            if not self.view.has(self._author(attempt), attempt.sequence) or attempt.closes:
                return
            attempt.tries = 0
            attempt.sent_updates.clear()
            raise ConflictError(
                f"somebody else has made a commit to s3://{self._bucket}/{self._key} in the name of this client; it is "
                "made again under another one",
                bucket=self._bucket,
                key=self._key,
                operation="PutObject",
            )

    async def _put(
        self, attempt: Attempt, slot: int, document: Document, body: bytes, further: Iterable[int] = ()
    ) -> ReadSlot | None:
        """Create a slot. Return it as the store has it; ``None`` if somebody else was first.

        Then slots at ``further`` distances from it are read, too.
        """
        before = attempt.doubtful
        attempt.doubtful, attempt.slot = True, slot
        attempt.unanswered = 1
        asked = self._contact.ask()
        try:
            stored = await self._create(slot, body)
        except (ConflictError, UnavailableError) as error:
            # A lost answer may look like a conflict, and a lost race like a failure: the slot tells (L3).
            found = self._ahead.get(slot)
            if found is None or self._contact.is_long_ago():
                found = await self._whose(attempt, slot, further)
            if found is None:
                if isinstance(error, ConflictError):
                    raise self._refused(slot, error) from error
                raise
            self._ahead[slot] = found
            if self._holds(found.document, attempt):
                return found
            _lost(attempt)
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
                raise self._doubtful(
                    f"the store does not show s3://{self._bucket}/{slot_key(self._key, slot)}, which it has created"
                )
            if self._is_own(found.document, attempt):
                return found
            _lost(attempt)
            return None
        if slot == self._tail.number + 1:
            self._contact.heard(asked)
        if stored.modified is None or await self._is_near_an_end(attempt, stored.modified):
            return await self._reader.slot(slot) or ReadSlot(document, stamp_of(stored.modified), len(body))
        return ReadSlot(document, stamp_of(stored.modified), len(body))

    def _look_around(self, slot: int) -> None:
        """Begin to read the slots below one that is created, and where others write some above it (L4).

        What is slow above it is not waited for.
        """
        below = [number for number in range(self._tail.number + 1, slot) if number not in self._ahead]
        beside = [number for number in self._crowd.look_beside(slot) if number not in self._ahead]
        self._lookahead.begin([*below, *beside])

    async def _create(self, slot: int, body: bytes) -> Stored:
        try:
            return await self._storage.put(self._bucket, slot_key(self._key, slot), body, if_none_match=True)
        except ConflictError:
            await self._lookahead.wait([slot])
            raise

    def _refused(self, slot: int, error: ConflictError) -> MPS3Error:
        """Return the error for a slot that the store refuses to create, and does not show."""
        self._stalls.failed(slot, error)
        if not self._stalls.is_hopeless():
            return self._doubtful(
                f"the store refuses to create s3://{self._bucket}/{slot_key(self._key, slot)}, and does not show it"
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

    def _doubtful(self, why: str) -> UnavailableError:
        """Return the error for a commit that may be in the store, and has to be looked for."""
        return UnavailableError(why, bucket=self._bucket, key=self._key, operation="PutObject", maybe_written=True)

    async def _is_near_an_end(self, attempt: Attempt, modified: float) -> bool:
        """Return whether it depends on the stamp that others see whether a transaction counts.

        The time of the answer is not that stamp, though near it.
        """
        return bool(attempt.expect) and await self._any_ends(list(attempt.expect), modified)

    async def _patches_near_an_end(self, read: ReadSlot) -> bool:
        """Return whether it depends on the stamp that others see whether a patch begins anew. All below is known."""
        files = read.document.update.get("files", NOTHING)
        return await self._any_ends([name for name, change in files.items() if is_patch(change)], read.modified)

    async def _any_ends(self, names: Sequence[str], modified: float) -> bool:
        found = await look_up_in(self.view.at(-math.inf), names)
        ends = map(expires_of, found.values())
        return any(end is not None and end <= modified + 2 * self._window for end in ends)

    def _found_again(self, attempt: Attempt) -> ReadSlot | None:
        """Return the commit as the state has it, after its slot may have been collected.

        Raises:
            UnknownOutcomeError: Nobody can tell whether it counts (L11).
        """
        if self._has_arrived(attempt):
            counting = self.counting(attempt)
            modified = self._tail.modified if counting is None else counting.modified
            update = attempt.sent_updates[-1] if counting is None else counting.update
            session, sequence = self._author(attempt), attempt.sequence
            return ReadSlot(Document("log", self._window, session, sequence, None, update), modified, 0)
        _lost(attempt)
        return None

    def _holds(self, document: Document, attempt: Attempt) -> bool:
        """Return whether a slot has a commit of this client, and not one that somebody made in its name."""
        entry = CommitEntry(document.session, document.sequence, "", 0.0, None, document.update)
        return self._is_own(document, attempt) and not attempt.is_forged(entry)

    async def _whose(self, attempt: Attempt, slot: int, further: Iterable[int] = ()) -> ReadSlot | None:
        """Read a slot, and others at some distances from it at the same time."""
        wanted = (slot + offset for offset in further)
        read = await self._reader.slots([slot, *(number for number in wanted if number not in self._ahead)])
        found = read.pop(slot, None)
        if self._contact.is_long_ago():
            await self._open()
            if slot <= self._tail.number:
                return self._found_again(attempt) or ReadSlot(empty_document(self._window), 0.0, 0)
        self._ahead.update(read)
        return found

    async def _next_slot(self, lost: int = 0) -> int:
        """Return the slot to try first, or after one was lost: near the last that was seen (L4)."""
        await self._advance()
        if not (lost or self._crowd.is_dense):
            return self._tail.number + 1
        return max(lost, self._top) + 1 + self._crowd.jump(self._environment.random)

    @property
    def _top(self) -> int:
        """The last slot that is known."""
        return max([self._tail.number, *self._ahead])

    async def _confirm(self, slot: int, read: ReadSlot) -> Judgement | None:
        """Take in all slots up to one of this client; fill the holes below it, so that it counts (L2, L4)."""
        if slot <= self._tail.number:
            return None
        self._ahead[slot] = read
        missing = [number for number in range(self._tail.number + 1, slot) if number not in self._ahead]
        for result in await gather_bounded(self._read_or_fill, missing, CONCURRENCY):
            if isinstance(result, BaseException):
                raise result
        await self._require_contact()
        judgement: Judgement | None = None
        while self._tail.number < slot:
            number = self._tail.number + 1
            if number == slot and await self._patches_near_an_end(read):
                self._ahead[slot] = await self._reader.slot(slot) or read
            judgement = await self._tail.extend(number, self._ahead.pop(number))
        await self._advance()
        return judgement

    async def _require_contact(self) -> None:
        """Check that what was taken for a hole was not a commit that was collected meanwhile (L9).

        Raises:
            UnavailableError: It may have been.
        """
        if self._contact.is_long_ago():
            await self._open()
            raise self._doubtful(
                f"the store was silent for long, so a commit to s3://{self._bucket}/{self._key} has to be looked for"
            )

    async def _read_or_fill(self, number: int) -> None:
        """Read a slot, and put a filler into it if it is absent, until it is known.

        Raises:
            UnavailableError: The store refuses to create it, and does not show it.
        """
        await self._lookahead.wait([number])
        refused: ConflictError | None = None
        while number not in self._ahead:
            read = await self._reader.slot(number)
            if read is not None:
                self._ahead[number] = read
            elif refused is not None:
                raise self._refused(number, refused) from refused
            else:
                refused = await self._fill(number)

    async def _fill(self, number: int) -> ConflictError | None:
        """Put a filler into a slot that nobody has taken; return the error if somebody has."""
        document = empty_document(self._window)
        body = await encode_document(document, self._runs, bucket=self._bucket, key=self._key)
        try:
            stored = await self._storage.put(self._bucket, slot_key(self._key, number), body, if_none_match=True)
        except ConflictError as error:
            return error  # it is read again
        except MPS3Error as error:
            error.maybe_written = True  # the commit above it is there
            raise
        self._created.add(number)
        self._ahead[number] = ReadSlot(document, stamp_of(stored.modified), len(body))
        return None

    async def _find_slot(self, attempt: Attempt) -> int | None:
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
                if self._holds(found.document, attempt):
                    self._conclude(attempt, await self._confirm(slot, found))
                    return None
                _lost(attempt)
                await self.resolve()  # others may have gone on for long meanwhile
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
        match self.outcome(attempt):
            case CommitOutcome.SETTLED | CommitOutcome.LANDED:
                return True
            case CommitOutcome.UNKNOWN:
                raise unknown(self._bucket, self._key)
            case CommitOutcome.NOT_YET:
                not_yet(attempt, remembered(self.view))
                return False


def _lost(attempt: Attempt) -> None:
    """Record that no try of a commit has a slot, so that what is remembered from now on tells whether one has."""
    attempt.doubtful, attempt.unanswered, attempt.witnesses = False, 0, None


def names_objects(update: Mapping[str, Any]) -> bool:
    """Return whether a commit names objects that a collection may delete: values or runs."""
    files: Mapping[str, Any] = update.get("files", {})
    return "runs" in update or any(
        file is not None and "value" not in file and not is_patch(file) for file in files.values()
    )
