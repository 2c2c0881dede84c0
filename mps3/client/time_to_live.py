"""The argument ``expires_in`` of the calls that write."""

from __future__ import annotations

from datetime import timedelta

from ..collect.options import seconds


def seconds_to_live(expires_in: float | timedelta | None) -> float | None:
    """Return the time until a value expires, in seconds; ``None`` if it does not expire.

    Raises:
        TypeError: It is neither a number nor a timedelta.
        ValueError: It is not positive, or infinite.
    """
    if expires_in is None:
        return None
    span = seconds(expires_in, "expires_in")
    if span == 0:
        raise ValueError("expires_in is a positive number of seconds; None for ever")
    return span
