"""Pending writes of one manifest: their order, and which of them go out together (R12)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from itertools import takewhile
from typing import Final

from .content import Content, Contents
from .errors import MPS3Error, WithdrawnError
from .types import Commit

QUEUED: Final = "queued"
READY: Final = "ready"
SENT: Final = "sent"
SEEN: Final = "seen"
"""Sent, and part of the resolved state though it is not acknowledged: what others built on it may show."""


class Pending:
    """One write to one manifest, until it is durable or has failed.

    Args:
        changes: The manifest's names of keys, and their new values; ``None`` deletes.
        labels: The same names as the user knows them.

    Attributes:
        outcome: The commit it became part of, or why it did not.
        stage: How far it has come.
    """

    __slots__ = ("changes", "labels", "outcome", "stage")

    def __init__(self, changes: Mapping[str, Content | None], labels: Mapping[str, str]) -> None:
        self.changes = changes
        self.labels = labels
        self.outcome: asyncio.Future[Commit] = asyncio.get_running_loop().create_future()
        self.stage = QUEUED
        # Whether anybody hears of a failure is the business of `Write`.
        self.outcome.add_done_callback(lambda outcome: outcome.cancelled() or outcome.exception())

    @property
    def sent(self) -> bool:
        """Whether it may have left this client."""
        return self.stage in (SENT, SEEN)

    def fail(self, error: MPS3Error) -> None:
        """It did not and will not happen."""
        if not self.outcome.done():
            self.outcome.set_exception(error)


class Outbox:
    """The writes that are not yet durable, in the order they were made.

    They pass two stations: first the values are stored, while an earlier commit may still be under
    way; then they wait to be taken, all that are ready at once, as one commit.

    Args:
        contents: Stores the values.
        ready: Called when there is something to take.
        changed: Called with the names whose pending values are others now.
    """

    def __init__(
        self, contents: Contents, *, ready: Callable[[], None], changed: Callable[[Mapping[str, object]], None]
    ) -> None:
        self._contents = contents
        self._ready = ready
        self._changed = changed
        self._pending: dict[Pending, None] = {}
        self._overlay: dict[str, Content | None] = {}
        self._arrived = asyncio.Event()
        self._empty = asyncio.Event()
        self._empty.set()

    def __len__(self) -> int:
        return len(self._pending)

    @property
    def overlay(self) -> Mapping[str, Content | None]:
        """The newest pending value of each key (R11); ``None`` for one to be deleted."""
        return self._overlay

    def add(self, pending: Pending) -> None:
        """Append a write. It shows at once."""
        self._pending[pending] = None
        self._overlay.update(pending.changes)
        self._empty.clear()
        self._arrived.set()
        self._changed(pending.changes)

    def withdraw(self, pending: Pending) -> bool:
        """Take a write back, unless it is on its way already."""
        if pending not in self._pending or pending.sent:
            return False
        pending.fail(WithdrawnError("the write was withdrawn before it was sent"))
        self.remove([pending])
        return True

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

    def _lay_over(self, names: Mapping[str, object]) -> None:
        self._overlay = {}
        for pending in self._pending:
            if pending.stage != SEEN:
                self._overlay.update(pending.changes)
        self._changed(names)

    def fail(self, group: list[Pending], error: MPS3Error) -> None:
        """Writes that can never happen."""
        for pending in group:
            pending.fail(error)
        self.remove(group)

    def fail_all(self, error: MPS3Error) -> None:
        """Nothing that is pending can happen any more."""
        self.fail(list(self._pending), error)

    def take(self) -> list[Pending]:
        """All writes whose values are stored, to be committed together. They cannot be withdrawn any more."""
        group = list(takewhile(lambda pending: pending.stage == READY, self._pending))
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
            self._arrived.clear()
            batch = [pending for pending in self._pending if pending.stage == QUEUED]
            while batch and (failed := await self._store(batch)):
                self.fail(*failed)
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
            results = await asyncio.gather(*map(self._contents.store, wanted), return_exceptions=True)
            for content, result in zip(wanted, results, strict=True):
                if isinstance(result, MPS3Error):
                    return [one for one in batch if any(content is own for own in one.changes.values())], result
                if isinstance(result, BaseException):
                    raise result

    async def drained(self) -> None:
        """Wait until there is nothing pending."""
        await self._empty.wait()


def final_changes(group: list[Pending]) -> dict[str, Content | None]:
    """What is left of several writes when they become one."""
    changes: dict[str, Content | None] = {}
    for pending in group:
        changes.update(pending.changes)
    return changes
