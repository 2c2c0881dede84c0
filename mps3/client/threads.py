"""Running functions on many keys outside of the event loop, with the pieces of runs at hand that they need."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any, Final, TypeVar

from ..journal.at_hand import at_hand, until_at_hand

LARGE: Final = 2000
"""Keys that a function may process in the event loop. More would block it for too long."""

T = TypeVar("T")


async def in_thread_if_large(size: int, function: Callable[..., T], *arguments: Any) -> T:
    """Call a pure function, in a thread if it processes more than `LARGE` keys.

    Where it reads runs that are not at hand, they are fetched, and it is called again.

    Raises:
        MPS3Error: A run cannot be read.
    """
    if size <= LARGE:
        return await at_hand(partial(function, *arguments))
    return await until_at_hand(partial(asyncio.to_thread, function, *arguments))
