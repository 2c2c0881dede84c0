"""Parts of objects behind wrappers: in the cache, through a store that fails, and when they arrive damaged."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from mps3 import CorruptionError, UnavailableError
from mps3.offline.cache import FileCache
from mps3.storage import ABSENT, UNCHANGED, Absence, Object, verification
from mps3.storage.bypass import BYPASS
from mps3.storage.cached import CachedObject, CachedStorage, add_to_cache
from mps3.storage.lazy import LazyStorage
from mps3.storage.memory import MemoryStorage
from mps3.storage.switch import OfflineError, OfflineSwitch
from mps3.storage.verification import EtagDigests, read_verified
from mps3.testing import FaultyStorage
from mps3.types import Ref

BUCKET = "bucket"
RUN = f"manifest.json.runs/{'a' * 64}"
BODY = b"0123456789"


class DictCache:
    """A cache in memory."""

    def __init__(self) -> None:
        self.bodies: dict[tuple[str, str, str], bytes] = {}

    async def get(self, bucket: str, key: str, version: str) -> bytes | None:
        return self.bodies.get((bucket, key, version))

    def add(self, bucket: str, key: str, version: str, body: bytes) -> None:
        self.bodies[bucket, key, version] = body


@pytest.fixture
def cache():
    return DictCache()


@pytest.fixture
def store():
    return FaultyStorage()


@pytest.fixture
async def storage(store, cache):
    await store.storage.put(BUCKET, RUN, BODY)
    return CachedStorage(store, cache, lambda bucket, key: key == "manifest.json")


async def test_a_verified_part_is_not_read_again(storage, store, cache):
    found = await storage.get(BUCKET, RUN, byte_range=(2, 5))
    assert not isinstance(found, CachedObject)
    assert not cache.bodies
    add_to_cache(storage, BUCKET, RUN, None, found, byte_range=(2, 5))
    assert cache.bodies == {(BUCKET, RUN, "2-5"): b"234"}
    store.go_offline()
    again = await storage.get(BUCKET, RUN, byte_range=(2, 5), limit=3)
    assert again == CachedObject(b"234", None, None, partial=True)
    for other in ({"byte_range": (2, 6)}, {"byte_range": (3, 5)}, {}, {"byte_range": (2, 5), "limit": 2}):
        with pytest.raises(UnavailableError):
            await storage.get(BUCKET, RUN, **other)


async def test_a_whole_object_serves_its_parts(storage, store, cache):
    add_to_cache(storage, BUCKET, RUN, None, await storage.get(BUCKET, RUN))
    assert cache.bodies == {(BUCKET, RUN, ""): BODY}
    store.go_offline()
    for start, end in ((0, 3), (2, 5), (8, 20), (10, 12)):
        found = await storage.get(BUCKET, RUN, byte_range=(start, end))
        assert found == CachedObject(BODY[start:end], None, None, partial=True)
    assert (await storage.get(BUCKET, RUN)).body == BODY


async def test_a_put_serves_parts(storage, store):
    other = RUN.replace("a" * 64, "b" * 64)
    await storage.put(BUCKET, other, BODY)
    store.go_offline()
    assert (await storage.get(BUCKET, other, byte_range=(2, 5))).body == b"234"


async def test_a_version_serves_its_parts_and_they_are_not_cached(storage, store, cache):
    stored = await storage.put(BUCKET, "value", BODY)
    requests = store.count("GetObject")
    found = await storage.get(BUCKET, "value", version=stored.version, byte_range=(2, 5))
    assert found == CachedObject(b"234", stored.version, None, partial=True)
    assert store.count("GetObject") == requests
    cache.bodies.clear()
    found = await storage.get(BUCKET, "value", version=stored.version, byte_range=(2, 5))
    add_to_cache(storage, BUCKET, "value", stored.version, found, byte_range=(2, 5))
    assert not cache.bodies


async def test_what_may_change_is_not_cached(storage, cache):
    await storage.put(BUCKET, "manifest.json", BODY)
    for key in ("value", "manifest.json"):
        await storage.put(BUCKET, key, BODY)
        cache.bodies.clear()
        found = await storage.get(BUCKET, key, byte_range=(2, 5))
        add_to_cache(storage, BUCKET, key, None, found, byte_range=(2, 5))
        assert not cache.bodies


async def test_a_part_is_never_cached_as_the_whole_object(storage, cache):
    part, whole = await storage.get(BUCKET, RUN, byte_range=(2, 5)), await storage.get(BUCKET, RUN)
    add_to_cache(storage, BUCKET, RUN, None, part)
    add_to_cache(storage, BUCKET, RUN, None, whole, byte_range=(2, 5))
    add_to_cache(MemoryStorage(), BUCKET, RUN, None, part, byte_range=(2, 5))
    assert not cache.bodies


async def test_the_cache_is_bypassed(storage, store, cache):
    cache.add(BUCKET, RUN, "2-5", b"xyz")
    assert (await storage.get(BUCKET, RUN, byte_range=(2, 5))).body == b"xyz"
    token = BYPASS.set(True)
    assert (await storage.get(BUCKET, RUN, byte_range=(2, 5))).body == b"234"
    BYPASS.reset(token)
    etag = (await store.get(BUCKET, RUN)).etag
    assert await storage.get(BUCKET, RUN, if_none_match=etag, byte_range=(2, 5)) is UNCHANGED


async def test_parts_of_what_is_needed_are_evicted(tmp_path):
    cache = FileCache(tmp_path / "cache.sqlite3", 100_000)
    await cache.open()
    body = bytes(1000)
    cache.add(BUCKET, RUN, "", body)
    for number in range(200):
        cache.add(BUCKET, RUN, f"{number * 1000}-{(number + 1) * 1000}", body)
        if number % 20 == 0:
            await cache.keep_state(Ref("manifest.json", BUCKET), b"{}", 1.0, [(BUCKET, RUN)])
    await cache.keep_state(Ref("manifest.json", BUCKET), b"{}", 1.0, [(BUCKET, RUN)])
    assert await cache.get(BUCKET, RUN, "") == body
    assert await cache.get(BUCKET, RUN, "199000-200000") == body
    assert await cache.get(BUCKET, RUN, "0-1000") is None
    ((size,),) = await cache._connection.execute_fetchall("SELECT sum(size) FROM objects")
    assert size <= 110_000
    await cache.aclose()


# Wrappers ---------------------------------------------------------------------------------------------------------------


async def test_wrappers_pass_a_range_on(store):
    await store.storage.put(BUCKET, "key", BODY)
    switch = OfflineSwitch(store)
    lazy = LazyStorage(lambda: switch, lambda: "here")
    await lazy.open()
    found = await lazy.get(BUCKET, "key", byte_range=(2, 5), limit=3)
    assert (found.body, found.partial) == (b"234", True)
    switch.shut = True
    with pytest.raises(OfflineError):
        await lazy.get(BUCKET, "key", byte_range=(2, 5))
    await lazy.aclose()


async def test_parts_fail_on_demand(store):
    stored = await store.put(BUCKET, "key", BODY)
    with store.fail(operation="GetObject", key="key"), pytest.raises(UnavailableError):
        await store.get(BUCKET, "key", byte_range=(2, 5))
    with store.answer_older(operation="GetObject"):
        await store.put(BUCKET, "key", BODY[::-1])
        assert (await store.get(BUCKET, "key", byte_range=(2, 5))).body == b"234"
    assert (await store.get(BUCKET, "key", byte_range=(2, 5))).body == b"765"
    assert (await store.get(BUCKET, "key", version=stored.version, byte_range=(2, 5))).body == b"234"
    assert store.count("GetObject", "key") == 4


# Verification -----------------------------------------------------------------------------------------------------------


class Reads:
    """Reads that return some bodies one after the other, and then the last one again, and a check for one body."""

    def __init__(self, *bodies: bytes, partial: bool = True) -> None:
        self.bodies = list(bodies)
        self.count = 0
        self.partial = partial

    async def read(self) -> Object | Absence:
        self.count += 1
        body = self.bodies.pop(0) if len(self.bodies) > 1 else self.bodies[0]
        return Object(body, None, '"781e5e245d69b566979b86e28d23f2c7"', partial=self.partial)  # the MD5 of BODY

    async def check(self, found: Object | Absence) -> bytes:
        assert isinstance(found, Object)
        if found.body != b"234":
            raise CorruptionError("it is damaged")
        return found.body


@pytest.fixture
def no_pauses(monkeypatch):
    monkeypatch.setattr(verification, "PAUSES", (0.0,) * 4)


@pytest.mark.parametrize("known", [True, False])
async def test_the_etag_of_an_object_says_nothing_of_a_part(no_pauses, known):
    etags = EtagDigests(BUCKET, "manifest.json")
    whole = Object(BODY, None, '"781e5e245d69b566979b86e28d23f2c7"')
    assert not await etags.contradict(whole)
    assert etags.proven
    assert await etags.contradict(replace(whole, body=b"234"))
    assert not await etags.contradict(replace(whole, body=b"234", partial=True))
    reads = Reads(b"234")
    assert await read_verified(reads.read, reads.check, etags if known else None) == b"234"
    assert reads.count == 1
    assert etags.proven


@pytest.mark.parametrize("damaged", [b"xyz", b"<b>"])
@pytest.mark.parametrize("known", [True, False])
async def test_a_part_is_damaged_in_the_store_if_the_same_bytes_come_each_time(no_pauses, known, damaged):
    etags: Any = EtagDigests(BUCKET, "manifest.json") if known else None
    if etags is not None:
        await etags.contradict(Object(BODY, None, '"781e5e245d69b566979b86e28d23f2c7"'))
    reads = Reads(damaged)
    with pytest.raises(CorruptionError):
        await read_verified(reads.read, reads.check, etags)
    assert reads.count == 5
    reads = Reads(damaged, b"other", damaged)
    with pytest.raises(UnavailableError, match="arrived damaged"):
        await read_verified(reads.read, reads.check, etags)
    reads = Reads(damaged, damaged, b"234")
    assert await read_verified(reads.read, reads.check, etags) == b"234"


async def test_a_damaged_part_in_the_cache_is_read_from_the_store(storage, cache):
    cache.add(BUCKET, RUN, "2-5", b"xyz")

    async def ask() -> Object | Absence:
        return await storage.get(BUCKET, RUN, byte_range=(2, 5))

    assert await read_verified(ask, Reads(b"234").check) == b"234"
    assert await storage.get(BUCKET, "absent", byte_range=(0, 1)) is ABSENT
