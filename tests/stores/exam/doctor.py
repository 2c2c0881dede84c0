"""What the doctor says of a bucket, and whether a client then says the same."""

from __future__ import annotations

import asyncio
from typing import Any

from mps3 import MPS3Error
from mps3.doctor.diagnosis import Diagnosis, diagnose
from mps3.support.environment import Environment
from stores.exam.bucket import POLL, TIME_LIMIT, Bucket

MANIFEST = "doctor.json"


async def see_doctor(bucket: Bucket) -> Diagnosis:
    storage = bucket.storage()
    await storage.open()
    try:
        async with asyncio.timeout(TIME_LIMIT):
            return await diagnose(
                storage,
                bucket.name,
                MANIFEST,
                journal=bucket.journal,
                poll_interval=POLL,
                environment=Environment(),
            )
    finally:
        await storage.aclose()


def told(found: Diagnosis) -> dict[str, Any]:
    """What the doctor said, as a document: times are left out, because they are of one machine."""
    return {
        "ready": found.healthy,
        "journal": found.journal,
        "headers": {} if found.known is None else found.known.headers,
        "findings": {
            finding.what: {"good": finding.good, "result": finding.result}
            for finding in found.findings
            if not finding.result.endswith(" ms") and finding.what != "clocks"
        },
    }


async def try_client(bucket: Bucket) -> str | None:
    """Put and get once; return the error of a client that is refused."""
    try:
        async with asyncio.timeout(TIME_LIMIT), bucket.client("tried.json") as client:
            await client.put("tried", 1)
            async with bucket.client("tried.json") as other:
                assert await other.get("tried") == 1
    except MPS3Error as error:
        return f"{type(error).__name__}: {error}"
    return None
