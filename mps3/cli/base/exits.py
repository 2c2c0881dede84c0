"""Exit codes, one for each kind of error, and the messages for errors."""

from __future__ import annotations

from typing import Final

from ... import errors

NO: Final = 1
"""The answer is no: there is no such key, or the bucket is not ready."""
USAGE: Final = 2
"""The arguments are wrong."""
BUG: Final = 70
"""An unexpected error."""
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
_HINTS: Final[dict[type[errors.MPS3Error], str]] = {
    errors.AccessError: "mps3 doctor says which permissions are needed; credentials come from the environment, the "
    "profiles, or --profile",
    errors.UnavailableError: "try again; if it stays so, look at the network and the endpoint",
    errors.ConflictError: "read the key again, and decide",
    errors.ExpiredError: "mps3 log shows what is kept",
    errors.FormatError: "upgrade: pip install -U mps3",
}


def explain(error: Exception) -> tuple[str, int] | None:
    """Return the message and the exit code for an error; ``None`` for an unexpected one."""
    for kind, code in EXITS.items():
        if isinstance(error, kind):
            hint = _HINTS.get(kind)
            message = str(error).removeprefix("s3_config is wrong: ")  # the command line has no such argument
            return message + (f" ({hint})" if hint else ""), code
    if isinstance(error, errors.MPS3Error):
        return str(error), NO
    if isinstance(error, ValueError | TypeError) and _is_from_library(error):
        return str(error), USAGE
    if isinstance(error, MemoryError):
        return "there is not enough memory for this", NO
    if isinstance(error, RecursionError):
        return "this nests too deep", NO
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {error.filename}" if error.filename else error.strerror, NO
    return None


def _is_from_library(error: Exception) -> bool:
    """Return whether an error was raised by a check of the library, whose messages are for people."""
    traceback = error.__traceback__
    while traceback is not None and traceback.tb_next is not None:
        traceback = traceback.tb_next
    module = "" if traceback is None else traceback.tb_frame.f_globals.get("__name__", "")
    return module.startswith("mps3.") and not module.startswith("mps3.cli.")
