"""The options of a collection, and their checks."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, TypeAlias

from ..format.commit_age import max_commit_age
from ..format.names import check_buckets

Duration: TypeAlias = float | timedelta

RETENTION: Final = timedelta(days=7)
GRACE: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Options:
    """The options of a collection.

    Attributes:
        retention: Seconds; everything is kept that a state younger than that refers to.
        grace: Seconds; nothing younger is deleted.
        dry_run: Whether nothing is deleted.
        rate: The most objects a second to look at and delete, one by one.
        buckets: Other buckets than the manifest's own in which values may be deleted.
    """

    retention: float
    grace: float
    dry_run: bool = False
    rate: float | None = None
    buckets: frozenset[str] = frozenset()


def options(
    *,
    retention: Duration,
    grace: Duration,
    dry_run: bool = False,
    rate: float | None = None,
    buckets: Iterable[str] = (),
) -> Options:
    """Check the options of a collection.

    Raises:
        TypeError: An option is of the wrong type.
        ValueError: An option has an impossible value. ``grace`` is at least twice the time in which a commit
            has to land after its values were stored.
    """
    least = 2 * max_commit_age()
    wait = seconds(grace, "grace")
    if wait < least:
        raise ValueError(f"grace is at least {least:g} s, not {wait:g}: commits may be on their way for that long")
    if rate is not None and not 0 < rate < math.inf:
        raise ValueError(f"rate is a positive number of objects a second, not {rate!r}")
    return Options(seconds(retention, "retention"), wait, dry_run, rate, check_buckets(buckets))


def seconds(span: object, what: str) -> float:
    """Return a duration in seconds.

    Raises:
        TypeError: It is neither a number nor a timedelta.
        ValueError: It is negative or infinite.
    """
    if isinstance(span, timedelta):
        span = span.total_seconds()
    if isinstance(span, bool) or not isinstance(span, int | float):
        raise TypeError(f"{what} is a timedelta or a number of seconds, not {type(span).__qualname__}")
    if not 0 <= span < math.inf:
        raise ValueError(f"{what} is a number of seconds from 0, not {span!r}")
    return float(span)
