"""Periodic garbage collection while a client is open."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from ..errors import MPS3Error
from ..support.environment import Environment
from .report import Collected

_log = logging.getLogger("mps3")


async def collect_in_background(
    collect: Callable[[], Awaitable[Collected]], every: float, environment: Environment, manifest: str
) -> None:
    """Collect periodically until cancelled. A failure is logged, and the next collection tries again.

    Args:
        collect: Collects once.
        every: Seconds between two collections, on average. They vary, so that clients that were started together do not
            collect together.
        environment: The clock and randomness.
        manifest: Which manifest, for the log.
    """
    while True:
        await asyncio.sleep(every * environment.random.uniform(0.5, 1.5))
        try:
            collected = await collect()
        except MPS3Error as error:
            _log.warning("%s could not be collected, and will be tried again: %s", manifest, error)
        else:
            _log.info("%s: %d object versions of %d bytes collected", manifest, collected.deleted, collected.bytes)
