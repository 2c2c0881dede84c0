"""How long a value is to be there."""

from __future__ import annotations

from datetime import timedelta

from ..collect.options import seconds


def lifetime(expires_in: float | timedelta | None) -> float | None:
    """How long a value is to be there, in seconds; ``None`` for ever.

    Raises:
        TypeError: It is neither a number nor a timedelta.
        ValueError: It is not positive, or endless.
    """
    if expires_in is None:
        return None
    span = seconds(expires_in, "expires_in")
    if span == 0:
        raise ValueError("expires_in is a positive number of seconds; None for ever")
    return span
