"""Wake-ups by LISTEN and NOTIFY of PostgreSQL."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

from ..errors import UnavailableError
from .extra import needed
from .protocol import CHANNEL

PENDING: Final = 1000
"""Messages that wait to be received, at the most. Others are dropped: they only say that there is more."""


class PostgresConnection:
    """A connection to PostgreSQL that listens to the channel."""

    def __init__(self, client: Any, channel: str) -> None:
        self._client = client
        self._channel = channel
        self._messages: asyncio.Queue[bytes | None] = asyncio.Queue(PENDING)

    async def open(self) -> None:
        """Listen."""
        self._client.add_termination_listener(self._ended)
        await self._client.add_listener(self._channel, self._heard)

    def _heard(self, _client: Any, _process: int, _channel: str, message: str) -> None:
        with contextlib.suppress(asyncio.QueueFull):
            self._messages.put_nowait(message.encode())

    def _ended(self, _client: Any) -> None:
        with contextlib.suppress(asyncio.QueueFull):
            self._messages.put_nowait(None)

    async def publish(self, message: bytes) -> None:
        """As `WakeConnection.publish`."""
        await self._client.execute("SELECT pg_notify($1, $2)", self._channel, message.decode())

    async def receive(self) -> bytes:
        """As `WakeConnection.receive`."""
        message = await self._messages.get()
        if message is None:
            raise UnavailableError("the connection to PostgreSQL was lost")
        return message


class PostgresWake:
    """Wake-ups by LISTEN and NOTIFY of PostgreSQL; see `postgres`."""

    def __init__(self, dsn: str | None, channel: str, options: dict[str, Any]) -> None:
        self._dsn = dsn
        self._channel = channel
        self._options = options

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[PostgresConnection]:
        """As `Wake.connect`."""
        library = needed("asyncpg", "postgres")
        client = await library.connect(self._dsn, **{"timeout": 5.0, **self._options})
        try:
            connection = PostgresConnection(client, self._channel)
            await connection.open()
            yield connection
        finally:
            client.terminate()  # there is nothing to finish, and a server that hangs would not answer

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._channel}>"


def postgres(dsn: str | None = None, *, channel: str = CHANNEL, **options: Any) -> PostgresWake:
    """Return wake-ups by LISTEN and NOTIFY of PostgreSQL.

    Behind a pooler, the session has to be one's own: transaction pooling does not deliver notifications.

    Args:
        dsn: ``postgresql://user@host/database``, or as else ``asyncpg.connect`` takes it; ``None`` for what ``PGHOST``
            and the other variables say.
        channel: The channel. Clients of one store have the same.
        **options: Further arguments of ``asyncpg.connect``.

    Raises:
        ConfigurationError: The extra ``mps3[postgres]`` is not installed.
    """
    needed("asyncpg", "postgres")
    return PostgresWake(dsn, channel, options)
