"""Merging two large runs: what it takes of memory, and of the attention of the event loop."""

from __future__ import annotations

import asyncio
import base64
import itertools
import random
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final

from meter import BUCKET, MANIFEST, MeteredStorage
from processes import DistantStorage, apart, served
from results import Row

from mps3 import MemoryStorage
from mps3.format.block import line_of
from mps3.format.commit_age import Moment
from mps3.format.names import SUFFIX
from mps3.format.run_reference import RunReference, encode_reference, read_references
from mps3.format.run_writer import RunWriter, WrittenPart
from mps3.journal import levels
from mps3.journal.runs import Runs

from .resources import BEAT, Heart, _freeze, _peak, _resident

VALUE: Final = 75
"""Bytes of chance in each value, as Base64. They hardly compress, so that fewer lines make as many stored bytes."""
RUNS: Final = 2
BATCH: Final = 3_000
"""Keys that are added at once."""


def merge(size: int, limit: float) -> Row:
    """Merge two runs whose keys alternate, in a process of its own.

    Args:
        size: Bytes that each has in the store.
        limit: Seconds that it may take.
    """
    storage = MemoryStorage()
    runs = asyncio.run(_store(storage, size))
    with served(storage) as path:
        told = [[encode_reference(one) for one in references] for references in runs]
        facts = apart(partial(_merge, path, told), limit)
    entries = sum(reference.entries for references in runs for reference in references)
    return Row("merging two runs", entries, facts=facts)


async def _store(storage: MemoryStorage, size: int) -> list[list[RunReference]]:
    """Write the runs with the library's own writer."""
    runs = []
    for number in range(RUNS):
        references: list[RunReference] = []
        for part in _parts(number, size):
            reference = replace(part.reference, key=f"{MANIFEST}{SUFFIX}/{part.reference.sha256}@{number}")
            await storage.put(BUCKET, reference.key, part.body)
            references.append(reference)
        runs.append(references)
    return runs


def _parts(number: int, size: int) -> Iterator[WrittenPart]:
    """The objects of one of the runs: every third key is in both."""
    dice, writer, written = random.Random(number), RunWriter(levels.PART), 0
    for start in itertools.count(0, BATCH):
        places = [place for place in range(start, start + BATCH) if place % 3 in (0, 1 + number)]
        names = [f"item/{place:09d}" for place in places]
        for part in writer.add(names, [_line(name, number, dice) for name in names]):
            written += part.reference.size
            yield part
        if written >= size:
            break
    yield from writer.end()


def _line(name: str, number: int, dice: random.Random) -> bytes:
    value = base64.b64encode(dice.randbytes(VALUE)).decode()
    return line_of(name, {"value": value, "size": len(value) + 2, "version": f"{number:016x}-1"})


def _merge(path: Path, told: list[list[dict[str, Any]]]) -> dict[str, float]:
    async def main() -> dict[str, float]:
        distant = DistantStorage(path)
        await distant.open()
        storage = MeteredStorage(distant)
        references = [read_references(run, "run") for run in told]
        loop = asyncio.get_running_loop()
        runs = Runs(storage, BUCKET, MANIFEST, lambda: Moment(loop.time()))
        held = await runs.load([one for run in references for one in run])
        sources = [held[one.sha256] for run in references for one in run]
        _freeze()
        before, cpu = _resident(), time.process_time()
        heart = Heart()
        heart.start()
        await asyncio.sleep(100 * BEAT)
        heart.take()
        stored = await runs.merge(sources, oldest=True)
        longest, wall = heart.take()
        heart.stop()
        return {
            "MB merged": sum(run.reference.size for run in sources) / 1e6,
            "MB stored": sum(one.size for one in stored.references) / 1e6,
            "MB more at the peak": (_peak() - before) / 1e6,
            "stop, ms": 1000 * longest,
            "stop, ms by the clock": 1000 * wall,
            "CPU, seconds": time.process_time() - cpu,
            "requests": float(storage.tally.count()),
        }

    return asyncio.run(main())
