"""Many keys of one state, and the past."""

from __future__ import annotations

import asyncio
import time
from datetime import datetime, timedelta, timezone

import pytest
from helpers import BUCKET, MANIFEST, Clock, Unreliable, eventually, memory_client, soon
from places import keys_of, place

from mps3 import (
    DELETE,
    MPS3,
    ClosedError,
    CorruptionError,
    ExpiredError,
    LocalStorage,
    MemoryStorage,
    Ref,
    UnavailableError,
)

__all__ = ["place"]  # a fixture


@pytest.fixture(params=[True, False], ids=["merge", "log"])
def storage(request):
    return Unreliable(versioning=request.param)


# Many keys


@pytest.mark.parametrize("versioning", [True, False], ids=["merge", "log"])
async def test_keys_and_their_values(place, versioning):
    bucket, options, storage = await place(versioning)
    async with MPS3(bucket, **options) as ann, MPS3(bucket, **options) as bob:
        await ann.put_all({"b/2": None, "a/1": 1, "b/1": [2], "b": 3})
        await ann.delete("b")
        assert await bob.keys() == ["a/1", "b/1", "b/2"]
        assert await bob.keys("b") == ["b/1", "b/2"]
        assert await bob.keys("b/1x") == []
        assert await bob.get_all() == {"a/1": 1, "b/1": [2], "b/2": None}
        assert list(await bob.get_all(prefix="b/")) == ["b/1", "b/2"]
        assert await bob.get_all(["b/2", "a/1", "gone"]) == {"b/2": None, "a/1": 1}
        assert await bob.get_all([]) == {}
        watched = await soon(anext(bob.watch("b/")))
        assert {change.key: change.value for change in watched.changes} == {"b/1": [2], "b/2": None}
        assert "manifest.json" in await keys_of(storage, bucket)
        commit = await ann.put("b/1", 5)
        assert (await bob.history("b/1"))[0].id == commit.id


async def test_own_pending_writes_are_included(storage):
    async with memory_client(storage, inline=0) as client:
        await client.put_all({"k/1": 1, "k/2": 2})
        storage.hold("put")
        client.put("k/3", 3)
        client.delete("k/1")
        assert await client.keys("k/") == ["k/2", "k/3"]
        assert await client.get_all(prefix="k/") == {"k/2": 2, "k/3": 3}
        assert await client.get_all(["k/1", "k/3"]) == {"k/3": 3}
        storage.release()


async def test_refs_and_other_buckets(storage):
    async with memory_client(storage) as client:
        await client.put_all({"a": 1, Ref("a", "media"): 2, Ref("b", "media"): 3})
        assert await client.keys() == ["a", "s3://media/a", "s3://media/b"]
        assert await client.keys("s3://media/b") == ["s3://media/b"]
        assert await client.get_all([Ref("a", "media"), "a"]) == {Ref("a", "media"): 2, "a": 1}
        assert await client.get_all(["a"], bucket="media") == {"a": 2}
        assert await client.get_all(prefix="s3://media/") == {"s3://media/a": 2, "s3://media/b": 3}
        assert await client.keys(manifest="other.json") == []
        away = Ref("m.json", "elsewhere")
        await client.put_all({"a": 1, Ref("x", "elsewhere"): 2}, manifests=[away])
        assert await client.keys(manifest=away) == ["a", "s3://elsewhere/x"]
        assert await client.keys("a", manifest=away) == ["a"]
        assert await client.keys("s3://else", manifest=away) == ["s3://elsewhere/x"]
        assert await client.get_all(prefix="s3://elsewhere/x", manifest=away) == {"s3://elsewhere/x": 2}
        assert await client.get_all(["a", Ref("x", "elsewhere")], manifest=away) == {"a": 1, Ref("x", "elsewhere"): 2}


async def test_all_values_are_of_one_state(storage):
    """Whatever is written meanwhile."""
    async with memory_client(storage) as ann, memory_client(storage) as bob:
        await ann.put_all({f"k/{number}": 0 for number in range(20)})

        async def write() -> None:
            for round_ in range(1, 15):
                await ann.put_all({f"k/{number}": round_ for number in range(20)})

        writing = asyncio.create_task(write())
        seen = set()
        while not writing.done():
            values = set((await bob.get_all(prefix="k/")).values())
            assert len(values) == 1
            seen |= values
        assert len(seen) > 1
        await writing


async def test_a_value_that_was_collected_meanwhile_is_read_from_a_newer_state(storage):
    async with memory_client(storage, inline=0) as ann, memory_client(storage, poll_interval=1000, inline=0) as bob:
        await ann.put_all({"a": 0, "b": 0})
        await bob.keys()
        old = [name for name in storage._buckets[BUCKET] if name == "a" or name.startswith("a@")]
        version = (await storage.versions(BUCKET, old[0])).versions[0].version
        storage.switch.clear()
        storage.hang = lambda operation, key: operation == "get" and key == old[0]
        reading = asyncio.create_task(bob.get_all(["a", "b"]))
        await eventually(lambda: storage.count("get", old[0]))
        await ann.put_all({"a": 1, "b": 1})
        await storage.delete(BUCKET, old[0], version=version)
        storage.release()
        assert await soon(reading) == {"a": 1, "b": 1}


