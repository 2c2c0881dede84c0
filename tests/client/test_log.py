"""The commits of a manifest, as `log` lists them, and what a snapshot says of its keys."""

from __future__ import annotations

import hashlib
from datetime import timedelta, timezone

import pytest
from helpers import BUCKET, Clock, Unreliable, memory_client
from places import place

from mps3 import MPS3, ClosedError, FileInfo, MemoryStorage, Ref

__all__ = ["place"]  # a fixture


@pytest.mark.parametrize("versioning", [True, False], ids=["merge", "log"])
async def test_commits_the_newest_first(place, versioning):
    bucket, options, _ = await place(versioning)
    async with MPS3(bucket, **options) as ann, MPS3(bucket, **options) as bob:
        assert await ann.log() == []
        first = await ann.put_all({"b": 1, "a": 2})
        second = await bob.delete("a")
        third = await ann.put("c/1", None)
        found = await bob.log()
        assert [one.id for one in found] == [third.id, second.id, first.id]
        assert [dict(one.versions) for one in found] == [dict(one.versions) for one in (third, second, first)]
        assert list(found[2].versions) == ["a", "b"] and found[1].versions == {"a": None}
        assert found[0].session == found[2].session != found[1].session
        # The header with the date may be a second behind the time stamps of objects, as Versity S3 Gateway's is.
        times = [one.time + timedelta(seconds=number) for number, one in enumerate(reversed(found))]
        assert times == sorted(times) and found[0].time.tzinfo == timezone.utc
        assert (await bob.get("a", at=found[2].id), await bob.get("a", at=found[1].id)) == (2, None)


@pytest.fixture(params=[True, False], ids=["merge", "log"])
def storage(request):
    return Unreliable(versioning=request.param)


async def test_only_some(storage):
    async with memory_client(storage) as client:
        first = await client.put_all({"a/1": 1, "b/1": 1})
        await client.put("b/2", 2)
        third = await client.put_all({"a/2": 2, Ref("x", "media"): 3})
        assert [(one.id, set(one.versions)) for one in await client.log("a/")] == [
            (third.id, {"a/2"}),
            (first.id, {"a/1"}),
        ]
        assert [one.id for one in await client.log(limit=1)] == [third.id]
        assert [one.id for one in await client.log("b/1", limit=1)] == [first.id]
        assert [set(one.versions) for one in await client.log("s3://media/")] == [{"s3://media/x"}]
        assert await client.log("nobody") == await client.log(manifest="other.json") == []


async def test_a_commit_whose_change_is_stored_as_a_run(storage):
    async with memory_client(storage) as client:
        await client.put("k/0000", 0)
        commit = await client.put_all({f"k/{number:04}": number for number in range(3000)})
        assert any(".runs/" in key for key in storage._buckets[BUCKET])
        (found,) = await client.log(limit=1)
        assert found.versions == commit.versions and list(found.versions) == sorted(commit.versions)
        (found,) = await client.log("k/2999")
        assert found.versions == {"k/2999": commit.versions["k/2999"]}


async def test_each_commit_of_a_log_journal_has_its_slot(storage):
    async with memory_client(storage) as client:
        for number in range(70):  # more than one checkpoint
            await client.put("k", number)
        await client.collect(dry_run=False)
        slots = [commit.slot for commit in await client.log("k")]
        assert slots == ([None] * 70 if storage._versioning else list(range(70, 0, -1)))


async def test_further_back_than_one_page():
    async with memory_client(MemoryStorage()) as client:
        commits = [await client.put("k", number) for number in range(100)]
        assert [one.id for one in await client.log()] == [one.id for one in reversed(commits)]
        assert [one.id for one in await client.log(limit=50)] == [one.id for one in reversed(commits[50:])]


async def test_as_far_as_versions_are_kept():
    clock = Clock()
    storage = MemoryStorage(clock=clock)
    async with memory_client(storage) as client:
        await client.put("k", 0)
        await client.put_all({f"k/{number:04}": number for number in range(3000)})
        for _ in range(4):
            clock.later(86400)
            await client.put("k", 0)
        clock.later(86400)
        last = [await client.put("k", number) for number in range(3)]
        collected = await client.collect(retention=3600, grace=3600)
        assert collected.manifest.deleted
        found = await client.log()
        assert [one.id for one in found[:3]] == [one.id for one in reversed(last)]
        assert 3 < len(found) < 9


async def test_bad_calls(storage):
    async with memory_client(storage) as client:
        for limit in (0, -1):
            with pytest.raises(ValueError, match="limit"):
                await client.log(limit=limit)
        with pytest.raises(TypeError, match="prefix"):
            await client.log(None)
    with pytest.raises(ClosedError):
        await client.log()


async def test_what_a_snapshot_says_of_its_keys(storage):
    async with memory_client(storage, inline=0) as client:
        commit = await client.put_all({"b": [1, 2], "a": "x", Ref("a", "media"): None})
        found = await (await client.snapshot()).files()
        assert [one.key for one in found] == ["a", "b", "s3://media/a"]
        digest = hashlib.sha256(b"[1,2]").hexdigest()
        assert found[1] == FileInfo("b", Ref("b", BUCKET), commit.versions["b"], 5, digest)
        assert found[2].ref == Ref("a", "media")
        await client.delete("b")
        assert [one.key for one in await (await client.snapshot()).files("b")] == []
        assert [one.key for one in await (await client.snapshot(commit.id)).files("b")] == ["b"]
