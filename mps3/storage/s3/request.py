"""A request to S3, and the classification of its failure."""

from __future__ import annotations

from dataclasses import dataclass

from ...errors import MPS3Error
from ...text import printable
from ..failure import Failure


@dataclass(frozen=True, slots=True)
class S3Request:
    """What a request asks for.

    Attributes:
        operation: The operation of S3, such as ``PutObject``.
        action: The permission that it needs, such as ``s3:PutObject``.
        bucket: The bucket.
        key: The key, if it is about one.
        version: The version, if it is about one.
        conditional: Whether it is a conditional write.
        repeatable: Whether it may be repeated even if it may have taken effect.
        size: The number of bytes of the object that is sent, if any.
        endpoint: Where it is sent to, without secrets.
        region: The region that it is signed for.
        reached: Whether the store has answered an earlier request for this bucket.
    """

    operation: str
    action: str
    bucket: str
    key: str | None = None
    version: str | None = None
    conditional: bool = False
    repeatable: bool = True
    size: int | None = None
    endpoint: str = ""
    region: str = ""
    reached: bool = False

    def __str__(self) -> str:
        target = f"s3://{printable(self.bucket)}" + (f"/{printable(self.key)}" if self.key is not None else "")
        return f"{self.operation} of {target}" + (f" (version {printable(self.version)})" if self.version else "")

    @property
    def writes(self) -> bool:
        """Whether it changes something in the store."""
        return self.operation in {"PutObject", "DeleteObject"}

    @property
    def resource(self) -> str:
        """The ARN of its resource, as in a policy."""
        about_bucket = self.key is None or self.action.startswith("s3:List")
        return f"arn:aws:s3:::{printable(self.bucket)}" + ("" if about_bucket else f"/{printable(self.key or '')}")

    def error(self, kind: type[MPS3Error], why: str) -> MPS3Error:
        """Return an error about this request. ``why`` says what happened, and what to do about it."""
        return kind(
            f"{self} failed: {why}",
            bucket=self.bucket,
            key=self.key,
            operation=self.operation,
            version=self.version,
        )

    def failure(self, kind: type[MPS3Error], why: str, *, transient: bool = False, no_effect: bool = False) -> Failure:
        """Return a failure of this request. The arguments are those of `error` and `Failure`."""
        return Failure(self.error(kind, why), transient=transient, no_effect=no_effect)
