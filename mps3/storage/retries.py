"""A hook through which a storage reports that it repeats a request."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import Final, TypeAlias

from ..errors import MPS3Error

RetryListener: TypeAlias = Callable[[int, float, MPS3Error], None]
"""Receives the number of failed attempts, the seconds until the next attempt, and the error of the last one."""

LISTENER: Final[ContextVar[RetryListener | None]] = ContextVar("mps3_repeating", default=None)
"""The listener of the current request. It is a context variable because a storage may have many users."""


def repeating(attempt: int, wait: float, error: MPS3Error) -> None:
    """Report that the current request has failed and will be repeated. Implementations of a storage call it.

    Args:
        attempt: The number of failed attempts.
        wait: Seconds until the next attempt.
        error: The error of the last attempt.
    """
    listener = LISTENER.get()
    if listener is not None:
        listener(attempt, wait, error)
