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
