"""Patches where several are made at once, in transactions and batches, of keys that expire, and very many."""

from __future__ import annotations

import asyncio
import gc
import tracemalloc
import weakref

import pytest
from helpers import COMMIT, StoreWithClock, Unreliable, eventually, memory_client, settle, soon

from mps3 import DELETE, Append, ConflictError, Increment, Ref
from mps3.manifest.rebasing import WAIT

pytestmark = pytest.mark.parametrize("versioning", [True, False], ids=["merge", "log"])
NEVER = 3600.0


@pytest.fixture
async def storage(versioning):
    return Unreliable(versioning=versioning)


# Transactions


async def test_a_transaction_hears_of_several_patches_of_one_key(storage):
    async with memory_client(storage) as one:
        await one.put("k", "text")
        with pytest.raises(ConflictError, match="nothing was written: 'k': the value is a text"):
            async with one.transaction() as transaction:
                transaction.increment("k", path="/a")
                transaction.increment("k", path="/b")


async def test_of_a_transaction_nothing_is_written_if_a_patch_does_not_apply(storage):
    async with memory_client(storage) as one, memory_client(storage, inline=0) as other:
        await other.put("k", {"a": "text", "b": 0})
        with pytest.raises(ConflictError, match="nothing was written: 'k': /a is a text") as caught:
            async with one.transaction() as transaction:
                transaction.put("x", 1)
                transaction.increment("k", path="/a")
                transaction.increment("k", path="/b")
        assert not caught.value.maybe_written
        assert await other.get_all(["k", "x"]) == {"k": {"a": "text", "b": 0}}


async def test_a_transaction_is_not_refused_by_a_state_that_is_old(storage):
    async with memory_client(storage, poll_interval=NEVER) as one, memory_client(storage) as other:
        await one.put("k", "text")
        async with one.transaction() as transaction:
            transaction.increment("k")
            await other.put("k", 1)
        assert await other.get("k") == 2


async def test_a_patch_of_a_transaction_that_becomes_inapplicable_at_that_moment(storage):
    async with memory_client(storage, poll_interval=NEVER) as one, memory_client(storage) as other:
        await one.put("k", {"a": 1})

        async def both():
            async with one.transaction() as transaction:
                transaction.increment("k", path="/a")
                transaction.increment("k", path="/b")

        before = storage.count("put", COMMIT)
        storage.hold("put", COMMIT)
        running = asyncio.create_task(both())
        await eventually(lambda: storage.count("put", COMMIT) > before)
        waiting, storage.hang = storage.switch, lambda operation, key: False
        await other.put("k", {"a": "text"})
        waiting.set()
        with pytest.raises(ConflictError, match="'k': /a is a text"):
            await soon(running)


async def test_of_a_batch_of_transactions_only_that_fails_whose_patch_does_not_apply(storage):
    async with memory_client(storage) as one, memory_client(storage) as other:
        await one.put_all({"k": 1, "l": "text"})

        async def replace(transaction):
            transaction.put("k", "text")
            return "replaced"

        async def of_what_the_batch_has_written(transaction):
            transaction.increment("k")

        async def of_what_is_there(transaction):
            transaction.increment("l")
            transaction.put("m", 1)

        functions = (replace, of_what_the_batch_has_written, of_what_is_there)
        results = await soon(asyncio.gather(*map(one.transact, functions), return_exceptions=True))
        assert results[0] == "replaced"
        assert [type(result) for result in results[1:]] == [ConflictError, ConflictError]
        assert await other.get_all() == {"k": "text", "l": "text"}


async def test_of_a_batch_in_a_race_only_that_fails_whose_patch_does_not_apply(storage):
    async with memory_client(storage, poll_interval=NEVER) as one, memory_client(storage) as other:
        await one.put_all({"k": 1})

        async def put(transaction):
            transaction.put("x", 1)
            return "put"

        async def count(transaction):
            transaction.increment("k")

        before = storage.count("put", COMMIT)
        storage.hold("put", COMMIT)
        running = asyncio.gather(one.transact(put), one.transact(count), return_exceptions=True)
        await eventually(lambda: storage.count("put", COMMIT) > before)
        waiting, storage.hang = storage.switch, lambda operation, key: False
        await other.put("k", "text")
        waiting.set()
        results = await soon(running)
        assert results[0] == "put"
        assert isinstance(results[1], ConflictError)
        assert results[1].maybe_written
        assert await other.get_all() == {"k": "text", "x": 1}


