"""What it costs to collect garbage."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Sequence

from meter import BUCKET, MANIFEST
from results import Row
from virtual import Place

from mps3 import MPS3

COMMITS = 1000
LONG = 400 * 86_400.0
"""Seconds: longer than any sensible retention."""


def possible() -> bool:
    """Whether this mps3 can collect at all."""
    return hasattr(MPS3, "collect")


def collect(place: Place, keys: Sequence[str]) -> Row:
    """A thousand commits later, and after a long time: a dry run, then in earnest."""

    async def kept() -> tuple[int, int]:
        """Versions of the manifest, and objects below it."""
        versions, start = 0, None
        while True:
            page = await place.storage.versions(BUCKET, MANIFEST, start=start)
            versions, start = versions + len(page.versions), page.next
            if start is None:
                break
        objects, start = 0, None
        while True:
            entries = await place.storage.list(BUCKET, f"{MANIFEST}.", start=start)
            objects, start = objects + len(entries.entries), entries.next
            if start is None:
                break
        return versions, objects

    async def main() -> Row:
        dice = random.Random(len(keys))
        meter = place.meter()
        async with place.client(meter, poll_interval=3600) as client:
            for number in range(COMMITS):
                await client.put(dice.choice(keys), number)
            await asyncio.sleep(LONG)
            await client.put(keys[0], "after a long time")
            before = await kept()
            meter.take()
            began, cpu = asyncio.get_running_loop().time(), time.process_time()
            await client.collect(dry_run=True)
            dry = meter.take()
            assert await kept() == before, "a dry run deleted something"
            await client.collect(dry_run=False)
            seconds, cpu = asyncio.get_running_loop().time() - began, time.process_time() - cpu
            tally = meter.take()
            after = await kept()
            assert await client.get(keys[0]) == "after a long time"
        async with place.client(place.meter()) as client:
            assert await client.get(keys[0]) == "after a long time"
            assert await client.get(keys[-1]) is not None
        facts = {
            "requests of the dry run": dry.count(),
            "manifest versions before": before[0],
            "manifest versions after": after[0],
            "objects of the manifest before": before[1],
            "objects of the manifest after": after[1],
            "CPU, seconds": cpu,
        }
        return Row("collection", len(keys), tally, 1, seconds, place.journal, facts=facts)

    return place.run(main)
