"""What is asked of S3, and what is to be done when that fails."""

from __future__ import annotations

from dataclasses import dataclass

from ...errors import MPS3Error
from .wording import printable


@dataclass(frozen=True, slots=True)
class S3Request:
    """What was asked of the store.

    Attributes:
        operation: As S3 names it, such as ``PutObject``.
        action: The permission that it takes, such as ``s3:PutObject``.
        bucket: The bucket.
        key: The key, if it is about one.
        version: The version, if it is about one.
        conditional: Whether it is a write with a condition.
        repeatable: Whether it may be repeated though it may have taken effect.
        size: The bytes of the object that is sent, if one is.
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
        """What a policy calls that which it is about."""
        about_bucket = self.key is None or self.action.startswith("s3:List")
        return f"arn:aws:s3:::{printable(self.bucket)}" + ("" if about_bucket else f"/{printable(self.key or '')}")

    def error(self, kind: type[MPS3Error], why: str) -> MPS3Error:
        """An error about this request.

        Args:
            kind: Its class.
            why: What happened, and what can be done about it.
        """
        return kind(
            f"{self} failed: {why}",
            bucket=self.bucket,
            key=self.key,
            operation=self.operation,
            version=self.version,
        )


@dataclass(frozen=True, slots=True)
class Failure:
    """What is to be done about a failure.

    Attributes:
        error: What the caller is told.
        transient: Whether another attempt may succeed soon.
        no_effect: Whether the request has certainly had no effect.
    """

    error: MPS3Error
    transient: bool = False
    no_effect: bool = False
