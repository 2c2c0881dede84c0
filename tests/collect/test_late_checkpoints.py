"""Checkpoints that are made while a collection has begun, and what they are built upon."""

from __future__ import annotations

import asyncio
import math

import pytest
from collect.garbage import DAY, SOON
from helpers import Unreliable, eventually, memory_client, soon

from mps3.journal.log import checkpoints, tail

OFTEN = {"journal": "log", "poll_interval": 0.02}


class Line(Unreliable):
    """A connection of its own to a store, on which checkpoints can be held up."""

    def __init__(self, store: Unreliable, clock) -> None:
        super().__init__(versioning=False, clock=clock)
        self._buckets = store._buckets

    def hold_checkpoints(self) -> None:
        self.switch.clear()
        self.hang = lambda operation, key: operation == "put" and key.endswith(".checkpoint")

    async def held(self) -> None:
        before = self.count("put")
        await eventually(lambda: any(key.endswith(".checkpoint") for _, key in self.calls[before:]))


@pytest.fixture(autouse=True)
def short(monkeypatch) -> None:
    monkeypatch.setattr("mps3.journal.levels.CHECKPOINT", 600)
    monkeypatch.setattr(tail, "EVERY", 10**6)
    monkeypatch.setattr(checkpoints, "MOST", 8)
    monkeypatch.setattr(checkpoints, "KEPT", 2)
    monkeypatch.setattr(checkpoints, "LEFT", 10**6)
    # As of clients that poll all the time, while the clock is put forward in one step.
    monkeypatch.setattr("mps3.journal.log.contact.max_commit_age", lambda: math.inf)


async def test_no_checkpoint_is_built_upon_one_that_was_not_written_once_a_collection_was_announced(
    make, clock, monkeypatch
):
    store = make(False)
    for_ann, for_bob = Line(store, clock), Line(store, clock)
    async with memory_client(for_ann, **OFTEN) as ann, memory_client(for_bob, **OFTEN) as bob:
        for number in range(31):
            await bob.put(f"key/{number}", "x" * 100)
            await eventually(lambda: _has(ann, f"key/{number}"))  # noqa: B023
        journal = ann._manifests[ann._default]._state.journal
        assert journal._tail.base.runs, "it has stored runs that nothing else names"
        clock.later(10 * DAY)
        for_bob.hold_checkpoints()
        collecting = asyncio.create_task(bob.collect(**SOON))
        await eventually(lambda: journal.view.document.collected)
        for_ann.hold_checkpoints()
        monkeypatch.setattr(tail, "EVERY", 1)
        await ann.put("a", 1)
        await asyncio.sleep(0.1)
        for_bob.release()
        await soon(collecting)
        for_ann.release()
        for number in range(8):
            await ann.put("a", number)
        await asyncio.sleep(0.1)
        clock.later(10 * DAY)
        await ann.put("a", 1)
        await ann.collect(**SOON)
    async with memory_client(store, **OFTEN) as carl:
        assert await carl.get("key/1") == "x" * 100


async def _has(client, key):
    return await client.get(key, None) is not None


async def test_the_past_is_kept_for_as_long_as_was_asked_for_by_who_has_not_written_its_checkpoint(
    make, clock, monkeypatch
):
    store = make(False)
    async with memory_client(store, **OFTEN) as ann, memory_client(Line(store, clock), **OFTEN) as bob:
        monkeypatch.setattr(tail, "EVERY", 4)
        for number in range(8):
            await bob.put("a", number)
        monkeypatch.setattr(tail, "EVERY", 10**6)
        for number in range(8, 24):
            await bob.put("a", number)
            await eventually(lambda: _is(ann, "a", number))  # noqa: B023
        journal = ann._manifests[ann._default]._state.journal
        assert journal._tail.base.sequence > 12
        clock.later(8 * DAY)
        before = await bob.put("a", "a day ago")
        clock.later(DAY)
        await ann.put("a", "now")
        await ann.collect(retention=1.5 * DAY, grace=1.5 * DAY)
    async with memory_client(store, **OFTEN) as carl:
        past = await carl.history("a")
        assert [await one.value() for one in past][:2] == ["now", "a day ago"]
        assert await carl.get("a", at=before.id) == "a day ago"


async def _is(client, key, value):
    return await client.get(key, None) == value
