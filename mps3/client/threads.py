"""Running functions on many keys outside of the event loop, with the pieces of runs at hand that they need."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final, TypeVar

from ..format.run import NotAtHandError
from ..journal.run_pieces import Piece, fetch

LARGE: Final = 2000
"""Keys that a function may process in the event loop. More would block it for too long."""

T = TypeVar("T")


async def in_thread_if_large(size: int, function: Callable[..., T], *arguments: Any) -> T:
    """Call a pure function, in a thread if it processes more than `LARGE` keys.

    Where it reads runs that are not at hand, they are fetched, and it is called again.

    Raises:
        MPS3Error: A run cannot be read.
    """
    held: list[Piece] = []
    while True:
        try:
            if size <= LARGE:
                return function(*arguments)
            return await asyncio.to_thread(function, *arguments)
        except NotAtHandError as missing:
            wanted = missing.wanted
        held += await fetch(wanted)
