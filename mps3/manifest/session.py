"""A session of one manifest: the name that commits are made under, how far it has come, where its writes are kept."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from .. import errors
from ..content.value import PendingValue
from ..errors import MPS3Error
from ..journal.attempt import Attempt
from ..offline.protocol import Done, Forget, Keep, Refusal, Replace, Send, Sent, SetAside, StoredChange, StoredWrite
from ..offline.queue import OutboxQueue
from ..types import UNCHECKED, Ref

if TYPE_CHECKING:
    from .outbox import Pending


class Session:
    """A line of commits, each above the one before.

    Args:
        manifest: Of which manifest.
        name: Its name; ``None`` for that of the manifest's journal.
        sequence: The last one given away.
        outbox_queue: What keeps its writes durably; ``None`` if nothing does.
    """

    def __init__(
        self, manifest: Ref, *, name: str | None = None, sequence: int = 0, outbox_queue: OutboxQueue | None = None
    ) -> None:
        self.manifest = manifest
        self.name = name
        self.sequence = sequence
        self.outbox_queue = outbox_queue

    def keep(self, pending: Pending) -> None:
        """Keep a write that has just been made, sooner or later."""
        if self.outbox_queue is None or self.name is None or pending.fleeting:
            return
        pending.row = self.outbox_queue.next_id()
        row = StoredWrite(pending.row, pending.made.timestamp(), _changes(pending), stamp=self.outbox_queue.now())
        pending.kept = self.outbox_queue.submit(Keep(self.manifest, self.name, row))

    def rename(self, name: str, pending: Iterable[Pending]) -> None:
        """Begin anew under another name.

        Args:
            name: The name.
            pending: What is pending; its own is kept under that name from now on.
        """
        self.name, self.sequence = name, 0
        for one in pending:
            if one.session is self and self.outbox_queue is not None and (row := one.row) is not None:
                self.keep(one)
                self.outbox_queue.submit(Forget((row,)))

    def replace(self, pending: Pending) -> None:
        """A write has other changes now."""
        if self.outbox_queue is not None and pending.row is not None:
            pending.kept = self.outbox_queue.submit(Replace(pending.row, _changes(pending)))

    def rebase(self, pending: Pending) -> None:
        """What a write may replace is another version now. It matters in a later life if the write is to expire."""
        expires = any(content is not None and content.expires_in is not None for content in pending.changes.values())
        if expires and self.outbox_queue is not None and pending.row is not None:
            self.outbox_queue.submit(Replace(pending.row, _changes(pending)))

    def forget(self, pending: Pending) -> None:
        """A write was withdrawn."""
        if self.outbox_queue is not None and pending.row is not None:
            self.outbox_queue.submit(Forget((pending.row,)))

    async def send(self, group: Sequence[Pending], attempt: Attempt, witnesses: Mapping[str, int]) -> None:
        """From now on the group may have reached the store.

        Raises:
            MPS3Error: It could not be recorded, so it must not be sent.
        """
        if self.outbox_queue is not None and self.name is not None:
            sent = Sent(attempt.sequence, attempt.tries, attempt.update, witnesses)
            await self.outbox_queue.submit(Send(self.name, _ids(group), sent))

    def done(self, attempt: Attempt) -> None:
        """The group is committed."""
        if self.outbox_queue is not None and self.name is not None:
            self.outbox_queue.submit(Done(self.name, attempt.sequence))

    def set_aside(self, group: Sequence[Pending], refusal: Refusal, attempt: Attempt | None) -> None:
        """Some writes failed for good, of a group on its way or before they left."""
        if self.outbox_queue is not None and self.name is not None:
            done = () if attempt is None else (Done(self.name, attempt.sequence),)
            self.outbox_queue.submit(SetAside(_ids(group), refusal), *done)


def refusal_of(error: MPS3Error, now: datetime) -> Refusal:
    """What is kept of an error."""
    message = "\n".join([str(error), *getattr(error, "__notes__", ())])
    about = (error.bucket, error.key, error.operation)
    return Refusal(type(error).__name__, message, about, now.timestamp(), error.maybe_written)


def error_of(refusal: Refusal) -> MPS3Error:
    """The error again."""
    kind = getattr(errors, refusal.kind, MPS3Error)
    bucket, key, operation = refusal.about
    error: MPS3Error = kind(
        refusal.message, bucket=bucket, key=key, operation=operation, maybe_written=refusal.maybe_written
    )
    return error


def time_of(seconds: float) -> datetime:
    """A time for people to read."""
    return datetime.fromtimestamp(seconds, timezone.utc)


def contents_of(row: StoredWrite, manifest: Ref) -> dict[str, PendingValue | None]:
    """The values of a kept write, to be stored again."""
    return {
        name: None
        if change.body is None
        else PendingValue(change.bucket, change.key, change.body, (manifest,), change.expires_in)
        for name, change in row.changes.items()
    }


def _changes(pending: Pending) -> dict[str, StoredChange]:
    return {
        name: StoredChange(
            *pending.places[name],
            pending.labels[name],
            None if content is None else content.body,
            pending.bases.get(name),
            pending.expect.get(name, UNCHECKED),
            None if content is None else content.expires_in,
        )
        for name, content in pending.changes.items()
    }


def _ids(group: Sequence[Pending]) -> tuple[int, ...]:
    return tuple(pending.row for pending in group if pending.row is not None)
