"""Noticing that a commit is tried again and again though nothing changes in between."""

from __future__ import annotations

import logging
import math
from typing import Final

from ..support.environment import Environment

SUSPICIOUS: Final = 3
"""Failures in a row upon the same state, after which something is wrong."""
TRIES: Final = 10
"""Failures in a row upon the same state, after which it makes no sense to go on..."""
SECONDS: Final = 15.0
"""...if they took at least this long."""
OLD: Final = 60.0
"""The same where the store may show an old state for some time."""
SLOW: Final = 86_400.0
"""The same where this client is slow: it sleeps again and again, or stores very much."""

_log = logging.getLogger("mps3")


class StallDetector:
    """Counts failures upon the same state.

    A commit that fails because somebody else was first is no standstill: the others make progress, and the next try is
    upon another state.

    Args:
        environment: Tells the time.
        manifest: Which manifest, for the log.

    Attributes:
        failures: How many there were in a row.
    """

    def __init__(self, environment: Environment, manifest: str) -> None:
        self._environment = environment
        self._manifest = manifest
        self._state: object = None
        self._since = -math.inf
        self._slept = 0.0
        self.failures = 0

    def moved(self) -> None:
        """A commit has succeeded."""
        self.failures = 0

    def failed(self, state: object, why: object) -> None:
        """A try has failed.

        Args:
            state: What it was made upon.
            why: For the log, once.
        """
        if not self.failures or state != self._state:
            self._state, self._since, self.failures = state, self._environment.monotonic(), 0
            self._slept = self._environment.slept()
        self.failures += 1
        if self.suspicious:
            _log.warning(
                "a commit to %s has failed %d times, though nobody else has committed meanwhile: %s",
                self._manifest,
                self.failures,
                why,
            )

    @property
    def suspicious(self) -> bool:
        """Whether it is time to look for the reason; true once."""
        return self.failures == SUSPICIOUS

    def is_hopeless(self, *, may_be_old: bool = False, slow: bool = False) -> bool:
        """Whether to give up.

        Args:
            may_be_old: Whether a store that shows an old state for some time could be the reason.
            slow: Whether it is because this client takes too long.
        """
        least = SLOW if slow else OLD if may_be_old else SECONDS
        return self.failures >= TRIES and self.lasted >= least

    @property
    def lasted(self) -> float:
        """Seconds since the first failure."""
        return self._environment.monotonic() - self._since

    @property
    def pace(self) -> float:
        """Seconds from one failure to the next, on average, with those that the machine has slept."""
        slept = self._environment.slept() - self._slept
        return (self.lasted + slept) / (self.failures - 1) if self.failures > 1 else 0.0
