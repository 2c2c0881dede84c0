"""Subscriptions: the value now, then the newest after each change, until the client closes."""

from __future__ import annotations

import asyncio
import gc

import pytest
from helpers import BUCKET, MANIFEST, Unreliable, eventually, memory_client, no_task_left, settle, soon

from mps3 import AccessError, CorruptionError, Ref, Subscription, UnavailableError
from mps3.storage.memory import MemoryStorage


@pytest.fixture
async def storage():
    return Unreliable()


@pytest.fixture
async def client(storage):
    async with memory_client(storage) as client:
        yield client


@pytest.fixture
async def storing(storage):
    """Stores each value as an object of its own."""
    async with memory_client(storage, inline=0) as storing:
        yield storing


@pytest.fixture
async def other(storage):
    async with memory_client(storage) as other:
        yield other


async def test_the_current_value_comes_first(client, other):
    await other.put("k", 1)
    subscription = client.subscribe("k")
    assert isinstance(subscription, Subscription)
    assert await anext(subscription) == 1


async def test_the_default_stands_for_an_absent_key_and_none_is_a_value(client, other):
    default = object()
    subscription = client.subscribe("k", default)
    assert await anext(subscription) is default
    await other.put("k", None)
    assert await soon(anext(subscription)) is None
    await other.delete("k")
    assert await soon(anext(subscription)) is default
    assert await anext(client.subscribe("k")) is None


async def test_every_awaited_change_is_seen(client, other):
    subscription = client.subscribe("k")
    assert await anext(subscription) is None
    for number in range(5):
        await other.put("k", number)
        assert await soon(anext(subscription)) == number


async def test_own_and_other_writes_are_seen_alike(client, other):
    subscription = client.subscribe("k")
    assert await anext(subscription) is None
    for number in range(6):
        await (client if number % 2 else other).put("k", number)
        assert await soon(anext(subscription)) == number


async def test_an_acknowledged_write_is_not_seen_twice(client):
    subscription = client.subscribe("k")
    assert await anext(subscription) is None
    await client.put("k", 1)
    assert await soon(anext(subscription)) == 1
    with pytest.raises(TimeoutError):
        await soon(anext(subscription), 0.3)


async def test_nothing_comes_of_what_changes_elsewhere(client, other):
    subscription = client.subscribe("k")
    assert await anext(subscription) is None
    await other.put("another", 1)
    with pytest.raises(TimeoutError):
        await soon(anext(subscription), 0.3)


async def test_waiting_for_the_next_value_can_be_cancelled_and_taken_up_again(client, other):
    subscription = client.subscribe("k")
    assert await anext(subscription) is None
    with pytest.raises(TimeoutError):
        await soon(anext(subscription), 0.05)
    await other.put("k", 1)
    assert await soon(anext(subscription)) == 1


async def test_cancelling_the_first_read_loses_nothing(storage, client, storing):
    await storing.put("k", 1)
    subscription = client.subscribe("k")
    storage.hold("get", "k")
    with pytest.raises(TimeoutError):
        await soon(anext(subscription), 0.1)
    storage.release()
    assert await soon(anext(subscription)) == 1


async def test_a_slow_reader_skips_to_the_newest(client, other):
    subscription = client.subscribe("k")
    assert await anext(subscription) is None
    for number in range(20):
        await other.put("k", number)
    await eventually(lambda: client_has(client, "k", 19))
    assert await soon(anext(subscription)) == 19
    with pytest.raises(TimeoutError):
        await soon(anext(subscription), 0.2)


async def client_has(client, key, value):
    return await client.get(key) == value


async def test_what_a_reader_gets_is_in_order_and_ends_with_the_newest(client, other):
    seen = []

    async def read():
        async for value in client.subscribe("k", -1):
            seen.append(value)
            await asyncio.sleep(0.003)
            if value == 199:
                return

    reader = asyncio.create_task(read())
    for number in range(200):
        other.put("k", number)
        await asyncio.sleep(0.001)
    await soon(reader)
    assert seen == sorted(seen)
    assert len(set(seen)) == len(seen)
    assert seen[-1] == 199


