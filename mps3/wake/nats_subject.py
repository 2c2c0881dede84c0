"""Wake-ups by a subject of NATS."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

from .extra import needed
from .protocol import CHANNEL

PENDING: Final = 1000
"""Messages that wait to be received, at the most."""


class NatsConnection:
    """A connection to NATS, subscribed to the subject."""

    def __init__(self, client: Any, subscription: Any, subject: str) -> None:
        self._client = client
        self._subscription = subscription
        self._subject = subject

    async def publish(self, message: bytes) -> None:
        """As `WakeConnection.publish`."""
        await self._client.publish(self._subject, message)
        await self._client.flush()

    async def receive(self) -> bytes:
        """As `WakeConnection.receive`."""
        found = await self._subscription.next_msg(timeout=None)
        return bytes(found.data)


class NatsWake:
    """Wake-ups by a subject of NATS; see `nats`."""

    def __init__(self, servers: str | Sequence[str], subject: str, options: dict[str, Any]) -> None:
        self._servers = servers if isinstance(servers, str) else list(servers)
        self._subject = subject
        self._options = options

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[NatsConnection]:
        """As `Wake.connect`."""
        library = needed("nats", "nats")

        async def unheard(_: Exception) -> None:
            """Errors end the connection, which is logged; the library would print them."""

        options = {"connect_timeout": 5, "allow_reconnect": False, "error_cb": unheard, **self._options}
        client = await library.connect(self._servers, **options)
        try:
            subscription = await client.subscribe(self._subject, pending_msgs_limit=PENDING)
            yield NatsConnection(client, subscription, self._subject)
        finally:
            await client.close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._subject}>"


def nats(servers: str | Sequence[str], *, subject: str = CHANNEL, **options: Any) -> NatsWake:
    """Return wake-ups by a subject of NATS.

    Args:
        servers: ``nats://host:4222``, or several.
        subject: The subject. Clients of one store have the same.
        **options: Further arguments of ``nats.connect``.

    Raises:
        ConfigurationError: The extra ``mps3[nats]`` is not installed.
    """
    needed("nats", "nats")
    return NatsWake(servers, subject, options)
