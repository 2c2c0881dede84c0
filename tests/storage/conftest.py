"""What the tests of storages share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from scripted_s3 import ScriptedS3
from storage.s3_storage import opened

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from mps3.storage.s3.storage import S3Storage


@pytest.fixture
async def fake() -> AsyncIterator[ScriptedS3]:
    async with ScriptedS3() as fake:
        yield fake


@pytest.fixture
async def s3_storage(s3_config: dict[str, Any]) -> AsyncIterator[S3Storage]:
    async with opened(s3_config) as storage:
        yield storage
