"""``watch``: the present, and then every commit, each whole and once."""

from __future__ import annotations

import asyncio
import random
import time
from typing import Any

import orjson
import pytest
from helpers import BUCKET, COMMIT, MANIFEST, Clock, Unreliable, eventually, memory_client, no_task_left, soon
from stores import place

from mps3 import (
    DELETE,
    MPS3,
    AccessError,
    Batch,
    Change,
    ClosedError,
    CorruptionError,
    ExpiredError,
    MemoryStorage,
    Ref,
    WithdrawnError,
)
from mps3.format.state import View
from mps3.journal.attempt import Attempt
from mps3.journal.merge.journal import MergeJournal
from mps3.journal.past import Past
from mps3.journal.replay import Replay
from mps3.manifest.listeners import VIEWS
from mps3.storage import Object
from mps3.support.environment import Environment

__all__ = ["place"]  # a fixture


class Reader:
    """Reads a watch, and applies what it says."""

    def __init__(self, watch: Any, committed: dict[str, Any] | None = None) -> None:
        self.watch = watch
        self.batches: list[Batch[Any]] = []
        self.committed: dict[str, Any] = committed if committed is not None else {}
        self.shown: dict[str, Any] = dict(self.committed)

    async def next(self) -> Batch[Any]:
        batch = await soon(anext(self.watch))
        self.batches.append(batch)
        for change in batch.changes:
            for values in (self.shown,) if change.pending else (self.shown, self.committed):
                if change.value is DELETE:
                    values.pop(change.key, None)
                else:
                    values[change.key] = change.value
        return batch

    async def present(self) -> list[Batch[Any]]:
        while not (await self.next()).end_of_initial:
            pass
        return self.batches

    async def until(self, condition: Any) -> None:
        while not condition(self):
            await self.next()

    @property
    def ids(self) -> list[str]:
        return [batch.id for batch in self.batches if batch.id is not None and not batch.initial]


@pytest.fixture(params=[True, False], ids=["merge", "log"])
def storage(request):
    return Unreliable(versioning=request.param)


def plain(batch: Batch[Any]) -> dict[str, Any]:
    return {change.key: change.value for change in batch.changes}


async def test_the_present_and_then_every_commit(storage):
    async with memory_client(storage) as ann, memory_client(storage) as bob:
        first = await ann.put_all({"a/1": 1, "a/2": None, "b/1": 3})
        async with bob.watch("a/") as watch:
            reader = Reader(watch)
            batch = await reader.next()
            assert batch.initial and batch.end_of_initial and batch.id == first.id
            assert batch.changes == (
                Change("a/1", 1, first.versions["a/1"]),
                Change("a/2", None, first.versions["a/2"]),
            )
            second = await ann.put_all({"a/1": 10, "a/3": 30, "b/1": 0})
            await ann.put("b/2", "is not watched")
            third = await ann.delete("a/2")
            batch = await reader.next()
            assert (batch.id, plain(batch)) == (second.id, {"a/1": 10, "a/3": 30})
            batch = await reader.next()
            assert (batch.id, plain(batch)) == (third.id, {"a/2": DELETE})
            assert batch.changes[0].version is None
            assert not batch.initial and not batch.skipped
            assert reader.committed == await bob.get_all(prefix="a/")


async def test_an_empty_present_has_an_end(storage):
    async with memory_client(storage) as client:
        batch = await soon(anext(client.watch()))
        assert batch == Batch(None, (), initial=True, end_of_initial=True)
        await client.put("a", 1)
        reader = Reader(client.watch("b"))
        batch = await reader.next()
        assert batch.end_of_initial and not batch.changes and batch.cursor is not None


async def test_several_commits_between_two_looks_stay_apart(storage):
    async with memory_client(storage) as ann, memory_client(storage, poll_interval=1.0) as bob:
        reader = Reader(bob.watch())
        await reader.present()
        commits = [await ann.put("k", number) for number in range(20)]
        await reader.until(lambda reader: reader.committed.get("k") == 19)
        assert reader.ids == [commit.id for commit in commits]
        assert [batch.changes[0].value for batch in reader.batches[1:]] == list(range(20))


