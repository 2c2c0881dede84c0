"""The errors of this library: one class for each reaction of the caller.

::

    MPS3Error
     ├─ ConfigurationError    fix the call: no such bucket, versioning off, the store cannot do what was asked
     ├─ AccessError           fix the permissions (names the S3 action and the resource)
     ├─ UnavailableError      try again later: network, throttling, timeouts, server errors
     ├─ ConflictError         read again and decide: a condition on a write did not hold
     ├─ ExpiredError          start again from the present: the past state is not kept
     ├─ ValidationError       look at the value: it does not fit the requested type; also a ValueError
     ├─ CorruptionError       an object in the bucket is damaged; names the object version
     ├─ FormatError           a newer mps3 wrote the manifest: upgrade this client
     ├─ WithdrawnError        the write was withdrawn before it was sent
     ├─ UnknownOutcomeError   read the key, then decide: it is not known whether the write took effect
     └─ ClosedError           the client is closed (or was never opened)

A value that is not JSON raises a ``TypeError`` or ``ValueError`` at the call.
"""

from __future__ import annotations

from copy import copy
from typing import Any, Final

from .text import one_line

_MAYBE: Final = "may have taken effect"


class MPS3Error(Exception):
    """The base class of all errors of this library.

    Attributes:
        bucket: The bucket, if the error is about one.
        key: The object key, if the error is about one.
        operation: The S3 action that failed, such as ``PutObject``, if there is one.
        version: The object version, if the error is about one.
        maybe_written: For the error of a write: whether the write may have taken effect, or may still take effect.
            ``False``: it has not and never will.

    The error of the layer below, if any, is the ``__cause__``. The message is one line without control characters.
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
        """Return the message, which mentions if a write may have taken effect."""
        message, maybe = str(self.args[0]) if self.args else "", "may have taken effect"
        if not self.maybe_written or isinstance(self, UnknownOutcomeError) or maybe in message:
            return message
        return f"{message.rstrip('.')}. The write {maybe}, or still may"

    def __reduce__(self) -> tuple[object, ...]:
        # Process pools pickle exceptions, and the default pickling drops keyword arguments.
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
    """Return a copy of an error with ``maybe_written`` set."""
    if error.maybe_written:
        return error
    copied = copy(error)
    copied.maybe_written = True
    copied.__cause__ = error.__cause__
    for note in getattr(error, "__notes__", ()):
        copied.add_note(note)
    return copied


class ConfigurationError(MPS3Error):
    """The call cannot succeed until it or the bucket is changed."""


class AccessError(MPS3Error):
    """The store denied access: credentials or permissions have to change."""


class UnavailableError(MPS3Error):
    """The store could not be reached or could not answer. The same call may succeed later.

    After a write, `maybe_written` states whether the store may have executed it.
    """


class ConflictError(MPS3Error):
    """A condition on a write did not hold, so nothing was written."""


class ExpiredError(MPS3Error):
    """The requested past state is not kept. The present state can be read."""


class ValidationError(MPS3Error, ValueError):
    """A value does not fit the requested type. The stored value is not changed."""


class CorruptionError(MPS3Error):
    """An object in the bucket is damaged: it is not what this library wrote. It is not changed."""


class FormatError(MPS3Error):
    """A newer version of this library wrote the object, in a format that this version cannot read."""


class WithdrawnError(MPS3Error):
    """The write was withdrawn before it was sent."""


class UnknownOutcomeError(MPS3Error):
    """It cannot be determined whether the write took effect: read the key before you repeat the write.

    The response of the store was lost, and the manifest has dropped the information after many later commits. The write
    is not sent again, because it could be applied twice. `maybe_written` is always true.
    """

    def __init__(self, message: str, **about: Any) -> None:
        super().__init__(message, **{**about, "maybe_written": True})


class ClosedError(MPS3Error):
    """The client is closed, or has not been opened yet."""
