"""How a collection goes on: its progress, its rate, failures, cancelling, and collecting in the background."""

from __future__ import annotations

import asyncio
import logging
import time
from functools import partial

import helpers
import pytest
from collect.garbage import DAY, SOON, everything, values, values_of, versioning
from commits import refuse_commits
from helpers import BUCKET, MANIFEST, PATIENCE, Clock, eventually, no_task_left, soon

from mps3 import MPS3, AccessError, UnavailableError
from mps3.collect.options import options

memory_client = partial(helpers.memory_client, inline=0)

# How it is made -------------------------------------------------------------------------------------------------------


async def fill(one: MPS3, clock: Clock, number: int = 30) -> None:
    for value in range(2):
        await one.put_all({f"k{key}": value for key in range(number)})
    clock.later(10 * DAY)
    await one.put("new", 1)


async def test_progress_is_told(make, clock):
    storage = make(True)
    told = []
    async with memory_client(storage) as one:
        await fill(one, clock)
        collected = await one.collect(progress=told.append, **SOON)
    assert {each.part for each in told} == {"manifest", "runs", "values"}
    assert (told[-1].deleted, told[-1].bytes) == (collected.deleted, collected.bytes)
    assert collected.deleted >= 30


async def test_progress_is_told_while_it_is_slow(make, clock):
    storage = make(True)
    told = []
    async with memory_client(storage) as one:
        await fill(one, clock)
        async with asyncio.timeout(PATIENCE):
            collecting = asyncio.create_task(one.collect(rate=20, progress=told.append, **SOON))
            await eventually(lambda: told and told[-1].part == "values" and told[-1].deleted > 2)
            collecting.cancel()
            await asyncio.gather(collecting, return_exceptions=True)


async def test_it_can_be_cancelled_and_made_again(make, clock):
    storage = make(True)
    async with memory_client(storage) as one:
        await fill(one, clock)
        async with no_task_left():
            collecting = asyncio.create_task(one.collect(rate=200, **SOON))
            await eventually(lambda: values_of(storage, "k3") + values_of(storage, "k7") < 4)
            collecting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await collecting
        left = len(values(await everything(storage)))
        assert left > 31
        await one.collect(**SOON)
        assert len(values(await everything(storage))) == 31
        assert await one.get("k5") == 1


async def test_the_rate_is_kept(make, clock):
    storage = make(True)
    async with memory_client(storage) as one:
        await fill(one, clock, 10)
        began = time.monotonic()
        collected = await one.collect(rate=50, **SOON)
        # Ten are looked at, and ten and the manifest's deleted.
        assert time.monotonic() - began > (10 + collected.deleted - 2) / 50


async def test_a_store_that_fails_now_and_then(make, clock):
    storage = make(True)
    async with memory_client(storage) as one:
        await fill(one, clock)
        failing = iter(range(10_000))
        storage.fail = lambda operation, key: UnavailableError("busy") if next(failing) % 7 == 0 else None
        assert (await soon(one.collect(**SOON), 60)).values.deleted == 30


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({"retention": -1}, ValueError),
        ({"retention": "7d"}, TypeError),
        ({"retention": float("inf")}, ValueError),
        ({"grace": 1199}, ValueError),
        ({"grace": True}, TypeError),
        ({"rate": 0}, ValueError),
    ],
)
async def test_impossible_wishes(make, given, error):
    async with memory_client(make(True)) as one:
        with pytest.raises(error):
            await one.collect(**given)
    with pytest.raises(error):
        options(**{"retention": 0, "grace": 1200, **given})


# In the background ----------------------------------------------------------------------------------------------------


@versioning
async def test_in_the_background(make, clock, versioning):
    storage = make(versioning)
    async with no_task_left(), memory_client(storage, collect_every=0.02, retention=0) as one:
        await one.put("k", 1)
        refuse_commits(storage, AccessError("no"))
        with pytest.raises(AccessError):
            await one.put("k", 2)
        storage.up()
        clock.later(10 * DAY)
        await one.put("j", 2)
        await eventually(lambda: values_of(storage, "k") == 1)
        assert await one.get("k") == 1


async def test_failures_in_the_background_are_logged(make, caplog):
    storage = make(True)
    async with memory_client(storage, collect_every=0.02) as one:
        await one.put("k", 1)
        await storage.put(BUCKET, MANIFEST, b"{}")
        with caplog.at_level(logging.WARNING, "mps3"):
            await eventually(lambda: "could not be collected" in caplog.text)
        assert one.status()


@pytest.mark.parametrize("given", [{"collect_every": 0}, {"collect_every": -1}, {"retention": -1}])
def test_impossible_wishes_for_the_background(given):
    with pytest.raises(ValueError):
        MPS3("b", **given)
