"""Wake-ups by a channel of Redis or Valkey."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from .extra import needed
from .protocol import CHANNEL


class RedisConnection:
    """A connection to Redis: one for publishing, one that is subscribed."""

    def __init__(self, client: Any, subscription: Any, channel: str) -> None:
        self._client = client
        self._subscription = subscription
        self._channel = channel

    async def publish(self, message: bytes) -> None:
        """As `WakeConnection.publish`."""
        await self._client.publish(self._channel, message)

    async def receive(self) -> bytes:
        """As `WakeConnection.receive`."""
        while True:
            found = await self._subscription.get_message(ignore_subscribe_messages=True, timeout=None)
            if found is not None and isinstance(found["data"], bytes):
                return found["data"]


class RedisWake:
    """Wake-ups by a channel of Redis or Valkey; see `redis`."""

    def __init__(self, url: str, channel: str, options: dict[str, Any]) -> None:
        self._url = url
        self._channel = channel
        self._options = options

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[RedisConnection]:
        """As `Wake.connect`."""
        library = needed("redis.asyncio", "redis")
        async with (
            library.Redis.from_url(self._url, **{"socket_connect_timeout": 5.0, **self._options}) as client,
            client.pubsub() as subscription,
        ):
            await subscription.subscribe(self._channel)
            yield RedisConnection(client, subscription, self._channel)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._channel}>"


def redis(url: str, *, channel: str = CHANNEL, **options: Any) -> RedisWake:
    """Return wake-ups by a channel of Redis or Valkey.

    Args:
        url: ``redis://host:6379``, or as else ``redis.asyncio.Redis.from_url`` takes it.
        channel: The channel. Clients of one store have the same.
        **options: Further arguments of that function.

    Raises:
        ConfigurationError: The extra ``mps3[redis]`` is not installed.
    """
    needed("redis.asyncio", "redis")
    return RedisWake(url, channel, options)
