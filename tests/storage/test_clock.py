"""What time it is at the store."""

from __future__ import annotations

import asyncio
import math

import pytest
from helpers import BUCKET, Unreliable
from hypothesis import given
from hypothesis import strategies as st
from storage.clockless import ClocklessStorage

from mps3 import MemoryStorage
from mps3.storage import TellsTime
from mps3.storage.clock import SPAN, ClockedStorage, StoreClock
from mps3.storage.s3.storage import S3Storage


class Here:
    """This machine's monotonic clock."""

    def __init__(self) -> None:
        self.time = 100.0

    def __call__(self) -> float:
        return self.time


@pytest.fixture
def here():
    return Here()


def test_nobody_knows_before_the_first_answer(here):
    clock = StoreClock(here)
    assert clock.now() == -math.inf
    clock.observe(None)
    assert clock.now() == -math.inf


def test_it_goes_on_between_answers_and_never_back(here):
    clock = StoreClock(here)
    clock.observe(1000.0)
    assert clock.now() == 1000.0
    here.time += 5
    assert clock.now() == 1005.0
    clock.observe(1003.0)  # an old stamp, or a slow answer
    assert clock.now() == 1005.0
    clock.observe(2000.0)  # this machine was asleep
    assert clock.now() == 2000.0


def test_a_fast_clock_here_is_forgiven_after_a_while(here):
    clock = StoreClock(here)
    store = 1000.0
    clock.observe(store)
    for _ in range(100):
        here.time += 11
        store += 10
        clock.observe(store)
    assert store <= clock.now() <= store + 2 * (SPAN + 11) / 10
    here.time = 50.0  # what no monotonic clock does
    assert clock.now() >= store


@given(
    offset=st.floats(0, 1, exclude_max=True),
    gaps=st.lists(st.tuples(st.floats(0.01, 20), st.floats(0, 3)), min_size=1, max_size=60),
)
def test_it_is_never_ahead_and_late_by_an_answer_and_its_rounding_at_the_most(offset, gaps):
    here = Here()
    clock = StoreClock(here)
    for gap, latency in gaps:
        here.time += gap
        date = math.floor(here.time + offset)
        here.time += latency
        clock.observe(date)
        now = here.time + offset
        assert now - 1 - latency - 1e-6 <= clock.now() <= now + 1e-6


def test_the_stores_of_this_library_tell_the_time(tmp_path):
    assert isinstance(MemoryStorage(), TellsTime)
    assert MemoryStorage(clock=lambda: 7.0).clock() == 7.0
    assert isinstance(S3Storage(), TellsTime)


async def test_of_other_stores_the_stamps_tell_it(here):
    storage = ClockedStorage(ClocklessStorage(), here)
    assert storage.clock() is None
    assert storage.time.now() == -math.inf
    await storage.put(BUCKET, "a", b"1")
    assert storage.time.now() == 1000.0
    for ask in (
        lambda storage: storage.get(BUCKET, "a"),
        lambda storage: storage.versions(BUCKET, "a"),
    ):
        another = ClockedStorage(storage._storage, here)
        await ask(another)
        assert 1000.0 <= another.time.now() < 1060.0  # it goes on by itself


async def test_a_client_listens_to_the_clock_of_its_store(here):
    store = Unreliable(clock=lambda: here.time + 5)
    storage = ClockedStorage(store, here)
    assert storage.time.now() == 105.0
    await asyncio.sleep(0)


@pytest.mark.server
async def test_every_answer_of_s3_tells_the_time(s3_config, bucket):
    async def told(ask) -> bool:
        storage = S3Storage(s3_config)
        await storage.open()
        try:
            assert storage.clock() is None
            await ask(storage)
            return storage.clock() is not None
        finally:
            await storage.aclose()

    etags = []

    async def put(storage):
        etags.append((await storage.put(bucket, "a", b"1")).etag)

    assert await told(put)
    assert await told(lambda storage: storage.get(bucket, "a"))
    assert await told(lambda storage: storage.get(bucket, "a", if_none_match=etags[0]))
    assert await told(lambda storage: storage.get(bucket, "nothing"))
    assert await told(lambda storage: storage.versions(bucket, "a"))
