"""What ``update`` does with ``None`` and with expiry, and transactions within transactions."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack, nullcontext
from datetime import datetime, timedelta, timezone
from typing import Any

import pydantic
import pytest
from helpers import StoreWithClock, memory_client, soon

from mps3 import DELETE, KEPT, MPS3, MemoryStorage

HOUR = 3600.0


class Point(pydantic.BaseModel):
    x: int


@pytest.fixture
def storage():
    return StoreWithClock(versioning=False)


@pytest.fixture(params=["merge", "log"])
def any_storage(request):
    return StoreWithClock(versioning=request.param == "merge")


def in_place(value: Any) -> None:
    value.update(a=5)


async def later(value: Any) -> None:
    in_place(value)


@pytest.mark.parametrize("function", [lambda value: value.update(a=5), in_place, later], ids=["lambda", "def", "async"])
async def test_an_update_that_returns_none_for_what_was_not_is_refused(storage, function):
    async with memory_client(storage) as ann:
        await ann.put("doc", {"a": 1})
        for key, more in (("doc", ()), ("new", ({"a": 1},))):
            with pytest.raises(TypeError, match=r"returned None .*mps3.DELETE.*transact\(\)"):
                await soon(ann.update(key, function, *more))
        assert await ann.get_all() == {"doc": {"a": 1}}


@pytest.mark.parametrize("value", [0, False, "", [], {}])
async def test_nor_for_what_is_empty(storage, value):
    async with memory_client(storage) as ann:
        await ann.put("doc", value)
        with pytest.raises(TypeError):
            await soon(ann.update("doc", lambda _: None))
        assert await ann.get("doc") == value


async def test_none_may_become_none_and_anything_may_be_deleted(storage):
    async with memory_client(storage) as ann:
        assert await soon(ann.update("new", lambda value: value)) is None
        assert await ann.get("new", "absent") is None
        await ann.put("null", None)
        assert await soon(ann.update("null", lambda value: value, "default")) is None
        await ann.put("doc", 1)
        assert await soon(ann.update("doc", lambda _: DELETE)) is DELETE
        assert await ann.get("doc", "absent") == "absent"

        async def to_null(transaction: Any) -> None:
            transaction.put("doc", None)

        await soon(ann.transact(to_null))
        assert await ann.get("doc", "absent") is None


async def test_an_update_of_a_type_is_refused_alike(storage):
    def in_place(point: Point) -> Any:
        point.x = 7

    async with memory_client(storage) as ann:
        points, perhaps = ann.typed(Point), ann.typed(Point | None)
        await points.put("p", Point(x=1))
        for typed in (points, perhaps):
            with pytest.raises(TypeError, match="returned None"):
                await soon(typed.update("p", in_place))
            with pytest.raises(TypeError, match="returned None"):
                await soon(typed.update("new", in_place, Point(x=2)))
        assert await ann.get_all() == {"p": {"x": 1}}
        assert await soon(perhaps.update("new", lambda value: value)) is None
        assert await ann.get("new", "absent") is None


async def test_a_function_that_is_no_coroutine_function_is_refused(storage):
    async with memory_client(storage) as ann:
        with pytest.raises(TypeError, match="async def"):
            await soon(ann.transact(lambda transaction: transaction.put("k", 1)))
        assert await ann.keys() == []


async def expiry(client: MPS3, key: str) -> datetime | None:
    return {one.key: one.expires for one in await (await client.snapshot()).files()}[key]


@pytest.mark.usefixtures("mps3_clock")
async def test_an_update_keeps_the_expiry(any_storage):
    storage = any_storage
    async with memory_client(storage) as ann, memory_client(storage) as bob:
        await ann.put_all({"typed": 1, "plain": 1}, expires_in=HOUR)
        await ann.put("stays", 1)
        before = await expiry(ann, "plain"), await expiry(ann, "typed")
        storage.ahead.later(60)
        await soon(
            asyncio.gather(
                ann.update("plain", lambda value: value + 1),
                ann.update("plain", lambda value: value + 1),
                ann.typed(int).update("typed", lambda value: (value or 0) + 1),
                ann.update("stays", lambda value: value + 1),
                ann.update("new", lambda value: value + 1, 0),
            )
        )
        assert (await expiry(bob, "plain"), await expiry(bob, "typed")) == before
        assert await bob.get_all() == {"plain": 3, "typed": 2, "stays": 2, "new": 1}
        storage.ahead.later(HOUR - 30)
        assert await bob.get_all() == {"stays": 2, "new": 1}


async def test_an_update_takes_another_expiry(storage):
    async with memory_client(storage) as ann:
        for number, (given, lifetime) in enumerate([(60, 60), (timedelta(minutes=2), 120), (KEPT, 120), (None, None)]):
            await soon(ann.update("k", lambda value: value + 1, 0, expires_in=given))
            expires = await expiry(ann, "k")
            if lifetime is None:
                assert expires is None
            else:
                assert abs((expires - datetime.now(timezone.utc)).total_seconds() - lifetime) < 30
            assert await ann.get("k") == number + 1
        await soon(ann.typed(int).update("k", lambda value: (value or 0) + 1, expires_in=60))
        assert await expiry(ann, "k") is not None
        for wrong in (0, -1, "1h"):
            with pytest.raises((TypeError, ValueError)):
                await soon(ann.update("k", lambda value: value, expires_in=wrong))


async def test_what_expires_while_it_is_updated_begins_anew(storage):
    async with memory_client(storage) as ann:
        await ann.put("k", 1, expires_in=60)
        storage.ahead.later(61)
        assert await soon(ann.update("k", lambda value: value + 1, 10)) == 11
        assert await expiry(ann, "k") is None


async def test_a_transaction_keeps_an_expiry_if_it_is_told_to(storage):
    async with memory_client(storage) as ann:
        await ann.put_all({"kept": 1, "not": 1}, expires_in=HOUR)
        before = await expiry(ann, "kept")
        async with ann.transaction() as transaction:
            transaction.put("kept", 2, expires_in=KEPT)
            transaction.put("not", 2)
            transaction.put("own", 1, expires_in=HOUR)
            transaction.put("own", 2, expires_in=KEPT)
            transaction.put("new", 2, expires_in=KEPT)
        assert await expiry(ann, "kept") == before
        assert await expiry(ann, "not") is None
        assert await expiry(ann, "new") is None
        assert await expiry(ann, "own") is not None


async def transact(client: MPS3) -> None:
    async def write(transaction: Any) -> None:
        transaction.put("inner", 1)

    await client.transact(write)


async def block(client: MPS3) -> None:
    async with client.transaction() as transaction:
        transaction.put("inner", 1)


INNER = {
    "update": lambda client: client.update("inner", lambda value: value),
    "update of a type": lambda client: client.typed(int).update("inner", lambda value: 1),
    "transact": transact,
    "block": block,
    "update in a task": lambda client: asyncio.create_task(client.update("inner", lambda value: value)),
    "block in a task": lambda client: asyncio.create_task(block(client)),
    "of another manifest": lambda client: client.update("inner", lambda value: value, manifest="other.json"),
}


@pytest.mark.parametrize("inner", INNER)
@pytest.mark.parametrize("outer", ["update", "transact", "block"])
async def test_a_transaction_within_a_transaction_is_refused(storage, outer, inner):
    async with memory_client(storage) as ann:

        async def refused() -> None:
            with pytest.raises(RuntimeError, match="own methods"):
                await INNER[inner](ann)

        async def of_update(value: Any) -> str:
            await refused()
            return "done"

        async def of_transact(transaction: Any) -> None:
            await refused()
            transaction.put("outer", "done")

        if outer == "update":
            await soon(ann.update("outer", of_update))
        elif outer == "transact":
            await soon(ann.transact(of_transact))
        else:
            async with ann.transaction() as transaction:
                await refused()
                transaction.put("outer", "done")
        assert await ann.get_all() == {"outer": "done"}


async def test_after_a_transaction_there_may_be_others_however_it_ended(storage):
    async with memory_client(storage) as ann:
        for error in (None, ValueError, asyncio.CancelledError):
            with pytest.raises(error) if error else nullcontext():
                async with ann.transaction() as transaction:
                    transaction.put("k", 1)
                    if error:
                        raise error
            assert await soon(ann.update("n", lambda n: n + 1, 0)) > 0


async def test_a_task_that_outlives_a_transaction_may_begin_others(storage):
    async with memory_client(storage) as ann:
        over = asyncio.Event()

        async def background() -> int:
            await over.wait()
            return await ann.update("n", lambda n: n + 1, 0)

        async with ann.transaction() as transaction:
            transaction.put("k", 1)
            task = asyncio.create_task(background())
        over.set()
        assert await soon(task) == 1


async def test_a_block_may_end_in_another_task_than_it_began_in(storage):
    """As in a fixture, which is set up in one task and torn down in another."""
    async with memory_client(storage) as ann:
        stack = AsyncExitStack()
        transaction = await asyncio.create_task(stack.enter_async_context(ann.transaction()))
        transaction.put("k", 1)
        await asyncio.create_task(stack.aclose())
        assert await soon(ann.update("k", lambda value: value + 1)) == 2


async def test_with_the_merge_journal_an_update_takes_the_window_and_no_whole_second_more(monkeypatch):
    monkeypatch.setattr("mps3.journal.merge.journal.MergeJournal.__init__.__kwdefaults__", {"window": 0.5})
    async with MPS3("bucket", storage=MemoryStorage(versioning=True), journal="merge") as client:
        times = []
        for _ in range(3):
            began = time.monotonic()
            await client.update("count", lambda count: count + 1, 0)
            times.append(time.monotonic() - began)
    assert 0.5 <= min(times) < 0.8  # of one in a thousand, the time stamp is a whole second by chance
