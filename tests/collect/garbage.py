"""What is in a bucket, and what of it may be collected."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from helpers import BUCKET, MANIFEST

from mps3 import MPS3
from mps3.storage import ListedVersion

DAY = 24 * 3600.0


SOON = {"retention": 0, "grace": timedelta(minutes=20)}


versioning = pytest.mark.parametrize("versioning", [True, False])


async def everything(storage: Any, bucket: str = BUCKET) -> list[ListedVersion]:
    found, start = [], None
    while True:
        page = await storage.scan(bucket, start=start)
        found += page.found
        start = page.next
        if start is None:
            return found


def values(found: list[ListedVersion]) -> list[str]:
    return sorted(one.key.partition("@mps3-")[0] for one in found if not one.key.startswith(MANIFEST))


async def uncached(one: MPS3) -> MPS3:
    one._contents._cache._most = 0
    return one


def values_of(storage: Any, key: str) -> int:
    objects = storage._buckets[BUCKET]
    return sum(len(rows) for name, rows in objects.items() if name.partition("@mps3-")[0] == key)


async def versions_named(storage: Any, key: str) -> list[str]:
    return [
        found.key.partition("@")[2] or found.version
        for found in await everything(storage)
        if found.key.partition("@")[0] == key
    ]
