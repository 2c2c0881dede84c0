"""The iterator over the commits that change the keys with a prefix."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import aclosing
from dataclasses import replace
from itertools import islice
from typing import Final

from ..content.reader import ValueReader
from ..content.store import ValueStore
from ..content.value import PendingValue
from ..errors import ClosedError, CorruptionError, UnavailableError
from ..format.expiry import missed, names_expired, unread
from ..format.file_entry import FileEntry
from ..format.names import Naming
from ..format.state import View, alive, weight
from ..journal.at_hand import at_hand, look_up_all, look_up_in
from ..journal.cursors import Position, cursor_of
from ..journal.diff import Step, advance
from ..journal.run_reader import MissingRunError
from ..manifest.listeners import Watcher
from ..manifest.manifest import Manifest
from ..support.environment import Environment, wait_for_event
from ..types import DELETE, JSON, Batch, Change
from .initial_listing import InitialListing
from .listing import differences_in, scan
from .resumption import Resumption, raise_if_gone
from .subscription import Subscription, version_of
from .threads import in_thread_if_large

BATCH_SIZE: Final = 1000
"""The maximum number of keys in an initial batch, and of changes whose values are fetched together."""
REMEMBERED: Final = 10_000
"""Delivered commits that are remembered, so that none is delivered twice."""

_MISSING: Final = object()


class Watch(Subscription[Batch[JSON]]):
    """An iterator over the present state of the watched keys, and then over every commit that changes them.

    Args:
        prefix: The prefix of the watched keys.
        since: The cursor or the id of a commit to resume after; ``None`` to start with the present state.
    """

    def __init__(
        self,
        manifest: Manifest,
        naming: Naming,
        contents: ValueStore,
        environment: Environment,
        prefix: str,
        since: str | None,
    ) -> None:
        self._matches = naming.matches(prefix)
        self._prefixes = naming.prefixes(prefix)
        self._watcher = Watcher(self._matches)
        super().__init__(manifest, self._watcher, environment)
        self._naming = naming
        self._reader = ValueReader(contents, naming.place)
        self._since = since
        self._resumption: Resumption | None = None
        self._view: View | None = None
        self._delivered: dict[str, None] = {}
        self._initial: InitialListing | None = None
        self._steps: deque[Step] = deque()
        self._ready: deque[Batch[JSON]] = deque()
        self._cursor: str | None = None
        # The expiries up to this time have been delivered, by the store's clock.
        self._moment = -math.inf
        # The same when the last of them was prepared: cursors tell it.
        self._reported = -math.inf
        # Keys that have expired and were never delivered, or were delivered as deleted.
        self._begun = -math.inf
        self._lapsed: set[str] = set()
        self._prune_at = BATCH_SIZE
        # The pending writes of this client that have been delivered.
        self._shown: dict[str, PendingValue | FileEntry | None] = {}
        manifest.listeners.add_watcher(self._watcher)

    async def __anext__(self) -> Batch[JSON]:
        """Wait for the next batch."""
        self._manifest.affinity.check()
        failures = 0
        while not self._closed:
            if self._ready:
                return self._ready.popleft()
            if self._listener.error is not None:
                break
            self._watcher.changed.clear()
            try:
                await self._work()
            except ClosedError:
                break
            except UnavailableError:
                failures += 1
                await wait_for_event(self._watcher.changed, self._environment.backoff(failures))
                continue
            except MissingRunError as error:
                await raise_if_gone(self._manifest, error)
                await wait_for_event(self._watcher.changed, self._environment.backoff(1))
                continue
            if not (self._ready or self._steps or self._initial):
                await self._watcher.changed.wait()
        return self._end()

    def _remove_listener(self) -> None:
        self._manifest.listeners.remove_watcher(self._watcher)

    async def _work(self) -> None:
        """Prepare the next batches, if there are any."""
        if self._view is None:
            await self._begin()
        if self._view is None:
            return  # closed
        if self._initial is not None:
            await self._list(self._initial)
            return
        if await self._deliver_expired(self._view):
            return
        if not self._steps:
            await self._find_steps(self._view)
        if self._steps:
            await self._deliver()
        else:
            await self._show_pending()

    async def _begin(self) -> None:
        await self._refresh()
        if self._closed or self._listener.error is not None:
            return
        moment = self._manifest.expiry.expire()
        view, overlay = self._manifest.state()
        if self._since is None:
            self._initial = InitialListing(view.at(moment), self._files)
            if names_expired(view, moment):
                self._reported = moment  # they are not in the listing
        else:
            if self._resumption is None:
                position = Position.read(self._since)
                self._resumption = Resumption(self._manifest, position, self._matches, self._prefixes)
            steps, old = await self._resumption.steps(view), await self._resumption.last_seen(view)
            until = self._resumption.until
            told = {name for step in steps for name in step.files}
            expired = await in_thread_if_large(0, missed, view, old, until, moment) - told
            ends = ((end, name) for end, name in await in_thread_if_large(0, unread, view) if end > moment)
            over = self._manifest.expiry.expect_at((end, name) for end, name in ends if self._matches(name))
            self._watcher.expired.update(over)
            self._steps.extend(steps)
            self._cursor = self._since
            moment = self._moment = max(moment, until)
            self._reported = Position.read(self._since).moment
            self._deliver_deletions(expired)
        self._moment = self._begun = moment
        self._watcher.views.clear()
        self._remember(view)
        self._watcher.touch(overlay)
        self._view = view

    def _files(self, view: View, after: str | None = None) -> AsyncGenerator[list[tuple[str, FileEntry]]]:
        return scan(view, self._prefixes, self._matches, after=after)

    async def _list(self, initial: InitialListing) -> None:
        chunk = await initial.take(BATCH_SIZE) if initial.chunk is None else initial.chunk
        self._watcher.expired.update(self._manifest.expiry.expect(chunk))
        try:
            changes = await self._changes(chunk)
        except CorruptionError:
            await self._restart_listing(initial)
            return
        initial.name = max([*(name for name, _ in chunk), initial.name or ""])
        initial.chunk = None
        if initial.last:
            self._initial = None
            self._cursor = self._told(cursor_of(initial.view))
            newest = None if initial.view.last is None else initial.view.last.id
            self._ready.append(Batch(newest, changes, initial=True, end_of_initial=True, cursor=self._cursor))
        else:
            self._ready.append(Batch(None, changes, initial=True))

    async def _restart_listing(self, initial: InitialListing) -> None:
        """Continue with a newer state, because a value was collected while the list was read."""
        chunk = initial.chunk or []
        view = await self._superseding(chunk)
        if view is None:
            return
        earlier: dict[str, FileEntry | None] = {}
        if initial.name:
            names = [name for name, _ in chunk if name <= initial.name]
            earlier.update(await look_up_in(view, names))
            earlier.update(await self._differences(initial.view, view, initial.name))
        self._initial = InitialListing(view.at(self._moment), self._files, initial.name)
        self._initial.chunk = sorted(earlier.items()) or None
        self._watcher.views.clear()
        self._remember(view)
        self._view = view

    async def _find_steps(self, old: View) -> None:
        """Find the steps to the next state in the queue."""
        newest, _ = self._manifest.state()
        if old is not newest:
            self._watcher.offer(newest)
        while self._watcher.views and not self._steps:
            new = self._watcher.views[0]
            if new is not old:
                # A key whose expiry has been delivered is not deleted again when the manifest drops it.
                views = old.at(self._moment), new.at(self._moment)
                told = self._delivered, self._matches, self._prefixes
                steps = await in_thread_if_large(weight(old, new), advance, *views, *told)
                if steps is None:
                    await self._catch_up(old, {})
                    return
                self._steps.extend(steps)
                self._remember(new)
                self._view = old = new
            if self._watcher.views and self._watcher.views[0] is new:
                self._watcher.views.popleft()

    async def _catch_up(self, old: View, files: dict[str, FileEntry | None]) -> None:
        """Skip to the newest state in one step."""
        new, _ = self._manifest.state()
        files.update(await self._differences(old, new))
        newest = None if new.last is None else new.last.id
        self._steps.clear()
        self._steps.append(Step(newest, dict(sorted(files.items())), cursor_of(new), skipped=True))
        self._watcher.views.clear()
        self._remember(new)
        self._view = new

    async def _differences(self, old: View, new: View, below: str | None = None) -> dict[str, FileEntry | None]:
        # A key that has expired since may not have been delivered as deleted: the newest state had a value again.
        before, lapsed = old.at(self._begun), frozenset(self._lapsed)
        found: dict[str, FileEntry | None] = {}
        async with aclosing(differences_in(old, new, self._prefixes, below)) as parts:
            async for part in parts:
                found.update((name, file) for name, file in part if self._matches(name))
                deleted = [name for name, file in part if file is None and name in found]
                was = await look_up_in(before, deleted)
                for name in deleted:
                    if was[name] is None or name in lapsed:
                        del found[name]
        return found

    def _remember(self, view: View) -> None:
        for commit in view.commits:
            self._delivered.pop(commit.id, None)
            self._delivered[commit.id] = None
        for identity in list(islice(self._delivered, max(0, len(self._delivered) - REMEMBERED))):
            del self._delivered[identity]
        if len(self._lapsed) > self._prune_at:
            self._lapsed = set(filter(view.may_have, self._lapsed))
            self._prune_at = BATCH_SIZE + 2 * len(self._lapsed)

    async def _deliver(self) -> None:
        """Fetch the values of the next steps together, and prepare their batches."""
        group: list[Step] = []
        size = 0
        for step in self._steps:
            if group and size + len(step.files) > BATCH_SIZE:
                break
            group.append(step)
            size += len(step.files)
        found = [item for step in group for item in step.files.items()]
        wanted = [(name, await self._file_to_deliver(name, file)) for name, file in found]
        self._watcher.expired.update(self._manifest.expiry.expect(wanted))
        try:
            changes = iter(await self._changes(wanted))
        except CorruptionError:
            await self._skip()
            return
        for name, file in wanted:
            (self._lapsed.discard if file else self._lapsed.add)(name)
        if wanted != found:
            self._reported = self._moment
        for step in group:
            self._cursor = self._told(step.cursor)
            batch = Batch(step.id, tuple(islice(changes, len(step.files))), skipped=step.skipped, cursor=self._cursor)
            self._ready.append(batch)
            self._redeliver_pending(step.files)
            self._steps.popleft()

    async def _skip(self) -> None:
        """Skip to the newest state, because a value was superseded and collected before it was fetched."""
        left = [item for step in self._steps for item in step.files.items()]
        new = await self._superseding([(name, file) for name, file in left if file is not None])
        if self._view is not None and new is not None:
            await self._catch_up(self._view, await look_up_in(new, dict(left)))

    async def _deliver_expired(self, view: View) -> bool:
        """Prepare batches for the keys that have expired since the last call. Return whether there are any."""
        before, self._moment = self._moment, max(self._moment, self._manifest.expiry.expire())
        names, self._watcher.expired = self._watcher.expired, {}
        newest = self._manifest.state()[0].at(self._moment)
        try:
            said = await look_up_in(view.at(-math.inf), names)
            expired = [
                name
                for name, file in said.items()
                if alive(file, before) is not None and alive(file, self._moment) is None
            ]
            latest = await look_up_in(newest, expired)
        except BaseException:
            self._moment = before
            self._watcher.expired.update(names)
            raise
        coming = {name for step in self._steps for name in step.files} if expired else ()
        return self._deliver_deletions(name for name in expired if latest[name] is None and name not in coming)

    def _deliver_deletions(self, names: Iterable[str]) -> bool:
        deleted = [name for name in sorted(names) if self._matches(name)]
        for start in range(0, len(deleted), BATCH_SIZE):
            if start + BATCH_SIZE >= len(deleted):
                self._reported = self._moment
                self._cursor = self._told(self._cursor)
            labels = sorted(map(self._naming.label, deleted[start : start + BATCH_SIZE]))
            changes: tuple[Change[JSON], ...] = tuple(Change(label, DELETE, None) for label in labels)
            self._ready.append(Batch(None, changes, cursor=self._cursor))
        self._lapsed.update(deleted)
        self._redeliver_pending(deleted)
        return bool(deleted)

    def _told(self, cursor: str | None) -> str | None:
        """Return a cursor that also tells which expiries have been delivered, if there were any."""
        if cursor is None or self._reported == -math.inf:
            return cursor
        return replace(Position.read(cursor), moment=self._reported).written()

    async def _file_to_deliver(self, name: str, file: FileEntry | None) -> FileEntry | None:
        """Return the file to deliver for a changed key: ``None`` if it has expired, and no newer file follows."""
        if file is None or self._view is None or alive(file, self._moment) is not None:
            return file
        view = self._view.at(self._moment)
        return None if await at_hand(lambda: view.look_up(name)) is None else file

    def _redeliver_pending(self, names: Iterable[str]) -> None:
        """Deliver the pending writes to these keys again, because committed changes were delivered for them."""
        touched = [name for name in names if self._shown.pop(name, _MISSING) is not _MISSING]
        self._watcher.touched.update(dict.fromkeys(touched))

    async def _show_pending(self) -> None:
        """Deliver new pending writes, and take back those that have failed or were withdrawn."""
        view, overlay = self._manifest.state()
        if view is not self._view or not self._watcher.touched:
            return
        touched, self._watcher.touched = self._watcher.touched, {}
        try:
            laid = await look_up_all((), [name for name in touched if name in overlay], overlay.__getitem__)
            pending = {name: one for name, one in laid.items() if self._shown.get(name, _MISSING) is not one}
            again = [name for name in touched if name not in laid and name in self._shown]
            back = list((await look_up_in(view.at(self._moment), again)).items())
            restored = await self._changes(back)
            shown = await self._changes(list(pending.items()), pending=True)
        except BaseException:
            self._watcher.touched.update(touched)
            raise
        for name, _ in back:
            del self._shown[name]
        self._shown.update(pending)
        if restored or shown:
            changes = tuple(sorted((*restored, *shown), key=lambda change: change.key))
            self._ready.append(Batch(None, changes, cursor=self._cursor))

    async def _superseding(self, wanted: Sequence[tuple[str, FileEntry | None]]) -> View | None:
        """Return the newest state, if it supersedes one of these files, whose values could not be read.

        Returns:
            ``None`` if it does not, and they can be read now.

        Raises:
            CorruptionError: It does not, so a value is damaged.
            UnavailableError: The store does not answer, so that it is not known.
        """
        await self._manifest.refresh()
        view, _ = self._manifest.state()
        newest = await look_up_in(view, dict(wanted))
        if any(newest[name] != file for name, file in wanted):
            return view
        self._manifest.require_reachable()
        await self._changes(wanted)  # raises the error again
        return None

    async def _changes(
        self, wanted: Sequence[tuple[str, PendingValue | FileEntry | None]], *, pending: bool = False
    ) -> tuple[Change[JSON], ...]:
        values = await self._reader.read(wanted)
        return tuple(
            Change(self._naming.label(name), value, version_of(found), pending=pending)
            for (name, found), value in zip(wanted, values, strict=True)
        )
