"""Exit codes: one per reaction of the caller, as there is one kind of error for each."""

from __future__ import annotations

from typing import Final

from ... import errors

NO: Final = 1
"""The answer is no: there is no such key, the bucket is not ready, something is not there."""
USAGE: Final = 2
"""The arguments are wrong."""
BUG: Final = 70
"""What should not have happened. With MPS3_DEBUG=1 there is a traceback."""
INTERRUPTED: Final = 130
"""Ctrl-C."""

EXITS: Final[dict[type[errors.MPS3Error], int]] = {
    errors.ConfigurationError: 3,
    errors.AccessError: 4,
    errors.UnavailableError: 5,
    errors.ConflictError: 6,
    errors.ExpiredError: 7,
    errors.CorruptionError: 8,
    errors.FormatError: 9,
    errors.ValidationError: 10,
    errors.WithdrawnError: 11,
    errors.ClosedError: 12,
    errors.UnknownOutcomeError: 13,
}
