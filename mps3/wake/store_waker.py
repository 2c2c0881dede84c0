"""Wake-ups of a client by notifications of its store, where the clients of one machine share it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

from ..storage.notifications import Notifications
from ..types import Ref
from .hint import Hint, topic_of


class StoreWaker:
    """The wake-ups of a client whose store notifies. They need no connection, no heartbeat and no task.

    Args:
        notifications: Those of the store.
        idle_interval: Seconds between polls while all clients are heard; ``None``: polls are as frequent as without
            wake-ups, because there may be clients that reach the store in another way.
        hear: Called with the topic and the position of each hint.
    """

    def __init__(
        self, notifications: Notifications, *, idle_interval: float | None, hear: Callable[[str, str], None]
    ) -> None:
        self._idle_interval = idle_interval
        self._notifications = notifications
        self._hear = hear
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def idle_interval(self) -> float | None:
        """Seconds between polls when nothing happens, if they are not those of a client without wake-ups."""
        return self._idle_interval if self._notifications.reaches_all else None

    def start(self) -> None:
        """Listen."""
        self._loop = asyncio.get_running_loop()
        self._notifications.listen(self)

    async def aclose(self) -> None:
        """Listen no more."""
        self._notifications.unlisten(self)

    def announce(self, ref: Ref, position: str) -> None:
        """Tell the other clients that a manifest has moved."""
        self._notifications.notify(Hint(topic_of(ref), position).encode())

    def notified(self, message: bytes) -> None:
        """Take a message, as `mps3.storage.notifications.Listener` does."""
        hint = Hint.decode(message)
        if hint is None or self._loop is None:
            return
        if self._loop is asyncio.get_running_loop():
            self._hear(hint.topic, hint.position)
        else:
            with contextlib.suppress(RuntimeError):  # it is closed, and the client was not
                self._loop.call_soon_threadsafe(self._hear, hint.topic, hint.position)
