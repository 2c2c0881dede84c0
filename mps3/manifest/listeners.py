"""Who wants to know of which key."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final
from weakref import WeakValueDictionary

from ..errors import MPS3Error
from ..format.state import View

VIEWS: Final = 64
"""States that wait for a watcher. The commits between any two of them are listed by the newer, or else skipped."""


class Listener:
    """Somebody who wants to know when a key may have another value.

    Attributes:
        changed: Set when it may; the listener clears it.
        error: Why there will be no more; the listener clears nothing.
    """

    def __init__(self) -> None:
        self.changed = asyncio.Event()
        self.error: MPS3Error | None = None


class Watcher(Listener):
    """Somebody who wants to know of every state, one after the other.

    Args:
        matches: Which keys are watched.

    Attributes:
        views: The states that wait to be looked at.
        touched: The keys whose pending value may be another.
        expired: The keys whose time may be over.
    """

    def __init__(self, matches: Callable[[str], bool]) -> None:
        super().__init__()
        self._matches = matches
        self.views: deque[View] = deque()
        self.touched: dict[str, None] = {}
        self.expired: dict[str, None] = {}

    def expire(self, names: Iterable[str]) -> None:
        """The time of these keys may be over."""
        expired = {name: None for name in names if self._matches(name)}
        if expired:
            self.expired.update(expired)
            self.changed.set()

    def offer(self, view: View) -> None:
        """There is a new state. If too many wait, only the newest is kept."""
        if self.views and self.views[-1] is view:
            return
        if len(self.views) >= VIEWS:
            self.views.clear()
        self.views.append(view)
        self.changed.set()

    def touch(self, names: Iterable[str]) -> None:
        """The pending values of these keys may be others."""
        touched = {name: None for name in names if self._matches(name)}
        if touched:
            self.touched.update(touched)
            self.changed.set()


class Listeners:
    """The listeners of one manifest. They are held weakly: a dropped subscription is gone."""

    def __init__(self) -> None:
        # Numbered, so that they are told in the order they came, and a simulation replays exactly.
        self._listeners: dict[str, WeakValueDictionary[int, Listener]] = {}
        self._watchers: WeakValueDictionary[int, Watcher] = WeakValueDictionary()
        self._number = 0
        self._prune_at = 64

    def __len__(self) -> int:
        return sum(map(len, self._listeners.values())) + len(self._watchers)

    @property
    def buffered(self) -> int:
        """How many states wait for watchers to look at them."""
        return sum(len(watcher.views) for watcher in list(self._watchers.values()))

    @property
    def names(self) -> Mapping[str, object]:
        """The keys that are listened to; some may have lost their listeners."""
        return self._listeners

    def add(self, name: str, listener: Listener) -> None:
        """Tell ``listener`` of a key, for as long as it lives."""
        if len(self._listeners) >= self._prune_at:
            self._listeners = {name: group for name, group in self._listeners.items() if group}
            self._prune_at = 64 + 2 * len(self._listeners)
        self._number += 1
        self._listeners.setdefault(name, WeakValueDictionary())[self._number] = listener

    def remove(self, name: str, listener: Listener) -> None:
        """Tell it no more."""
        group = self._listeners.get(name)
        if group is None:
            return
        for number in [number for number, one in group.items() if one is listener]:
            del group[number]
        if not group:
            del self._listeners[name]

    def add_watcher(self, watcher: Watcher) -> None:
        """Tell ``watcher`` of everything, for as long as it lives."""
        self._number += 1
        self._watchers[self._number] = watcher

    def remove_watcher(self, watcher: Watcher) -> None:
        """Tell it no more."""
        for number in [number for number, one in self._watchers.items() if one is watcher]:
            del self._watchers[number]

    def offer(self, view: View) -> None:
        """There is a new state."""
        for watcher in list(self._watchers.values()):
            watcher.offer(view)

    def touch(self, names: Mapping[str, object]) -> None:
        """The pending values of these keys may be others."""
        self.notify(names)
        for watcher in list(self._watchers.values()):
            watcher.touch(names)

    def expire(self, names: Sequence[str]) -> None:
        """The time of these keys may be over."""
        self.notify(names)
        for watcher in list(self._watchers.values()):
            watcher.expire(names)

    def notify(self, names: Iterable[str]) -> None:
        """These keys may have other values."""
        for name in names:
            for listener in list(self._listeners.get(name, {}).values()):
                listener.changed.set()

    def tell(self, error: MPS3Error) -> None:
        """There will be no more values, for anyone."""
        for group in list(self._listeners.values()):
            for listener in list(group.values()):
                listener.error = error
                listener.changed.set()
        for watcher in list(self._watchers.values()):
            watcher.error = error
            watcher.changed.set()
