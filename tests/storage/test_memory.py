import asyncio
import gc

import pytest

from mps3.errors import ConfigurationError, CorruptionError
from mps3.storage import ABSENT, Object
from mps3.storage.memory import MemoryStorage, memory_storage
from mps3.storage.pagination import PAGE_SIZE


async def test_stamps_are_the_clocks():
    times = iter([10.0, 15.0, 16.0])
    storage = MemoryStorage(clock=lambda: next(times))
    assert (await storage.put("b", "k", b"1")).modified == (await storage.get("b", "k")).modified == 10.0
    await storage.put("b", "k", b"2")
    assert [one.modified for one in (await storage.versions("b", "k")).versions] == [15.0, 10.0]
    assert [entry.modified for entry in (await storage.list("b")).entries] == [15.0]


async def test_a_run_can_be_repeated():
    first, second = (MemoryStorage(clock=lambda: 1.0) for _ in range(2))
    assert await first.put("b", "k", b"1") == await second.put("b", "k", b"1")
    assert await first.put("b", "k", b"1") != await first.put("b", "k", b"1")


async def test_every_call_lets_others_run_once():
    storage = MemoryStorage()
    for call in (
        storage.capabilities("b"),
        storage.put("b", "k", b""),
        storage.get("b", "k"),
        storage.versions("b", "k"),
        storage.list("b"),
        storage.delete("b", "k"),
    ):
        assert call.send(None) is None
        with pytest.raises(StopIteration):
            call.send(None)


async def test_users_are_counted_and_objects_stay():
    storage = MemoryStorage()
    await storage.open()
    await storage.open()
    assert storage.opened == 2
    await storage.put("b", "k", b"x")
    for _ in range(3):
        await storage.aclose()
    assert storage.opened == 0
    assert isinstance(await storage.get("b", "k"), Object)


async def test_the_body_is_not_shared_with_the_caller():
    storage, body = MemoryStorage(), bytearray(b"before")
    await storage.put("b", "k", body)
    body[:] = b"after!"
    assert (await storage.get("b", "k")).body == b"before"


async def test_names_are_shared_while_someone_holds_them():
    storage = memory_storage("test names")
    await storage.put("b", "k", b"x")
    assert memory_storage("test names") is storage
    assert memory_storage("test other names") is not storage
    del storage
    gc.collect()
    assert await memory_storage("test names").get("b", "k") is ABSENT


async def test_the_last_user_of_a_name_empties_it():
    storage = memory_storage("test users")
    await storage.open()
    await storage.open()
    await storage.put("b", "k", b"x")
    await storage.aclose()
    assert isinstance(await storage.get("b", "k"), Object)
    await storage.aclose()
    assert await storage.get("b", "k") is ABSENT


async def test_a_store_of_ones_own_keeps_its_objects():
    storage = MemoryStorage()
    await storage.open()
    await storage.put("b", "k", b"x")
    await storage.aclose()
    assert isinstance(await storage.get("b", "k"), Object)


async def test_buckets_are_apart():
    storage = MemoryStorage()
    await storage.put("a", "k", b"x")
    assert await storage.get("b", "k") is ABSENT
    assert (await storage.list("b")).entries == ()


async def test_lists_more_than_a_page():
    storage = MemoryStorage()
    keys = [f"{number:05}" for number in range(PAGE_SIZE + 5)]
    await asyncio.gather(*(storage.put("b", key, b"") for key in keys))
    first = await storage.list("b")
    rest = await storage.list("b", start=first.next)
    assert len(first.entries) == PAGE_SIZE
    assert rest.next is None
    assert [entry.key for entry in first.entries + rest.entries] == keys


@pytest.mark.parametrize(("bucket", "key"), [("b", ""), ("", "k"), ("b", "\ud800"), ("b", "é" * 513), ("\ud800", "k")])
async def test_refuses_what_cannot_be_a_name(bucket, key):
    storage = MemoryStorage()
    for call in (storage.get, storage.versions, storage.delete):
        with pytest.raises(ConfigurationError):
            await call(bucket, key)
    with pytest.raises(ConfigurationError):
        await storage.put(bucket, key, b"")
    if key:
        with pytest.raises(ConfigurationError):
            await storage.list(bucket, key)


async def test_refuses_a_body_with_another_digest():
    storage = MemoryStorage()
    with pytest.raises(CorruptionError) as caught:
        await storage.put("b", "k", b"body", sha256=b"0" * 32)
    assert (caught.value.bucket, caught.value.key, caught.value.operation) == ("b", "k", "PutObject")
    assert await storage.get("b", "k") is ABSENT
