"""Collecting garbage: what goes, what stays, and that writers and readers do not notice."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any

import helpers
import pytest
from helpers import (
    AWKWARD_KEYS,
    BUCKET,
    MANIFEST,
    PATIENCE,
    Unreliable,
    client,
    eventually,
    no_task_left,
    settle,
    soon,
)
from stores import place

from mps3 import DELETE, MPS3, AccessError, Collected, CorruptionError, MemoryStorage, Ref, Tally, UnavailableError
from mps3.collect.options import options
from mps3.content.owner_metadata import owner_metadata, owners_of
from mps3.format import commit_age
from mps3.journal import levels
from mps3.storage import ABSENT, ListedVersion

memory_client = partial(helpers.memory_client, inline=0)

__all__ = ["place"]  # a fixture

DAY = 24 * 3600.0
SOON = {"retention": 0, "grace": timedelta(minutes=20)}

versioning = pytest.mark.parametrize("versioning", [True, False])


class Clock:
    """The store's clock, which can be set forward."""

    ahead = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def make(clock):
    return lambda versioning: Unreliable(versioning=versioning, clock=clock)


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


# What goes ------------------------------------------------------------------------------------------------------------


@versioning
async def test_what_is_superseded_goes_once_it_is_old(make, clock, versioning):
    storage = make(versioning)
    async with memory_client(storage) as one:
        for number in range(5):
            await one.put_all({"k": number, f"only{number}": number})
        await one.delete("only0")
        assert (await one.collect()).deleted == 0
        clock.ahead += 10 * DAY
        await one.put("new", "after ten days")
        before = await everything(storage)
        tried = await one.collect(dry_run=True)
        assert await everything(storage) == before
        done = await one.collect()
        # Without versions the state before the delete is gone, and what it named is kept while the log tells of it.
        gone = ["k"] * 4 + ["only0"] if versioning else []
        assert done.values.deleted == len(gone)
        assert tried.dry_run and not done.dry_run
        if versioning:
            assert (tried.values, tried.runs, tried.manifest) == (done.values, done.runs, done.manifest)
            assert done.values.bytes == 4 + 1
            assert values(await everything(storage)) == ["k", "new", "only1", "only2", "only3", "only4"]
        again = await one.collect()
        assert again.deleted == 0 and again.values.kept == done.values.kept
    async with memory_client(storage) as two:
        assert [await two.get(key) for key in ("k", "only0", "only4", "new")] == [4, None, 4, "after ten days"]


async def test_old_versions_of_the_manifest_go(make, clock):
    storage = make(True)
    async with memory_client(storage) as one:
        for number in range(20):
            await one.put("k", number)
            clock.ahead += 500
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
        clock.ahead += 10 * DAY
        await one.put("k", "last")
        assert (await one.collect()).values.deleted > 0
        assert len(values(await everything(storage))) <= 131
        assert await one.get("k") == "last"


@versioning
async def test_what_was_never_committed_goes(make, clock, versioning):
    storage = make(versioning)
    async with memory_client(storage) as one:
        await one.put("k", 1)
        storage.refuse(AccessError("no"), key=MANIFEST)
        with pytest.raises(AccessError):
            await one.put("k", 2)
        storage.up()
        assert values(await everything(storage)) == ["k", "k"]
        clock.ahead += 10 * DAY
        await one.put("other", 1)
        collected = await one.collect()
        assert collected.values.deleted == 1
        assert values(await everything(storage)) == ["k", "other"]
    async with memory_client(storage) as two:
        assert await two.get("k") == 1


