"""Which slot to try next, and reading others meanwhile: pure, or nearly."""

from __future__ import annotations

import asyncio
import random

import pytest
from helpers import BUCKET, MANIFEST, Unreliable, memory_client

from mps3.format.slot import slot_key
from mps3.journal.log.contention import BUSY, CROWDED, Crowd
from mps3.journal.log.lookahead import Lookahead
from mps3.journal.log.reader import LogReader
from mps3.journal.runs import Runs


def jumps(crowd: Crowd) -> set[int]:
    return {crowd.jump(random.Random(seed)) for seed in range(200)}


def test_who_is_alone_takes_the_next_slot():
    crowd = Crowd()
    for _ in range(10):
        crowd.saw(0, fresh=False)
        assert (jumps(crowd), crowd.look_beside(7), crowd.is_dense) == ({0}, [], False)


def test_what_others_have_written_in_the_course_of_time_is_no_crowd():
    """A writer that has not polled for a while finds many slots behind the last that it knew."""
    crowd = Crowd()
    crowd.saw(40, fresh=False)
    assert (jumps(crowd), crowd.look_beside(7), crowd.is_dense) == ({0}, [], False)


def test_who_meets_many_goes_as_far_as_they_do_and_looks_further():
    crowd = Crowd()
    crowd.saw(3, fresh=False)
    for _ in range(3):
        crowd.saw(8, fresh=True)
    assert crowd.is_dense
    assert min(jumps(crowd)) >= 3 and max(jumps(crowd)) <= 14
    assert crowd.look_beside(100) == [100, 101, 102, 103, 105, 108]


def test_a_crowd_that_has_gone_is_forgotten():
    crowd = Crowd()
    for _ in range(5):
        crowd.saw(10, fresh=True)
    rounds = 0
    while crowd.look_beside(7):
        crowd.saw(0, fresh=False)
        rounds += 1
    assert rounds < 12
    assert BUSY < CROWDED


@pytest.fixture
async def storage():
    storage = Unreliable(versioning=False)
    async with memory_client(storage) as one:
        for number in range(3):
            await one.put("k", number)
    storage.calls.clear()
    return storage


async def test_what_is_slow_is_kept_when_it_comes(storage):
    kept: dict[int, object] = {}
    reader = LogReader(storage, BUCKET, MANIFEST, Runs(storage, BUCKET, MANIFEST, lambda: None))
    ahead = Lookahead(reader, kept.__setitem__)
    storage.hold("get", slot_key(MANIFEST, 3))
    ahead.begin([1, 2, 3, 9])
    await ahead.wait([1, 2, 9])
    assert kept.keys() == {1, 2}
    ahead.begin([3])
    storage.release()
    await ahead.wait([3, 4])
    assert kept.keys() == {1, 2, 3}
    assert storage.count("get", slot_key(MANIFEST, 3)) == 1


async def test_what_fails_is_asked_for_again(storage):
    kept: dict[int, object] = {}
    reader = LogReader(storage, BUCKET, MANIFEST, Runs(storage, BUCKET, MANIFEST, lambda: None))
    ahead = Lookahead(reader, kept.__setitem__)
    storage.down()
    ahead.begin([1])
    await ahead.wait([1])
    storage.up()
    ahead.begin([1])
    await ahead.wait([1])
    assert kept.keys() == {1}
    storage.hold_all()
    ahead.begin([2])
    await asyncio.sleep(0)
    await ahead.aclose()
    assert kept.keys() == {1}