async def test_many_subscriptions_to_one_key_each_get_everything(client, other):
    subscriptions = [client.subscribe("k") for _ in range(10)]
    assert await asyncio.gather(*map(anext, subscriptions)) == [None] * 10
    await other.put("k", 1)
    assert await soon(asyncio.gather(*map(anext, subscriptions))) == [1] * 10


async def test_one_poll_whatever_the_number_of_subscriptions(storage, client, other):
    await client.put("k0", 0)
    subscriptions = [client.subscribe(f"k{number}") for number in range(100)]
    await asyncio.gather(*map(anext, subscriptions))
    waiting = [asyncio.create_task(anext(one)) for one in subscriptions]
    await other.aclose()
    await asyncio.sleep(0.2)
    before = storage.count("get")
    await asyncio.sleep(0.5)
    assert 1 <= storage.count("get") - before <= 0.5 / (0.8 * 0.05) + 2
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)


async def test_the_first_reads_of_many_share_one_look(storage, client):
    await client.put("k", 1)
    before = storage.count("get", MANIFEST)
    await asyncio.gather(*(anext(client.subscribe("k")) for _ in range(50)))
    assert storage.count("get", MANIFEST) - before <= 3


async def test_a_put_all_is_seen_whole(client, other):
    """R14: never half a commit."""
    for number in range(20):
        subscription = client.subscribe("a")
        await anext(subscription)
        await other.put_all({"a": number, "b": number})
        assert await soon(anext(subscription)) == number
        assert await client.get("b") == number


async def test_closing_the_client_ends_it(storage):
    client = memory_client(storage)
    async with client:
        subscription = client.subscribe("k")
        assert await anext(subscription) is None

        async def rest():
            return [value async for value in subscription]

        waiting = asyncio.create_task(rest())
        await settle()
    assert await soon(waiting) == []
    with pytest.raises(StopAsyncIteration):
        await anext(subscription)


async def test_closing_the_client_ends_one_that_was_never_read(storage):
    async with memory_client(storage) as client:
        subscription = client.subscribe("k")
    with pytest.raises(StopAsyncIteration):
        await soon(anext(subscription))


async def test_closing_it_ends_the_wait_of_another_task(client):
    subscription = client.subscribe("k")
    assert await anext(subscription) is None
    waiting = asyncio.create_task(anext(subscription, "ended"))
    await settle()
    await subscription.aclose()
    assert await soon(waiting) == "ended"
    assert client.status().subscriptions == 0
    await subscription.aclose()
    assert await anext(subscription, "ended") == "ended"


async def test_closing_it_ends_a_wait_for_a_store_that_does_not_answer(storage, client, other):
    await other.put("k", 1)
    storage.hold_all()
    subscription = client.subscribe("k")
    waiting = asyncio.create_task(anext(subscription, "ended"))
    await settle()
    await subscription.aclose()
    try:
        assert await soon(waiting) == "ended"
    finally:
        storage.release()


async def test_a_block_ends_it(client):
    async with client.subscribe("k") as subscription:
        assert await anext(subscription) is None
        assert client.status().subscriptions == 1
    assert client.status().subscriptions == 0


async def test_leaving_the_loop_leaves_nothing_behind(client):
    async with no_task_left():
        async for value in client.subscribe("k"):
            assert value is None
            assert client.status().subscriptions == 1
            break
        gc.collect()
        assert client.status().subscriptions == 0


async def test_a_dropped_one_leaves_nothing_behind(client):
    async with no_task_left():
        for _ in range(1000):
            client.subscribe("k")
        for number in range(1000):
            await anext(client.subscribe(f"k{number}"))
        gc.collect()
        assert client.status().subscriptions == 0


