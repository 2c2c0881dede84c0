"""The words that everyone here uses."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import Any, Final, Literal, Protocol, TypeAlias, Union

JSON: TypeAlias = Union[bool, int, float, str, Sequence["JSON"], Mapping[str, "JSON"], None]
"""Any JSON value. Read-only containers, so that ``dict[str, int]`` is one too."""


class Delete(Enum):
    """The type of `DELETE`."""

    DELETE = "DELETE"

    def __repr__(self) -> str:
        return "DELETE"


DELETE: Final = Delete.DELETE
"""Put this to delete a key. ``None`` is JSON null, a value like any other."""


@dataclass(frozen=True, slots=True)
class Ref:
    """A key in a bucket.

    Args:
        key: The object key, taken literally.
        bucket: The bucket; ``None`` means the client's default bucket.
    """

    key: str
    bucket: str | None = None

    def __str__(self) -> str:
        return self.key if self.bucket is None else f"s3://{self.bucket}/{self.key}"


@dataclass(frozen=True, slots=True)
class Commit:
    """One atomic change of one manifest that is durable and has its place in the order.

    Attributes:
        id: Identifies the commit among all commits of the manifest.
        versions: The version of each key it wrote; ``None`` for a deleted one.
        manifest: The manifest it was committed to.
        others: The commits of the same write to further manifests, if it named several.
    """

    id: str
    versions: Mapping[str, str | None]
    manifest: Ref
    others: tuple[Commit, ...] = ()


@dataclass(frozen=True, slots=True)
class Status:
    """How a client is doing, at the moment it was asked.

    Attributes:
        online: Whether the last contact with the store succeeded.
        pending: How many writes are not yet durable.
        last_contact: When the store last answered, by this machine's clock; ``None`` before that.
        last_error: The last error of the store; ``None`` again once it answers.
        subscriptions: How many subscriptions are open.
        manifests: The manifests in use.
    """

    online: bool
    pending: int
    last_contact: datetime | None
    last_error: Exception | None
    subscriptions: int
    manifests: tuple[Ref, ...] = field(default=())


class Auth(Protocol):
    """What authorises requests: any ``httpx.Auth``."""

    def async_auth_flow(self, request: Any, /) -> AsyncGenerator[Any, Any]:
        """Yield requests, receive their responses; the last one yielded counts."""
        ...


JournalKind: TypeAlias = Literal["auto", "merge", "conditional"]
