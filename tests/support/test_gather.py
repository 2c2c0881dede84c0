"""Very many things, some at a time."""

from __future__ import annotations

import asyncio

import pytest
from helpers import no_task_left

from mps3.support.gather import gather_bounded


@pytest.mark.parametrize("count", [0, 1, 3, 4, 50])
async def test_all_are_done_in_order_and_few_at_a_time(count):
    busy = most = 0

    async def double(number):
        nonlocal busy, most
        busy += 1
        most = max(most, busy)
        await asyncio.sleep(0)
        busy -= 1
        return 2 * number

    assert await gather_bounded(double, range(count), 4) == [2 * number for number in range(count)]
    assert most == min(4, count)


async def test_errors_are_results():
    gone = asyncio.get_running_loop().create_future()
    gone.cancel()

    async def fail(number):
        await asyncio.sleep(0)
        if number == 2:
            await gone
        if number % 2:
            raise KeyError(number)
        return number

    found = await gather_bounded(fail, range(5), 2)
    assert found[0] == 0 and found[4] == 4
    assert isinstance(found[1], KeyError) and isinstance(found[3], KeyError)
    assert isinstance(found[2], asyncio.CancelledError)


async def test_it_can_be_cancelled():
    started = []

    async def wait(number):
        started.append(number)
        await asyncio.Event().wait()

    async with no_task_left():
        task = asyncio.create_task(gather_bounded(wait, range(10), 3))
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert started == [0, 1, 2]
