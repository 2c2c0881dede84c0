"""Who wants to know of which key."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from weakref import WeakValueDictionary

from .errors import MPS3Error


class Listener:
    """Somebody who wants to know when a key may have another value.

    Attributes:
        changed: Set when it may; the listener clears it.
        error: Why there will be no more; the listener clears nothing.
    """

    def __init__(self) -> None:
        self.changed = asyncio.Event()
        self.error: MPS3Error | None = None


class Listeners:
    """The listeners of one manifest. They are held weakly: a dropped subscription is gone."""

    def __init__(self) -> None:
        # Numbered, so that they are told in the order they came, and a simulation replays exactly.
        self._listeners: dict[str, WeakValueDictionary[int, Listener]] = {}
        self._number = 0
        self._prune_at = 64

    def __len__(self) -> int:
        return sum(map(len, self._listeners.values()))

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
