"""Garbage goes, and everything that is current stays."""

from __future__ import annotations

import asyncio
from typing import Any
from unittest.mock import patch

from mps3.format import commit_age
from stores.exam.bucket import POLL, TIME_LIMIT, Bucket

MANIFEST = "collected.json"
KEYS = 5
GRACE = 2.0
LARGE = "x" * 5000


async def collect(bucket: Bucket) -> dict[str, Any]:
    """Overwrite values until something is collected. Twenty minutes, which commits may be on their way, are two seconds."""
    expected: dict[str, Any] = {}
    deleted = 0
    with patch.object(commit_age, "LATENESS", GRACE / 2):
        async with asyncio.timeout(TIME_LIMIT), bucket.client(MANIFEST) as client:
            number = 0
            while not deleted:
                number += 1
                for key in range(KEYS):
                    expected[f"k{key}"] = f"{number} {LARGE}"
                expected["small"] = number
                await client.put_all(expected)
                await asyncio.sleep(POLL)
                if number % 10 == 0:
                    done = await client.collect(retention=0, grace=GRACE)
                    deleted += done.values.deleted
    async with asyncio.timeout(TIME_LIMIT), bucket.client(MANIFEST) as fresh:
        found = await fresh.get_all()
    return {"deleted": deleted, "problems": [] if found == expected else ["what was current is no longer there"]}
