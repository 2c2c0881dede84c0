"""Watching: the present, every commit after it, own pending writes, and how a watch ends."""

from __future__ import annotations

import asyncio
import random
import time
from typing import Any

import pytest
from client.watch_reader import WatchReader
from helpers import BUCKET, COMMIT, Clock, Unreliable, eventually, memory_client, no_task_left, soon

from mps3 import DELETE, AccessError, Batch, Change, ClosedError, CorruptionError, MemoryStorage, Ref, WithdrawnError
from mps3.manifest.listeners import VIEWS
from mps3.storage import Object


@pytest.fixture(params=[True, False], ids=["merge", "log"])
def storage(request):
    return Unreliable(versioning=request.param)


def plain(batch: Batch[Any]) -> dict[str, Any]:
    return {change.key: change.value for change in batch.changes}


async def test_the_present_and_then_every_commit(storage):
    async with memory_client(storage) as ann, memory_client(storage) as bob:
        first = await ann.put_all({"a/1": 1, "a/2": None, "b/1": 3})
        async with bob.watch("a/") as watch:
            reader = WatchReader(watch)
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
        reader = WatchReader(client.watch("b"))
        batch = await reader.next()
        assert batch.end_of_initial and not batch.changes and batch.cursor is not None


async def test_several_commits_between_two_looks_stay_apart(storage):
    async with memory_client(storage) as ann, memory_client(storage, poll_interval=1.0) as bob:
        reader = WatchReader(bob.watch())
        await reader.present()
        commits = [await ann.put("k", number) for number in range(20)]
        await reader.until(lambda reader: reader.committed.get("k") == 19)
        assert reader.ids == [commit.id for commit in commits]
        assert [batch.changes[0].value for batch in reader.batches[1:]] == list(range(20))


async def test_own_writes_are_pending_and_then_confirmed(storage):
    async with memory_client(storage) as client:
        await client.put("k", 0)
        reader = WatchReader(client.watch())
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
        reader = WatchReader(client.watch())
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
    async with memory_client(storage, inline=0) as ann, memory_client(storage, inline=0) as bob:
        await ann.put("k", 0)
        reader = WatchReader(bob.watch())
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
async def test_a_reader_that_falls_behind_is_told_so(versioning, monkeypatch):
    clock = Clock()
    storage = MemoryStorage(versioning=versioning, clock=clock)
    monkeypatch.setattr("mps3.journal.log.checkpoints.MOST", 16)
    monkeypatch.setattr("mps3.journal.log.checkpoints.KEPT", 16)
    async with memory_client(storage) as ann, memory_client(storage) as bob:
        await ann.put_all({"k": 0, "gone": 1, "same": 2})
        reader = WatchReader(bob.watch())
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


@pytest.mark.parametrize("versioning", [True, False], ids=["merge", "log"])
async def test_what_was_put_again_after_it_was_deleted_is_not_taken_for_deleted(versioning, monkeypatch):
    clock = Clock()
    storage = MemoryStorage(versioning=versioning, clock=clock)
    monkeypatch.setattr("mps3.journal.log.checkpoints.MOST", 16)
    monkeypatch.setattr("mps3.journal.log.checkpoints.KEPT", 16)
    async with memory_client(storage) as ann, memory_client(storage) as bob:
        await ann.put("again", 0)
        reader = WatchReader(bob.watch())
        await reader.present()
        # Delivered together:
        await ann.delete("again")
        await ann.put("again", 1)
        await bob.get("again")
        await reader.until(lambda reader: reader.committed == {"again": 1})
        await ann.delete("again")
        for number in range(1, 2 * VIEWS + 260):
            clock.later(0.1)
            await ann.put("k", number)
            if not number % 3:
                await bob.get("k")
        batch = await reader.next()
        assert batch.skipped and plain(batch) == {"k": number, "again": DELETE}


