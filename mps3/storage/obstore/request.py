"""A request to a service through obstore."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ...errors import MPS3Error
from ...text import printable
from ..failure import Failure
from .provider import Provider

WRITES: Final = ("PutObject", "DeleteObject")


@dataclass(frozen=True, slots=True)
class Request:
    """What a request asks for.

    Attributes:
        provider: The service.
        operation: The operation, named as on S3.
        bucket: The bucket, or the container.
        key: The key, if it is about one.
        conditional: Whether it is a conditional write.
        repeatable: Whether it may be repeated even if it may have taken effect.
        reached: Whether the service has answered an earlier request for this bucket.
    """

    provider: Provider
    operation: str
    bucket: str
    key: str | None = None
    conditional: bool = False
    repeatable: bool = True
    reached: bool = False

    def __str__(self) -> str:
        key = "" if self.key is None else f"/{printable(self.key)}"
        return f"{self.operation} of {self.provider.scheme}://{printable(self.bucket)}{key}"

    @property
    def writes(self) -> bool:
        """Whether it changes something in the store."""
        return self.operation in WRITES

    def error(self, kind: type[MPS3Error], why: str) -> MPS3Error:
        """Return an error about this request. ``why`` says what happened, and what to do about it."""
        return kind(f"{self} failed: {why}", bucket=self.bucket, key=self.key, operation=self.operation)

    def failure(self, kind: type[MPS3Error], why: str, *, transient: bool = False, no_effect: bool = False) -> Failure:
        """Return a failure of this request. The arguments are those of `error` and `Failure`."""
        return Failure(self.error(kind, why), transient=transient, no_effect=no_effect)
