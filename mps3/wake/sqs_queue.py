"""Wake-ups by the notifications of a bucket, through a queue of SQS. No writer takes part."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

from ..errors import ConfigurationError
from .bucket_event import hints_of
from .hint import Hint

if TYPE_CHECKING:
    from ..storage.s3.queue import Queue

WAIT: Final = 20
"""Seconds that the queue waits for a message until it answers that there is none: the most that SQS permits."""
SILENCE: Final = 15.0
"""Seconds that an answer may take besides; after that, the queue is taken to be unreachable."""
PACE: Final = 1.0
"""Seconds between two requests that found nothing, at least: some servers do not wait."""
PENDING: Final = 1000
"""Messages that wait to be received, at the most. Others are dropped: they only say that there is more."""


class SqsConnection:
    """A queue that is read all the time."""

    def __init__(self, queue: Queue, wait: int) -> None:
        self._queue = queue
        self._wait = wait
        self._messages: asyncio.Queue[bytes | Exception] = asyncio.Queue(PENDING)
        self._answered = -math.inf
        self._heartbeat: bytes | None = None

    async def publish(self, message: bytes) -> None:
        """As `WakeConnection.publish`. The bucket itself tells of commits; a heartbeat returns if the queue answers."""
        hint, now = Hint.decode(message), asyncio.get_running_loop().time()
        if hint is None or hint.topic:
            return
        if now < self._answered + self._wait + SILENCE:
            self._put(message)
        else:
            self._heartbeat = message

    async def receive(self) -> bytes:
        """As `WakeConnection.receive`."""
        message = await self._messages.get()
        if isinstance(message, Exception):
            raise message
        return message

    async def run(self) -> None:
        """Read the queue until it fails."""
        loop = asyncio.get_running_loop()
        wait = 0  # the first answer shows that it may be read
        try:
            while True:
                began = loop.time()
                found = await self._queue.receive(wait)
                self._answered, heartbeat, self._heartbeat = loop.time(), self._heartbeat, None
                if heartbeat is not None:
                    self._put(heartbeat)
                for message in found:
                    for hint in hints_of(message):
                        self._put(hint.encode())
                if not found and wait:
                    await asyncio.sleep(max(0.0, began + PACE - loop.time()))
                wait = self._wait
        except Exception as error:  # noqa: BLE001 - of the SDK; it ends the connection
            while self._messages.full():
                self._messages.get_nowait()
            self._put(error)

    def _put(self, message: bytes | Exception) -> None:
        if not self._messages.full():
            self._messages.put_nowait(message)


class SqsWake:
    """Wake-ups by the notifications of a bucket; see `sqs`."""

    def __init__(self, queue_url: str, config: Mapping[str, Any], wait: int) -> None:
        self._queue_url = queue_url
        self._config = config
        self._wait = wait

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[SqsConnection]:
        """As `Wake.connect`."""
        open_queue = await asyncio.to_thread(_opener)
        async with open_queue(self._queue_url, self._config, longest=self._wait) as queue:
            connection = SqsConnection(queue, self._wait)
            reading = asyncio.create_task(connection.run(), name="mps3 queue")
            try:
                yield connection
            finally:
                reading.cancel()
                await asyncio.gather(reading, return_exceptions=True)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._queue_url}>"


def _opener() -> Callable[..., AbstractAsyncContextManager[Queue]]:
    from ..storage.s3.queue import open_queue  # noqa: PLC0415 - the SDK takes long to import

    return open_queue


def sqs(queue_url: str, *, sqs_config: Mapping[str, Any] | None = None, wait: int = WAIT) -> SqsWake:
    """Return wake-ups by the notifications of a bucket, which it sends to a queue of SQS, directly or through SNS.

    Each message of a queue has one reader, so each client needs a queue of its own. The client deletes all messages.

    Args:
        queue_url: The URL of the queue.
        sqs_config: Keyword arguments of aiobotocore's ``create_client("sqs")``. Settings that are not given come from
            the environment and the profiles, and the region from the URL.
        wait: Seconds, from 1 to 20, that a request to the queue waits for a message.

    Raises:
        ConfigurationError: ``queue_url`` is no URL.
        ValueError: ``wait`` is out of range.
    """
    if not queue_url.startswith(("http://", "https://")):
        raise ConfigurationError(f"queue_url is the URL of a queue, https://…, not {queue_url!r}")
    if not 1 <= wait <= WAIT:
        raise ValueError(f"wait is a number of seconds from 1 to {WAIT}, not {wait!r}")
    return SqsWake(queue_url, dict(sqs_config or {}), wait)
