"""A store that takes one PUT a second to an object, as Cloudflare R2 and Google say of theirs: no commit waits for it."""

from __future__ import annotations

import pytest
from helpers import BUCKET, MANIFEST, client, soon
from in_memory_s3 import InMemoryS3
from storage.s3_storage import opened

from mps3 import UnavailableError
from mps3.format.slot import SlotName

COMMITS = 150


async def test_the_store_refuses_what_comes_too_soon():
    async with InMemoryS3(pace=1.0) as server, opened(server.s3_config) as storage:
        for number in range(2):
            await storage.put(BUCKET, f"key{number}", b"{}")
        with pytest.raises(UnavailableError, match="slow down"):
            await storage.put(BUCKET, "key0", b"{}")
    assert {*server.refused} == {"key0"}


@pytest.mark.parametrize("value", ["small", "x" * 2000], ids=["inline", "stored"])
async def test_each_commit_takes_one_put_and_none_is_refused(value):
    async with InMemoryS3(versioning="Off", pace=1.0) as server, client(BUCKET, server.s3_config) as one:
        await soon(one.put("first", 1))
        server.asked.clear()
        server.refused.clear()
        for number in range(COMMITS):
            await soon(one.put("key", f"{value}{number}"))
        puts = {what.removeprefix("PUT "): times for what, times in server.asked.items() if what.startswith("PUT ")}
    assert server.refused == []
    assert {*puts.values()} == {1}
    written = [name for key in puts if (name := SlotName.parse(MANIFEST, key)) is not None]
    assert sum(not name.is_checkpoint for name in written) == COMMITS
    assert sum(name.is_checkpoint for name in written) >= 2
