"""Clients that come, write, read, lose the store and go, for as long as one likes, in flat memory: ``nox -s soak``.

python tests/soak.py --seconds 600
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import logging
import random
import sys
import tempfile
import time
import tracemalloc
from typing import Any

from mps3 import MPS3, LocalStorage, UnavailableError

CACHE = 100_000  # bytes; the usual limit would fill for longer than the soak lasts
ALLOWED = 500_000  # bytes between the second and the last quarter


class Unsteady(LocalStorage):
    """A directory that is gone now and then."""

    gone = False

    def _check(self) -> None:
        if self.gone:
            raise UnavailableError("the store is gone")

    async def get(self, *arguments: Any, **options: Any) -> Any:
        self._check()
        return await super().get(*arguments, **options)

    async def put(self, *arguments: Any, **options: Any) -> Any:
        self._check()
        return await super().put(*arguments, **options)

    async def versions(self, *arguments: Any, **options: Any) -> Any:
        self._check()
        return await super().versions(*arguments, **options)


async def live(store: Unsteady, dice: random.Random) -> int:
    """One life of one client: a few seconds of everything."""
    writes = 0
    async with MPS3("bucket", storage=store, poll_interval=0.05) as client:
        client._contents._cache._most = CACHE
        readers = [asyncio.create_task(read(client, f"k{dice.randrange(20)}")) for _ in range(5)]
        end = time.monotonic() + dice.uniform(0.5, 3)
        while time.monotonic() < end:
            group = [client.put(f"k{dice.randrange(20)}", dice.random()) for _ in range(dice.randrange(1, 10))]
            writes += len(group)
            if dice.random() < 0.8:
                await asyncio.gather(*group)
            if dice.random() < 0.1:
                client.delete(f"k{dice.randrange(20)}")
            with contextlib.suppress(UnavailableError):
                await client.get(f"k{dice.randrange(20)}")
            await asyncio.sleep(dice.random() * 0.02)
        for reader in readers[:3]:
            reader.cancel()
    await asyncio.gather(*readers, return_exceptions=True)
    return writes


async def try_to_live(store: Unsteady, dice: random.Random) -> int:
    try:
        return await live(store, dice)
    except UnavailableError:
        return 0  # it could not be opened


async def read(client: MPS3, key: str) -> None:
    async for _ in client.subscribe(key):
        pass


async def interrupt(store: Unsteady, dice: random.Random) -> None:
    while True:
        await asyncio.sleep(dice.uniform(0.5, 4))
        store.gone = True
        await asyncio.sleep(dice.uniform(0.05, 0.4))
        store.gone = False


async def churn(seconds: float, seed: int) -> int:
    dice = random.Random(seed)
    measured: list[int] = []
    lives = writes = 0
    before = len(asyncio.all_tasks())
    with tempfile.TemporaryDirectory() as directory:
        store = Unsteady(directory)
        await store.open()  # once more than the clients do, so that it stays open between them
        trouble = asyncio.create_task(interrupt(store, dice))
        began = time.monotonic()
        tracemalloc.start()
        while time.monotonic() < began + seconds:
            writes += sum(await asyncio.gather(*(try_to_live(store, dice) for _ in range(3))))
            lives += 3
            gc.collect()
            measured.append(tracemalloc.get_traced_memory()[0])
        trouble.cancel()
        await asyncio.gather(trouble, return_exceptions=True)
        await store.aclose()
    quarter = len(measured) // 4
    early, late = measured[quarter : 2 * quarter] or measured, measured[-quarter:] or measured
    growth = sum(late) // len(late) - sum(early) // len(early)
    left = len(asyncio.all_tasks()) - before
    print(f"{lives} lives, {writes} writes in {seconds:.0f} s: memory grew by {growth} bytes, {left} tasks left")
    return 0 if growth < ALLOWED and left == 0 else 1


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    logging.getLogger("mps3").setLevel(logging.CRITICAL)  # it is in trouble all the time
    return asyncio.run(churn(options.seconds, options.seed))


if __name__ == "__main__":
    sys.exit(main())
