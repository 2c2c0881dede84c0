"""A process that hears of commits in a directory: it prints each new value of a key, and polls once an hour."""

from __future__ import annotations

import asyncio
import sys

from mps3 import MPS3, LocalStorage


async def main(path: str, journal: str) -> None:
    async with MPS3("bucket", storage=LocalStorage(path), poll_interval=3600, journal=journal) as client:
        async with client.subscribe("k", -1) as values:
            async for value in values:
                print(value, flush=True)
                if value == "last":
                    break
        await client.put("heard", value)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
