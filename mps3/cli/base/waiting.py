"""Waiting for a commit, and messages after Ctrl-C."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TYPE_CHECKING, TypeVar

from .output import say

if TYPE_CHECKING:
    from ... import Commit, Write

C = TypeVar("C")


async def wait_restored(work: Awaitable[C]) -> C:
    """Wait until something is restored. After Ctrl-C, say that it may have been."""
    try:
        return await work
    except asyncio.CancelledError:
        say("interrupted: it may have been written, or not; mps3 log tells")
        raise


async def wait_committed(write: Write) -> Commit:
    """Wait until a write is durable. After Ctrl-C, withdraw it if it has not been sent, and say whether it was."""
    try:
        return await write
    except asyncio.CancelledError:
        if write.withdraw():
            say("interrupted: nothing was written")
        elif write.pending:
            say("interrupted: it may have been written, or not; mps3 get tells")
        raise
