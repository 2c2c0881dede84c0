"""What a client takes of its own machine: memory, CPU, and the attention of the event loop.

Each runs in a fresh process; if the number of keys matters, with the store in another.
"""

from __future__ import annotations

import asyncio
import gc
import random
import re
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

from meter import BUCKET, LATENCY, MANIFEST, MeteredStorage
from processes import DistantStorage, apart, served
from results import Row
from virtual import Place

from mps3 import MPS3, MemoryStorage
from mps3.format.run import Run

from .operations import VALUE

BEAT: Final = 0.001
"""Seconds between two beats of the heart."""
COMMITS: Final = 30
LOADS: Final = 20
"""`put_all` of `TOGETHER` keys: more than what makes eight runs spill and merge."""
TOGETHER: Final = 1000
AFTERWARDS: Final = 6.0
"""Seconds for what is settled to settle, and for work beside commits to end."""


def memory(place: Place, keys: Sequence[str], limit: float) -> Row:
    """How much a process grows that opens the manifest."""
    with served(place.storage) as path:
        before, after, peak = apart(partial(_memory, path, place.journal, keys[-1]), limit)
    facts = {"MB": (after - before) / 1e6, "MB at the peak": (peak - before) / 1e6, "MB before": before / 1e6}
    return Row("memory", len(keys), journal=place.journal, facts=facts)


def put_all(journal: str, count: int, limit: float) -> Row:
    """One `put_all` of very many small values: its CPU, and the stops of the event loop after the call."""
    with served(MemoryStorage(versioning=journal == "merge")) as path:
        facts = apart(partial(_put_all, path, journal, count), limit)
    return Row("put_all", count, journal=journal, facts=facts)


def cpu(journal: str, count: int, before: int, limit: float) -> Row:
    """The CPU of an awaited put on a store in memory: of the first ones, and of others after many."""
    facts = apart(partial(_cpu, journal, count, before), limit)
    return Row("CPU of a put", before, operations=count, journal=journal, facts=facts)


def stops(place: Place, keys: Sequence[str], limit: float) -> Row:
    """For how long the event loop stands still while the manifest is opened, committed to, and compacted."""
    with served(place.storage) as path:
        facts = apart(partial(_stops, path, place.journal, list(random.Random(0).sample(keys, COMMITS))), limit)
    return Row("loop stops", len(keys), journal=place.journal, facts=facts)


def _client(storage: MeteredStorage | MemoryStorage, journal: str) -> MPS3:
    return MPS3(BUCKET, MANIFEST, storage=storage, journal=journal)  # type: ignore[arg-type]


def _resident() -> int:
    """Bytes of memory that this process has at the moment."""
    return _status("VmRSS")


def _peak() -> int:
    """Bytes of memory that it had at the most. (`getrusage` would speak of the process that started it, too.)"""
    return _status("VmHWM")


def _status(name: str) -> int:
    found = re.search(rf"^{name}:\s*(\d+) kB$", Path("/proc/self/status").read_text(encoding="ascii"), re.MULTILINE)
    assert found is not None, f"this system does not tell {name}"
    return int(found[1]) * 1024


def _memory(path: Path, journal: str, key: str) -> tuple[int, int, int]:
    async def main() -> tuple[int, int, int]:
        distant = DistantStorage(path)
        await distant.open()
        await distant.get(BUCKET, "nothing")
        storage = MeteredStorage(distant)
        gc.collect()
        before = _resident()
        async with _client(storage, journal) as client:
            assert await client.get(key) is not None
            gc.collect()
            return before, _resident(), _peak()

    return asyncio.run(main())


class Heart:
    """Beats, and knows how long it stood still.

    Attributes:
        longest: The longest stop in seconds of CPU of this thread; not counted is what the machine does for others.
        wall: The longest stop by the clock, whoever is to blame.
    """

    def __init__(self) -> None:
        self.longest = self.wall = 0.0
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._mark()
        self._task = asyncio.create_task(self._beat())

    def stop(self) -> None:
        assert self._task is not None
        self._task.cancel()

    def take(self) -> tuple[float, float]:
        """Return the longest stops until now, and begin anew."""
        self._note()
        taken = self.longest, self.wall
        self.longest = self.wall = 0.0
        return taken

    def _mark(self) -> None:
        self._began, self._worked = time.perf_counter(), time.thread_time()

    def _note(self) -> None:
        stop = time.perf_counter() - self._began - BEAT
        self.wall = max(self.wall, stop)
        self.longest = max(self.longest, min(stop, time.thread_time() - self._worked))
        self._mark()

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(BEAT)
            self._note()


