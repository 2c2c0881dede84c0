"""Writers that commit without a pause, each for itself: how many requests it takes them."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from typing import Any

from servers import counted

from mps3 import MPS3
from stores.exam.bucket import TIME_LIMIT, Bucket

MANIFEST = "contended.json"
WRITERS = 8


async def crowd(bucket: Bucket, each: int) -> dict[str, Any]:
    """Let every writer commit so many times."""
    async with asyncio.timeout(TIME_LIMIT), counted(bucket.server.url) as proxy, AsyncExitStack() as stack:
        writers = [
            await stack.enter_async_context(bucket.client(MANIFEST, endpoint=proxy.url, poll_interval=3600.0))
            for _ in range(WRITERS)
        ]
        await writers[0].put("first", 0)
        proxy.clear()

        async def write(writer: MPS3, name: int) -> None:
            for number in range(each):
                await writer.put(f"{name}/{number}", number)

        began = time.monotonic()
        await asyncio.gather(*(write(writer, name) for name, writer in enumerate(writers)))
        seconds = time.monotonic() - began
        puts = sum(request.method == "PUT" for request in proxy.requests)
        requests = len(proxy.requests)
    async with asyncio.timeout(TIME_LIMIT), bucket.client(MANIFEST) as fresh:
        found = len(await fresh.get_all())
    commits = WRITERS * each
    return {
        "commits": commits,
        "puts_per_commit": round(puts / commits, 2),
        "requests_per_commit": round(requests / commits, 1),
        "commits_per_second": round(commits / seconds, 1),
        "problems": [] if found == commits + 1 else [f"{commits + 1} keys were put, and {found} are there"],
    }
