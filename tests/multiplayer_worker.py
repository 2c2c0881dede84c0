"""One of the processes of test_multiplayer: clients that write to distinct and to shared keys, all at once.

It talks in lines of JSON: it says that it is ready, is told to go, says what was acknowledged, is told what
to read, and says what each of its clients sees.
"""

from __future__ import annotations

import asyncio
import json
import sys
from contextlib import AsyncExitStack
from typing import Any

from mps3 import MPS3, LocalStorage

WAVES = 2


def connect(settings: dict[str, Any]) -> MPS3:
    where = {"storage": LocalStorage(settings["path"])} if "path" in settings else {"s3_config": settings["s3_config"]}
    return MPS3(settings["bucket"], poll_interval=0.05, journal=settings["journal"], **where)


async def say(message: object) -> None:
    print(json.dumps(message), flush=True)


async def hear() -> Any:
    return json.loads(await asyncio.to_thread(sys.stdin.readline))


async def play(client: MPS3, name: str, distinct: int, shared: int) -> list[list[Any]]:
    """Write in waves, each of them all at once; return [key, value, commit, version] of each acknowledged put."""
    own = [(f"own/{name}/{number}", [name, number]) for number in range(distinct)]
    common = [(f"shared/{number % 10}", [name, number]) for number in range(shared)]
    puts = [put for pair in zip(own, common, strict=True) for put in pair]
    size = max(1, len(puts) // WAVES)
    acknowledged = []
    for start in range(0, len(puts), size):
        wave = puts[start : start + size]
        commits = await asyncio.gather(*(client.put(key, value) for key, value in wave))
        acknowledged += [
            [key, value, commit.id, commit.versions[key]] for (key, value), commit in zip(wave, commits, strict=True)
        ]
    return acknowledged


async def see(client: MPS3, keys: list[str]) -> dict[str, Any]:
    values = await asyncio.gather(*(client.get(key, "absent") for key in keys))
    return dict(zip(keys, values, strict=True))


async def main() -> None:
    settings = json.loads(sys.argv[1])
    async with AsyncExitStack() as stack:
        clients = {name: await stack.enter_async_context(connect(settings)) for name in settings["names"]}
        await say("ready")
        await hear()
        played = await asyncio.gather(
            *(play(client, name, settings["distinct"], settings["shared"]) for name, client in clients.items())
        )
        await say([put for puts in played for put in puts])
        keys = await hear()
        await say(await asyncio.gather(*(see(client, keys) for client in clients.values())))
        await hear()


if __name__ == "__main__":
    asyncio.run(main())
