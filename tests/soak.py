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
import resource
import sys
import tempfile
import time
import tracemalloc
from typing import Any

from mps3 import MPS3, LocalStorage, MemoryStorage, UnavailableError

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
    async with MPS3("bucket", storage=store, journal="merge", poll_interval=0.05) as client:
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


async def trim(commits: int, seed: int, *, versioning: bool) -> int:
    """Very many commits with collection on, on a store whose clock goes on by a second with each: nothing grows."""
    dice = random.Random(seed)
    ahead = 0.0
    store = MemoryStorage(versioning=versioning, clock=lambda: time.time() + ahead)
    deleted = 0
    measured: list[tuple[int, int, int]] = []
    before = len(asyncio.all_tasks())
    began = time.monotonic()

    async def write(client: MPS3, share: int) -> None:
        nonlocal ahead
        for _ in range(share):
            await client.put(f"k{dice.randrange(50)}", dice.random())
            ahead += 1.0

    async with contextlib.AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(
                MPS3(
                    "bucket",
                    storage=store,
                    journal="merge" if versioning else "log",
                    poll_interval=60.0,
                    retention=1800,
                )
            )
            for _ in range(2)
        ]
        for client in clients:
            client._contents._cache._most = CACHE
        for part in range(20):
            writing = asyncio.ensure_future(write(clients[part % 2], commits // 20))
            while not writing.done():
                await asyncio.wait([writing], timeout=2.0)
                deleted += (await clients[part % 2].collect(grace=1200)).deleted
            await writing
            objects = store._buckets["bucket"]
            versions, together = len(objects["manifest.json"]), sum(map(len, objects.values()))
            memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            measured.append((versions, together, memory))
            print(
                f"{commits // 20 * (part + 1)} commits, {time.monotonic() - began:.0f} s: {versions} versions of the "
                f"manifest, {together} object versions in all, {deleted} deleted, at most {memory / 1024:.0f} MiB",
                flush=True,
            )
        values = [await clients[0].get(f"k{number}") for number in range(50)]
    assert all(isinstance(value, float) for value in values)
    half = len(measured) // 2
    grown = [max(one[kind] for one in measured[half:]) / max(one[kind] for one in measured[:half]) for kind in range(3)]
    left = len(asyncio.all_tasks()) - before
    names = ("versions of the manifest", "object versions", "memory")
    said = ", ".join(f"{name} {ratio:.2f}" for name, ratio in zip(names, grown, strict=True))
    print(f"the most of the second half over that of the first: {said}; {left} tasks left")
    return 0 if max(grown) < 1.25 and left == 0 else 1


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--collect", type=int, metavar="COMMITS", help="make so many commits, with collection on")
    parser.add_argument("--unversioned", action="store_true", help="those in a bucket without versions")
    options = parser.parse_args()
    logging.getLogger("mps3").setLevel(logging.CRITICAL)  # it is in trouble all the time
    if options.collect:
        return asyncio.run(trim(options.collect, options.seed, versioning=not options.unversioned))
    return asyncio.run(churn(options.seconds, options.seed))


if __name__ == "__main__":
    sys.exit(main())
