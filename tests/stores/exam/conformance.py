"""The checks of what every storage must do."""

from __future__ import annotations

import asyncio
from typing import Any

from mps3.testing.conformance import check_storage
from stores.exam.bucket import TIME_LIMIT, Bucket


async def conform(bucket: Bucket) -> dict[str, Any]:
    """How many checks passed, and for each of the others why it did not."""
    async with asyncio.timeout(TIME_LIMIT):
        report = await check_storage(bucket.storage(), bucket.name)
    return {
        "passed": sum(result.outcome == "passed" for result in report.results),
        **{
            outcome: {result.check: result.detail for result in report.results if result.outcome == outcome}
            for outcome in ("failed", "skipped")
        },
    }
