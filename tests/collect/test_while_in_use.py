"""Collecting garbage while others write and read: they do not notice."""

from __future__ import annotations

import asyncio
import math
from dataclasses import replace
from functools import partial
from typing import Any

import helpers
import pytest
from collect.garbage import DAY, SOON, uncached, values_of, versioning, versions_named
from commits import hold_commits, refuse_commits
from helpers import BUCKET, MANIFEST, Unreliable, deaf_client, eventually, settle, soon

from mps3 import DELETE, CorruptionError, MemoryStorage, UnavailableError
from mps3.format import commit_age
from mps3.journal import levels
from mps3.storage import ABSENT

memory_client = partial(helpers.memory_client, inline=0)


@versioning
async def test_a_writer_that_sleeps_between_values_and_commit(make, clock, versioning):
    """R16 and R17: what it had stored is collected, and it stores it again."""
    storage = make(versioning)
    async with memory_client(storage) as sleeper, memory_client(storage) as other:
        await sleeper.put("k", "before")
        hold_commits(storage)
        write = sleeper.put("k", "while asleep")
        await eventually(lambda: values_of(storage, "k") == 2)
        await asyncio.sleep(0.05)
        storage.hang = lambda operation, key: False  # the others are awake
        clock.later(3 * DAY)
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
    monkeypatch.setattr(levels, "CHECKPOINT", 300)
    monkeypatch.setattr(levels, "CHECKPOINT_OVER_RUNS", 300)
    monkeypatch.setattr(levels, "FANOUT", 1000)
    storage = make(True)
    async with memory_client(storage) as other, deaf_client(storage, poll_interval=3600) as sleeper:
        await other.put("k", 0)
        await sleeper.get("k")
        for number in range(5):
            await other.put_all({f"k{number}.{each}": number for each in range(20)})
            clock.later(300)
        clock.later(10 * DAY)
        await other.put("k", 1)
        manifest, awake = sleeper._manifests[sleeper._default], asyncio.Event()
        retained = manifest._state.journal.retained

        async def slowly(seconds: float, *, announced: bool = False) -> Any:
            found = await retained(seconds, announced=announced)

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
            clock.later(10 * DAY)
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
            clock.later(DAY)
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
            clock.later(3600)
            storage.may[2].set()
            await eventually(lambda: storage.count("put", MANIFEST) == 3)
            assert await reader.get("k") == "before"
            storage.may[3].set()
            await soon(write)
            seen = reader.subscribe("k")
            while await soon(anext(seen)) != "while asleep":
                pass


@versioning
async def test_values_that_waited_for_long_are_stored_again(make, clock, versioning, monkeypatch):
    """R1: what the client knows to be old it does not even try to commit."""
    monkeypatch.setattr(commit_age, "LATENESS", 0.2)
    storage = make(versioning)
    async with memory_client(storage) as one:
        await one.put("k", 0)
        refuse_commits(storage, UnavailableError("no network"))
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
        clock.later(30 * DAY)
        await soon(two.put("k", 2))
        assert await one.get("k") == 2
        assert (await one.collect()).deleted == 0
        clock.later(30 * DAY)
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
            clock.later(10 * DAY)
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
