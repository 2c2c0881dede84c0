"""What it costs to collect garbage."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from meter import BUCKET, target_of
from results import Row
from virtual import Place

COMMITS: Final = 1000
BETWEEN: Final = 1800.0
"""Seconds between two commits, so that all of them take three weeks. A third of that is the retention."""
RETENTION: Final = timedelta(days=7)


def collect(place: Place, keys: Sequence[str]) -> Row:
    """Three weeks of commits later: a dry run, then in earnest, then once more.

    The dry run of the log journal may foresee a little less: it does not write the commit that announces a collection,
    which ends the time that is kept.
    """

    async def stored() -> dict[str, int]:
        """How many versions there are of the manifest (or slots), of runs and of values, and the bytes of all."""
        kinds = {"manifest": "manifest versions", "run": "runs", "value": "value versions"}
        found = {"manifest versions": 0, "runs": 0, "value versions": 0, "bytes": 0}
        start = None
        while True:
            page = await place.storage.scan(BUCKET, start=start)
            for one in page.found:
                found[kinds[target_of(one.key)]] += 1
                found["bytes"] += one.size
            start = page.next
            if start is None:
                return found

    async def main() -> Row:
        dice = random.Random(len(keys))
        meter, clock = place.meter(), asyncio.get_running_loop().time
        written: dict[str, int] = {}
        async with place.client(meter, poll_interval=3600, inline=0) as client:
            await asyncio.sleep(2 * RETENTION.total_seconds())  # from loading the keys
            for number in range(COMMITS):
                key = dice.choice(keys)
                await client.put(key, number)
                written[key] = number
                await asyncio.sleep(BETWEEN)
            await asyncio.sleep(BETWEEN / 2)  # or the retention ends with a commit, while it is collected
            before = await stored()
            meter.take()
            foreseen = await client.collect(retention=RETENTION, dry_run=True)
            dry = meter.take()
            assert await stored() == before, "a dry run deleted something"
            began, cpu = clock(), time.process_time()
            collected = await client.collect(retention=RETENTION)
            seconds, cpu = clock() - began, time.process_time() - cpu
            tally = meter.take()
            after = await stored()
            again = await client.collect(retention=RETENTION)
        async with place.client(place.meter()) as client:
            found = await client.get_all(keys)
        facts = {
            "deleted": collected.deleted,
            "foreseen by the dry run": foreseen.deleted,
            "deleted afterwards": again.deleted,
            "values missing": sum(key not in found for key in keys),
            "values wrong": sum(found.get(key) != value for key, value in written.items()),
            **{f"{name} before": count for name, count in before.items()},
            **{f"{name} after": count for name, count in after.items()},
            "requests of the dry run": dry.count(),
            "requests": tally.count(),
            "requests a deletion": tally.count() / collected.deleted,
            "seconds": seconds,
            "CPU, seconds": cpu,
        }
        return Row("collection", len(keys), tally, 1, seconds, place.journal, facts=facts)

    return place.run(main)