async def test_a_cancelled_reader_leaves_nothing_behind(client):
    async def read():
        async for _ in client.subscribe("k"):
            pass

    async with no_task_left():
        reader = asyncio.create_task(read())
        await asyncio.sleep(0.05)
        assert client.status().subscriptions == 1
        reader.cancel()
        await asyncio.wait([reader])
        del reader
        await settle()
        gc.collect()
        assert client.status().subscriptions == 0


async def test_it_is_live_from_the_call(client, other):
    subscription = client.subscribe("k")
    assert client.status().subscriptions == 1
    await client.put("k", 1)
    assert await anext(subscription) == 1


async def test_it_survives_an_outage(storage, client, other):
    subscription = client.subscribe("k")
    assert await anext(subscription) is None
    storage.down()
    await eventually(lambda: not client.status().online)
    with pytest.raises(TimeoutError):
        await soon(anext(subscription), 0.1)
    write = other.put("k", 1)
    storage.up()
    await soon(write)
    assert await soon(anext(subscription)) == 1


async def test_it_begins_during_an_outage_with_what_is_known(storage, client):
    await client.put("k", 1)
    storage.down()
    await eventually(lambda: not client.status().online)
    assert await soon(anext(client.subscribe("k")), 1) == 1


async def test_it_waits_for_a_value_that_cannot_be_fetched_yet(storage, client, storing):
    subscription = client.subscribe("k")
    assert await anext(subscription) is None
    storage.fail = lambda operation, key: UnavailableError("down") if (operation, key) == ("get", "k") else None
    await storing.put("k", 1)
    with pytest.raises(TimeoutError):
        await soon(anext(subscription), 0.3)
    storage.up()
    assert await soon(anext(subscription)) == 1


async def test_it_waits_for_a_manifest_that_cannot_be_read_yet(storage, client):
    """Losing the network does not end it, nor does not having had one."""
    await client.put("k", 1, manifests=["second.json"])
    async with memory_client(storage) as late:
        storage.down()
        subscription = late.subscribe("k", manifest="second.json")
        reading = asyncio.create_task(anext(subscription))
        await asyncio.sleep(0.3)
        storage.up()
        assert await soon(reading) == 1


async def test_it_raises_when_access_is_denied_for_good(storage, client):
    subscription = client.subscribe("k")
    assert await anext(subscription) is None
    storage.refuse(AccessError("denied", bucket=BUCKET, key=MANIFEST), operation="get", key=MANIFEST)
    with pytest.raises(AccessError):
        await soon(anext(subscription))
    assert await anext(subscription, "ended") == "ended"
    gc.collect()
    assert client.status().subscriptions == 0


async def test_it_raises_when_the_manifest_becomes_unreadable(storage, client):
    await client.put("k", 1)
    subscription = client.subscribe("k")
    assert await anext(subscription) == 1
    stored = await MemoryStorage.put(storage, BUCKET, MANIFEST, b"garbage")
    with pytest.raises(CorruptionError, match=stored.version) as caught:
        await soon(anext(subscription))
    assert caught.value.version == stored.version


async def test_it_raises_when_the_value_is_not_what_was_written(storage, client, storing):
    subscription = client.subscribe("k")
    assert await anext(subscription) is None
    original = MemoryStorage.put

    async def tampering(self, bucket, key, body, **options):
        return await original(self, bucket, key, b"[1]" if key == "k" else body)

    MemoryStorage.put = tampering
    try:
        await storing.put("k", [2])
    finally:
        MemoryStorage.put = original
    with pytest.raises(CorruptionError, match="SHA-256"):
        await soon(anext(subscription))


async def test_manifests_are_told_apart(client, other):
    subscription = client.subscribe("k", manifest="second.json")
    assert await anext(subscription) is None
    await other.put("k", 1)
    with pytest.raises(TimeoutError):
        await soon(anext(subscription), 0.2)
    await other.put("k", 2, manifests=[Ref("second.json")])
    assert await soon(anext(subscription)) == 2
