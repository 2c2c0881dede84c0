"""Read, change, write: no update is lost, on stores that know conditions and on those that do not."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from contextlib import AsyncExitStack
from unittest.mock import patch

import pytest
from helpers import COMMIT, Unreliable, client, eventually, memory_client, no_task_left, soon
from places import place

from mps3 import DELETE, ClosedError, ConflictError, MemoryStorage, Ref, UnavailableError, WithdrawnError
from mps3.journal.merge.journal import MergeJournal

__all__ = ["place"]  # a fixture

INCREMENTS = int(os.environ.get("MPS3_TEST_INCREMENTS", "60"))
"""`nox -s transactions` has a thousand, by twenty clients, and waits for the window as anyone would."""
CLIENTS = 20 if INCREMENTS >= 1000 else 4


@pytest.fixture(autouse=True)
def short_window(request):
    """Stores with one clock need no longer one; every test would wait for it.

    On a server, or a busy disk, an answer may take longer than that, and who hears it later than a window cannot tell which run counts.
    """
    if CLIENTS == 20:
        yield
        return
    slow = hasattr(request.node, "callspec") and request.node.callspec.params.get("place") in ("server", "local")
    with patch.object(MergeJournal.__init__, "__kwdefaults__", {"window": 2.0 if slow else 0.2}):
        yield


class Deaf(Unreliable):
    """Carries out a commit, and loses the answer, so many times."""

    deaf = 0

    async def put(self, bucket, key, body, **options):
        stored = await super().put(bucket, key, body, **options)
        if self.deaf and self.is_meant(COMMIT, key):
            self.deaf -= 1
            raise UnavailableError("the answer is lost")
        return stored


@pytest.fixture(params=[True, False], ids=["merge", "log"])
def storage(request):
    return Deaf(versioning=request.param)


def one_more(value):
    return value + 1


@pytest.mark.parametrize("versioning", [True, False], ids=["merge", "log"])
async def test_no_increment_is_lost(place, versioning):
    bucket, options, _ = await place(versioning)
    clients = [client(bucket, **options) for _ in range(CLIENTS)]
    async with asyncio.timeout(900), AsyncExitStack() as stack:
        await asyncio.gather(*(stack.enter_async_context(one) for one in clients))

        async def work(one):
            each = INCREMENTS // CLIENTS
            at_once = await asyncio.gather(*(one.update("count", one_more, 0) for _ in range(each - 1)))
            return [*at_once, await one.update("count", one_more, 0)]

        results = await asyncio.gather(*map(work, clients))
        assert sorted(value for group in results for value in group) == list(range(1, INCREMENTS + 1))
        assert {await one.get("count") for one in clients} == {INCREMENTS}


@pytest.mark.parametrize("versioning", [True, False], ids=["merge", "log"])
async def test_if_version(place, versioning):
    bucket, options, _ = await place(versioning)
    async with client(bucket, **options) as ann, client(bucket, **options) as bob:
        write = ann.put("key", 1, if_version=None)
        assert await ann.get("key") == 1  # at once
        first = (await soon(write)).versions["key"]
        with pytest.raises(ConflictError, match=r"'key' has changed: it is at version \S+, where the write expects"):
            await soon(bob.put("key", 2, if_version=None))
        assert await bob.get("key") == 1
        second = (await soon(bob.put("key", 2, if_version=first))).versions["key"]
        with pytest.raises(ConflictError):
            await soon(ann.delete("key", if_version=first))
        assert await ann.get("key") == 2
        await soon(ann.delete("key", if_version=second))
        assert await bob.get("key", "gone") == "gone"


async def test_what_if_version_takes(storage):
    async with memory_client(storage) as one:
        for wrong, error in ((1, TypeError), ("", ValueError)):
            with pytest.raises(error, match="if_version"):
                one.put("key", 1, if_version=wrong)
        with pytest.raises(ValueError, match="one manifest"):
            one.put("key", 1, if_version=None, manifests=["a", "b"])
        write = one.put("key", 1, if_version=None)
        assert write.withdraw()
        with pytest.raises(WithdrawnError):
            await write
        assert await one.get("key", "gone") == "gone"


async def test_writes_do_not_wait_for_a_transaction_and_keep_their_order(storage):
    async with memory_client(storage) as ann, memory_client(storage) as bob:
        conditional = ann.put("key", 1, if_version=None)
        await soon(ann.put("key", 2))
        assert await ann.get("key") == 2
        assert await bob.get("key") == 2
        await soon(conditional)
        assert await ann.get("key") == 2
        assert await bob.get("key") == 2


async def test_a_transaction_is_whole(storage):
    async with memory_client(storage) as ann, memory_client(storage) as bob:
        await ann.put_all({"a": 10, "b": 0})

        async def move(transaction):
            amounts = await transaction.get_all(["a", "b", "none"])
            assert list(amounts) == ["a", "b"]
            transaction.put("a", amounts["a"] - 3)
            transaction.put("b", amounts["b"] + 3)
            transaction.delete("c")
            assert await transaction.get("a") == 7
            assert await transaction.get("c", "gone") == "gone"
            return amounts["a"]

        assert await soon(ann.transact(move)) == 10
        assert await bob.get_all() == {"a": 7, "b": 3}
        batch = await soon(anext(bob.watch()))
        assert {change.key: change.value for change in batch.changes} == {"a": 7, "b": 3}


async def test_it_is_run_again_when_somebody_was_first(storage):
    async with memory_client(storage) as ann, memory_client(storage) as bob:
        await ann.put("key", 1)
        seen = []

        async def change(transaction):
            value = await transaction.get("key")
            seen.append(value)
            if len(seen) == 1:
                await bob.put("key", 10)
            transaction.put("key", value + 1)

        await soon(ann.transact(change))
        assert seen == [1, 10]
        assert await bob.get("key") == 11


async def test_a_block_is_not(storage):
    async with memory_client(storage) as ann, memory_client(storage) as bob:
        await ann.put("key", 1)
        block = ann.transaction()
        with pytest.raises(ConflictError, match="key"):
            async with block as transaction:
                transaction.put("key", await transaction.get("key") + 1)
                await bob.put("key", 10)
        assert block.commit is None
        assert await ann.get("key") == await bob.get("key") == 10
        with pytest.raises(ClosedError, match="once"):
            await block.__aenter__()
        block = ann.transaction()
        async with block as transaction:
            transaction.put("key", await transaction.get("key") + 1)
        assert block.commit.versions.keys() == {"key"}
        assert await bob.get("key") == 11


async def test_a_transaction_that_only_reads(storage):
    async with memory_client(storage) as ann, memory_client(storage) as bob:
        await ann.put("key", 1)

        async def read(transaction):
            return await transaction.get("key")

        assert await soon(ann.transact(read)) == 1
        block = ann.transaction()
        with pytest.raises(ConflictError, match="has read"):
            async with block as transaction:
                await transaction.get("key")
                await bob.put("key", 2)
                await ann.get("key")


async def test_what_is_raised_writes_nothing(storage):
    async with memory_client(storage) as ann:
        await ann.put("key", 1)

        async def fail(transaction):
            transaction.put("key", 2)
            raise LookupError("no")

        with pytest.raises(LookupError, match="no"):
            await soon(ann.transact(fail))
        with pytest.raises(TypeError, match="JSON"):
            await soon(ann.update("key", lambda value: {value}))
        with pytest.raises(LookupError):
            async with ann.transaction() as transaction:
                await fail(transaction)
        assert await ann.get("key") == 1
        # Others of the same batch are not concerned.
        results = await soon(asyncio.gather(ann.transact(fail), ann.update("key", one_more), return_exceptions=True))
        assert isinstance(results[0], LookupError) and results[1] == 2
        assert await ann.get("key") == 2


async def test_update(storage):
    async with memory_client(storage) as ann:

        async def slowly(value):
            await asyncio.sleep(0.01)
            return [*value, 1]

        assert await soon(ann.update("list", slowly, [])) == [1]
        assert await soon(ann.update("list", lambda value: [*value, 2])) == [1, 2]
        assert await soon(ann.update("list", lambda _: DELETE)) is DELETE
        assert await ann.keys() == []
        assert await soon(ann.update(Ref("x", "other"), lambda _: 5, manifest="m.json")) == 5
        assert await ann.get(Ref("x", "other"), manifest="m.json") == 5


@pytest.mark.usefixtures("mps3_clock")
async def test_who_comes_too_late_may_have_nothing_to_write(storage):
    """As two do that want the same thing, of whom the second then sees that it is taken."""
    async with memory_client(storage) as ann, memory_client(storage) as bob:

        def take(who):
            async def function(transaction):
                free = await transaction.get("taken") is None
                if free:
                    transaction.put("taken", who)
                return free

            return function

        for _ in range(5):
            won = await soon(asyncio.gather(ann.transact(take("ann")), bob.transact(take("bob"))))
            assert sorted(won) == [False, True]
            assert await bob.get("taken") == ("ann" if won[0] else "bob")
            await ann.delete("taken")


async def test_own_writes_come_first(storage):
    async with memory_client(storage) as ann:
        ann.put("key", 1)
        assert await soon(ann.update("key", one_more)) == 2


async def test_a_transaction_in_a_transaction_is_refused(storage):
    async with memory_client(storage) as ann:

        async def nested(transaction):
            await ann.update("key", one_more, 0)

        with pytest.raises(RuntimeError, match="own methods"):
            await soon(ann.transact(nested))


async def test_without_the_store(storage):
    async with no_task_left(), memory_client(storage) as ann:
        await ann.put("key", 1)
        storage.down()
        await eventually(lambda: not ann.status().online)
        waiting = asyncio.create_task(ann.update("key", one_more))
        with pytest.raises(TimeoutError):
            await soon(ann.update("key", one_more), within=0.2)
        storage.up()
        assert await soon(waiting) == 2
        await eventually(lambda: ann.status().online)
        assert await soon(ann.update("key", one_more)) == 3


async def test_a_lost_answer_counts_once(storage):
    async with memory_client(storage) as ann, memory_client(storage) as bob:
        await ann.put("count", 0)
        for number in range(3):
            storage.deaf = 1
            assert await soon(ann.update("count", one_more)) == number + 1
        assert await bob.get("count") == 3


async def test_what_an_update_costs(storage):
    async with memory_client(storage, poll_interval=1000) as ann:
        await ann.put("count", 0)
        storage.calls.clear()
        await soon(ann.update("count", one_more))
        asked = Counter(operation for operation, _ in storage.calls)
        merge = (await storage.capabilities("bucket")).versioning == "enabled"
        # The value, the commit, and with the merge journal one that decides; a look whether there is news.
        assert asked == ({"put": 2, "versions": 2, "get": 1} if merge else {"put": 1, "get": 1})


async def test_cancelling_leaves_nothing(storage):
    async with no_task_left(), memory_client(storage) as ann:
        await ann.put("count", 0)
        task = asyncio.create_task(ann.update("count", one_more))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await soon(ann.update("count", one_more)) in (1, 2)


async def test_closing_ends_it():
    storage = MemoryStorage(versioning=True)
    async with no_task_left():
        async with memory_client(storage) as ann:
            task = asyncio.create_task(ann.update("count", one_more, 0))
            await asyncio.sleep(0.1)
        with pytest.raises(ClosedError):
            await task
        with pytest.raises(ClosedError):
            await ann.update("count", one_more, 0)


@pytest.mark.usefixtures("mps3_clock")
async def test_nobody_sees_a_transaction_that_may_still_become_void():
    storage = MemoryStorage(versioning=True)
    with patch.object(MergeJournal.__init__, "__kwdefaults__", {"window": 2.0}):
        async with memory_client(storage) as ann, memory_client(storage) as bob:
            await ann.put("key", 1)
            update = asyncio.create_task(ann.update("key", one_more))
            await asyncio.sleep(0.5)
            assert not update.done()
            assert await bob.get("key") == await ann.get("key") == 1
            # Others may build on it all the same.
            assert await soon(bob.update("key", one_more)) == 3
            assert await update == 2
            assert await ann.get("key") == 3


async def test_history_and_watch_know_what_counted(storage):
    async with memory_client(storage) as ann, memory_client(storage) as bob:
        watch = bob.watch()
        batches = [await soon(anext(watch))]
        await soon(
            asyncio.gather(
                ann.put("key", "a", if_version=None), bob.put("key", "b", if_version=None), return_exceptions=True
            )
        )
        winner = await ann.get("key")
        await soon(ann.put("end", 1))
        while not any(change.key == "end" for change in batches[-1].changes):
            batches.append(await soon(anext(watch)))
        shown = [
            change.value for batch in batches for change in batch.changes if change.key == "key" and not change.pending
        ]
        assert shown == [winner]
        revisions = await ann.history("key")
        assert [await revision.value() for revision in revisions] == [winner]
        assert await (await ann.snapshot(revisions[0].id)).get("key") == winner
