"""Watching from where an earlier watch ended, or being told to start again."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import orjson
import pytest
from client.watch_reader import WatchReader
from helpers import BUCKET, MANIFEST, Clock, Unreliable, memory_client, soon
from places import place

from mps3 import MPS3, ExpiredError, MemoryStorage, Ref
from mps3.format.state import View
from mps3.journal.attempt import Attempt
from mps3.journal.log.tail import EVERY
from mps3.journal.merge.journal import MergeJournal
from mps3.journal.merge.replay import Replay
from mps3.journal.merge.versioned_past import VersionedPast as Past
from mps3.storage import Object
from mps3.support.environment import Environment

__all__ = ["place"]  # a fixture


@pytest.fixture(params=[True, False], ids=["merge", "log"])
def storage(request):
    return Unreliable(versioning=request.param)


async def test_going_on_after_a_batch(storage):
    async with memory_client(storage) as ann, memory_client(storage) as bob:
        await ann.put("k", 0)
        reader = WatchReader(bob.watch())
        cursor = (await reader.present())[-1].cursor
        commits = [await ann.put("k", number) for number in range(1, 6)]
        for since in (cursor, reader.batches[-1].id):
            again = WatchReader(bob.watch(since=since))
            await again.until(lambda reader: len(reader.batches) == 5)
            assert again.ids == [commit.id for commit in commits]
        third = WatchReader(bob.watch(since=again.batches[2].cursor))
        await third.until(lambda reader: len(reader.batches) == 2)
        assert third.ids == [commit.id for commit in commits[3:]]


async def test_going_on_after_a_present_that_ends_with_a_checkpoint():
    """A client that opens a log at its newest checkpoint has no commit, but knows which was the last one."""
    storage = Unreliable(versioning=False)
    async with memory_client(storage) as ann:
        commits = [await ann.put("k", number) for number in range(EVERY)]
        while not any(key.endswith(".checkpoint") for key in storage._buckets[BUCKET]):
            await asyncio.sleep(0.01)
        async with memory_client(storage) as bob:
            reader = WatchReader(bob.watch())
            (present,) = await reader.present()
            assert present.id == present.cursor == (await bob.snapshot()).id == commits[-1].id
            again = await ann.put("k", 1)
            before = len(storage.calls)
            resumed = await soon(anext(bob.watch(since=present.cursor)))
            assert resumed.id == again.id
            assert not any(operation == "list" for operation, _ in storage.calls[before:])
            assert (await soon(anext(bob.watch(since=commits[-2].id)))).id == commits[-1].id


async def test_going_on_after_what_was_settled_long_ago():
    """With versions, what the log has not any more is read from older versions of the manifest."""
    clock = Clock()
    storage = MemoryStorage(clock=clock)
    async with memory_client(storage) as ann, memory_client(storage) as bob:
        commits = [await ann.put(f"k/{number % 7}", number) for number in range(10)]
        clock.later(10)
        commits += [await ann.put(f"k/{number % 7}", number) for number in range(10, 20)]
        clock.later(10)
        commits += [await ann.put_all({f"k/{number}": 20 for number in range(1000)})]
        clock.later(10)
        commits += [await ann.put(f"k/{number % 7}", number) for number in range(21, 30)]
        await bob.get("k/0")
        assert len(bob._manifests[Ref(MANIFEST, BUCKET)]._state.view.commits) < 29
        reader = WatchReader(bob.watch(since=commits[4].id), {f"k/{number}": number for number in range(5)})
        await reader.until(lambda reader: len(reader.batches) == 25)
        assert reader.ids == [commit.id for commit in commits[5:]]
        assert reader.committed == await bob.get_all()
        ids = [commit.id for commit in commits]
        third = WatchReader(bob.watch(since=reader.batches[12].cursor))
        await third.until(lambda reader: reader.ids[-1:] == ids[-1:])
        assert third.ids == ids[ids.index(reader.batches[12].id) + 1 :]


async def test_a_commit_that_is_not_known_says_to_start_again(storage):
    async with memory_client(storage) as client:
        await client.put("k", 0)
        for since in ("nobody.7", "", "[", '["a",0,{},[],""]', '["a",null,{"c":"d"},[],""]', "[1,2]"):
            with pytest.raises(ExpiredError, match="start again, with a watch without `since`") as caught:
                await soon(anext(client.watch(since=since)))
            assert caught.value.key == MANIFEST
        with pytest.raises(TypeError):
            client.watch(since=7)


async def test_a_commit_whose_version_was_collected_says_to_start_again():
    clock = Clock()
    storage = MemoryStorage(clock=clock)
    async with memory_client(storage) as client:
        commits = []
        for number in range(5):
            commits.append(await client.put("k", number))
            clock.later(10)
        versions = (await storage.versions(BUCKET, MANIFEST)).versions
        for version in versions[3:]:
            await storage.delete(BUCKET, MANIFEST, version=version.version)
        with pytest.raises(ExpiredError):
            await soon(anext(client.watch(since=commits[0].id)))
        reader = WatchReader(client.watch(since=commits[2].id))
        await reader.until(lambda reader: len(reader.batches) == 2)
        assert reader.ids == [commit.id for commit in commits[3:]]


@pytest.mark.parametrize("page", [1, 2, 3, 5])
async def test_a_commit_that_is_repeated_when_it_is_long_settled_is_told_once_and_in_its_place(monkeypatch, page):
    """However few versions have been read: going on after what comes before it, after it, and after the repetition."""
    monkeypatch.setattr("mps3.journal.merge.version_reader.FIRST", page)
    monkeypatch.setattr("mps3.journal.merge.version_reader.PAGE", page)
    clock = Clock()
    storage = MemoryStorage(clock=clock)
    async with memory_client(storage) as ann, memory_client(storage) as bob, memory_client(storage) as cyd:
        commits = []
        for number in range(6):
            writer = cyd if number == 3 else ann
            commits.append(await writer.put_all({"k": number, f"own/{number}": number}))
            clock.later(10)
        commits.append(await ann.put_all({"k": 6, "own/6": 6}))
        # The answer to one of them was lost for so long that it is written again, upon a state that has it.
        await repeat(storage, commits[3].id)
        commits += [await ann.put_all({"k": number, f"own/{number}": number}) for number in range(7, 10)]
        ids = [commit.id for commit in commits]
        await bob.get("k")
        for number in range(8):
            state = {"k": number, **{f"own/{before}": before for before in range(number + 1)}}
            reader = WatchReader(bob.watch(since=ids[number]), state)
            await reader.until(lambda reader: reader.ids[-1:] == ids[-1:])
            assert reader.ids == ids[number + 1 :]
            assert reader.committed == await bob.get_all()
            cursor = reader.batches[0].cursor
            again = WatchReader(bob.watch(since=cursor))
            await again.until(lambda reader: reader.ids[-1:] == ids[-1:])
            assert again.ids == ids[number + 2 :]


async def repeat(storage: MemoryStorage, identity: str) -> None:
    """Commit what was committed under this id once more, as its writer does that never got an answer."""
    session, _, sequence = identity.rpartition(".")
    journal = MergeJournal(storage, BUCKET, MANIFEST, Environment())
    await journal.resolve()
    for version in (await storage.versions(BUCKET, MANIFEST)).versions:
        found = await storage.get(BUCKET, MANIFEST, version=version.version)
        assert isinstance(found, Object)
        document = orjson.loads(found.body)
        if (document["session"], document["sequence"]) == (session, int(sequence)):
            await journal.append(Attempt(int(sequence), document["update"], session=session))
            break
    await journal.aclose()


async def test_where_a_collection_was_cut_off_it_says_to_start_again():
    """Older versions are still there, but those in between are gone: nothing is left out without a word."""
    clock = Clock()
    storage = MemoryStorage(clock=clock)
    async with memory_client(storage) as ann, memory_client(storage) as bob:
        commits = []
        for number in range(12):
            commits.append(await ann.put(f"k/{number}", number))
            clock.later(10)
        versions = (await storage.versions(BUCKET, MANIFEST)).versions
        for version in versions[4:7]:
            await storage.delete(BUCKET, MANIFEST, version=version.version)
        for commit in commits[:6]:
            with pytest.raises(ExpiredError):
                await soon(anext(bob.watch(since=commit.id)))
        for number in range(7, 11):
            reader = WatchReader(bob.watch(since=commits[number].id))
            await reader.until(lambda reader: reader.ids[-1:] == [commits[-1].id])
            assert reader.ids == [commit.id for commit in commits[number + 1 :]]
        assert [revision.id for revision in await bob.history("k/9")] == [commits[9].id]


async def test_a_cursor_that_is_newer_than_what_is_known_waits_for_the_store(monkeypatch):
    """It may come from elsewhere, and a client that has just been offline knows less than whoever wrote it down."""
    storage = MemoryStorage()
    async with memory_client(storage) as ann, memory_client(storage, poll_interval=60.0) as bob:
        await ann.put("k", 0)
        await bob.get("k")
        bob.go_offline()
        first, second = await ann.put("k", 1), await ann.put("k", 2)
        walk = Past.walk

        async def and_now_it_is_there(past: Past, view: View) -> Replay:
            bob._switch.shut = False
            return await walk(past, view)

        monkeypatch.setattr(Past, "walk", and_now_it_is_there)
        assert (await soon(anext(bob.watch(since=first.id)))).id == second.id


@pytest.mark.parametrize("versioning", [True, False], ids=["merge", "log"])
async def test_killed_and_resumed_many_times(place, versioning):
    """Among writers, it sees each commit exactly once, and ends up with what there is."""
    bucket, options, storage = await place(versioning)
    times = 100 if isinstance(storage, MemoryStorage) else 30  # others take their time for each request
    dice = random.Random(7)
    commits: list[str] = []

    async def write(client: MPS3, name: str, dice: random.Random) -> None:
        number = 0
        while resumed < times:
            number += 1
            commit = await client.put_all({f"k/{dice.randrange(9)}": [name, number], f"own/{name}": number})
            commits.append(commit.id)
            await asyncio.sleep(dice.random() * 0.05)

    resumed = 0
    one, two, three = (MPS3(bucket, poll_interval=0.05, **options) for _ in range(3))
    async with one, two, three:
        await one.put("begin", 0)
        watcher = three
        cursor = (await WatchReader(watcher.watch()).present())[-1].cursor
        state: dict[str, Any] = {"begin": 0}
        seen: list[str] = []
        writing = [asyncio.create_task(write(one, "one", random.Random(1)))]
        writing.append(asyncio.create_task(write(two, "two", random.Random(2))))
        while resumed < times or not all(task.done() for task in writing) or len(seen) < len(set(commits)):
            resumed += 1
            reader = WatchReader(watcher.watch(since=cursor), state)

            async def some(reader: WatchReader = reader) -> None:
                for _ in range(dice.randint(1, 4)):
                    await reader.next()

            task = asyncio.create_task(some())
            await asyncio.wait([task], timeout=dice.choice([0.001, 0.05, 2.0]))
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            assert resumed < 2000
            for batch in reader.batches:
                assert not batch.skipped
                seen += [batch.id] if batch.id else []
                cursor = batch.cursor
        await asyncio.gather(*writing)
        assert len(seen) == len(set(seen))
        assert set(seen) == set(commits)
        assert state == await watcher.get_all()
