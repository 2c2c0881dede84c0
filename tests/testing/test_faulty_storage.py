"""A store that misbehaves as it is told, and what users test with it."""

from __future__ import annotations

import asyncio

import pytest
from helpers import eventually

from mps3 import AccessError, CorruptionError, LocalStorage, MemoryStorage, Reconnect, UnavailableError
from mps3.storage import ABSENT
from mps3.testing import (
    FaultyStorage,
    Request,
    VirtualLoop,
    check_storage,
)

# A store that misbehaves ----------------------------------------------------------------------------------------------


async def test_it_is_a_store():
    report = await check_storage(FaultyStorage(), "bucket")
    assert report.passed, report


async def test_the_next_requests_fail():
    store = FaultyStorage()
    fault = store.fail(2, operation="PutObject")
    await store.get("b", "k")
    for _ in range(2):
        with pytest.raises(UnavailableError, match=r"PutObject of s3://b/k failed") as raised:
            await store.put("b", "k", b"1")
        assert (raised.value.bucket, raised.value.key, raised.value.operation) == ("b", "k", "PutObject")
    await store.put("b", "k", b"1")
    assert (fault.met, fault.active) == (2, False)
    with store.fail(None, key="k", error=CorruptionError("damaged")):
        await store.get("b", "l")
        for _ in range(3):
            with pytest.raises(CorruptionError, match="damaged"):
                await store.get("b", "k")
    await store.get("b", "k")


async def test_lost_answers_took_effect():
    store = FaultyStorage()
    store.lose_answers()
    with pytest.raises(UnavailableError):
        await store.put("b", "k", b"1")
    assert (await store.get("b", "k")).body == b"1"


async def test_refusing():
    store = FaultyStorage()
    fault = store.refuse(operation="GetObject")
    await store.put("b", "k", b"1")
    for _ in range(2):
        with pytest.raises(AccessError):
            await store.get("b", "k")
    fault.end()
    await store.get("b", "k")


async def test_offline_and_online():
    store = FaultyStorage()
    store.go_offline()
    store.go_offline()
    assert not store.online
    for request in (store.get("b", "k"), store.put("b", "k", b""), store.list("b"), store.capabilities("b")):
        with pytest.raises(UnavailableError):
            await request
    store.go_online()
    store.go_online()
    assert store.online
    assert await store.get("b", "k") is ABSENT


@pytest.mark.parametrize("after_effect", [True, False])
async def test_hanging(after_effect):
    store = FaultyStorage()
    with store.hang(1, operation="PutObject", after_effect=after_effect) as fault:
        task = asyncio.create_task(store.put("b", "k", b"1"))
        await fault.wait()
        await asyncio.sleep(0.01)
        assert not task.done()
        assert (await store.get("b", "k") is not ABSENT) is after_effect
        await store.put("b", "l", b"1")  # only one was to hang
    await task
    assert (await store.get("b", "k")).body == b"1"


async def test_what_hangs_can_be_cancelled():
    store = FaultyStorage()
    store.hang()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await store.put("b", "k", b"1")
    store.heal()
    assert await store.get("b", "k") is ABSENT


async def test_healing_ends_everything():
    store = FaultyStorage()
    hanging = store.hang(1)
    task = asyncio.create_task(store.get("b", "k"))
    await hanging.wait()
    store.fail(None)
    store.refuse()
    store.go_offline()
    store.heal()
    assert store.online
    assert await task is ABSENT
    await store.put("b", "k", b"1")


async def test_being_slow(mps3_clock):
    store = FaultyStorage()
    store.delay(5, operation="GetObject")
    store.delay(2, 1)  # together
    begun = mps3_clock.time()
    await store.get("b", "k")
    assert mps3_clock.time() - begun == 7
    await store.get("b", "k")
    assert mps3_clock.time() - begun == 12
    await store.put("b", "k", b"1")
    assert mps3_clock.time() - begun == 12


