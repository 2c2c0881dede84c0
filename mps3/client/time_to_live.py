"""The argument ``expires_in`` of the calls that write."""

from __future__ import annotations

from datetime import timedelta

from ..collect.options import seconds


def seconds_to_live(expires_in: float | timedelta | None) -> float | None:
    """Return the seconds until a value expires; ``None`` if it does not expire.

    Raises:
        TypeError: ``expires_in`` is neither a number nor a timedelta.
        ValueError: It is not positive and finite.
    """
    if expires_in is None:
        return None
    lifetime = seconds(expires_in, "expires_in")
    if lifetime == 0:
        raise ValueError("expires_in is a positive number of seconds, or None")
    return lifetime
