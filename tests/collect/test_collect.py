"""Collecting garbage: what goes and what stays."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from functools import partial

import helpers
import pytest
from collect.garbage import DAY, SOON, everything, values, versioning
from commits import refuse_commits
from helpers import BUCKET, MANIFEST, PATIENCE, client
from places import place

from mps3 import DELETE, AccessError, Collected, CorruptionError, Ref, Tally
from mps3.format import commit_age
from mps3.journal import levels
from mps3.journal.log import checkpoints, tail

memory_client = partial(helpers.memory_client, inline=0)

__all__ = ["place"]  # a fixture


# What goes ------------------------------------------------------------------------------------------------------------


@versioning
async def test_what_is_superseded_goes_once_it_is_old(make, clock, versioning):
    storage = make(versioning)
    async with memory_client(storage) as one:
        for number in range(5):
            await one.put_all({"k": number, f"only{number}": number})
        await one.delete("only0")
        assert (await one.collect()).deleted == 0
        clock.later(10 * DAY)
        await one.put("new", "after ten days")
        before = await everything(storage)
        tried = await one.collect(dry_run=True)
        assert await everything(storage) == before
        done = await one.collect()
        assert done.values.deleted == len(["k"] * 4 + ["only0"])
        assert tried.dry_run and not done.dry_run
        assert (tried.values, tried.runs) == (done.values, done.runs)
        if versioning:
            assert tried.manifest == done.manifest
        assert done.values.bytes == 4 + 1
        assert values(await everything(storage)) == ["k", "new", "only1", "only2", "only3", "only4"]
        again = await one.collect()
        assert again.deleted == 0 and again.values.kept == done.values.kept
    async with memory_client(storage) as two:
        assert [await two.get(key) for key in ("k", "only0", "only4", "new")] == [4, None, 4, "after ten days"]


@pytest.mark.parametrize("key", ["directory/", "a/..", "."])
async def test_values_whose_version_is_in_their_object_s_key_are_collected_and_kept_beside_versions(make, clock, key):
    storage = make(True)
    async with memory_client(storage) as one:
        await one.put(key, "old")
        await one.put(key, "current")
        assert [found.key.partition("@mps3-")[0] for found in await everything(storage)].count(key) == 2
        clock.later(10 * DAY)
        await one.put("new", 1)
        assert (await one.collect(**SOON)).values.deleted == 1
    async with memory_client(storage) as two:
        assert await two.get(key) == "current"


async def test_old_versions_of_the_manifest_go(make, clock):
    storage = make(True)
    async with memory_client(storage) as one:
        for number in range(20):
            await one.put("k", number)
            clock.later(500)
        versions = (await storage.versions(BUCKET, MANIFEST)).versions
        # 20 minutes back there is a commit, and what a late writer may build on, ten minutes before that.
        collected = await one.collect(**SOON)
        left = (await storage.versions(BUCKET, MANIFEST)).versions
        assert left == versions[: len(left)]
        assert collected.manifest.deleted == len(versions) - len(left)
        assert 1200 + 600 <= 500 * len(left) <= 1200 + 600 + 4 * 500
        await one.put("k", "last")
    async with memory_client(storage) as two:
        assert await two.get("k") == "last"


async def test_without_versions_the_log_says_what_is_needed(make, clock):
    storage = make(False)
    async with memory_client(storage) as one:
        await one.put("k", "first")
        for number in range(140):
            await one.put("k", number)
        clock.later(10 * DAY)
        await one.put("k", "last")
        assert (await one.collect()).values.deleted > 0
        assert len(values(await everything(storage))) <= 131
        assert await one.get("k") == "last"


@versioning
async def test_what_was_never_committed_goes(make, clock, versioning):
    storage = make(versioning)
    async with memory_client(storage) as one:
        await one.put("k", 1)
        refuse_commits(storage, AccessError("no"))
        with pytest.raises(AccessError):
            await one.put("k", 2)
        storage.up()
        assert values(await everything(storage)) == ["k", "k"]
        clock.later(10 * DAY)
        await one.put("other", 1)
        collected = await one.collect()
        assert collected.values.deleted == 1
        assert values(await everything(storage)) == ["k", "other"]
    async with memory_client(storage) as two:
        assert await two.get("k") == 1


@versioning
async def test_runs_that_nobody_names_go(make, clock, versioning, monkeypatch):
    monkeypatch.setattr(levels, "SPILL", 300)
    monkeypatch.setattr(levels, "CHECKPOINT", 300)
    monkeypatch.setattr(levels, "CHECKPOINT_OVER_RUNS", 300)
    monkeypatch.setattr(levels, "FANOUT", 1000)
    storage = make(versioning)
    async with memory_client(storage) as one:
        for number in range(10):
            await one.put_all({f"k{number}.{each}": number for each in range(20)})
            clock.later(300)
        orphan, strange = f"{MANIFEST}.runs/{'0' * 64}", f"{MANIFEST}.runs/notes.txt"
        await storage.put(BUCKET, orphan, b"x")
        await storage.put(BUCKET, strange, b"x")
        clock.later(10 * DAY)
        for number in range(3):
            await one.put("new", number)
            clock.later(300)
        runs = [found.key for found in await everything(storage) if found.key.startswith(f"{MANIFEST}.runs/")]
        if versioning:
            assert len(runs) > 3
        collected = await one.collect()
        left = [found.key for found in await everything(storage) if found.key.startswith(f"{MANIFEST}.runs/")]
        assert collected.runs.deleted == 1 and set(runs) - set(left) == {orphan}
        assert strange in left
    async with memory_client(storage) as two:
        assert await two.get("k3.7") == 3


@versioning
async def test_runs_that_were_merged_go(make, clock, versioning, monkeypatch):
    monkeypatch.setattr(tail, "EVERY", 4)
    monkeypatch.setattr(checkpoints, "KEPT", 3)
    monkeypatch.setattr(levels, "SPILL", 300)
    monkeypatch.setattr(levels, "CHECKPOINT", 300)
    monkeypatch.setattr(levels, "CHECKPOINT_OVER_RUNS", 300)
    monkeypatch.setattr(levels, "FANOUT", 2)
    storage = make(versioning)
    async with memory_client(storage) as one:
        for number in range(150):
            await one.put(f"k{number}", number)
            clock.later(10)
        clock.later(10 * DAY)
        for number in range(3):
            await one.put("new", number)
            clock.later(300)
        runs = [found.key for found in await everything(storage) if found.key.startswith(f"{MANIFEST}.runs/")]
        collected = await one.collect()
        left = [found.key for found in await everything(storage) if found.key.startswith(f"{MANIFEST}.runs/")]
        assert collected.runs.deleted > 5
        assert len(left) < len(runs)
    async with memory_client(storage) as two:
        assert [await two.get(f"k{number}") for number in range(150)] == list(range(150))


async def test_retention_is_how_long_states_are_kept(make, clock):
    storage = make(True)
    async with memory_client(storage) as one:
        await one.put("k", "old")
        clock.later(20 * DAY)
        await one.put("k", "new")
        clock.later(5 * DAY)
        # Superseded five days ago, however long ago it was stored.
        assert (await one.collect(retention=6 * DAY)).values.deleted == 0
        assert (await one.collect(retention=timedelta(days=4), grace=DAY / 2)).values.deleted == 1
        assert await one.get("k") == "new"


# What stays -----------------------------------------------------------------------------------------------------------


@versioning
async def test_what_is_not_ours_stays(make, clock, versioning):
    storage = make(versioning)
    async with memory_client(storage) as one, memory_client(storage, "other.json") as other:
        await one.put("k", 1)
        await other.put("theirs", 1)
        await other.put("theirs", 2)
        mine = next(found for found in await everything(storage) if found.key.startswith("k"))
        metadata = (await storage.head(BUCKET, mine.key, version=mine.version)).metadata
        strangers = {
            "photo.jpg": {},
            f"copy/{mine.key}": metadata,
            "odd@mps3-" + "0" * 32: {},
            "a": {"mps3place": "x"},
        }
        for key, says in strangers.items():
            await storage.put(BUCKET, key, b"x", metadata=says)
        clock.later(10 * DAY)
        await one.put("k", 2)
        clock.later(10 * DAY)
        for _ in range(2):
            await one.put("k", 3)
        before = await everything(storage)
        collected = await one.collect()
        gone = {found.key for found in before} - {found.key for found in await everything(storage)}
        assert not gone - {mine.key}
        assert collected.foreign >= len(strangers)
        assert (await other.get("theirs"), await one.get("k")) == (2, 3)


async def test_what_another_manifest_needs_stays(make, clock):
    storage = make(True)
    async with memory_client(storage) as one:
        await one.put("shared", "old", manifests=[MANIFEST, "second.json"])
        await one.put("shared", "new")
        await one.put("lost", "old", manifests=[MANIFEST, "second.json"])
        await one.put("lost", "new", manifests=[MANIFEST, "second.json"])
        clock.later(10 * DAY)
        collected = await one.collect(**SOON)
        assert collected.values.deleted == 1
        assert values(await everything(storage)) == ["lost", "second.json", "shared", "shared"] or values(
            [found for found in await everything(storage) if found.key != "second.json"]
        ) == ["lost", "shared", "shared"]
    async with memory_client(storage) as two:
        assert await two.get("shared") == "new"
        assert await two.get("shared", manifest="second.json") == "old"
        assert await two.get("lost", manifest="second.json") == "new"


@pytest.mark.parametrize("body", [b"not a manifest", b'{"mps3": 2}', None])
async def test_what_an_unreadable_manifest_may_need_stays(make, clock, body):
    storage = make(True)
    async with memory_client(storage) as one:
        await one.put("shared", "old", manifests=[MANIFEST, "second.json"])
        await one.put("shared", "new")
    if body is None:
        for version in (await storage.versions(BUCKET, "second.json")).versions:
            await storage.delete(BUCKET, "second.json", version=version.version)
    else:
        await storage.put(BUCKET, "second.json", body)
    clock.later(10 * DAY)
    async with memory_client(storage) as one:
        collected = await one.collect(**SOON)
        assert collected.values.deleted == 0 and collected.foreign >= 1


async def test_a_value_in_another_bucket_goes_too(make, clock):
    storage = make(True)
    async with memory_client(storage) as one:
        await one.put("k", 1, bucket="elsewhere")
        await one.put("k", 2, bucket="elsewhere")
        await storage.put("elsewhere", "k", b"a stranger's")
        clock.later(10 * DAY)
        untouched = await everything(storage, "elsewhere")
        found = await one.collect(**SOON)
        assert (found.values.deleted, found.skipped) == (0, ("elsewhere",))
        assert await everything(storage, "elsewhere") == untouched
        found = await one.collect(**SOON, buckets=["elsewhere"])
        assert (found.values.deleted, found.skipped) == (1, ())
        assert len(await everything(storage, "elsewhere")) == 2
        assert await one.get("k", bucket="elsewhere") == 2


async def test_a_manifest_that_is_absent_or_hidden_needs_everything(make, clock):
    storage = make(True)
    async with memory_client(storage) as one:
        await one.put("k", 1)
        nothing = Collected(False, None, Tally(), Tally(), Tally(), 0)
        clock.later(10 * DAY)
        assert await one.collect(manifest="nobody.json", **SOON) == nothing
        await storage.delete(BUCKET, MANIFEST)
        before = await everything(storage)
        assert await one.collect(**SOON) == nothing
        assert await everything(storage) == before


async def test_a_broken_manifest_stops_it(make, clock):
    storage = make(True)
    async with memory_client(storage) as one:
        await one.put("k", 1)
        await storage.put(BUCKET, MANIFEST, b"{}")
        before = await everything(storage)
        clock.later(10 * DAY)
        with pytest.raises(CorruptionError, match="not a manifest"):
            await one.collect(**SOON)
        assert await everything(storage) == before


# On real stores -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("versioning", "journal"), [(True, "merge"), (True, "log"), (False, "log")])
async def test_on_stores_of_all_kinds(place, versioning, journal, monkeypatch):
    """In a few seconds, as their clocks cannot be set forward."""
    monkeypatch.setattr(commit_age, "LATENESS", 1.0)
    bucket, given, storage = await place(versioning, auto=True)
    short = {"retention": 0, "grace": 2}
    merge = journal == "merge"
    wanted = 3 if merge else 1
    async with client(bucket, **given, journal=journal, inline=0) as one:
        await one.put_all({"k": 1, "awkward \u00e9 key?&": 1})
        await one.put_all({"k": 2, "gone": 1})
        await one.put_all({"gone": DELETE})
        await storage.put(bucket, "stranger", b"x")
        orphan = f"{MANIFEST}.runs/{'0' * 64}"
        await storage.put(bucket, orphan, b"x")
        lost = one._contents.prepare(bucket, "lost", "x", (Ref(MANIFEST, bucket),))
        await one._contents.store(lost)
        async with asyncio.timeout(PATIENCE):
            while (await one.collect(dry_run=True, **short)).values.deleted < wanted:
                await asyncio.sleep(0.2)
                if not merge:  # what may go is told by the stamp of the last commit, and the log names all the others
                    await one.put("k", 2)
        for number in range(2):
            await one.put("k", 2 + number)
        tried = await one.collect(dry_run=True, **short)
        done = await one.collect(**short)
        # On a slow store a value is stored again before it is committed, and what was stored before is garbage, too.
        assert done.runs.deleted == 1 and done.values.deleted >= wanted
        if merge:
            assert tried.runs == done.runs
            for foreseen, tally in ((tried.values, done.values), (tried.manifest, done.manifest)):
                assert foreseen.deleted <= tally.deleted  # a moment later more may go
    async with client(bucket, **given, inline=0) as two:
        assert [await two.get(key) for key in ("k", "awkward \u00e9 key?&", "gone", "lost")] == [3, 1, None, None]
        assert not isinstance(await storage.head(bucket, "stranger"), type(await storage.head(bucket, orphan)))
