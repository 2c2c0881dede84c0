"""How a storage says that it repeats a request, without knowing who wants to hear of it."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import Final, TypeAlias

from ..errors import MPS3Error

Repeating: TypeAlias = Callable[[int, float, MPS3Error], None]
"""Told how many tries have failed, the seconds until the next, and why the last one failed."""

LISTENER: Final[ContextVar[Repeating | None]] = ContextVar("mps3_repeating", default=None)
"""Who wants to hear of the request that is being made. In the context, because a storage may have many users."""


def repeating(attempt: int, wait: float, error: MPS3Error) -> None:
    """The request that is being made has failed, and is about to be repeated. For those who implement a storage.

    Args:
        attempt: How many tries have failed.
        wait: Seconds until the next one.
        error: Why the last one failed.
    """
    listener = LISTENER.get()
    if listener is not None:
        listener(attempt, wait, error)
