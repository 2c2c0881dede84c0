"""The listeners of one manifest: subscriptions to a key, and watchers of all changes."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Final
from weakref import WeakValueDictionary

from ..errors import MPS3Error
from ..format.state import View

VIEWS: Final = 64
"""The most states that are buffered for a watcher. The newer of two lists the commits between them, or skips them."""


class Listener:
    """A listener to one key: it is notified when the value of the key may have changed.

    Attributes:
        changed: Set when it may have changed; the listener clears it.
        error: Why nothing more will follow; ``None`` until then.
    """

    def __init__(self) -> None:
        self.changed = asyncio.Event()
        self.error: MPS3Error | None = None


class Watcher(Listener):
    """A listener to all states, one after the other.

    Args:
        matches: Returns whether a key is watched.

    Attributes:
        views: The states that the watcher has not taken yet.
        touched: The keys whose pending value may have changed.
        expired: The keys that may have expired.
    """

    def __init__(self, matches: Callable[[str], bool]) -> None:
        super().__init__()
        self._matches = matches
        self.views: deque[View] = deque()
        self.touched: dict[str, None] = {}
        self.expired: dict[str, None] = {}

    def expire(self, names: Iterable[str]) -> None:
        """Notify it that these keys may have expired."""
        expired = {name: None for name in names if self._matches(name)}
        if expired:
            self.expired.update(expired)
            self.changed.set()

    def offer(self, view: View) -> None:
        """Buffer a new state. If too many are buffered, only the newest is kept."""
        if self.views and self.views[-1] is view:
            return
        if len(self.views) >= VIEWS:
            self.views.clear()
        self.views.append(view)
        self.changed.set()

    def touch(self, names: Iterable[str]) -> None:
        """Notify it that the pending values of these keys may have changed."""
        touched = {name: None for name in names if self._matches(name)}
        if touched:
            self.touched.update(touched)
            self.changed.set()


class Listeners:
    """The listeners of one manifest, held by weak references, so that a dropped subscription is removed."""

    def __init__(self) -> None:
        # Numbered, so that they are notified in the order they came, and a simulation replays exactly.
        self._listeners: dict[str, WeakValueDictionary[int, Listener]] = {}
        self._watchers: WeakValueDictionary[int, Watcher] = WeakValueDictionary()
        self._number = 0
        self._prune_at = 64

    def __len__(self) -> int:
        return sum(map(len, self._listeners.values())) + len(self._watchers)

    @property
    def buffered(self) -> int:
        """How many states are buffered for all watchers."""
        return sum(len(watcher.views) for watcher in list(self._watchers.values()))

    @property
    def names(self) -> Mapping[str, object]:
        """The keys that have, or had, listeners."""
        return self._listeners

    def add(self, name: str, listener: Listener) -> None:
        """Notify ``listener`` of changes of a key, until it is removed or garbage-collected."""
        if len(self._listeners) >= self._prune_at:
            self._listeners = {name: group for name, group in self._listeners.items() if group}
            self._prune_at = 64 + 2 * len(self._listeners)
        self._number += 1
        self._listeners.setdefault(name, WeakValueDictionary())[self._number] = listener

    def remove(self, name: str, listener: Listener) -> None:
        """Stop notifying a listener."""
        group = self._listeners.get(name)
        if group is None:
            return
        for number in [number for number, one in group.items() if one is listener]:
            del group[number]
        if not group:
            del self._listeners[name]

    def add_watcher(self, watcher: Watcher) -> None:
        """Notify ``watcher`` of all changes, until it is removed or garbage-collected."""
        self._number += 1
        self._watchers[self._number] = watcher

    def remove_watcher(self, watcher: Watcher) -> None:
        """Stop notifying a watcher."""
        for number in [number for number, one in self._watchers.items() if one is watcher]:
            del self._watchers[number]

    def offer(self, view: View) -> None:
        """Pass a new state to all watchers."""
        if not self._watchers:
            return
        for watcher in list(self._watchers.values()):
            watcher.offer(view)

    def touch(self, names: Mapping[str, object]) -> None:
        """Notify all listeners that the pending values of these keys may have changed."""
        self.notify(names)
        if not self._watchers:
            return
        for watcher in list(self._watchers.values()):
            watcher.touch(names)

    def expire(self, names: Sequence[str]) -> None:
        """Notify all listeners that these keys may have expired."""
        self.notify(names)
        for watcher in list(self._watchers.values()):
            watcher.expire(names)

    def notify(self, names: Collection[str]) -> None:
        """Notify the listeners of these keys."""
        if not self._listeners:
            return
        if len(names) > len(self._listeners):
            among = frozenset(names) if isinstance(names, Sequence) else names
            names = [name for name in self._listeners if name in among]
        for name in names:
            for listener in list(self._listeners.get(name, {}).values()):
                listener.changed.set()

    def tell(self, error: MPS3Error) -> None:
        """Notify all listeners that no more values will follow."""
        for group in list(self._listeners.values()):
            for listener in list(group.values()):
                listener.error = error
                listener.changed.set()
        for watcher in list(self._watchers.values()):
            watcher.error = error
            watcher.changed.set()
