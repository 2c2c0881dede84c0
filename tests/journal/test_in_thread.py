"""What is worked on beside the event loop, and what in it."""

from __future__ import annotations

import asyncio
import threading

from mps3.journal.in_thread import LONG, Worker


async def where(worker: Worker, size: int) -> bool:
    """Whether something of so many bytes is worked on in the thread of the event loop."""
    return await worker.work(lambda _: threading.current_thread() is threading.main_thread(), size)


async def test_what_is_large_is_worked_on_in_a_thread():
    worker = Worker()
    assert await where(worker, LONG)
    assert not await where(worker, LONG + 1)


async def test_what_comes_at_the_same_moment_is_large_together():
    worker, size = Worker(), LONG // 4
    found = await asyncio.gather(*(where(worker, size) for _ in range(10)))
    assert sum(found) == 4, "as much as one may be"


async def test_each_turn_of_the_loop_has_room_again():
    worker = Worker()
    for _ in range(3):
        assert await where(worker, LONG)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
