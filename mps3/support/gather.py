"""Doing one thing to very many, some at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


async def gather_bounded(
    function: Callable[[T], Awaitable[R]], items: Sequence[T], at_once: int
) -> list[R | Exception | asyncio.CancelledError]:
    """Await ``function`` of each of ``items``, as `asyncio.gather` with ``return_exceptions`` does.

    There are never more than a few tasks: a hundred thousand at once would stop the event loop to be made, to be
    started, and whenever the garbage collector looks at them.

    Args:
        function: What to do.
        items: To what.
        at_once: How many to be busy with at the most.

    Returns:
        What came of each, in the order of ``items``: a result, or an error.
    """
    results: dict[int, R | Exception | asyncio.CancelledError] = {}
    left = iter(enumerate(items))

    async def work() -> None:
        for place, item in left:
            try:
                results[place] = await function(item)
            except asyncio.CancelledError as error:
                if (task := asyncio.current_task()) is not None and task.cancelling():
                    raise
                results[place] = error  # what it waited for was cancelled, and not it
            except Exception as error:  # noqa: BLE001 - whoever asked decides
                results[place] = error

    await asyncio.gather(*(work() for _ in range(min(at_once, len(items)))))
    return [results[place] for place in range(len(items))]