async def test_older_answers():
    store = FaultyStorage()
    first = await store.put("b", "k", b"1")
    with store.answer_older():
        second = await store.put("b", "k", b"2")
        assert (await store.get("b", "k")).body == b"1"
        assert await store.get("b", "k", version=second.version) is ABSENT
        assert [one.version for one in (await store.versions("b", "k")).versions] == [first.version]
        assert len((await store.scan("b")).found) == 1
    assert (await store.get("b", "k")).body == b"2"
    assert [one.version for one in (await store.versions("b", "k")).versions] == [second.version, first.version]
    with pytest.raises(ValueError, match="reads nothing"):
        store.answer_older(operation="PutObject")


async def test_older_answers_need_a_store_in_memory(tmp_path):
    with pytest.raises(TypeError, match="MemoryStorage"):
        FaultyStorage(LocalStorage(tmp_path)).answer_older()


@pytest.mark.parametrize("wrong", [{"times": 0}, {"times": -1}, {"operation": "put"}])
def test_faults_that_cannot_be(wrong):
    with pytest.raises(ValueError, match=r"positive|is none of"):
        FaultyStorage().fail(**wrong)


async def test_requests_are_noted():
    store = FaultyStorage()
    await store.put("b", "k@mps3-00", b"1")
    await store.get("b", "k")
    await store.capabilities("b")
    assert store.requests == [
        Request("PutObject", "b", "k@mps3-00"),
        Request("GetObject", "b", "k"),
        Request("GetBucketVersioning", "b", None),
    ]
    assert (store.count(), store.count("GetObject"), store.count(key="k"), store.count("PutObject", "k")) == (
        3,
        1,
        2,
        1,
    )


async def test_a_copy_of_a_store_is_apart():
    store = MemoryStorage()
    first = await store.put("b", "k", b"1")
    other = store.copy()
    assert (await store.put("b", "k", b"2")).version == (await other.put("b", "k", b"3")).version != first.version
    assert ((await store.get("b", "k")).body, (await other.get("b", "k")).body) == (b"2", b"3")


# What users test with them --------------------------------------------------------------------------------------------


async def test_the_network_fails_for_one_of_two(mps3_clock, mps3_store, mps3_client):
    network = FaultyStorage(mps3_store)
    asked = []

    def decide(offer: Reconnect) -> None:
        asked.append({key: change.current for write in offer.conflicts for key, change in write.changes.items()})

    async with mps3_client(storage=network, on_reconnect=decide) as phone, mps3_client() as laptop:
        await phone.put("note", "first")
        network.go_offline()
        await mps3_clock.advance(5)
        assert not phone.status().online
        mine = phone.put("note", "from the phone")
        await laptop.put("note", "from the laptop")
        await mps3_clock.advance(60)
        assert (await phone.get("note"), await laptop.get("note")) == ("from the phone", "from the laptop")
        network.go_online()
        await mine
        assert asked == [{"note": "from the laptop"}]
        assert await laptop.get("note") == "from the phone"


async def test_lost_answers_are_no_second_writes(mps3_clock, mps3_store, mps3_client):
    async with mps3_client() as client:
        await client.put("k", 0)
        mps3_store.lose_answers(operation="PutObject", key="manifest.json")
        await client.put("k", 1)
        assert [await one.value() for one in await client.history("k")] == [1, 0]


async def test_older_answers_show_nobody_an_older_state(mps3_clock, mps3_store, mps3_client):
    async with mps3_client() as client, mps3_client() as other:
        await client.put("k", 1)
        assert await other.get("k") == 1
        older = mps3_store.answer_older()
        write = client.put("k", 2)
        await mps3_clock.advance(30)
        assert await client.get("k") == 2
        assert await other.get("k") == 1
        older.end()
        await write
        assert await other.get("k") == 2


async def test_without_the_clock_time_is_real(mps3_store, mps3_client):
    assert not isinstance(asyncio.get_running_loop(), VirtualLoop)
    async with mps3_client() as ann, mps3_client("other.json") as bob:
        await ann.put("k", 1)
        assert await bob.get("k") is None
        assert await bob.get("k", manifest="manifest.json") == 1
        mps3_store.go_offline()
        await eventually(lambda: not ann.status().online)
        mps3_store.go_online()
