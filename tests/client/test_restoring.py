"""The past after a collection, and what restoring does with keys that expire."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta, timezone

import pytest
from helpers import BUCKET, COMMIT, StoreWithClock, client, memory_client

from mps3 import DELETE, MPS3, CorruptionError, ExpiredError, MemoryStorage

HOUR = 3600.0
DAY = 24 * HOUR


@pytest.fixture(params=["merge", "log"])
def storage(request):
    return StoreWithClock(versioning=request.param == "merge")


@pytest.fixture
def versioned():
    return StoreWithClock()


async def expiry(client: MPS3, key: str) -> datetime | None:
    return {one.key: one.expires for one in await (await client.snapshot()).files()}.get(key)


# What was collected ---------------------------------------------------------------------------------------------------


async def collected(storage: StoreWithClock) -> tuple[list[str], datetime]:
    """Four commits of one key and one of another, of which the older ones were collected; and a time between."""
    async with memory_client(storage, inline=0) as one:
        commits = []
        for number in range(4):
            commits.append((await one.put_all({"k": number, f"only{number}": number})).id)
            storage.later(60)
        between = datetime.fromtimestamp(storage.clock() - 150, timezone.utc)
        await one.put("other", 1)
        storage.later(10 * DAY)
        await one.put("other", 2)
        assert (await one.collect()).deleted > 0
        return commits, between


READS = {
    "get": lambda one, at: one.get("k", at=at),
    "restore_all": lambda one, at: one.restore_all(at),
    "restore_all of a prefix": lambda one, at: one.restore_all(at, prefix="k"),
    "restore": lambda one, at: one.restore("k", at),
}


@pytest.mark.parametrize("name", READS)
async def test_the_past_that_was_collected_is_expired_and_not_damaged(versioned, name):
    commits, between = await collected(versioned)
    async with memory_client(versioned, inline=0) as one:
        before = await one.get_all()
        for at in (*commits[:3], between):
            with pytest.raises(ExpiredError):
                await READS[name](one, at)
        assert await one.get_all() == before


async def test_a_value_of_the_past_that_was_collected_is_expired(versioned):
    """The state is still known, since the versions of the manifest are there; the value is not."""
    async with memory_client(versioned, inline=0) as one:
        commit = await one.put_all({"k": 1, "same": 1})
        await one.put("k", 2)
        version = commit.versions["k"]
        await versioned.delete(BUCKET, "k", version=version)
    async with memory_client(versioned, inline=0) as two:
        snapshot = await two.snapshot(commit.id)
        newest, oldest = await two.history("k")
        for read in (
            lambda: two.get("k", at=commit.id),
            lambda: snapshot.get("k"),
            lambda: snapshot.get_all(),
            lambda: two.restore_all(commit.id),
            lambda: two.restore("k", commit.id),
            lambda: two.restore("k", oldest),
            oldest.value,
        ):
            with pytest.raises(ExpiredError, match="has been collected") as caught:
                await read()
            assert (caught.value.bucket, caught.value.key, caught.value.version) == (BUCKET, "k", version)
        assert await newest.value() == 2
        assert await snapshot.get("same") == 1
        assert await two.get("k") == 2


async def test_a_snapshot_of_the_present_may_become_the_past(storage):
    async with memory_client(storage, inline=0) as one, memory_client(storage, inline=0) as two:
        commit = await one.put("k", 1)
        snapshot = await two.snapshot()
        await one.put("k", 2)
        version = str(commit.versions["k"])
        if version.startswith("mps3-"):
            await storage.delete(BUCKET, f"k@{version}")
        else:
            await storage.delete(BUCKET, "k", version=version)
        with pytest.raises(ExpiredError):
            await snapshot.get("k")


async def test_what_is_missing_though_the_present_names_it_is_damage(versioned):
    async with memory_client(versioned, inline=0) as one:
        commit = await one.put("k", 1)
        await one.put("other", 2)
        await versioned.delete(BUCKET, "k", version=commit.versions["k"])
    async with memory_client(versioned, inline=0) as two:
        (revision,) = await two.history("k")
        for read in (
            lambda: two.get("k"),
            lambda: two.get("k", at=commit.id),
            revision.value,
        ):
            with pytest.raises(CorruptionError, match="missing"):
                await read()


async def test_what_is_there_and_is_not_what_was_written_is_damage(versioned):
    async with memory_client(versioned, inline=0) as one:
        commit = await one.put("k", 1)
        await one.put("k", 2)
    rows = versioned._buckets[BUCKET]["k"]
    version = commit.versions["k"]
    object.__setattr__(rows[version], "body", b"7")
    async with memory_client(versioned, inline=0) as two:
        with pytest.raises(CorruptionError, match="SHA-256"):
            await two.get("k", at=commit.id)


# What expires ---------------------------------------------------------------------------------------------------------

RESTORES = {
    "a revision": lambda one, revision, commit: one.restore("k", revision),
    "a commit": lambda one, revision, commit: one.restore("k", commit.id),
    "all": lambda one, revision, commit: one.restore_all(commit.id),
    "a prefix": lambda one, revision, commit: one.restore_all(commit.id, prefix="k"),
}


@pytest.mark.parametrize("now", [DELETE, 2], ids=["deleted", "changed"])
@pytest.mark.parametrize("name", RESTORES)
async def test_what_is_restored_expires_when_it_was_to(storage, name, now):
    async with memory_client(storage) as one, memory_client(storage) as two:
        commit = await one.put("k", 1, expires_in=HOUR)
        expires = await expiry(one, "k")
        storage.later(60)
        await one.put("k", now)
        revision = (await one.history("k"))[1]
        storage.later(60)
        await RESTORES[name](one, revision, commit)
        assert await two.get("k") == 1
        assert await expiry(two, "k") == expires == revision.expires
        storage.later(HOUR - 60)
        assert await one.get("k") is None and await two.get("k") is None


@pytest.mark.parametrize("name", RESTORES)
async def test_what_has_expired_by_now_counts_as_absent(storage, name):
    async with memory_client(storage) as one, memory_client(storage) as two:
        commit = await one.put("k", 1, expires_in=60)
        await one.put("k", 2)
        revision = (await one.history("k"))[1]
        storage.later(61)
        await RESTORES[name](one, revision, commit)
        assert await two.get("k", "absent") == "absent"


async def test_what_has_expired_and_was_collected_counts_as_absent_too(versioned):
    async with memory_client(versioned) as one:
        commit = await one.put("k", 1, expires_in=60)
        await one.put("k", 2)
        revision = (await one.history("k"))[1]
        versioned.later(61)
        await versioned.delete(BUCKET, "k", version=commit.versions["k"])
    async with memory_client(versioned) as two:
        assert await two.restore_all(commit.id) is not None
        await two.put("k", 2)
        await two.restore("k", revision)
        assert await two.get("k", "absent") == "absent"


async def test_what_was_to_stay_stays_though_the_same_value_expires_now(storage):
    async with memory_client(storage) as one:
        commit = await one.put("k", 1)
        await one.put("k", 1, expires_in=60)
        assert await one.restore_all(commit.id) is not None
        assert await expiry(one, "k") is None
        assert await one.restore_all(commit.id) is None
        storage.later(61)
        assert await one.get("k") == 1


async def test_restoring_everything_leaves_what_was_not_there_to_its_expiry(storage):
    async with memory_client(storage) as one:
        await one.put("gone", 1, expires_in=60)
        then = await one.put("a", 1)
        await one.put_all({"late": 1}, expires_in=HOUR)
        await one.put_all({"a": 2, "new": 1})
        storage.later(61)
        await one.restore_all(then.id)
        assert await one.get_all() == {"a": 1, "late": 1}
        assert await expiry(one, "late") is not None
        assert await one.restore_all(then.id) is None


async def test_a_restored_key_that_waits_expires_when_it_was_to(storage):
    """Not an hour after the network came back."""
    async with memory_client(storage) as one, memory_client(storage) as two:
        commit = await one.put("k", 1, expires_in=HOUR)
        expires = await expiry(one, "k")
        await one.delete("k")
        storage.hold("put", COMMIT)
        restoring = asyncio.create_task(one.restore("k", commit.id))
        while not storage.count("put", COMMIT) > 2:
            await asyncio.sleep(0.01)
        storage.later(900)  # so long that its value is stored again
        storage.release()
        await restoring
        assert await expiry(two, "k") == expires


async def test_a_revision_may_be_restored_to_another_key(versioned):
    async with memory_client(versioned) as one:
        commit = await one.put("k", 1, expires_in=HOUR)
        (revision,) = await one.history("k")
        await one.restore("copy", revision)
        assert await one.get("copy") == 1
        assert await expiry(one, "copy") == revision.expires
        at = datetime.now(timezone.utc) + timedelta(seconds=5)
        versioned.later(10)
        await one.put("k", 2)
        await one.restore("k", at)
        assert await one.get("k") == 1
        with pytest.raises(ExpiredError):
            await one.restore("k", "nobody.1")
        with pytest.raises(ValueError, match="time zone"):
            await one.restore("k", datetime.now())  # noqa: DTZ005 - that is what is wrong
        await one.restore("k", commit.id)


async def test_a_store_in_memory_is_enough_for_all_of_it():
    async with memory_client(MemoryStorage()) as one:
        commit = await one.put("k", 1)
        await one.restore("k", commit.id)
        assert await one.get("k") == 1


# Over HTTP ------------------------------------------------------------------------------------------------------------


@pytest.mark.server
async def test_over_s3_what_was_collected_is_expired_and_what_is_named_is_damaged(bucket, s3, s3_config):
    async with client(bucket, s3_config, inline=0) as one:
        commit = await one.put_all({"k": 1, "named": 1})
        await one.put("k", 2)
        for key in ("k", "named"):
            s3.delete_object(Bucket=bucket, Key=key, VersionId=commit.versions[key])
    async with client(bucket, s3_config, inline=0) as two:
        with pytest.raises(ExpiredError, match="has been collected"):
            await two.get("k", at=commit.id)
        with pytest.raises(ExpiredError):
            await two.restore("k", commit.id)
        for at in (None, commit.id):
            with pytest.raises(CorruptionError, match="missing"):
                await two.get("named", at=at)
        assert await two.get("k") == 2


@pytest.mark.server
async def test_over_s3_what_is_restored_or_updated_expires_when_it_was_to(plain_bucket, s3_config):
    async with client(plain_bucket, s3_config) as one, client(plain_bucket, s3_config) as two:
        commit = await one.put("k", 1, expires_in=HOUR)
        expires = await expiry(one, "k")
        await one.put("k", 2)
        await one.restore("k", commit.id)
        assert (await two.get("k"), await expiry(two, "k")) == (1, expires)
        await two.update("k", lambda value: value + 1)
        assert (await one.get("k"), await expiry(one, "k")) == (2, expires)