async def test_own_writes_are_pending_and_then_confirmed(storage):
    async with memory_client(storage) as client:
        await client.put("k", 0)
        reader = Reader(client.watch())
        await reader.present()
        storage.hold("put", COMMIT)
        before = storage.count("put", COMMIT)
        write = client.put_all({"k": 1, "l": 1})
        batch = await reader.next()
        await eventually(lambda: storage.count("put", COMMIT) > before)
        assert (batch.id, batch.changes) == (None, (Change("k", 1, None, True), Change("l", 1, None, True)))
        assert batch.cursor == reader.batches[0].cursor
        deletion = client.delete("k")
        batch = await reader.next()
        assert batch.changes == (Change("k", DELETE, None, True),)
        assert (reader.shown, reader.committed) == ({"l": 1}, {"k": 0})
        storage.release()
        first, second = await write, await deletion
        await reader.until(lambda reader: reader.ids[-1:] == [second.id])
        assert reader.ids == [first.id, second.id]
        assert reader.committed == reader.shown == {"l": 1}


async def test_what_is_withdrawn_or_fails_is_taken_back(storage):
    async with memory_client(storage) as client:
        await client.put("k", 0)
        reader = Reader(client.watch())
        await reader.present()
        storage.hold("put")
        write = client.put_all({"k": 1, "l": 1})
        await reader.next()
        assert reader.shown == {"k": 1, "l": 1}
        assert write.withdraw()
        batch = await reader.next()
        assert batch.id is None and plain(batch) == {"k": 0, "l": DELETE}
        assert not any(change.pending for change in batch.changes)
        assert reader.shown == reader.committed == {"k": 0}
        storage.release()
        with pytest.raises(WithdrawnError):
            await write
        storage.refuse(AccessError("no"), key=COMMIT)
        write = client.put("k", 2)
        with pytest.raises(AccessError):
            await write
        await reader.until(lambda reader: reader.shown == {"k": 0} == reader.committed)


async def test_what_others_commit_does_not_hide_what_is_pending(storage):
    async with memory_client(storage) as ann, memory_client(storage) as bob:
        await ann.put("k", 0)
        reader = Reader(bob.watch())
        await reader.present()
        storage.fail = lambda operation, key: None
        hanging = asyncio.Event()
        own = bob._contents._put

        async def slow(content):
            await hanging.wait()
            await own(content)

        bob._contents._put = slow
        write = bob.put("k", "bob's")
        await reader.next()
        commit = await ann.put("k", "ann's")
        await reader.until(lambda reader: reader.ids == [commit.id])
        assert reader.committed == {"k": "ann's"}
        await reader.until(lambda reader: reader.shown == {"k": "bob's"})
        assert await bob.get("k") == "bob's"
        hanging.set()
        commit = await write
        await reader.until(lambda reader: reader.ids[-1] == commit.id)
        assert reader.committed == reader.shown == {"k": "bob's"}


@pytest.mark.parametrize("versioning", [True, False], ids=["merge", "log"])
async def test_a_reader_that_falls_behind_is_told_so(versioning):
    clock = Clock()
    storage = MemoryStorage(versioning=versioning, clock=clock)
    async with memory_client(storage) as ann, memory_client(storage) as bob:
        await ann.put_all({"k": 0, "gone": 1, "same": 2})
        reader = Reader(bob.watch())
        await reader.present()
        await ann.delete("gone")
        for number in range(1, 2 * VIEWS + 260):
            clock.later(0.1)
            await ann.put("k", number)
            if not number % 3:
                await bob.get("k")
            assert len(reader.watch._watcher.views) <= VIEWS
        batch = await reader.next()
        assert batch.skipped and plain(batch) == {"k": number, "gone": DELETE}
        assert reader.committed == {"k": number, "same": 2}
        commit = await ann.put("k", -1)
        batch = await reader.next()
        assert (batch.id, batch.skipped, plain(batch)) == (commit.id, False, {"k": -1})


async def test_a_reader_that_sleeps_for_less_misses_nothing(storage):
    async with memory_client(storage) as ann, memory_client(storage) as bob:
        reader = Reader(bob.watch())
        await reader.present()
        commits = [await ann.put("k", number) for number in range(150)]
        await reader.until(lambda reader: len(reader.ids) == 150)
        assert reader.ids == [commit.id for commit in commits]


