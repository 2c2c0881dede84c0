"""Waiting for a write."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from .output import say

if TYPE_CHECKING:
    from ... import Commit, Write


async def committed(write: Write) -> Commit:
    """Wait until a write is durable. Ctrl-C takes it back, if it has not left yet, and says which."""
    try:
        return await write
    except asyncio.CancelledError:
        if write.withdraw():
            say("interrupted: nothing was written")
        elif write.pending:
            say("interrupted: it may have been written, or not; mps3 get tells")
        raise
