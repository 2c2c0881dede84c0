"""A session of one manifest: the name that commits are made under, the last sequence, and where writes are kept."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from datetime import datetime, timezone

from .. import errors
from ..errors import MPS3Error
from ..journal.attempt import Attempt
from ..offline.protocol import Done, Forget, Keep, Refusal, Replace, Send, Sent, SetAside, StoredChange, StoredWrite
from ..offline.queue import OutboxQueue
from ..support.environment import Environment
from ..types import Ref


class Session:
    """A sequence of commits to one manifest, numbered in the order in which they are made.

    Args:
        manifest: The manifest.
        name: The name of the session; ``None`` for that of the manifest's journal.
        sequence: The last sequence number that was assigned.
        outbox_queue: Keeps the writes of the session durably; ``None`` if nothing does.
    """

    def __init__(
        self, manifest: Ref, *, name: str | None = None, sequence: int = 0, outbox_queue: OutboxQueue | None = None
    ) -> None:
        self.manifest = manifest
        self.name = name
        self.sequence = sequence
        self.outbox_queue = outbox_queue

    def keep(self, made: datetime, changes: Mapping[str, StoredChange]) -> tuple[int, asyncio.Future[None]] | None:
        """Start to keep a new write durably.

        Args:
            made: When it was made, by this machine's clock.
            changes: Its changes, by the manifest's names of keys.

        Returns:
            The id under which it is kept, and a future that is done once it is durable; ``None`` if nothing keeps
            it.
        """
        if self.outbox_queue is None or self.name is None:
            return None
        number = self.outbox_queue.next_id()
        write = StoredWrite(number, made.timestamp(), changes, stamp=self.outbox_queue.now())
        return number, self.outbox_queue.submit(Keep(self.manifest, self.name, write))

    def rename(self, name: str) -> None:
        """Begin anew under another name. The caller keeps the pending writes under the new name."""
        self.name, self.sequence = name, 0

    def replace(self, stored_id: int, changes: Mapping[str, StoredChange]) -> asyncio.Future[None] | None:
        """Replace the changes of a kept write.

        Returns:
            A future that is done once they are durable; ``None`` if nothing keeps them.
        """
        return None if self.outbox_queue is None else self.outbox_queue.submit(Replace(stored_id, changes))

    def forget(self, stored_id: int) -> None:
        """Stop keeping a write."""
        if self.outbox_queue is not None:
            self.outbox_queue.submit(Forget((stored_id,)))

    async def record_in_flight(self, stored_ids: Iterable[int], attempt: Attempt, witnesses: Mapping[str, int]) -> None:
        """Record that writes are about to be sent as one commit, and may have reached the store from now on.

        Args:
            stored_ids: The ids under which they are kept.
            attempt: The commit.
            witnesses: As in `Sent`.

        Raises:
            MPS3Error: It could not be recorded, so the commit must not be sent.
        """
        if self.outbox_queue is not None and self.name is not None:
            sent = Sent(attempt.sequence, attempt.tries, attempt.update, witnesses)
            await self.outbox_queue.submit(Send(self.name, tuple(stored_ids), sent))

    def record_committed(self, attempt: Attempt) -> None:
        """Record that a commit is durable: its writes need not be kept any more."""
        if self.outbox_queue is not None and self.name is not None:
            self.outbox_queue.submit(Done(self.name, attempt.sequence))

    def set_aside(
        self, stored_ids: Iterable[int], refusal: Refusal, attempt: Attempt | None
    ) -> asyncio.Future[None] | None:
        """Set writes aside that have failed permanently, in a commit in flight or before they were sent.

        Returns:
            A future that is done once no later client sends them; ``None`` if nothing keeps them.
        """
        if self.outbox_queue is None or self.name is None:
            return None
        done = () if attempt is None else (Done(self.name, attempt.sequence),)
        return self.outbox_queue.submit(SetAside(tuple(stored_ids), refusal), *done)


class SessionPool:
    """Sessions for transactions. A session serves one transaction at a time, and is reused once that is decided.

    Args:
        ref: The manifest.
        environment: Names new sessions.
        outbox_queue: Keeps writes durably; ``None`` if nothing does.
    """

    def __init__(self, ref: Ref, environment: Environment, outbox_queue: OutboxQueue | None) -> None:
        self.ref = ref
        self._environment = environment
        self._outbox_queue = outbox_queue
        self._volatile: list[Session] = []
        self._durable: list[Session] = []

    def acquire(self, *, durable: bool = False) -> Session:
        """Return a session that nothing else uses.

        Args:
            durable: Whether the writes that are committed with it are kept durably, if anything does that.
        """
        outbox_queue = self._outbox_queue if durable else None
        free = self._volatile if outbox_queue is None else self._durable
        return free.pop() if free else Session(self.ref, name=self._environment.name(), outbox_queue=outbox_queue)

    def release(self, session: Session) -> None:
        """Return a session to the pool: everything that was committed with it is decided."""
        (self._volatile if session.outbox_queue is None else self._durable).append(session)


def refusal_of(error: MPS3Error, now: datetime) -> Refusal:
    """Return the record of an error that is kept."""
    message = "\n".join([str(error), *getattr(error, "__notes__", ())])
    about = (error.bucket, error.key, error.operation)
    return Refusal(type(error).__name__, message, about, now.timestamp(), error.maybe_written)


def error_of(refusal: Refusal) -> MPS3Error:
    """Return the error that a refusal was made from."""
    kind = getattr(errors, refusal.kind, MPS3Error)
    bucket, key, operation = refusal.about
    error: MPS3Error = kind(
        refusal.message, bucket=bucket, key=key, operation=operation, maybe_written=refusal.maybe_written
    )
    return error


def time_of(seconds: float) -> datetime:
    """Return seconds since 1970 as a time in UTC."""
    return datetime.fromtimestamp(seconds, timezone.utc)