@versioning
async def test_runs_that_nobody_names_go(make, clock, versioning, monkeypatch):
    monkeypatch.setattr(levels, "SPILL", 300)
    monkeypatch.setattr(levels, "FANOUT", 1000)
    storage = make(versioning)
    async with memory_client(storage) as one:
        for number in range(10):
            await one.put_all({f"k{number}.{each}": number for each in range(20)})
            clock.ahead += 300
        orphan, strange = f"{MANIFEST}.runs/{'0' * 64}", f"{MANIFEST}.runs/notes.txt"
        await storage.put(BUCKET, orphan, b"x")
        await storage.put(BUCKET, strange, b"x")
        clock.ahead += 10 * DAY
        for number in range(3):
            await one.put("new", number)
            clock.ahead += 300
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
    monkeypatch.setattr(levels, "SPILL", 300)
    monkeypatch.setattr(levels, "FANOUT", 2)
    storage = make(versioning)
    async with memory_client(storage) as one:
        for number in range(150):
            await one.put(f"k{number}", number)
            clock.ahead += 10
        clock.ahead += 10 * DAY
        for number in range(3):
            await one.put("new", number)
            clock.ahead += 300
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
        clock.ahead += 20 * DAY
        await one.put("k", "new")
        clock.ahead += 5 * DAY
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
            "a": {"mps3-place": "x"},
        }
        for key, says in strangers.items():
            await storage.put(BUCKET, key, b"x", metadata=says)
        clock.ahead += 10 * DAY
        await one.put("k", 2)
        clock.ahead += 10 * DAY
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
        clock.ahead += 10 * DAY
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
    clock.ahead += 10 * DAY
    async with memory_client(storage) as one:
        collected = await one.collect(**SOON)
        assert collected.values.deleted == 0 and collected.foreign >= 1


async def test_a_value_in_another_bucket_goes_too(make, clock):
    storage = make(True)
    async with memory_client(storage) as one:
        await one.put("k", 1, bucket="elsewhere")
        await one.put("k", 2, bucket="elsewhere")
        await storage.put("elsewhere", "k", b"a stranger's")
        clock.ahead += 10 * DAY
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
        clock.ahead += 10 * DAY
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
        clock.ahead += 10 * DAY
        with pytest.raises(CorruptionError, match="not a manifest"):
            await one.collect(**SOON)
        assert await everything(storage) == before


# Writers and readers --------------------------------------------------------------------------------------------------


@versioning
async def test_a_writer_that_sleeps_between_values_and_commit(make, clock, versioning):
    """R16 and R17: what it had stored is collected, and it stores it again."""
    storage = make(versioning)
    async with memory_client(storage) as sleeper, memory_client(storage) as other:
        await sleeper.put("k", "before")
        storage.hold("put", MANIFEST)
        write = sleeper.put("k", "while asleep")
        await eventually(lambda: values_of(storage, "k") == 2)
        await asyncio.sleep(0.05)
        storage.hang = lambda operation, key: False  # the others are awake
        clock.ahead += 3 * DAY
        await soon(other.put("other", 1))
        collected = await soon(other.collect(**SOON))
        assert collected.values.deleted == 1
        storage.release()
        commit = await soon(write)
        assert await (await uncached(sleeper)).get("k") == "while asleep"
        assert commit.versions["k"] in await versions_named(storage, "k")
        async with memory_client(storage) as fresh:
            assert await fresh.get("k") == "while asleep"
            assert await fresh.get("other") == 1


async def test_a_value_that_was_stored_again_for_nothing(monkeypatch):
    """A commit had arrived without saying so: what is told of it is what it says, not what another try would say."""

    class Deaf(MemoryStorage):
        arrived = False

        async def put(self, bucket: str, key: str, body: bytes, **options: Any) -> Any:
            stored = await super().put(bucket, key, body, **options)
            if key == MANIFEST and not self.arrived:
                self.arrived = True
                raise UnavailableError("no answer", bucket=bucket, key=key, operation="PutObject")
            return stored

    storage = Deaf()
    monkeypatch.setattr("mps3.content.store.refresh_age", lambda: -1 if storage.arrived else 300)
    async with memory_client(storage) as one:
        commit = await soon(one.put_all({"k": 1, "gone": DELETE}))
        assert values_of(storage, "k") == 2
        (told,) = await one.history("k")
        assert commit.versions == {"k": told.version, "gone": None}


async def test_a_collector_that_sleeps_while_others_collect(make, clock, monkeypatch):
    """When it wakes up, the documents are gone that name the runs which it was about to keep."""
    monkeypatch.setattr(levels, "SPILL", 300)
    monkeypatch.setattr(levels, "FANOUT", 1000)
    storage = make(True)
    async with memory_client(storage) as other, memory_client(storage, poll_interval=3600) as sleeper:
        await other.put("k", 0)
        await sleeper.get("k")
        for number in range(5):
            await other.put_all({f"k{number}.{each}": number for each in range(20)})
            clock.ahead += 300
        clock.ahead += 10 * DAY
        await other.put("k", 1)
        manifest, awake = sleeper._manifests[sleeper._default], asyncio.Event()
        retained = manifest._state.journal.retained

        async def slowly(seconds: float) -> Any:
            found = await retained(seconds)

            async def runs() -> Any:
                await awake.wait()
                return await found.runs()

            return replace(found, runs=runs)

        async def in_vain() -> None:
            """The store could not be reached just now: what is known has to do."""

        manifest._state.journal.retained, manifest.refresh = slowly, in_vain
        assert not manifest._state.journal.view.document.runs
        collecting = asyncio.create_task(sleeper.collect(**SOON))
        await settle()
        for number in range(3):
            clock.ahead += 10 * DAY
            await soon(other.put("k", number))
        collected = await soon(other.collect(**SOON))
        assert collected.manifest.deleted > 3
        awake.set()
        await soon(collecting)
    async with memory_client(storage) as fresh:
        assert await fresh.get("k3.7") == 3


