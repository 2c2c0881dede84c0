"""How old what a commit is made of may be when it lands. What is older may be collected, so the commit does not count.

Without this rule a client that slept between storing values and committing them could commit what was
collected in the meantime, or build upon versions of the manifest that are no longer there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

LATENESS: Final = 600.0
"""Seconds of the store's time: a commit that lands later after its values were stored, or after the state
that it builds upon was looked at, does not count, and is made again (R16)."""


def max_commit_age() -> float:
    """Seconds that may pass, by the store's clock, until a commit no longer counts."""
    return LATENESS


def refresh_age() -> float:
    """Seconds after which values are stored again, or the state looked at again, before a commit is tried."""
    return LATENESS / 2


@dataclass(frozen=True, slots=True)
class Moment:
    """When something was stored, by all that can tell.

    Attributes:
        here: This client's monotonic clock, in seconds. It may stand still while the machine sleeps.
        store: The store's clock as it was seen last before that, in seconds since 1970, if it tells.
        collected: The last collection that was announced before that (R17).
    """

    here: float
    store: float | None = None
    collected: str | None = None

    def is_fresh(self, now: Moment) -> bool:
        """Whether what was stored then cannot have been collected before a commit of ``now`` lands."""
        by_store = 0.0 if self.store is None or now.store is None else now.store - self.store
        return self.collected == now.collected and max(by_store, now.here - self.here) <= refresh_age()