async def test_a_transaction_with_too_many_patches_says_so_and_harms_no_other(storage):
    async with memory_client(storage) as one:

        async def put(transaction):
            transaction.put("x", 1)
            return "put"

        async def too_many(transaction):
            for number in range(501):
                transaction.increment(f"k{number}")

        async def too_large(transaction):
            for _ in range(2):
                transaction.patch("k", {"list": Append("x" * 20_000)})

        for function, message in ((too_many, "501 keys are more than 500"), (too_large, "'k' have 40")):
            with pytest.raises(ValueError, match=message):
                await soon(one.transact(function))
            results = await soon(asyncio.gather(one.transact(put), one.transact(function), return_exceptions=True))
            assert results[0] == "put"
            assert isinstance(results[1], ValueError)


async def test_transactions_whose_patches_are_too_large_together_are_several_commits(storage):
    async with memory_client(storage) as one, memory_client(storage) as other:

        async def add(transaction):
            transaction.patch("k", {"list": Append("x" * 20_000)})

        await soon(asyncio.gather(*(one.transact(add) for _ in range(4))))
        assert len((await other.get("k"))["list"]) == 4


# Expiry


async def test_a_pending_patch_of_what_has_expired_begins_from_nothing(storage):
    async with memory_client(storage) as one:
        await one.put("k", {"a": 1}, expires_in=0.5)
        async with one.subscribe("k") as values:
            storage.hold("put", COMMIT)
            write = one.patch("k", {"b": 1})
            while await soon(anext(values)) != {"b": 1}:
                pass
            assert await one.get("k") == {"b": 1}
            storage.release()
            await soon(write)
            assert await one.get("k") == {"b": 1}


async def test_a_patch_that_does_not_apply_does_not_change_the_expiry(storage):
    async with memory_client(storage) as one:
        await one.put("k", {"a": "text"})
        results = await asyncio.gather(
            one.patch("k", {"a": Increment(1)}, expires_in=60), one.patch("k", {"b": 1}), return_exceptions=True
        )
        assert isinstance(results[0], ConflictError)
        (file,) = await (await one.snapshot()).files()
        assert file.expires is None
        assert await one.get("k") == {"a": "text", "b": 1}


# Requests


@pytest.mark.parametrize("way", ["patch_all", "patch", "transaction"])
async def test_stored_values_are_fetched_together_to_tell_whether_patches_apply(storage, way):
    changes = {f"k{number}": {"n": Increment(1)} for number in range(10)}
    async with memory_client(storage) as other:
        await other.put_all({key: {"n": 0, "text": "x" * 2000} for key in changes})
        await other.put("l", 1)
    async with memory_client(storage) as one:
        await one.get("l")
        storage.switch.clear()
        storage.hang = lambda operation, key: operation == "get" and key.startswith("k")

        async def change():
            if way == "patch_all":
                await one.patch_all(changes)
            elif way == "patch":
                await asyncio.gather(*(one.patch(key, change) for key, change in changes.items()))
            else:
                async with one.transaction() as transaction:
                    transaction.patch_all(changes)

        running = asyncio.create_task(change())
        await eventually(lambda: len({key for asked, key in storage.calls if asked == "get" and key[0] == "k"}) == 10)
        storage.release()
        await soon(running)
        assert [value["n"] for value in (await one.get_all(list(changes))).values()] == [1] * 10