async def test_a_large_commit_is_one_batch(storage):
    """It is stored as a run, whose keys are read."""
    async with memory_client(storage) as ann, memory_client(storage) as bob:
        await ann.put_all({"k/1": "old", "k/x": "old"})
        reader = Reader(bob.watch("k/"))
        await reader.present()
        values = {f"k/{number}": number for number in range(1500)}
        commit = await ann.put_all({**values, "other": 1, "k/x": DELETE})
        batch = await reader.next()
        assert batch.id == commit.id
        assert plain(batch) == {**values, "k/x": DELETE}
        later = await ann.put("k/7", "new")
        batch = await reader.next()
        assert (batch.id, plain(batch)) == (later.id, {"k/7": "new"})
        assert reader.committed == await bob.get_all(prefix="k/")


async def test_twenty_thousand_keys(capsys):
    storage = MemoryStorage()
    async with memory_client(storage) as ann, memory_client(storage) as bob:
        await ann.put_all({f"k/{number}": number for number in range(20_000)})
        started = time.monotonic()
        reader = Reader(bob.watch("k/"))
        batches = await reader.present()
        with capsys.disabled():
            print(f"\n20,000 keys listed in {time.monotonic() - started:.1f} s")
        assert len(batches) > 20 and max(len(batch.changes) for batch in batches) <= 1000
        assert len(reader.committed) == 20_000 and reader.committed["k/19999"] == 19_999
        commit = await ann.put("k/5", "five")
        batch = await reader.next()
        assert (batch.id, plain(batch)) == (commit.id, {"k/5": "five"})


# Going on


async def test_going_on_after_a_batch(storage):
    async with memory_client(storage) as ann, memory_client(storage) as bob:
        await ann.put("k", 0)
        reader = Reader(bob.watch())
        cursor = (await reader.present())[-1].cursor
        commits = [await ann.put("k", number) for number in range(1, 6)]
        for since in (cursor, reader.batches[-1].id):
            again = Reader(bob.watch(since=since))
            await again.until(lambda reader: len(reader.batches) == 5)
            assert again.ids == [commit.id for commit in commits]
        third = Reader(bob.watch(since=again.batches[2].cursor))
        await third.until(lambda reader: len(reader.batches) == 2)
        assert third.ids == [commit.id for commit in commits[3:]]


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
        reader = Reader(bob.watch(since=commits[4].id), {f"k/{number}": number for number in range(5)})
        await reader.until(lambda reader: len(reader.batches) == 25)
        assert reader.ids == [commit.id for commit in commits[5:]]
        assert reader.committed == await bob.get_all()
        ids = [commit.id for commit in commits]
        third = Reader(bob.watch(since=reader.batches[12].cursor))
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
        reader = Reader(client.watch(since=commits[2].id))
        await reader.until(lambda reader: len(reader.batches) == 2)
        assert reader.ids == [commit.id for commit in commits[3:]]


@pytest.mark.parametrize("page", [1, 2, 3, 5])
async def test_a_commit_that_is_repeated_when_it_is_long_settled_is_told_once_and_in_its_place(monkeypatch, page):
    """However few versions have been read: going on after what comes before it, after it, and after the repetition."""
    monkeypatch.setattr("mps3.journal.version_reader.FIRST", page)
    monkeypatch.setattr("mps3.journal.version_reader.PAGE", page)
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
            reader = Reader(bob.watch(since=ids[number]), state)
            await reader.until(lambda reader: reader.ids[-1:] == ids[-1:])
            assert reader.ids == ids[number + 1 :]
            assert reader.committed == await bob.get_all()
            cursor = reader.batches[0].cursor
            again = Reader(bob.watch(since=cursor))
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
            reader = Reader(bob.watch(since=commits[number].id))
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
    bucket, options, _ = await place(versioning)
    times = 100 if "storage" in options else 30  # a server takes its time for each request
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
        cursor = (await Reader(watcher.watch()).present())[-1].cursor
        state: dict[str, Any] = {"begin": 0}
        seen: list[str] = []
        writing = [asyncio.create_task(write(one, "one", random.Random(1)))]
        writing.append(asyncio.create_task(write(two, "two", random.Random(2))))
        while resumed < times or not all(task.done() for task in writing) or len(seen) < len(set(commits)):
            resumed += 1
            reader = Reader(watcher.watch(since=cursor), state)

            async def some(reader: Reader = reader) -> None:
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


# Values that are not there any more


async def test_a_value_that_was_superseded_and_collected_is_skipped(storage):
    async with memory_client(storage) as ann, memory_client(storage) as bob:
        await ann.put("k", 0)
        reader = Reader(bob.watch())
        await reader.present()
        await ann.put("k", 1)
        await eventually(lambda: reader.watch._watcher.views)
        await collect(storage, "k")
        last = await ann.put("k", 2)
        batch = await reader.next()
        assert (batch.id, batch.skipped, plain(batch)) == (last.id, True, {"k": 2})
        last = await ann.put("k", 3)
        batch = await reader.next()
        assert (batch.id, batch.skipped) == (last.id, False)


