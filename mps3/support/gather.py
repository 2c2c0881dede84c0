"""Calling a coroutine function for many items, with a limited number of concurrent calls."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeVar

from .steps import STEP

CONCURRENCY: Final = 64
"""Calls that run at once, unless the caller sets another limit."""

T = TypeVar("T")
R = TypeVar("R")


async def map_concurrently(
    function: Callable[[T], Awaitable[R]], items: Sequence[T], limit: int = CONCURRENCY
) -> list[R]:
    """Return the results of ``function`` for all items, in their order.

    There are at most ``limit`` tasks: a hundred thousand would block the event loop. The first failure cancels the
    other calls and is raised.
    """
    if len(items) <= 1:
        return [await function(item) for item in items]  # a task would cost more than most calls
    results: dict[int, R] = {}
    remaining = iter(enumerate(items))

    async def work() -> None:
        for index, item in remaining:
            results[index] = await function(item)
            if index % STEP == STEP - 1:
                await asyncio.sleep(0)  # a call that has nothing to wait for lets nothing else run

    tasks = [asyncio.ensure_future(work()) for _ in range(min(limit, len(items)))]
    try:
        await asyncio.gather(*tasks)
    except BaseException:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        raise
    return [results[index] for index in range(len(items))]


async def gather_bounded(
    function: Callable[[T], Awaitable[R]], items: Sequence[T], limit: int
) -> list[R | Exception | asyncio.CancelledError]:
    """Do as `map_concurrently` does, but return failures as results."""

    async def attempt(item: T) -> R | Exception | asyncio.CancelledError:
        try:
            return await function(item)
        except asyncio.CancelledError as error:
            if (task := asyncio.current_task()) is not None and task.cancelling():
                raise
            return error  # something that the call waited for was cancelled, not the call
        except Exception as error:  # noqa: BLE001 - the caller handles it
            return error

    return await map_concurrently(attempt, items, limit)