# Calls that are wrong


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda one: one.patch("k", {"a": Append(deep(70))}),
            ValueError,
            r"'k'.*operations\[0\].*64 deep.*: put the value",
        ),
        (lambda one: one.patch("k", {"a": deep(70)}), ValueError, "'k'.*64 deep"),
        (lambda one: one.patch("k", {"\ud800": DELETE}), ValueError, "'k'.*surrogate"),
        (lambda one: one.patch_all([("k", {})]), TypeError, "a mapping of keys to their changes, not list"),
        (lambda one: one.patch_all({"k": {}, Ref("k"): {}}), ValueError, "the same"),
    ],
)
async def test_bad_calls_say_what_is_wrong(storage, call, error, message):
    async with memory_client(storage) as one:
        with pytest.raises(error, match=message):
            call(one)
        assert one.status().pending == 0


def deep(levels):
    value = []
    for _ in range(levels - 1):
        value = [value]
    return value


# The past


async def test_the_log_has_patches_and_not_that_a_value_was_stored_anew(storage):
    async with memory_client(storage, inline=0) as one:
        await one.put("k", {"text": "x" * 3000, "n": 0})
        for _ in range(WAIT):
            commit = await one.increment("k", path="/n")
        await eventually(lambda: one.status().pending == 0)
        entries = await one.log("k")
        assert len(entries) == WAIT + 1 < len(await one.log())
        assert commit.versions["k"].startswith(entries[0].versions["k"])


# Memory


async def test_many_patches_at_once_take_memory_in_proportion(storage):
    async def peak(number):
        tracemalloc.start()
        try:
            async with memory_client(storage, poll_interval=NEVER) as one:
                await asyncio.gather(*(one.increment("n") for _ in range(number)))
            gc.collect()
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    few, many = await peak(500), await peak(4000)
    assert many < 12 * few


async def test_patches_that_are_committed_are_forgotten(storage):
    async with memory_client(storage, poll_interval=NEVER) as one:
        tracemalloc.start()
        try:
            for _ in range(2):
                await asyncio.gather(*(one.increment("n") for _ in range(2000)))
                await one.increment("n")
            gc.collect()
            assert tracemalloc.get_traced_memory()[0] < 2 * 2**20
        finally:
            tracemalloc.stop()


async def test_values_that_patches_make_take_no_more_memory_than_they_have_bytes(storage):
    """What the encoder returns holds on to ten times the room."""
    async with memory_client(storage, inline=0, poll_interval=NEVER) as one:
        await one.put("k", {"text": "x" * 3000, "n": 0})
        tracemalloc.start(1)
        try:
            for _ in range(50):
                await one.increment("k", path="/n")
            gc.collect()
            rooms = [tracemalloc.Filter(True, f"*/format/{name}.py") for name in ("patches", "values")]
            made = tracemalloc.take_snapshot().filter_traces(rooms)
            assert sum(trace.size for trace in made.traces) < 50 * 3 * 3100
        finally:
            tracemalloc.stop()


@pytest.mark.parametrize("inline", [0, 1024])
async def test_a_watch_that_is_resumed_after_many_patches_has_no_value_that_never_was(versioning, inline):
    storage = StoreWithClock(versioning=versioning)
    async with memory_client(storage, inline=inline) as one:
        await one.put("k", {"n": 0, "text": "x" * 2000})
        async with one.watch() as batches:
            cursor = (await anext(batches)).cursor
    async with memory_client(storage, inline=inline) as one:
        for _ in range(5 * WAIT):
            storage.later(1)
            await one.increment("k", path="/n")
        await eventually(lambda: one.status().pending == 0)
        storage.later(10)
        await one.put("last", True)
    async with memory_client(storage) as other, other.watch(since=cursor) as batches:
        seen, keys = [], set()
        while "last" not in keys:
            changes = (await soon(anext(batches))).changes
            seen += [change.value["n"] for change in changes if change.key == "k"]
            keys |= {change.key for change in changes}
        assert seen == list(range(1, 5 * WAIT + 1))


async def test_what_is_committed_is_not_kept_in_memory(storage):
    """Thousands of writes of a burst stayed until the next commit."""
    async with memory_client(storage, poll_interval=NEVER) as client:
        writes = [client.increment("n") for _ in range(100)]
        await asyncio.gather(*writes)
        outcomes = [weakref.ref(part.outcome) for write in writes for _, part in write._parts]
        del writes
        await settle()
        gc.collect()
        assert [outcome for outcome in outcomes if outcome() is not None] == []
