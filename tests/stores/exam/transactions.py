"""Clients that increment one counter, and move money between two accounts: nothing is counted twice or not at all."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import Any

from mps3 import MPS3, Transaction
from stores.exam.bucket import TIME_LIMIT, Bucket

MANIFEST = "transactions.json"
CLIENTS = 4
MONEY = 100


async def transfer(change: Transaction) -> None:
    left, right = await change.get("left"), await change.get("right")
    change.put("left", left - 1)
    change.put("right", right + 1)


async def contend(bucket: Bucket, each: int) -> dict[str, Any]:
    """Let every client do so many increments and transfers, one after another."""
    async with asyncio.timeout(TIME_LIMIT), AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(bucket.client(MANIFEST)) for _ in range(CLIENTS)]
        await clients[0].put_all({"counter": 0, "left": MONEY, "right": 0})

        async def work(client: MPS3) -> None:
            for _ in range(each):
                await client.update("counter", lambda found: found + 1)
                await client.transact(transfer)

        await asyncio.gather(*map(work, clients))
    async with asyncio.timeout(TIME_LIMIT), bucket.client(MANIFEST) as fresh:
        found = await fresh.get_all()
    expected = {"counter": CLIENTS * each, "left": MONEY - CLIENTS * each, "right": CLIENTS * each}
    return {"done": 2 * CLIENTS * each, "problems": [] if found == expected else [f"{found} instead of {expected}"]}
