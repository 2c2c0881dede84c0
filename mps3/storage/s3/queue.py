"""A queue of SQS, which a bucket may send its notifications to."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

from aiobotocore.config import AioConfig
from aiobotocore.session import AioSession

CONNECT_TIMEOUT: Final = 5.0
ANSWER_TIMEOUT: Final = 10.0
"""Seconds for an answer, beside those that the queue waits for a message."""
BATCH: Final = 10
"""Messages to receive at once, as many as SQS permits."""
_REGION: Final = re.compile(r"https://sqs\.([a-z0-9-]+)\.amazonaws\.com")


class Queue:
    """A queue, open. It has no other reader, because each message has one."""

    def __init__(self, client: Any, url: str) -> None:
        self._client = client
        self._url = url

    async def receive(self, seconds: int) -> list[str]:
        """Return the next messages, and delete them from the queue; nothing if there are none for so many seconds.

        Raises:
            Exception: Of the SDK.
        """
        answer = await self._client.receive_message(
            QueueUrl=self._url, MaxNumberOfMessages=BATCH, WaitTimeSeconds=seconds
        )
        messages = answer.get("Messages", [])
        if messages:
            entries = [{"Id": str(n), "ReceiptHandle": one["ReceiptHandle"]} for n, one in enumerate(messages)]
            await self._client.delete_message_batch(QueueUrl=self._url, Entries=entries)
        return [str(one.get("Body", "")) for one in messages]


@asynccontextmanager
async def open_queue(url: str, config: Mapping[str, Any], *, longest: int) -> AsyncIterator[Queue]:
    """Open a queue.

    Args:
        url: The URL of the queue.
        config: Keyword arguments of aiobotocore's ``create_client("sqs")``.
        longest: The most seconds that `Queue.receive` is to wait.
    """
    context, client = await asyncio.to_thread(_connect, url, dict(config), longest)
    try:
        yield Queue(client, url)
    finally:
        await context.__aexit__(None, None, None)


def _connect(url: str, options: dict[str, Any], longest: int) -> tuple[Any, Any]:
    # In a thread, because the SDK reads large files.
    session = AioSession(profile=options.pop("profile_name", None))
    if not (options.get("region_name") or session.get_config_variable("region")) and (found := _REGION.match(url)):
        options["region_name"] = found[1]
    timeouts = AioConfig(
        connect_timeout=CONNECT_TIMEOUT, read_timeout=longest + ANSWER_TIMEOUT, retries={"total_max_attempts": 1}
    )
    options["config"] = timeouts.merge(options["config"]) if options.get("config") else timeouts
    context = session.create_client("sqs", **options)
    return context, asyncio.run(context.__aenter__())