async def test_a_value_that_is_missing_is_an_error(storage):
    async with memory_client(storage, inline=0) as ann, memory_client(storage, inline=0) as bob:
        await ann.put_all({"a": 0, "b": 0})
        for name in list(storage._buckets[BUCKET]):
            if name == "b" or name.startswith("b@"):
                storage._buckets[BUCKET][name].clear()
        with pytest.raises(CorruptionError, match="missing"):
            await bob.get_all()
        assert await bob.get_all(["a"]) == {"a": 0}


async def test_many_values_are_fetched_together_but_not_all_at_once(storage):
    async with memory_client(storage, inline=0) as ann, memory_client(storage, inline=0) as bob:
        await ann.put_all({f"k/{number}": number for number in range(200)})
        most = under_way = 0
        original = MemoryStorage.get

        async def get(self, bucket, key, **options):
            nonlocal most, under_way
            under_way += key.startswith("k/")
            most = max(most, under_way)
            await asyncio.sleep(0.001)
            under_way -= key.startswith("k/")
            return await original(self, bucket, key, **options)

        Unreliable.get, before = get, Unreliable.get
        try:
            assert len(await bob.get_all(prefix="k/")) == 200
        finally:
            Unreliable.get = before
        assert 16 <= most <= 32


async def test_calls_that_make_no_sense(storage):
    async with memory_client(storage) as client:
        with pytest.raises(TypeError):
            await client.get_all(["a"], prefix="b")
        with pytest.raises(TypeError):
            await client.get_all("abc")
        with pytest.raises(TypeError):
            await client.keys(7)
        with pytest.raises(ValueError):
            await client.history("a", limit=0)
        with pytest.raises(TypeError, match="the id of a commit, or a datetime, not Commit"):
            await client.get("k", at=await client.put("k", 1))
        with pytest.raises(ValueError, match="no time zone"):
            await client.get("a", at=datetime(2026, 1, 1))  # noqa: DTZ001
    for call in (client.keys(), client.get_all(), client.history("a"), client.snapshot(), client.get("a", at="x")):
        with pytest.raises(ClosedError):
            await call


async def test_while_the_store_does_not_answer_what_is_known_is_read(storage):
    async with memory_client(storage) as client:
        await client.put("k", 1)
        storage.down()
        await eventually(lambda: not client.status().online)
        assert await client.get_all() == {"k": 1}
        assert await client.keys() == ["k"]
        with pytest.raises(UnavailableError):
            await client.history("k") if storage._versioning else await client.keys(manifest="unknown")


# The past


async def test_the_revisions_of_a_key(storage):
    async with memory_client(storage) as client:
        commits = [await client.put("k", number) for number in range(3)]
        await client.put("other", 1)
        commits += [await client.delete("k"), await client.put_all({"k": 4, "other": 2})]
        found = await client.history("k")
        assert [revision.id for revision in found] == [commit.id for commit in reversed(commits)]
        assert [await revision.value() for revision in found] == [4, DELETE, 2, 1, 0]
        assert [revision.version for revision in found] == [commit.versions["k"] for commit in reversed(commits)]
        assert found[1].version is None
        assert all(abs(time.time() - revision.time.timestamp()) < 60 for revision in found)
        assert [revision.id for revision in await client.history("k", limit=2)] == [commits[4].id, commits[3].id]
        assert await client.history("never") == []
        with pytest.raises(AttributeError):
            found[0].id = "x"
        assert "client" not in repr(found[0])


async def test_how_it_was_at_a_commit_and_at_a_time():
    clock = Clock()
    storage = MemoryStorage(clock=clock)
    async with memory_client(storage) as ann, memory_client(storage) as bob:
        started = clock()
        commits, states, moments = [], [], []
        state: dict[str, object] = {}
        for number in range(40):
            change = {f"k/{number % 5}": number, "gone": number if number % 2 else DELETE}
            if number == 20:
                change.update({f"many/{place}": place for place in range(1000)})
            commits.append(await (ann, bob)[number % 2].put_all(change))
            state = {key: value for key, value in {**state, **change}.items() if value is not DELETE}
            states.append(state)
            # Between this commit and the next, however long they take.
            moments.append(datetime.fromtimestamp(clock() + 1, timezone.utc))
            clock.later(2)
        for number, commit in enumerate(commits):
            snapshot = await bob.snapshot(commit.id)
            assert snapshot.id == commit.id
            assert await snapshot.keys() == sorted(states[number])
            if number % 5 == 0:
                assert await snapshot.get_all("k/") == {
                    key: value for key, value in states[number].items() if key.startswith("k/")
                }
            assert await bob.get("k/3", "absent", at=moments[number]) == states[number].get("k/3", "absent")
        assert await bob.get("gone", "absent", at=commits[7].id) == 7
        assert await bob.get("gone", "absent", at=commits[8].id) == "absent"
        before = datetime.fromtimestamp(started, timezone.utc) - timedelta(seconds=1)
        assert await bob.get("gone", "absent", at=before) == "absent"
        assert (await bob.snapshot(before)).id is None
        assert len(await bob.history("gone")) == 40


