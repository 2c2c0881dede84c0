"""The exam in the cloud: it begins only in an empty bucket, and leaves nothing behind."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from in_memory_s3 import InMemoryS3

from mps3 import MemoryStorage
from mps3.storage.protocol import Page
from stores.exam import cloud


@pytest.fixture(autouse=True)
def small(monkeypatch):
    for name, number in {"PUTS": 10, "TRANSACTIONS": 1, "COMMITS": 1, "POLL": 0.1}.items():
        monkeypatch.setattr(cloud, name, number)


@pytest.fixture
def told() -> list[str]:
    return []


@pytest.mark.parametrize("versioning", ["Enabled", "Off"])
async def test_over_the_network(versioning, monkeypatch, capsys):
    """As the command: keys and endpoint come from the environment."""
    async with InMemoryS3(versioning=versioning) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", server.url)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
        monkeypatch.setenv("AWS_REGION", "us-east-1")
        monkeypatch.setattr("sys.argv", ["cloud", "run", "r2", "bucket"])
        code = await asyncio.to_thread(cloud.main)
        said = capsys.readouterr()
        assert code == 0, said.err
        assert '"dollars"' in said.out and ("merge: writes" in said.err) == (versioning == "Enabled")
        assert server.everything == []


@pytest.mark.parametrize("versioning", [True, False])
async def test_a_bucket_with_objects_is_left_alone(versioning, told):
    storage = MemoryStorage(versioning=versioning)
    await storage.put("bucket", "precious", b"1")
    with pytest.raises(SystemExit, match="1 objects or versions"):
        await cloud.run(cloud.RoughStorage(storage, 0), "bucket", told.append)
    assert [key for key, _ in await cloud.everything(storage, "bucket")] == ["precious"]
    assert await cloud.clean(storage, "bucket") == 0
    assert [key for key, _ in await cloud.everything(storage, "bucket")] == ["precious"]


@pytest.mark.parametrize("versioning", [True, False])
async def test_it_cleans_up_when_it_fails(versioning, told, monkeypatch):
    async def fail(bucket: Any, tell: Any) -> None:
        await bucket.store.put("bucket", "key", b"1")
        await bucket.store.put("bucket", "key", b"2")
        await bucket.store.delete("bucket", "key")
        await bucket.store.put("bucket", "other", b"1")
        raise RuntimeError("for a test")

    monkeypatch.setattr(cloud, "examine", fail)
    storage = MemoryStorage(versioning=versioning)
    with pytest.raises(RuntimeError, match="for a test"):
        await cloud.run(cloud.RoughStorage(storage, 0), "bucket", told.append)
    assert await cloud.everything(storage, "bucket") == []


async def test_what_a_run_that_was_killed_has_left_is_cleaned_later():
    storage = MemoryStorage()
    await cloud.begin(storage, "bucket")
    await storage.put("bucket", "key", b"1")
    assert await cloud.clean(storage, "bucket") == 2
    assert await cloud.everything(storage, "bucket") == []


async def test_objects_that_are_listed_only_after_others_are_removed():
    class Hiding(MemoryStorage):
        """Lists `a/x` only if there is no `a`."""

        async def list(self, bucket: str, prefix: str = "", **options: Any) -> Page:
            page = await super().list(bucket, prefix, **options)
            keys = {entry.key for entry in page.entries}
            return Page(tuple(one for one in page.entries if one.key.rpartition("/")[0] not in keys), page.next)

    storage = Hiding(versioning=False)
    await cloud.begin(storage, "bucket")
    for key in ("a", "a/x", "a/x/y"):
        await storage.put("bucket", key, b"1")
    assert await cloud.clean(storage, "bucket") == 4
    assert await cloud.everything(storage, "bucket") == []
