"""Wake-ups inside of one process, that can be told to fail in every way, and a store that takes its time."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from mps3.storage.wrapper import StorageWrapper


class Bell:
    """Passes messages on to everybody who is connected.

    Attributes:
        down: Whether nobody can connect.
        deaf: Whether messages are taken, and nobody gets them.
        hangs: Whether publishing never ends.
        published: Every message.
        connections: How many were made.
    """

    def __init__(self, delay: float = 0.0) -> None:
        self.delay = delay
        self.down = self.deaf = self.hangs = False
        self.published: list[bytes] = []
        self.connections = 0
        self._open: list[asyncio.Queue[bytes | None]] = []

    def kill(self) -> None:
        """End all connections, and allow no other."""
        self.down = True
        for queue in self._open:
            queue.put_nowait(None)

    def ring(self, message: bytes) -> None:
        """Send a message as anybody can."""
        for queue in self._open:
            queue.put_nowait(message)

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[BellConnection]:
        if self.down:
            raise ConnectionRefusedError("the bell is down")
        self.connections += 1
        queue: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._open.append(queue)
        try:
            yield BellConnection(self, queue)
        finally:
            self._open.remove(queue)


class BellConnection:
    def __init__(self, bell: Bell, queue: asyncio.Queue[bytes | None]) -> None:
        self._bell = bell
        self._queue = queue

    async def publish(self, message: bytes) -> None:
        if self._bell.hangs:
            await asyncio.Event().wait()
        self._bell.published.append(message)
        await asyncio.sleep(self._bell.delay)
        if not self._bell.deaf:
            self._bell.ring(message)

    async def receive(self) -> bytes:
        message = await self._queue.get()
        if message is None:
            raise ConnectionResetError("the bell was killed")
        return message


class Slow(StorageWrapper):
    """A store whose requests take a while, and are counted."""

    def __init__(self, inner: Any, seconds: float = 0.0, seed: int = 0) -> None:
        super().__init__(inner)
        self.seconds = seconds
        self.requests = 0
        self._dice = random.Random(seed)

    async def _ask(self, operation: str, bucket: str, key: str, request: Any, sent: Any = None, **_: Any) -> Any:
        self.requests += 1
        half = self.seconds / 2
        await asyncio.sleep(half * self._dice.uniform(0.8, 1.2))
        try:
            return await request()
        finally:
            await asyncio.sleep(half * self._dice.uniform(0.8, 1.2))
