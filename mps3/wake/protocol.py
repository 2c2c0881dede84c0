"""What wake-ups need of a service that can push."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Final, Protocol

CHANNEL: Final = "mps3"
"""The name under which clients of one store reach each other, unless told otherwise."""


class WakeConnection(Protocol):
    """A connection of one client to a service that passes messages on to all clients, the sender included.

    Messages may be lost, repeated, delayed and forged: that costs some requests to the store, and nothing else.
    """

    async def publish(self, message: bytes) -> None:
        """Send a message to all clients. Any exception ends the connection.

        Args:
            message: At most 1,000 bytes of ASCII.
        """
        ...

    async def receive(self) -> bytes:
        """Return the next message. Any exception ends the connection, and the client makes another one later."""
        ...


class Wake(Protocol):
    """A way to reach other clients."""

    def connect(self) -> AbstractAsyncContextManager[WakeConnection]:
        """Return a connection, to be entered once. Each client of mps3 makes one, and another when it was lost."""
        ...
