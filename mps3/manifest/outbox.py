"""The outbox of one manifest: its pending writes in order, and which of them form one commit (R12)."""

from __future__ import annotations

import asyncio
from collections import ChainMap
from collections.abc import Awaitable, Callable, Mapping
from collections.abc import Set as AbstractSet
from datetime import datetime
from functools import partial
from itertools import chain, takewhile
from typing import Any, cast

from ..content.many import ManyValues
from ..content.store import AT_ONCE, ValueStore
from ..content.value import PendingValue
from ..errors import MPS3Error, WithdrawnError, doubted
from ..format.file_entry import FileEntry
from ..format.state import View
from ..support.gather import gather_bounded
from .overlay import Below, Laid, ResolvedOverlay, lay
from .pending import QUEUED, READY, SEEN, SENT, Pending, ResendIdentity, final_changes, joint


class Outbox:
    """The writes of one manifest that are not yet durable, in the order they were made.

    First their values are stored, while an earlier commit may still be in flight. Then they wait to be taken: all
    that are ready form one commit.

    Args:
        contents: Stores the values.
        ready: Called when writes are ready to be taken.
        changed: Called with the names whose pending values have changed.
        foresee: Returns why a patch of several keys will not apply to one of them, if that is so; ``None`` if not.
        refused: Called with writes whose values can never be stored, and the error. It has to `fail` them.
    """

    def __init__(
        self,
        contents: ValueStore,
        *,
        ready: Callable[[], None],
        changed: Callable[[Mapping[str, object]], None],
        foresee: Callable[[Pending, Below], Awaitable[MPS3Error | None]],
        refused: Callable[[list[Pending], MPS3Error], None],
    ) -> None:
        self._contents = contents
        self._foresee = foresee
        self._refused = refused
        self._ready = ready
        self._changed = changed
        self._pending: dict[Pending, None] = {}
        self._durable: dict[Pending, None] = {}  # what the state does not show yet
        self._newest: dict[str, Laid] = {}  # the part of the overlay that new writes change
        self._overlay: Mapping[str, Laid] = self._newest
        self._patches = 0  # pending writes that change parts of values
        self._resolved: ResolvedOverlay | None = None
        self._arrived = asyncio.Event()
        self._empty = asyncio.Event()
        self._empty.set()

    def __len__(self) -> int:
        return len(self._pending)

    def overlay(self, view: View, moment: float) -> Mapping[str, PendingValue | FileEntry | None]:
        """Return the newest pending value of each key over a state (R11); ``None`` for one to be deleted.

        Args:
            view: The state.
            moment: The time at the store, in seconds since 1970.
        """
        if not self._patches:
            return cast("Mapping[str, PendingValue | None]", self._overlay)
        if self._resolved is None or not self._resolved.is_over(self._overlay, view):
            self._resolved = ResolvedOverlay(self._overlay, view, moment)
        self._resolved.moment = moment
        return self._resolved

    def below(self, pending: Pending, view: View, moment: float) -> Mapping[str, PendingValue | FileEntry | None]:
        """Return what the pending writes before another one say of its keys, over a state.

        Args:
            pending: The other write.
            view: The state.
            moment: The time at the store, in seconds since 1970.
        """
        laid: dict[str, Laid] = {}
        for one in takewhile(lambda one: one is not pending, chain(self._durable, self._pending)):
            if one.stage != SEEN:
                lay(laid, {name: one.changes[name] for name in pending.changes if name in one.changes}, laid)
        return ResolvedOverlay(laid, view, moment)

    @property
    def oldest(self) -> datetime | None:
        """When the first of the writes was made."""
        return next((pending.made for pending in self._pending), None)

    def all(self) -> list[Pending]:
        """Return all pending writes, in the order they were made."""
        return list(self._pending)

    def waiting(self) -> list[Pending]:
        """Return the writes that have never been sent."""
        return [pending for pending in self._pending if not pending.sent and pending.resend_as is None]

    def add(self, pending: Pending) -> None:
        """Append a write. The overlay shows it at once."""
        self._pending[pending] = None
        if pending.is_large:
            self._build_overlay()
        else:
            lay(self._newest, pending.changes, self._overlay)
            self._patches += pending.is_patch
        self._empty.clear()
        self._arrived.set()
        self._changed(pending.changes)

    def withdraw(self, pending: Pending) -> bool:
        """Withdraw a write, unless it may have been sent; return whether it is withdrawn."""
        if pending not in self._pending or pending.sent or pending.resend_as is not None:
            return False
        pending.fail(WithdrawnError("the write was withdrawn before it was sent"))
        pending.forget()
        self.remove([pending])
        return True

    def replace(self, pending: Pending, changes: Mapping[str, PendingValue | None]) -> None:
        """Replace the values of a write that has not been sent."""
        pending.changes = changes
        pending.stage = QUEUED
        self._update_overlay(changes)
        self._arrived.set()

    def leave_out(self, pending: Pending, names: AbstractSet[str]) -> None:
        """Remove keys from a write that has not been sent; if it has no other, withdraw it."""
        pending.changes = {name: one for name, one in pending.changes.items() if name not in names}
        pending.labels = {name: label for name, label in pending.labels.items() if name not in names}
        if not pending.changes:
            pending.fail(WithdrawnError("what it wrote had expired before it could be sent"))
            pending.forget()
            self.remove([pending])
        self._update_overlay(dict.fromkeys(names))

    def resend(self, group: list[Pending], resend_as: ResendIdentity) -> None:
        """Store the values of a group again, and then send it under the identity that it had before."""
        for pending in group:
            pending.stage = QUEUED
            pending.resend_as = resend_as
        for content in final_changes(group).values():
            if content is not None:
                content.version = None
        self._arrived.set()

    def remove(self, group: list[Pending]) -> None:
        """Remove writes that are durable or have failed."""
        removed = []
        for pending in group:
            if pending in self._pending:
                del self._pending[pending]
                removed.append(pending)
        if removed:
            self._update_overlay(final_changes(removed))
        if not self._pending:
            self._empty.set()

    def remove_durable(self, group: list[Pending]) -> None:
        """Remove writes that are durable, though the state does not show them yet: the overlay does, until `forget`."""
        self._durable.update(dict.fromkeys(group))
        self.remove(group)

    def is_durable(self, name: str) -> bool:
        """Return whether such a write is the newest of a key: others may have changed it since."""
        if not any(name in pending.changes for pending in self._durable):
            return False
        return not any(name in pending.changes for pending in self._pending if pending.stage != SEEN)

    def forget(self, group: list[Pending]) -> None:
        """Show durable writes no longer: the state does."""
        for pending in group:
            del self._durable[pending]
        self._update_overlay(final_changes(group))

    def send_again(self, group: list[Pending]) -> None:
        """Send durable writes again, whose commit does not count after all, before those that wait."""
        for pending in group:
            del self._durable[pending]
            pending.stage = READY
        self._pending = {**dict.fromkeys(group), **self._pending}
        self._empty.clear()
        self._update_overlay(final_changes(group))
        self._ready()

    def mark_seen(self, group: list[Pending], *, seen: bool) -> None:
        """Record whether writes in flight are part of the resolved state, which then shows them itself."""
        stage = SEEN if seen else SENT
        marked = []
        for pending in group:
            if pending.stage != stage:
                pending.stage = stage
                marked.append(pending)
        if marked:
            self._update_overlay(final_changes(marked))

    def mark_overwritten(self, pending: Pending, names: frozenset[str]) -> None:
        """Record the keys of an arrived transaction that later commits of other clients have changed."""
        if pending.overwritten != names:
            different = pending.overwritten ^ names
            pending.overwritten = names
            if pending in self._pending:
                self._update_overlay(dict.fromkeys(different))

    def _update_overlay(self, names: Mapping[str, object]) -> None:
        self._build_overlay()
        self._changed(names)

    def _build_overlay(self) -> None:
        self._resolved = None
        newest: dict[str, Laid] = {}
        below: list[Any] = []  # large writes, and what is between them
        self._patches = sum(pending.is_patch for pending in self._pending)
        for pending in chain(self._durable, self._pending):
            if pending.stage == SEEN:
                continue
            changes = pending.changes
            if pending.is_large:
                below += [newest, changes] if newest else [changes]
                newest = {}
                continue
            if pending.overwritten:
                changes = {name: one for name, one in changes.items() if name not in pending.overwritten}
            if pending.is_patch:
                lay(newest, changes, ChainMap(newest, *reversed(below)) if below else newest)
            else:
                newest.update(changes)
        self._newest = newest
        self._overlay = ChainMap(newest, *reversed(below)) if below else newest

    def fail(self, group: list[Pending], error: MPS3Error, recorded: asyncio.Future[Any] | None = None) -> None:
        """Fail writes, and remove them.

        Args:
            group: The writes.
            error: Why.
            recorded: Done once no later client sends those that are kept. Only then their callers are told.
        """
        for pending in group:
            if recorded is None or pending.stored_id is None:
                pending.fail(error)
            else:
                recorded.add_done_callback(partial(_fail_recorded, pending, error))
        self.remove(group)

    def fail_all(self, error: MPS3Error) -> None:
        """Fail all pending writes: this client sends nothing any more."""
        pendings = list(self._pending)
        for pending in pendings:
            pending.fail(doubted(error) if pending.maybe_written else error)
        self.remove(pendings)

    def take(self) -> list[Pending]:
        """Take the writes at the front that are ready and of one session, to be committed together.

        They cannot be withdrawn any more. A large one is taken alone.
        """
        # Arrived transactions wait to be decided; other writes do not wait for them.
        waiting = [pending for pending in self._pending if not pending.sent]
        if not waiting:
            return []
        first = waiting[0]
        session, resend_as = first.session, first.resend_as
        if first.is_large:
            if not first.ready:
                return []
            first.stage = SENT
            return [first]
        group = list(
            takewhile(
                lambda one: one.ready and one.session is session and one.resend_as is resend_as and not one.is_large,
                waiting,
            )
        )
        if resend_as is None:
            group = group[: joint(group)]
        if not all(map(_has_version, final_changes(group).values())):
            # After a withdrawal, an earlier value of the key is the newest again, and was not stored.
            for pending in group:
                pending.stage = QUEUED
            self._arrived.set()
            return []
        for pending in group:
            pending.stage = SENT
        return group

    async def run(self) -> None:
        """Store the values of writes as they arrive, until cancelled."""
        while True:
            await self._arrived.wait()
            await self._contents.wait_until_online()
            self._arrived.clear()
            await self._store_arrived()

    async def _store_arrived(self) -> None:
        # A method of its own, so that nothing refers to the writes while it waits for others.
        batch = [pending for pending in self._pending if pending.stage == QUEUED]
        await self._refuse_what_will_not_apply(batch)
        batch = [pending for pending in batch if pending in self._pending]
        while batch and (failed := await self._store(batch)):
            group, error = failed
            # An earlier client may have sent it with other versions of its values.
            if any(pending.resend_as is not None for pending in group):
                error = doubted(error)
            self._refused(group, error)
            batch = [pending for pending in batch if pending in self._pending]
        for pending in batch:
            if pending in self._pending:
                pending.stage = READY
        if batch:
            self._ready()

    async def _refuse_what_will_not_apply(self, batch: list[Pending]) -> None:
        for pending in batch:
            # What changes one key only needs no look: if it does not apply, nothing happens.
            if pending.is_patch and len(pending.changes) > 1 and pending.resend_as is None:
                error = await self._foresee(pending, self.below)
                if error is not None and pending in self._pending:
                    self._refused([pending], error)

    async def _store(self, batch: list[Pending]) -> tuple[list[Pending], MPS3Error] | None:
        """Store the newest value of each key. The others of the batch are never shown to other clients.

        Returns:
            The writes whose values can never be stored, and the error; ``None`` when all is stored.
        """
        for pending in batch:
            if isinstance(pending.changes, ManyValues):
                await self._contents.store_many(pending.changes)
        while True:
            batch = [pending for pending in batch if pending in self._pending and not pending.is_large]
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


def _has_version(content: PendingValue | None) -> bool:
    return content is None or content.version is not None


def _fail_recorded(pending: Pending, error: MPS3Error, _: object) -> None:
    pending.fail(error)
