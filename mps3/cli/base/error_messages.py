"""Messages for errors: one line that says what happened and what to do."""

from __future__ import annotations

from typing import Final

from ... import errors
from .exits import EXITS, NO, USAGE

_ADVICE: Final[dict[type[errors.MPS3Error], str]] = {
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
            advice = _ADVICE.get(kind)
            message = str(error).removeprefix("s3_config is wrong: ")  # nobody gave one here
            return message + (f" ({advice})" if advice else ""), code
    if isinstance(error, errors.MPS3Error):
        return str(error), NO
    if isinstance(error, ValueError | TypeError) and _is_ours(error):
        return str(error), USAGE
    if isinstance(error, MemoryError):
        return "there is not enough memory for this", NO
    if isinstance(error, RecursionError):
        return "this nests too deep", NO
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {error.filename}" if error.filename else error.strerror, NO
    return None


def _is_ours(error: Exception) -> bool:
    """Whether the library refused an argument, with a message for people."""
    traceback = error.__traceback__
    while traceback is not None and traceback.tb_next is not None:
        traceback = traceback.tb_next
    module = "" if traceback is None else traceback.tb_frame.f_globals.get("__name__", "")
    return module.startswith("mps3.") and not module.startswith("mps3.cli")