async def test_a_reader_that_sleeps_for_less_misses_nothing(storage):
    async with memory_client(storage) as ann, memory_client(storage) as bob:
        reader = WatchReader(bob.watch())
        await reader.present()
        commits = [await ann.put("k", number) for number in range(150)]
        await reader.until(lambda reader: len(reader.ids) == 150)
        assert reader.ids == [commit.id for commit in commits]


async def test_a_large_commit_is_one_batch(storage):
    """It is stored as a run, whose keys are read."""
    async with memory_client(storage) as ann, memory_client(storage) as bob:
        await ann.put_all({"k/1": "old", "k/x": "old"})
        reader = WatchReader(bob.watch("k/"))
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
        reader = WatchReader(bob.watch("k/"))
        batches = await reader.present()
        with capsys.disabled():
            print(f"\n20,000 keys listed in {time.monotonic() - started:.1f} s")
        assert len(batches) > 20 and max(len(batch.changes) for batch in batches) <= 1000
        assert len(reader.committed) == 20_000 and reader.committed["k/19999"] == 19_999
        commit = await ann.put("k/5", "five")
        batch = await reader.next()
        assert (batch.id, plain(batch)) == (commit.id, {"k/5": "five"})


# Values that are not there any more -----------------------------------------------------------------------------------


async def test_a_value_that_was_superseded_and_collected_is_skipped(storage):
    async with memory_client(storage, inline=0) as ann, memory_client(storage, inline=0) as bob:
        await ann.put("k", 0)
        reader = WatchReader(bob.watch())
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
        reader = WatchReader(bob.watch())
        await reader.next()
        await collect(storage, "e")
        await ann.put_all({"a": DELETE, "b": 1, "e": 1, "h": 1})
        await reader.present()
        await ann.put("i", 1)
        await reader.until(lambda reader: "i" in reader.committed)
        assert reader.committed == await bob.get_all()
        assert "a" not in reader.committed and reader.committed["e"] == 1


async def test_a_value_that_is_broken_is_an_error(storage):
    async with memory_client(storage, inline=0) as ann, memory_client(storage, inline=0) as bob:
        await ann.put("k", 0)
        await collect(storage, "k")
        watch = bob.watch()
        for _ in range(2):
            with pytest.raises(CorruptionError, match="it is missing"):
                await soon(anext(watch))
        await ann.put("k", 1)
        reader = WatchReader(watch)
        await reader.present()
        assert reader.committed == {"k": 1}


async def collect(storage: MemoryStorage, key: str) -> None:
    for name in [name for name in storage._buckets[BUCKET] if name == key or name.startswith(f"{key}@")]:
        for version in (await storage.versions(BUCKET, name)).versions:
            await storage.delete(BUCKET, name, version=version.version)


# Its life -------------------------------------------------------------------------------------------------------------


async def test_it_ends_with_the_client_and_with_a_loss_of_the_network_it_does_not(storage):
    async with no_task_left():
        async with memory_client(storage) as ann, memory_client(storage) as bob:
            await ann.put("k", 0)
            reader = WatchReader(bob.watch())
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
        reader = WatchReader(bob.watch())
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
        reader = WatchReader(client.watch())
        await reader.present()
        assert reader.committed == {"a": 1, "s3://media/a": 2, "s3://odd": 3}
        reader = WatchReader(client.watch("s3://media/"))
        await reader.present()
        assert reader.committed == {"s3://media/a": 2}


async def test_what_a_manifest_names_is_not_trusted(storage, caplog):
    async with memory_client(storage) as client:
        await client.put("k", 1)
    other = MemoryStorage(versioning=storage._versioning)
    for entry in (await MemoryStorage.list(storage, BUCKET)).entries:
        found = await MemoryStorage.get(storage, BUCKET, entry.key)
        assert isinstance(found, Object)
        await other.put(BUCKET, entry.key, found.body.replace(b'"k"', b'"s3://k"'))
    async with memory_client(other) as client:
        batch = await soon(anext(client.watch()))
        assert batch.initial and batch.changes == ()
    assert "names 's3://k', which no key can be called" in caplog.text
