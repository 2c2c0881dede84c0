"""Notifications between the clients of a store on one machine: those that commit notify the others."""

from __future__ import annotations

import weakref
from typing import Protocol


class Listener(Protocol):
    """What is told of notifications."""

    def notified(self, message: bytes) -> None:
        """Take a message. Called in an event loop, which need not be that of the listener; must not raise."""
        ...


class Notifications:
    """Passes messages on to all listeners in this process, whichever of them has sent it.

    Messages may be lost, repeated and forged. A listener that is no longer referenced elsewhere hears no more.
    """

    def __init__(self) -> None:
        self._listeners: list[weakref.ref[Listener]] = []

    @property
    def reaches_all(self) -> bool:
        """Whether all clients of the store that notify are heard."""
        return True

    def listen(self, listener: Listener) -> None:
        """Pass messages on to a listener."""
        self._listeners.append(weakref.ref(listener, self._listeners.remove))

    def unlisten(self, listener: Listener) -> None:
        """Pass no more messages on to a listener."""
        self._listeners[:] = [one for one in self._listeners if one() is not listener]

    def notify(self, message: bytes) -> None:
        """Send a message of one line to all listeners of the store, soon."""
        self.deliver(message)

    def deliver(self, message: bytes) -> None:
        """Pass a message on to the listeners of this object."""
        for one in tuple(self._listeners):
            if (listener := one()) is not None:
                listener.notified(message)


def notifications_of(storage: object) -> Notifications | None:
    """Return the attribute ``notifications`` of a storage, through which its clients notify each other; it is optional.

    A wrapper that forwards all attributes has none of its own: what it does to requests would not be done to these.
    """
    found = getattr(storage, "__dict__", {}).get("notifications")
    return found if isinstance(found, Notifications) else None
