"""Following whether pending writes are kept durably."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable
from functools import partial
from typing import Final

from ..support.environment import Environment
from .pending import Pending

LOG_INTERVAL: Final = 60.0
"""The least seconds between two errors in the log that a write could not be kept: there may be thousands."""

_log = logging.getLogger("mps3")


class KeptWrites:
    """Follows the writes of one manifest until they are kept, or cannot be.

    Args:
        wake: Called each time that one is, or cannot be.
        environment: The clock.
    """

    def __init__(self, wake: Callable[[], None], environment: Environment) -> None:
        self._wake = wake
        self._environment = environment
        self._log_at = -math.inf

    def follow(self, pending: Pending) -> None:
        """Follow a write, if it is to be kept."""
        if pending.kept is not None:
            pending.kept.add_done_callback(partial(self._kept, pending))

    def _kept(self, pending: Pending, kept: asyncio.Future[None]) -> None:
        self._wake()
        if kept.cancelled() or (error := kept.exception()) is None or self._environment.monotonic() < self._log_at:
            return
        self._log_at = self._environment.monotonic() + LOG_INTERVAL
        keys = ", ".join(map(repr, pending.labels.values()))
        _log.error("a write to %.80s could not be kept, and is lost if this process ends now: %s", keys, error)