async def test_a_value_that_was_collected_while_the_present_is_listed(storage, monkeypatch):
    monkeypatch.setattr("mps3.client.watch.BATCH_SIZE", 3)
    async with memory_client(storage) as ann, memory_client(storage) as bob:
        await ann.put_all(dict.fromkeys("abcdefgh", 0))
        reader = Reader(bob.watch())
        await reader.next()
        await collect(storage, "e")
        await ann.put_all({"a": DELETE, "b": 1, "e": 1, "h": 1})
        await reader.present()
        await ann.put("i", 1)
        await reader.until(lambda reader: "i" in reader.committed)
        assert reader.committed == await bob.get_all()
        assert "a" not in reader.committed and reader.committed["e"] == 1


async def test_a_value_that_is_broken_is_an_error(storage):
    async with memory_client(storage) as ann, memory_client(storage) as bob:
        await ann.put("k", 0)
        await collect(storage, "k")
        watch = bob.watch()
        for _ in range(2):
            with pytest.raises(CorruptionError, match="it is missing"):
                await soon(anext(watch))
        await ann.put("k", 1)
        reader = Reader(watch)
        await reader.present()
        assert reader.committed == {"k": 1}


async def collect(storage: MemoryStorage, key: str) -> None:
    for name in [name for name in storage._buckets[BUCKET] if name == key or name.startswith(f"{key}@")]:
        for version in (await storage.versions(BUCKET, name)).versions:
            await storage.delete(BUCKET, name, version=version.version)


# Its life


async def test_it_ends_with_the_client_and_with_a_loss_of_the_network_it_does_not(storage):
    async with no_task_left():
        async with memory_client(storage) as ann, memory_client(storage) as bob:
            await ann.put("k", 0)
            reader = Reader(bob.watch())
            await reader.present()
            waiting = asyncio.create_task(reader.next())
            await asyncio.sleep(0.05)
            storage.down()
            await asyncio.sleep(0.2)
            assert not waiting.done()
            storage.up()
            commit = await ann.put("k", 1)
            assert (await waiting).id == commit.id
            assert bob.status().subscriptions == 1
            closed = bob.watch()
            await closed.aclose()
            with pytest.raises(StopAsyncIteration):
                await anext(closed)
            waiting = asyncio.create_task(anext(reader.watch))
            await asyncio.sleep(0)
        with pytest.raises(StopAsyncIteration):
            await waiting
        with pytest.raises(ClosedError):
            bob.watch()


async def test_it_never_waits_for_ever_when_cancelled(storage):
    async with memory_client(storage) as ann, memory_client(storage) as bob:
        await ann.put_all({f"k/{number}": number for number in range(50)})
        reader = Reader(bob.watch())
        dice = random.Random(3)
        for number in range(40):
            await ann.put("n", number)
            try:
                async with asyncio.timeout(dice.random() * 0.01):
                    await reader.next()
            except TimeoutError:
                pass
        await reader.until(lambda reader: reader.committed.get("n") == 39)
        assert reader.committed == await bob.get_all()
        assert len(reader.ids) == len(set(reader.ids))


async def test_keys_of_other_buckets_have_their_url(storage):
    async with memory_client(storage) as client:
        await client.put_all({"a": 1, Ref("a", "media"): 2, "s3://odd": 3})
        reader = Reader(client.watch())
        await reader.present()
        assert reader.committed == {"a": 1, "s3://media/a": 2, "s3://odd": 3}
        reader = Reader(client.watch("s3://media/"))
        await reader.present()
        assert reader.committed == {"s3://media/a": 2}


async def test_what_a_manifest_names_is_not_trusted(storage, caplog):
    async with memory_client(storage) as client:
        await client.put("k", 1)
        found = await MemoryStorage.get(storage, BUCKET, MANIFEST)
        assert isinstance(found, Object)
    other = MemoryStorage(versioning=storage._versioning)
    await other.put(BUCKET, MANIFEST, found.body.replace(b'"k"', b'"s3://k"'))
    async with memory_client(other) as client:
        batch = await soon(anext(client.watch()))
        assert batch.initial and batch.changes == ()
    assert "names 's3://k', which no key can be called" in caplog.text