async def test_a_version_that_is_deleted_while_it_is_looked_for(make, clock):
    """Somebody else collects, and is further ahead: what is known of the past is not all of it."""
    storage = make(True)
    async with memory_client(storage) as one:
        for number in range(20):
            await one.put_all({"k": number, f"k{number}": number})
            clock.ahead += DAY
        foreseen = await one.collect(dry_run=True)
        get, gone = storage.get, set[str]()

        async def late(bucket: str, key: str, *, version: str | None = None, **options: Any) -> Any:
            if version is not None and (endless or (len(gone) < 2 and version not in gone)):
                gone.add(version)
                return ABSENT
            return await get(bucket, key, version=version, **options)

        storage.get, endless = late, False
        collected = await one.collect(dry_run=True)
        assert len(gone) == 2
        assert (collected.values, collected.runs) == (foreseen.values, foreseen.runs)
        endless = True
        with pytest.raises(UnavailableError, match="faster"):
            await one.collect(dry_run=True)


class Turned(Unreliable):
    """The second and the third version of the manifest wait to be stored, and the third shows up behind the second."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.may = {2: asyncio.Event(), 3: asyncio.Event()}

    async def put(self, bucket: str, key: str, body: bytes, **options: Any) -> Any:
        number = self.count("put", MANIFEST) + 1
        if key == MANIFEST and number in self.may:
            self.calls.append(("put", key))
            await self.may[number].wait()
            stored = await MemoryStorage.put(self, bucket, key, body, **options)
            if number == 3:
                first, second, third = self._buckets[bucket][key].items()
                self._buckets[bucket][key] = dict([first, third, second])
            return stored
        return await super().put(bucket, key, body, **options)


async def test_what_takes_the_place_of_a_late_commit_may_become_visible_behind_it(clock):
    """R6 and R16: it changes neither the newest version nor the head, and must be seen nevertheless."""
    storage = Turned(versioning=True, clock=clock)
    async with memory_client(storage) as sleeper:
        sleeper._manifests[sleeper._default]._state.journal._window = 0.2
        await sleeper.put("k", "before")
        async with memory_client(storage) as reader:
            await eventually(lambda: reader._manifests[reader._default]._state.journal._audit_at == math.inf)
            write = sleeper.put("k", "while asleep")
            await eventually(lambda: storage.count("put", MANIFEST) == 2)
            clock.ahead += 3600
            storage.may[2].set()
            await eventually(lambda: storage.count("put", MANIFEST) == 3)
            assert await reader.get("k") == "before"
            storage.may[3].set()
            await soon(write)
            seen = reader.subscribe("k")
            while await soon(anext(seen)) != "while asleep":
                pass


def values_of(storage: Any, key: str) -> int:
    objects = storage._buckets[BUCKET]
    return sum(len(rows) for name, rows in objects.items() if name.partition("@mps3-")[0] == key)


async def versions_named(storage: Any, key: str) -> list[str]:
    return [
        found.key.partition("@")[2] or found.version
        for found in await everything(storage)
        if found.key.partition("@")[0] == key
    ]


@versioning
async def test_values_that_waited_for_long_are_stored_again(make, clock, versioning, monkeypatch):
    """R1: what the client knows to be old it does not even try to commit."""
    monkeypatch.setattr(commit_age, "LATENESS", 0.2)
    storage = make(versioning)
    async with memory_client(storage) as one:
        await one.put("k", 0)
        storage.refuse(UnavailableError("no network"), key=MANIFEST)
        write = one.put("k", 1)
        await asyncio.sleep(0.5)
        storage.up()
        await soon(write)
        assert values_of(storage, "k") >= 3
        assert await one.get("k") == 1


async def test_an_idle_client_looks_again_before_it_commits(make, clock):
    storage = make(True)
    async with memory_client(storage) as one, memory_client(storage) as two:
        await one.put("k", 1)
        assert await two.get("k") == 1
        clock.ahead += 30 * DAY
        await soon(two.put("k", 2))
        assert await one.get("k") == 2
        assert (await one.collect()).deleted == 0
        clock.ahead += 30 * DAY
        await soon(one.put("j", 1))
        assert (await one.collect()).values.deleted == 1
        assert await two.get("k") == 2


@versioning
async def test_a_reader_that_meets_a_missing_value_looks_once_more(make, clock, versioning):
    storage = make(versioning)
    async with memory_client(storage) as one:
        await one.put("k", "old")
        for _ in range(0 if versioning else 150):
            await one.put("k", "old")
        async with memory_client(storage) as reader:
            old = reader._manifests[reader._default].look_up("k")["version"]
            key = "k" if versioning else f"k@{old}"
            storage.hold("get", key)
            reading = asyncio.create_task(reader.get("k"))
            watching = asyncio.create_task(anext(reader.subscribe("k")))
            await eventually(lambda: storage.count("get", key))
            storage.hang = lambda operation, name: False
            for number in range(2 if versioning else 150):
                await one.put("k", number)
            clock.ahead += 10 * DAY
            await one.put("k", "new")
            assert (await one.collect(**SOON)).values.deleted > 0
            storage.release()
            assert await soon(reading) == "new"
            assert await soon(watching) == "new"


async def test_what_is_missing_for_good_is_said(make):
    storage = make(True)
    async with memory_client(storage) as one:
        await one.put("k", 1)
        (version,) = (await storage.versions(BUCKET, "k")).versions
        await storage.delete(BUCKET, "k", version=version.version)
        async with memory_client(storage) as two:
            with pytest.raises(CorruptionError, match="missing"):
                await two.get("k")


# How it is made -------------------------------------------------------------------------------------------------------


async def fill(one: MPS3, clock: Clock, number: int = 30) -> None:
    for value in range(2):
        await one.put_all({f"k{key}": value for key in range(number)})
    clock.ahead += 10 * DAY
    await one.put("new", 1)


async def test_progress_is_told(make, clock):
    storage = make(True)
    told = []
    async with memory_client(storage) as one:
        await fill(one, clock)
        collected = await one.collect(progress=told.append, **SOON)
    assert {each.part for each in told} == {"manifest", "runs", "values"}
    assert (told[-1].deleted, told[-1].bytes) == (collected.deleted, collected.bytes)
    assert collected.deleted >= 30


async def test_progress_is_told_while_it_is_slow(make, clock):
    storage = make(True)
    told = []
    async with memory_client(storage) as one:
        await fill(one, clock)
        async with asyncio.timeout(PATIENCE):
            collecting = asyncio.create_task(one.collect(rate=20, progress=told.append, **SOON))
            await eventually(lambda: told and told[-1].part == "values" and told[-1].deleted > 2)
            collecting.cancel()
            await asyncio.gather(collecting, return_exceptions=True)


async def test_it_can_be_cancelled_and_made_again(make, clock):
    storage = make(True)
    async with memory_client(storage) as one:
        await fill(one, clock)
        async with no_task_left():
            collecting = asyncio.create_task(one.collect(rate=200, **SOON))
            await eventually(lambda: values_of(storage, "k3") + values_of(storage, "k7") < 4)
            collecting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await collecting
        left = len(values(await everything(storage)))
        assert left > 31
        await one.collect(**SOON)
        assert len(values(await everything(storage))) == 31
        assert await one.get("k5") == 1


async def test_the_rate_is_kept(make, clock):
    storage = make(True)
    async with memory_client(storage) as one:
        await fill(one, clock, 10)
        began = time.monotonic()
        collected = await one.collect(rate=50, **SOON)
        # Ten are looked at, and ten and the manifest's deleted.
        assert time.monotonic() - began > (10 + collected.deleted - 2) / 50


async def test_a_store_that_fails_now_and_then(make, clock):
    storage = make(True)
    async with memory_client(storage) as one:
        await fill(one, clock)
        failing = iter(range(10_000))
        storage.fail = lambda operation, key: UnavailableError("busy") if next(failing) % 7 == 0 else None
        assert (await soon(one.collect(**SOON), 60)).values.deleted == 30


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({"retention": -1}, ValueError),
        ({"retention": "7d"}, TypeError),
        ({"retention": float("inf")}, ValueError),
        ({"grace": 1199}, ValueError),
        ({"grace": True}, TypeError),
        ({"rate": 0}, ValueError),
    ],
)
async def test_impossible_wishes(make, given, error):
    async with memory_client(make(True)) as one:
        with pytest.raises(error):
            await one.collect(**given)
    with pytest.raises(error):
        options(**{"retention": 0, "grace": 1200, **given})


# In the background ----------------------------------------------------------------------------------------------------


@versioning
async def test_in_the_background(make, clock, versioning):
    storage = make(versioning)
    async with no_task_left(), memory_client(storage, collect_every=0.02, retention=0) as one:
        await one.put("k", 1)
        storage.refuse(AccessError("no"), key=MANIFEST)
        with pytest.raises(AccessError):
            await one.put("k", 2)
        storage.up()
        clock.ahead += 10 * DAY
        await one.put("j", 2)
        await eventually(lambda: values_of(storage, "k") == 1)
        assert await one.get("k") == 1


async def test_failures_in_the_background_are_logged(make, caplog):
    storage = make(True)
    async with memory_client(storage, collect_every=0.02) as one:
        await one.put("k", 1)
        await storage.put(BUCKET, MANIFEST, b"{}")
        with caplog.at_level(logging.WARNING, "mps3"):
            await eventually(lambda: "could not be collected" in caplog.text)
        assert one.status()


@pytest.mark.parametrize("given", [{"collect_every": 0}, {"collect_every": -1}, {"retention": -1}])
def test_impossible_wishes_for_the_background(given):
    with pytest.raises(ValueError):
        MPS3("b", **given)


# Whose a value is -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", AWKWARD_KEYS.values(), ids=AWKWARD_KEYS)
def test_owners_come_back(key):
    refs = (Ref("m", "b"), Ref(key[:100], "other-bucket"))
    says = owner_metadata(refs, "bucket", key)
    assert owners_of(says, "bucket", key) == refs
    assert all(value.isascii() and value.isprintable() and " " not in value for value in says.values())
    assert owners_of(says, "bucket", f"{key}x") == owners_of(says, "other", key) == ()


@pytest.mark.parametrize("names", ["", ",", "b", "b/", "/k", "b/k,", "b/%ff", "b/k,/"])
def test_whatever_else_is_said_is_nobodys(names):
    place = owner_metadata([Ref("m", "b")], "bucket", "key")["mps3-place"]
    assert owners_of({"mps3-manifests": names, "mps3-place": place}, "bucket", "key") == ()


def test_too_many_manifests_are_not_said():
    assert owner_metadata([Ref("m" * 900, "b"), Ref("n" * 900, "b")], "bucket", "key") == {}


# On real stores -------------------------------------------------------------------------------------------------------


@versioning
async def test_on_stores_of_all_kinds(place, versioning, monkeypatch):
    """In a few seconds, as their clocks cannot be set forward."""
    monkeypatch.setattr(commit_age, "LATENESS", 2.0)
    bucket, given, storage = await place(versioning)
    short = {"retention": 0, "grace": 4}
    async with client(bucket, **given, inline=0) as one:
        await one.put_all({"k": 1, "awkward \u00e9 key?&": 1})
        await one.put_all({"k": 2, "gone": 1})
        await one.put_all({"gone": DELETE})
        await storage.put(bucket, "stranger", b"x")
        orphan = f"{MANIFEST}.runs/{'0' * 64}"
        await storage.put(bucket, orphan, b"x")
        lost = one._contents.prepare(bucket, "lost", "x", (Ref(MANIFEST, bucket),))
        await one._contents.store(lost)
        await asyncio.sleep(10)
        for number in range(2):
            await one.put("k", 2 + number)
        tried = await one.collect(dry_run=True, **short)
        done = await one.collect(**short)
        assert done.runs.deleted == 1 and done.values.deleted == (3 if versioning else 1)
        if versioning:
            assert (tried.runs, tried.values, tried.manifest) == (done.runs, done.values, done.manifest)
    async with client(bucket, **given, inline=0) as two:
        assert [await two.get(key) for key in ("k", "awkward \u00e9 key?&", "gone", "lost")] == [3, 1, None, None]
        assert not isinstance(await storage.head(bucket, "stranger"), type(await storage.head(bucket, orphan)))