def _freeze() -> None:
    """Exclude what imports have left, which the garbage collector would look through with or without mps3."""
    gc.collect()
    gc.freeze()


async def _merge_all(client: MPS3) -> dict[str, float]:
    """Merge all runs there are into one, which otherwise happens once in a manifest's life, or never."""
    journal: Any = client._manifests[client._default]._state.journal  # noqa: SLF001 - what nobody could ask for
    runs = [layer for layer in journal.view.layers if isinstance(layer, Run)]
    began, before, most = time.process_time(), _resident(), 0

    async def watch() -> None:
        nonlocal most
        while True:
            most = max(most, _resident())
            await asyncio.sleep(0.1)

    watching = asyncio.create_task(watch())
    await journal._runs.merge(runs, oldest=True)  # noqa: SLF001 - the same
    watching.cancel()
    return {
        "MB merged": sum(run.reference.size for run in runs) / 1e6,
        "merging all, CPU seconds": time.process_time() - began,
        "MB more while merging all": (most - before) / 1e6,
    }


def _put_all(path: Path, journal: str, count: int) -> dict[str, float]:
    async def main() -> dict[str, float]:
        values = {f"key/{number:06}": {"n": number} for number in range(count)}
        distant = DistantStorage(path)
        await distant.open()
        async with _client(MeteredStorage(distant, latency=LATENCY), journal) as client:
            await client.put("warm", 0)
            _freeze()
            heart = Heart()
            heart.start()
            await asyncio.sleep(0.1)
            heart.take()
            began = time.process_time()
            writing = client.put_all(values)
            call, _ = heart.take()
            await writing
            taken = time.process_time() - began
            longest, wall = heart.take()
            await asyncio.sleep(AFTERWARDS)
            later, _ = heart.take()
            heart.stop()
        return {
            "the call, ms": 1000 * call,
            "stop, ms": 1000 * longest,
            "stop, ms by the clock": 1000 * wall,
            "stop afterwards, ms": 1000 * later,
            "CPU, seconds": taken,
        }

    return asyncio.run(main())


def _cpu(journal: str, count: int, before: int) -> dict[str, float]:
    async def main() -> dict[str, float]:
        async with _client(MemoryStorage(versioning=journal == "merge"), journal) as client:

            async def put(puts: int) -> float:
                began = time.process_time()
                for number in range(puts):
                    await client.put(f"key/{number % 200}", VALUE)
                return 1000 * (time.process_time() - began) / puts

            await put(50)
            first = await put(count)
            await put(before)
            return {"ms at first": first, f"ms after {before:,} more": await put(count)}

    return asyncio.run(main())


def _stops(path: Path, journal: str, keys: list[str]) -> dict[str, float]:
    async def main() -> dict[str, float]:
        facts: dict[str, float] = {}
        heart = Heart()

        def note(name: str) -> None:
            longest, wall = heart.take()
            facts[f"{name}, ms"] = 1000 * longest
            facts[f"{name}, ms by the clock"] = 1000 * wall

        distant = DistantStorage(path)
        await distant.open()
        await distant.get(BUCKET, "nothing")
        _freeze()
        heart.start()
        await asyncio.sleep(0.1)
        note("nothing")
        storage = MeteredStorage(distant, latency=LATENCY)
        async with _client(storage, journal) as client:
            await client.get(keys[0])
            await asyncio.sleep(0.1)
            note("opening")
            for number, key in enumerate(keys):
                await client.put(key, number)
            await asyncio.sleep(0.1)
            note("committing")
            for load in range(LOADS):
                await client.put_all({f"more/{load}/{number}": number for number in range(TOGETHER)})
            await asyncio.sleep(AFTERWARDS)
            await client.put(keys[0], "last")
            await asyncio.sleep(AFTERWARDS)
            note("merging")
            facts["runs stored"] = storage.tally.count("PUT", "run")
            facts.update(await _merge_all(client))
            note("merging all")
        heart.stop()
        return facts

    return asyncio.run(main())
