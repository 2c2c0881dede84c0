"""Every error this library raises on purpose.

One kind per reaction of the caller::

    MPS3Error
     ├─ ConfigurationError    fix the call: no such bucket, versioning off, the store cannot do what was asked
     ├─ AccessError           fix the permissions (names the S3 action and the resource)
     ├─ UnavailableError      try again later: network, throttling, timeouts, server errors
     ├─ ConflictError         read again and decide: a condition on a write did not hold
     ├─ ExpiredError          start again from the present: the past that was asked for is not kept (any more)
     ├─ ValidationError       look at the value: it does not fit the type that was asked for; also a ValueError
     ├─ CorruptionError       what is in the bucket is not what was written; names the object version
     ├─ FormatError           written by an mps3 of another format, nearly always a newer one: upgrade this client
     ├─ WithdrawnError        the write was withdrawn before it was sent
     ├─ UnknownOutcomeError   look at what is there, then decide: nobody can tell any more whether the write counts
     └─ ClosedError           the client is closed (or was never opened)

A value that is not JSON is a ``TypeError`` or ``ValueError`` at the call, as everywhere in Python.
"""

from __future__ import annotations

from copy import copy
from typing import Any, Final

from .text import one_line

_MAYBE: Final = "may have taken effect"


class MPS3Error(Exception):
    """The base of every error of this library.

    Attributes:
        bucket: The bucket it is about, where there is one.
        key: The object key it is about, where there is one.
        operation: What was being done: an S3 action such as ``PutObject``, where there is one.
        version: The object version it is about, where there is one.
        maybe_written: Of the error of a write: whether the write may have taken effect, or may still do so. ``False``
            means that it has not, and never will.

    The error of the layer below, if any, is the ``__cause__``. The message is one line without control characters,
    whatever the names in it hold.
    """

    def __init__(
        self,
        message: str,
        *,
        bucket: str | None = None,
        key: str | None = None,
        operation: str | None = None,
        version: str | None = None,
        maybe_written: bool = False,
    ) -> None:
        super().__init__(one_line(message))
        self.bucket = bucket
        self.key = key
        self.operation = operation
        self.version = version
        self.maybe_written = maybe_written

    def __str__(self) -> str:
        """The message, which says of a write that may have taken effect that it may."""
        message, maybe = str(self.args[0]) if self.args else "", "may have taken effect"
        if not self.maybe_written or isinstance(self, UnknownOutcomeError) or maybe in message:
            return message
        return f"{message.rstrip('.')}. The write {maybe}, or still may"

    def __reduce__(self) -> tuple[object, ...]:
        # Keyword arguments are lost by the default pickling of exceptions; process pools pickle them.
        return _rebuild, (
            type(self),
            str(self.args[0]) if self.args else "",
            self.bucket,
            self.key,
            self.operation,
            self.version,
            self.maybe_written,
        )


def _rebuild(
    kind: type[MPS3Error],
    message: str,
    bucket: str | None,
    key: str | None,
    operation: str | None,
    version: str | None,
    maybe_written: bool,  # noqa: FBT001 - pickle passes no keywords
) -> MPS3Error:
    return kind(message, bucket=bucket, key=key, operation=operation, version=version, maybe_written=maybe_written)


def doubted(error: MPS3Error) -> MPS3Error:
    """The same error of a write that may have taken effect, or still may."""
    if error.maybe_written:
        return error
    copied = copy(error)
    copied.maybe_written = True
    copied.__cause__ = error.__cause__
    for note in getattr(error, "__notes__", ()):
        copied.add_note(note)
    return copied


class ConfigurationError(MPS3Error):
    """The call or the bucket has to change: it can never work as it is."""


class AccessError(MPS3Error):
    """The store refused: credentials or permissions have to change."""


class UnavailableError(MPS3Error):
    """The store could not be reached or could not answer; the same call may work later.

    After a write it is not known whether the store carried it out.
    """


class ConflictError(MPS3Error):
    """A condition on a write did not hold, so nothing was written."""


class ExpiredError(MPS3Error):
    """The past that was asked for is not kept, or not any more. What is there now can be read."""


class ValidationError(MPS3Error, ValueError):
    """A value does not fit the type that was asked for. What is stored is left as it is."""


class CorruptionError(MPS3Error):
    """Something in the bucket is not what this library wrote. It is left as it is."""


class FormatError(MPS3Error):
    """Written by another version of this library, nearly always a newer one, which this one cannot read."""


class WithdrawnError(MPS3Error):
    """The write was withdrawn before it had left this client."""


class UnknownOutcomeError(MPS3Error):
    """Nobody can tell any more whether the write took effect: read what is there before making it again.

    The answer of the store was lost, and so much was committed since that the manifest no longer remembers. The write
    is not sent again, because then it might be applied twice. `maybe_written` is always true.
    """

    def __init__(self, message: str, **about: Any) -> None:
        super().__init__(message, **{**about, "maybe_written": True})


class ClosedError(MPS3Error):
    """The client is closed, or has not been opened yet."""
