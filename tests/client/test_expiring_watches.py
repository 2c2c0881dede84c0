"""Keys that expire, for watches and for own writes on their way."""

from __future__ import annotations

from unittest.mock import patch

import pytest
from client.watch_reader import present
from commits import settled_document
from helpers import COMMIT, StoreWithClock, memory_client, soon

from mps3 import DELETE
from mps3.journal.log import checkpoints, tail

HOUR = 3600.0


@pytest.fixture(params=["merge", "log"])
def storage(request):
    return StoreWithClock(versioning=request.param == "merge")


async def test_a_watch_that_goes_on_is_told_what_expired_meanwhile(storage):
    async with memory_client(storage) as ann, memory_client(storage) as bob:
        await ann.put_all({"a": 1, "b": 2, "c": 3}, expires_in=30)
        await ann.put("stays", 4)
        cursor = (await present(bob.watch())).cursor
        await ann.put("b", 5, expires_in=HOUR)
        storage.later(31)
        watch = bob.watch(since=cursor)
        changes = {}
        while changes.get("b") != 5 or len(changes) < 3:
            changes.update((change.key, change.value) for change in (await soon(anext(watch))).changes)
        assert changes == {"a": DELETE, "c": DELETE, "b": 5}


async def test_a_watch_that_goes_on_is_told_what_was_left_out_meanwhile(storage):
    with patch.object(tail, "EVERY", 3), patch.object(checkpoints, "KEPT", 3):
        async with memory_client(storage) as ann, memory_client(storage) as bob:
            await ann.put("k", 1, expires_in=30)
            batch = await present(bob.watch())
            storage.later(31)
            while not (await settled_document(storage)).get("expired"):
                storage.later(10)
                await ann.put("other", 1)
            assert "'k'" not in str(await settled_document(storage))
            watch = bob.watch(since=batch.cursor)
            told = await soon(anext(watch))
            assert (told.id, [(change.key, change.value) for change in told.changes]) == (None, [("k", DELETE)])
            # Whoever has been told that is not told again, when it goes on from what it was told last.
            while True:
                batch = await soon(anext(watch))
                if batch.id == (await bob.snapshot()).id:
                    break
            again = bob.watch(since=batch.cursor)
            commit = await ann.put("other", 2)
            batch = await soon(anext(again))
            assert batch.id == commit.id


def told(batch):
    return batch.id, [(change.key, change.value) for change in batch.changes]


async def test_who_goes_on_after_an_expiry_is_not_told_of_it_again(storage):
    async with memory_client(storage) as ann, memory_client(storage) as bob:
        await ann.put("a", 1, expires_in=30)
        await ann.put("b", 2, expires_in=60)
        watch = bob.watch()
        before = (await present(watch)).cursor
        for key, after in (("a", 31), ("b", 30)):
            storage.later(after)
            await bob.get("a")
            batch = await soon(anext(watch))
            assert told(batch) == (None, [(key, DELETE)])
        for since, expected in ((before, ["a", "b"]), (batch.cursor, [])):
            again = bob.watch(since=since)
            commit = await ann.put("other", 1)
            if expected:
                assert told(await soon(anext(again))) == (None, [(key, DELETE) for key in expected])
            batch = await soon(anext(again))
            while batch.id != commit.id:  # those of the turn before
                assert batch.id is not None
                batch = await soon(anext(again))
            # Later cursors say it, too.
            third = bob.watch(since=batch.cursor)
            commit = await ann.put("other", 2)
            assert (await soon(anext(third))).id == commit.id


async def test_who_goes_on_is_told_of_many_expiries_in_parts(storage):
    async with memory_client(storage) as ann, memory_client(storage) as bob:
        await ann.put_all({f"{number:04}": number for number in range(2500)}, expires_in=30)
        watch = bob.watch()
        cursor = (await present(watch)).cursor
        storage.later(31)
        await bob.get("a")
        parts = [await soon(anext(watch)) for _ in range(3)]
        assert sum(len(part.changes) for part in parts) == 2500
        # Only the last one says that all of them were told.
        assert parts[0].cursor == parts[1].cursor == cursor != parts[2].cursor
        again = [batch async for batch in ending(bob.watch(since=parts[1].cursor), 3)]
        assert [batch.changes for batch in again] == [batch.changes for batch in parts]
        commit = await ann.put("other", 1)
        assert (await soon(anext(bob.watch(since=parts[2].cursor)))).id == commit.id


async def ending(watch, most):
    for _ in range(most):
        yield await soon(anext(watch))


async def test_what_had_expired_before_the_present_was_listed_is_not_told_to_who_goes_on(storage):
    async with memory_client(storage) as ann, memory_client(storage) as bob:
        await ann.put("a", 1, expires_in=30)
        storage.later(31)
        batch = await present(bob.watch())
        assert batch.changes == ()
        again = bob.watch(since=batch.cursor)
        commit = await ann.put("other", 1)
        assert (await soon(anext(again))).id == commit.id


async def test_a_commit_that_is_told_as_a_deletion_is_told_once(storage):
    async with memory_client(storage) as ann, memory_client(storage) as bob:
        await ann.put("other", 0)
        watch = bob.watch()
        await present(watch)
        commit = await ann.put("a", 1, expires_in=30)
        storage.later(31)
        await bob.get("other")
        batch = await soon(anext(watch))
        assert told(batch) == (commit.id, [("a", DELETE)])
        again = bob.watch(since=batch.cursor)
        commit = await ann.put("other", 1)
        assert (await soon(anext(again))).id == commit.id


async def test_the_id_of_a_commit_says_what_had_expired_before_it(storage):
    async with memory_client(storage) as ann, memory_client(storage) as bob:
        await ann.put_all({"a": 1, "b": 2}, expires_in=30)
        before = await ann.put("other", 0)
        storage.later(41)
        after = await ann.put("other", 1)
        batch = await soon(anext(bob.watch(since=before.id)))
        assert told(batch) == (None, [("a", DELETE), ("b", DELETE)])
        again = bob.watch(since=after.id)
        commit = await ann.put("other", 2)
        assert (await soon(anext(again))).id == commit.id


async def test_a_slow_watch_is_not_shown_who_has_left(storage):
    async with memory_client(storage) as ann, memory_client(storage) as bob:
        watch = bob.watch()
        await present(watch)
        commits = [await ann.put("k", number, expires_in=30) for number in range(3)]
        await bob.get("k")
        storage.later(31)
        await bob.get("k")
        batches = [await soon(anext(watch)) for _ in range(3)]
        assert [batch.id for batch in batches if batch.id] == [commit.id for commit in commits]
        assert {change.value for batch in batches for change in batch.changes} == {DELETE}


async def test_own_pending_values_are_shown_until_they_are_stored(storage):
    async with memory_client(storage) as one:
        await one.put("k", 1, expires_in=30)
        watch, values = one.watch(), one.subscribe("k", "absent")
        await present(watch)
        assert await soon(anext(values)) == 1
        storage.hold("put", COMMIT)
        write = one.put("k", 2, expires_in=HOUR)
        assert await soon(anext(values)) == 2
        storage.later(31)
        shown = {}
        while shown.get("k") != DELETE:  # of what is committed
            shown.update((change.key, change.value) for change in (await soon(anext(watch))).changes)
        assert (await soon(anext(watch))).changes[0].value == 2  # and of what is pending over it
        assert await one.get("k") == 2
        storage.release()
        await soon(write)
        assert (await soon(anext(watch))).changes[0].pending is False
        assert await one.get("k") == 2
