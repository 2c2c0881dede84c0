"""Ways to break the log journal, one rule at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any
from unittest.mock import patch

from mps3.collect.sweep import Sweep
from mps3.format.names import LOG_SUFFIX
from mps3.journal import outcome as doubt
from mps3.journal.log import fold, tail
from mps3.journal.log.checkpoints import Checkpoints
from mps3.journal.log.contact import LastContact
from mps3.journal.log.contention import Crowd
from mps3.journal.log.journal import LogJournal

from .store import SimStorage

EARLIER = 20.0
"""Seconds before its stamp at which a transaction is judged that is judged too early."""

_judge = fold.judge


@contextmanager
def counts_beyond_holes() -> Iterator[None]:
    """L2: a commit is acknowledged though a slot below it is empty, and nobody fills that."""
    confirm = LogJournal._confirm

    async def at_once(self: LogJournal, slot: int, read: Any) -> Any:
        if slot == self._tail.number + 1:
            return await confirm(self, slot, read)
        self._ahead[slot] = read
        return fold.Judgement.COUNTS

    with patch.object(LogJournal, "_confirm", at_once), patch.object(Crowd, "jump", lambda self, chance: 1):
        yield


@contextmanager
def tries_another_slot_in_doubt() -> Iterator[None]:
    """L3: a commit whose answer was lost is made again at the next slot, whosever the first one is."""
    settle_doubt = LogJournal._find_slot

    async def hasty(self: LogJournal, attempt: Any) -> int | None:
        slot = await settle_doubt(self, attempt)
        return slot if slot is None or slot != attempt.slot else slot + 1

    with patch.object(LogJournal, "_find_slot", hasty), patch.object(tail, "judge", counts_twice):
        yield


@contextmanager
def replaces_slots() -> Iterator[None]:
    """L1: a slot is written whether or not there is one."""
    put = SimStorage.put

    async def replacing(self: SimStorage, bucket: str, key: str, body: bytes, **options: Any) -> Any:
        if LOG_SUFFIX in key:
            options["if_none_match"] = False
        return await put(self, bucket, key, body, **options)

    with patch.object(SimStorage, "put", replacing):
        yield


@contextmanager
def takes_what_was_refused_for_lost() -> Iterator[None]:
    """L3: a slot that is told to exist is somebody else's, without looking."""
    whose = LogJournal._whose

    async def unseen(self: LogJournal, attempt: Any, *slots: Any) -> Any:
        found = await whose(self, attempt, *slots)
        if found is None or not self._is_own(found.document, attempt):
            return found
        return replace(found, document=replace(found.document, session="somebody", sequence=1))

    with patch.object(LogJournal, "_whose", unseen), patch.object(tail, "judge", counts_twice):
        yield


def counts_twice(view: Any, entry: Any) -> Any:
    """R4 stays out of it: the second line."""
    found = _judge(view, entry)
    return fold.Judgement.COUNTS if found is fold.Judgement.REPEATED else found


@contextmanager
def fails_while_its_slot_is_free() -> Iterator[None]:
    """L5: a transaction fails while a try of it may still take its slot, and nobody takes that."""
    append = LogJournal.append

    async def hasty(self: LogJournal, attempt: Any) -> None:
        if attempt.expect and attempt.doubtful:
            await self._require(attempt)
        await append(self, attempt)

    with (
        patch.object(LogJournal, "append", hasty),
        patch.object(LogJournal, "may_arrive", lambda self, attempt: False),
    ):
        yield


def counts_though_expired(view: Any, entry: Any) -> Any:
    """L5 by what was there before the stamp of the commit: a lease that is over since still counts."""
    return _judge(view, replace(entry, modified=entry.modified - EARLIER))


@contextmanager
def never_opens_anew() -> Iterator[None]:
    """L9: who has heard nothing for long polls on, and takes what was collected for what never was."""
    with patch.object(LastContact, "is_long_ago", lambda self: False):
        yield


@contextmanager
def takes_a_late_answer_for_an_acknowledgement() -> Iterator[None]:
    """L9: a slot that was created counts, however long ago it was known to be free."""
    put = LogJournal._put

    async def trusting(self: LogJournal, *arguments: Any) -> Any:
        contact, self._contact = self._contact, Trusting(self._contact)  # type: ignore[assignment]
        try:
            return await put(self, *arguments)
        finally:
            self._contact = contact

    with patch.object(LogJournal, "_put", trusting):
        yield


class Trusting:
    """A contact that is never long ago."""

    def __init__(self, contact: LastContact) -> None:
        self._contact = contact

    def __getattr__(self, name: str) -> Any:
        return getattr(self._contact, name)

    def is_long_ago(self) -> bool:
        return False


@contextmanager
def collects_slots_without_grace() -> Iterator[None]:
    """L9: slots and checkpoints below the newest checkpoint are garbage, however young."""
    with patch.object(Sweep, "_is_old_slot", _any_slot):
        yield


@contextmanager
def takes_collected_for_no() -> Iterator[None]:
    """L11: what neither a slot nor the sessions tell of has not been committed."""
    with patch.object(doubt, "spans", lambda *arguments: True):
        yield


@contextmanager
def checkpoints_too_much() -> Iterator[None]:
    """L6: a checkpoint is named by a slot, and does not have what that slot says."""
    make = Checkpoints._compose

    async def without_the_last(self: Checkpoints, *, quiet: bool) -> Any:
        document = await make(self, quiet=quiet)
        return document if document is None else replace(document, sequence=document.sequence + 1)

    with patch.object(Checkpoints, "_compose", without_the_last):
        yield


async def _any_slot(self: Sweep, found: Any) -> bool:
    return True
