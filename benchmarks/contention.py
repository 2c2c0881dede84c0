"""Many writers on one manifest, with both journals side by side.

    python benchmarks/contention.py                                  # a store in memory
    python benchmarks/contention.py --endpoint http://localhost:9000 # credentials as with other S3 tools

Every writer commits one key after another, each as soon as the one before is durable. Afterwards a new client
reads everything: whatever was acknowledged and is not there counts as lost. The buckets are made, one with
versions and one without, and are removed again.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import secrets
import time
from collections import Counter
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from aiobotocore.config import AioConfig
from aiobotocore.session import AioSession

from mps3 import MPS3, MemoryStorage
from mps3.storage.s3 import S3Storage

MANIFEST = "manifest.json"


class Counted:
    """A store that counts what is asked of it."""

    def __init__(self, storage: Any) -> None:
        self.storage = storage
        self.asked: Counter[str] = Counter()

    def __getattr__(self, name: str) -> Any:
        call = getattr(self.storage, name)
        if name not in ("get", "put", "versions", "list", "delete", "capabilities"):
            return call

        async def counted(bucket: str, *args: Any, **options: Any) -> Any:
            key = args[0] if args else ""
            self.asked[f"{name} {'manifest' if str(key).startswith(MANIFEST) else 'value'}"] += 1
            return await call(bucket, *args, **options)

        return counted


@dataclass
class Result:
    journal: str
    writers: int
    seconds: float
    writes: int
    asked: Counter[str]
    slowest: float
    lost: int

    def row(self) -> str:
        puts, total = self.asked["put manifest"], sum(self.asked.values())
        return (
            f"| {self.journal} | {self.writers} | {self.writes / self.seconds:.0f} | {puts / self.writes:.2f} "
            f"| {total / self.writes:.2f} | {self.slowest:.2f} s | {self.lost} |"
        )


async def contend(journal: str, storage: Any, bucket: str, writers: int, commits: int) -> Result:
    counted = Counted(storage)
    async with AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(MPS3(bucket, MANIFEST, storage=counted, journal=journal))
            for _ in range(writers)
        ]
        await clients[0].put("first", 0)
        slowest = 0.0

        async def write(number: int) -> None:
            nonlocal slowest
            for turn in range(commits):
                began = time.perf_counter()
                await clients[number].put(f"{number}/{turn}", turn)
                slowest = max(slowest, time.perf_counter() - began)

        counted.asked.clear()
        began = time.perf_counter()
        await asyncio.gather(*map(write, range(writers)))
        seconds = time.perf_counter() - began
        asked = Counter(counted.asked)
    async with MPS3(bucket, MANIFEST, storage=storage, journal=journal) as reader:
        expected = {f"{number}/{turn}": turn for number in range(writers) for turn in range(commits)}
        lost = 0
        for key, value in expected.items():
            lost += await reader.get(key) != value
    return Result(journal, writers, seconds, writers * commits, asked, slowest, lost)


@asynccontextmanager
async def a_bucket(s3_config: dict[str, Any], *, versioning: bool) -> Any:
    config = AioConfig(
        s3={"addressing_style": "path"},
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    bucket = f"mps3-benchmark-{secrets.token_hex(6)}"
    async with AioSession().create_client("s3", config=config, **s3_config) as s3:
        await s3.create_bucket(Bucket=bucket)
        try:
            if versioning:
                await s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
            yield bucket
        finally:
            async for page in s3.get_paginator("list_object_versions").paginate(Bucket=bucket):
                items = [*page.get("Versions", ()), *page.get("DeleteMarkers", ())]
                await asyncio.gather(
                    *(s3.delete_object(Bucket=bucket, Key=item["Key"], VersionId=item["VersionId"]) for item in items)
                )
            await s3.delete_bucket(Bucket=bucket)


async def measure(options: argparse.Namespace, journal: str) -> Result:
    versioning = journal == "merge"
    if options.endpoint is None:
        storage = MemoryStorage(versioning=versioning)
        return await contend(journal, storage, "bucket", options.writers, options.commits)
    s3_config = {"endpoint_url": options.endpoint, "region_name": os.environ.get("AWS_REGION", "us-east-1")}
    async with a_bucket(s3_config, versioning=versioning) as bucket:
        return await contend(journal, S3Storage(s3_config), bucket, options.writers, options.commits)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--endpoint", help="an S3 endpoint; a store in memory without it")
    parser.add_argument("--writers", type=int, default=32)
    parser.add_argument("--commits", type=int, default=10, help="of each writer")
    options = parser.parse_args()
    print("| journal | writers | commits/s | manifest PUTs a commit | requests a commit | slowest | lost |")
    print("|---|---|---|---|---|---|---|")
    lost = 0
    for journal in ("merge", "conditional"):
        result = asyncio.run(measure(options, journal))
        lost += result.lost
        print(result.row(), flush=True)
    raise SystemExit(lost > 0)


if __name__ == "__main__":
    main()
