"""What working offline costs: writes kept a second, and a cold start from a warm cache.

::

    python benchmarks/offline.py                    # 10,000 writes, 100,000 keys
    python benchmarks/offline.py --keys 1000000

It fails if fewer than 2,000 writes fired together are kept in a second, or if the first ``get`` of a process that
starts offline takes more than twice as long as reading the files of the cache. (Each in the best of its rounds: what
else the machine does at the same time is not to be measured.)
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from mps3 import MPS3

CHUNK = 25_000
KEPT_LEAST = 2000
"""Writes kept a second."""
COLD_MOST = 2.0
"""Times that reading the files of the cache takes."""

COLD = """
import asyncio, json, sys, time
from pathlib import Path
from mps3 import MPS3

async def main(directory, key):
    client = MPS3.from_url("memory:benchmark", offline=directory, online=False)
    started = time.perf_counter()
    await client.__aenter__()
    opened = time.perf_counter()
    assert await client.get(key) is not None
    got = time.perf_counter()
    await client.aclose()
    print(json.dumps([opened - started, got - started]))

asyncio.run(main(*sys.argv[1:]))
"""

READ = """
import sys, time
from pathlib import Path
files = [Path(name) for name in sys.argv[1:]]
started = time.perf_counter()
size = sum(len(file.read_bytes()) for file in files)
print(time.perf_counter() - started, size)
"""


async def keep(writes: int, rounds: int) -> tuple[list[float], list[float]]:
    """Writes kept a second when all are fired together, of some rounds; and a second of processor time."""
    rates, busy = [], []
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as directory:
            async with MPS3.from_url("memory:", offline=directory) as client:
                client.go_offline()
                started, before = time.perf_counter(), time.process_time()
                await asyncio.gather(*(client.put(f"k/{number}", number).kept() for number in range(writes)))
                rates.append(writes / (time.perf_counter() - started))
                busy.append(writes / (time.process_time() - before))
    return rates, busy


async def warm(directory: Path, keys: int) -> None:
    """Fill a store and a cache with so many keys."""
    async with MPS3.from_url("memory:benchmark", offline=directory / "offline") as client:
        for first in range(0, keys, CHUNK):
            await client.put_all({f"key/{number:07}": number for number in range(first, min(keys, first + CHUNK))})
            await asyncio.sleep(3.2)  # a window later it is settled, and spills into a run


def python(script: str, *arguments: str) -> str:
    done = subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=True)
    return done.stdout


def cold(keys: int, rounds: int) -> bool:
    """Start from a warm cache again and again; whether it is quick enough."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        asyncio.run(warm(directory, keys))
        files = sorted(map(str, (directory / "offline").glob("cache.sqlite3*")))
        reads, opens, gets = [], [], []
        for _ in range(rounds):
            seconds, size = python(READ, *files).split()
            reads.append(float(seconds))
            opened, got = json.loads(python(COLD, str(directory / "offline"), f"key/{keys // 2:07}"))
            opens.append(opened)
            gets.append(got)
    print(f"{keys} keys, cache of {int(size) / 2**20:.1f} MiB; the best and the median of {rounds} rounds:")
    for what, times in (
        ("reading its files takes", reads),
        ("opening takes", opens),
        ("first get answered after", gets),
    ):
        print(f"{what:25} {min(times) * 1000:6.1f} ms {median(times) * 1000:6.1f} ms")
    ratio: float = min(gets) / min(reads)
    print(f"the first get takes {ratio:.2f} times as long as reading the files (at most {COLD_MOST:g})")
    return bool(ratio <= COLD_MOST)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--writes", type=int, default=10_000)
    parser.add_argument("--keys", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    rates, busy = asyncio.run(keep(arguments.writes, arguments.rounds))
    print(
        f"{arguments.writes} writes fired together, {len(rates)} rounds: at best {max(rates):,.0f} kept a second (at "
        f"least {KEPT_LEAST:,}), median {median(rates):,.0f}; {max(busy):,.0f} a second of processor time"
    )
    good = cold(arguments.keys, arguments.rounds)
    return int(not good or max(rates) < KEPT_LEAST)


if __name__ == "__main__":
    sys.exit(main())