async def test_a_snapshot_stays_as_it_is(storage):
    async with memory_client(storage) as client:
        await client.put_all({"a": 1, Ref("b", "media"): 2})
        snapshot = await client.snapshot()
        commit = await client.put("a", 2)
        assert await snapshot.get("a") == 1
        assert await snapshot.get("b", bucket="media") == await snapshot.get(Ref("b", "media")) == 2
        assert await snapshot.get("c", "absent") == "absent"
        assert await snapshot.keys() == ["a", "s3://media/b"]
        assert await snapshot.get_all() == {"a": 1, "s3://media/b": 2}
        assert (await client.snapshot()).id == commit.id
        assert MANIFEST in repr(snapshot)


async def test_what_was_can_be_again(storage):
    async with memory_client(storage) as ann, memory_client(storage) as bob:
        first = await ann.put_all({"a": 1, "b": 2, "same": 3})
        await ann.put_all({"a": DELETE, "b": 20, "new": 4})
        found = await bob.history("a")
        commit = await bob.restore("a", found[1])
        assert (await bob.history("a"))[0].id == commit.id
        assert await ann.get("a") == 1
        await bob.restore("a", found[0])
        assert await ann.get("a", "absent") == "absent"
        commit = await bob.restore_all(first.id)
        assert await ann.get_all() == {"a": 1, "b": 2, "same": 3}
        assert set(commit.versions) == {"a", "b", "new"}
        assert await bob.restore_all(first.id) is None
        storage.hold("put")
        bob.put("b", "pending")
        restoring = asyncio.create_task(bob.restore_all(first.id, prefix="b"))
        await asyncio.sleep(0.1)
        storage.release()
        assert await restoring is not None
        assert await ann.get_all() == {"a": 1, "b": 2, "same": 3}


async def test_beyond_what_is_kept_is_an_error_that_says_so():
    clock = Clock()
    storage = MemoryStorage(clock=clock)
    async with memory_client(storage) as client:
        commits = []
        for number in range(6):
            commits.append(await client.put("k", number))
            clock.later(10)
        versions = (await storage.versions(BUCKET, MANIFEST)).versions
        for version in versions[3:]:
            await storage.delete(BUCKET, MANIFEST, version=version.version)
        for at in (commits[0].id, "nobody.1", datetime.fromtimestamp(1, timezone.utc)):
            with pytest.raises(ExpiredError, match=f"the oldest commit that is kept is {commits[2].id} of 20"):
                await client.get("k", at=at)
        assert await client.get("k", at=commits[2].id) == 2
        assert await client.get("k", at=commits[3].id) == 3
        found = await client.history("k")
        assert [revision.id for revision in found] == [*(commit.id for commit in commits[:1:-1]), None]
        assert (await found[-1].value(), found[-1].time) == (1, None)
        with pytest.raises(ExpiredError):
            await client.restore_all(commits[1].id)


async def test_without_versions_the_log_is_the_past():
    clock = Clock()
    storage = MemoryStorage(versioning=False, clock=clock)
    async with memory_client(storage) as client:
        commits = []
        for number in range(140):
            commits.append(await client.put("k", number))
            clock.later(10)
        assert await client.get("k", at=commits[100].id) == 100
        assert await client.get("k", at=commits[2].id) == 2
        found = await client.history("k")
        assert [revision.id for revision in found] == [commit.id for commit in reversed(commits)]
        assert await found[-1].value() == 0


async def test_the_log_journal_has_a_past_in_a_bucket_with_versions():
    clock = Clock()
    storage = MemoryStorage(clock=clock)
    async with memory_client(storage, journal="log") as client:
        commits = []
        for number in range(140):
            commits.append(await client.put("k", number))
            clock.later(10)
        assert [revision.id for revision in await client.history("k")] == [commit.id for commit in reversed(commits)]
        assert await client.get("k", at=commits[2].id) == 2
        assert await client.get("k", at=commits[0].id) == 0


async def test_the_past_costs_few_requests():
    storage = Unreliable()
    async with memory_client(storage) as ann, memory_client(storage) as bob:
        for number in range(300):
            await ann.put("k", number)
        await bob.get("k")
        before = storage.count("get", MANIFEST), storage.count("versions", MANIFEST)
        assert len(await bob.history("k")) == 300
        gets = storage.count("get", MANIFEST) - before[0]
        assert gets < 60, gets
        assert storage.count("versions", MANIFEST) - before[1] <= 6


async def test_in_a_directory(tmp_path):
    async with memory_client(LocalStorage(tmp_path)) as client:
        commits = [await client.put("k", number) for number in range(5)]
        assert [await revision.value() for revision in await client.history("k")] == [4, 3, 2, 1, 0]
        assert await client.get("k", at=commits[1].id) == 1
