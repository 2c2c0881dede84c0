"""Working on many items in the event loop, a few at a time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from itertools import islice
from typing import Final, TypeVar

STEP: Final = 2000
"""Items between which nothing else runs: a few milliseconds' work."""

T = TypeVar("T")


async def in_steps(items: Iterable[T]) -> AsyncIterator[list[T]]:
    """Yield lists of items, and let other tasks run between two of them.

    Args:
        items: They must not change meanwhile.
    """
    remaining = iter(items)
    while part := list(islice(remaining, STEP)):
        yield part
        if len(part) < STEP:
            return
        await asyncio.sleep(0)
