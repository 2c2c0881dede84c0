"""Review of pending writes after a time without the store: which of their keys other clients changed meanwhile."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import Final, TypeAlias

from ..content.patch import PendingPatch
from ..content.store import ValueStore
from ..content.value import PendingValue
from ..errors import CorruptionError, MPS3Error
from ..format.file_entry import FileEntry, version_of
from ..format.state import View
from ..format.values import load
from ..journal.at_hand import at_hand, prepare
from ..journal.run_pieces import Piece
from ..types import DELETE, JSON, Delete, Ref
from .outbox import Outbox
from .overlay import patched_over
from .pending import Pending

FIRST_WAIT: Final = 1.0
LONGEST_WAIT: Final = 60.0
"""Seconds between two calls of a callback that fails, at the most."""

_log = logging.getLogger("mps3")


@dataclass(frozen=True, slots=True)
class PendingChange:
    """One key of a write that has not been sent yet.

    Attributes:
        value: The value that the write sets; `DELETE` if it deletes the key.
        current: The value in the store, if another client changed the key since the write was made; `DELETE` if the
            key does not exist. Otherwise the same as ``value``.
        changed: Whether another client changed the key since the write was made.
        base: The version of the key when the write was made; ``None`` if there was none.
        version: The version of the key now; ``None`` if there is none.
    """

    value: JSON | Delete
    current: JSON | Delete
    changed: bool
    base: str | None
    version: str | None


@dataclass(frozen=True)
class PendingWrite:
    """A write that has not been sent yet. It will be sent, unless the callback decides otherwise.

    Attributes:
        made: When it was made, by this machine's clock.
        changes: Its changes, by the keys as the write named them.
    """

    made: datetime
    changes: Mapping[str, PendingChange]
    _decision: list[Mapping[str, JSON | Delete] | None] = field(default_factory=list, repr=False, compare=False)

    @property
    def changed(self) -> bool:
        """Whether another client changed one of its keys since it was made."""
        return any(change.changed for change in self.changes.values())

    def keep(self) -> None:
        """Send it as it is. This is the default."""
        self._decision.clear()

    def withdraw(self) -> None:
        """Do not send it."""
        self._decision[:] = [None]

    def replace(self, values: Mapping[str, JSON | Delete]) -> None:
        """Send it with other values.

        Args:
            values: Some or all of its keys, and their new values.

        Raises:
            ValueError: The write does not have such a key.
        """
        if unknown := values.keys() - self.changes.keys():
            raise ValueError(f"the write does not change {sorted(unknown)}, only {sorted(self.changes)}")
        self._decision[:] = [dict(values)]


@dataclass(frozen=True, slots=True)
class Reconnect:
    """The writes to be sent after a time without the store.

    Attributes:
        manifest: The manifest.
        writes: All of them, in the order in which they were made.
    """

    manifest: Ref
    writes: tuple[PendingWrite, ...]

    @property
    def conflicts(self) -> tuple[PendingWrite, ...]:
        """The writes to keys that another client changed meanwhile: at least one."""
        return tuple(write for write in self.writes if write.changed)


OnReconnect: TypeAlias = Callable[[Reconnect], Awaitable[None] | None]


class Review:
    """Lets the application review pending writes before they are sent.

    Args:
        contents: Fetches and prepares values.
        callback: The callback of the application.

    Attributes:
        due: Whether pending writes must wait for the review.
    """

    def __init__(self, contents: ValueStore, callback: OnReconnect) -> None:
        self.due = False
        self._contents = contents
        self._callback = callback
        self._task: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """Let pending writes wait until they have been reviewed."""
        self.due = True

    def start(self, manifest: Ref, outbox: Outbox, view: Callable[[], View], done: Callable[[], None]) -> None:
        """Start the review, unless it is running.

        Args:
            manifest: Whose writes they are.
            outbox: The outbox that holds them.
            view: Returns the newest state.
            done: Called when they may be sent.
        """
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(
                self._run(manifest, outbox, view, done), name=f"mps3 review {manifest}"
            )
            self._task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._task = None
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.critical("a defect in mps3 stopped the review of pending writes", exc_info=error)

    async def _run(self, manifest: Ref, outbox: Outbox, view: Callable[[], View], done: Callable[[], None]) -> None:
        failures = 0
        while True:
            waiting, now = outbox.waiting(), view()
            names = [name for pending in waiting for name in pending.changes]
            held: list[Piece] = []
            try:
                await prepare(now.layers, names, held)  # until it is decided
                changed = await at_hand(lambda: [_changed(one, now) for one in waiting], held)  # noqa: B023 - at once
            except MPS3Error as error:
                failures += 1
                _log.warning("it is not known yet what pending writes replace: %s", error)
                await asyncio.sleep(min(LONGEST_WAIT, FIRST_WAIT * 2.0 ** min(failures - 1, 30)))
                continue
            if not any(changed):
                self.due = False
                done()
                return
            try:
                writes = [await self._offer(pending, now, outbox) for pending in waiting]
                answer = self._callback(Reconnect(manifest, tuple(writes)))
                if inspect.isawaitable(answer):
                    await answer
                decisions = [self._decided(*pair) for pair in zip(waiting, writes, strict=True)]
            except Exception:  # noqa: BLE001 - the application may raise anything
                failures += 1
                seconds = min(LONGEST_WAIT, FIRST_WAIT * 2.0 ** min(failures - 1, 30))
                _log.exception("on_reconnect failed: pending writes wait, and it is called again in %.0f s", seconds)
                await asyncio.sleep(seconds)
                continue
            for pending, changes in zip(waiting, decisions, strict=True):
                _apply(outbox, pending, changes, now)

    async def _offer(self, pending: Pending, now: View, outbox: Outbox) -> PendingWrite:
        changes = {}
        below = outbox.below(pending, now, now.moment)
        for name, content in pending.changes.items():
            file, (bucket, key) = now.look_up(name), pending.places[name]
            changed = version_of(file) != pending.base_versions.get(name)
            if isinstance(content, PendingPatch):
                shown = patched_over(content, below.get(name, file), now.moment)
                value = await self._current(bucket, key, shown)
            else:
                value = DELETE if content is None else await load(content.body, bucket, key, None)
            current = await self._current(bucket, key, file) if changed else value
            changes[pending.labels[name]] = PendingChange(
                value, current, changed, pending.base_versions.get(name), version_of(file)
            )
        return PendingWrite(pending.made, MappingProxyType(changes))

    async def _current(self, bucket: str, key: str, file: FileEntry | None) -> JSON | Delete:
        if file is None:
            return DELETE
        try:
            return await load(await self._contents.fetch(bucket, key, file), bucket, key, file["version"])
        except CorruptionError as error:
            _log.warning("the current value for on_reconnect cannot be read: %s", error)
            return None

    def _decided(self, pending: Pending, write: PendingWrite) -> dict[str, PendingValue | None] | None:
        if not write._decision:  # noqa: SLF001 - ours
            return dict(pending.changes)
        values = write._decision[0]  # noqa: SLF001 - ours
        if values is None:
            return None
        changes = dict(pending.changes)
        for name, label in pending.labels.items():
            if label in values:
                value, old = values[label], pending.changes[name]
                changes[name] = (
                    None
                    if value is DELETE
                    else self._contents.prepare(
                        *pending.places[name],
                        value,
                        (pending.session.manifest,),
                        None if old is None else old.expires_in,
                        may_be_inline=old is not None and old.inline,
                    )
                )
        return changes

    async def aclose(self) -> None:
        """Stop the review."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)


def _apply(outbox: Outbox, pending: Pending, changes: dict[str, PendingValue | None] | None, now: View) -> None:
    if pending.outcome.done():
        return  # withdrawn during the callback
    if changes is None:
        outbox.withdraw(pending)
        return
    for name in changes:
        pending.base_versions[name] = version_of(now.look_up(name))
    if any(changes[name] is not pending.changes[name] for name in changes):
        outbox.replace(pending, changes)
        pending.keep_replaced()


def _changed(pending: Pending, now: View) -> bool:
    return any(version_of(now.look_up(name)) != pending.base_versions.get(name) for name in pending.changes)
