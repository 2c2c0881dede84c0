"""Running functions on many keys outside of the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final, TypeVar

LARGE: Final = 2000
"""Keys that a function may process in the event loop. More would block it for too long."""

T = TypeVar("T")


async def in_thread_if_large(size: int, function: Callable[..., T], *arguments: Any) -> T:
    """Call a pure function, in a thread if it processes more than `LARGE` keys."""
    if size <= LARGE:
        return function(*arguments)
    return await asyncio.to_thread(function, *arguments)
