"""The types that all rooms use."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import Any, Final, Generic, Literal, Protocol, TypeAlias, TypeVar, Union

JSON: TypeAlias = Union[bool, int, float, str, Sequence["JSON"], Mapping[str, "JSON"], None]
"""Any JSON value. The containers are read-only types, so that ``dict[str, int]`` is one, too."""


class Delete(Enum):
    """The type of `DELETE`."""

    DELETE = "DELETE"

    def __repr__(self) -> str:
        return "DELETE"


DELETE: Final = Delete.DELETE
"""Put this value to delete a key. ``None`` is JSON null, a value."""


class Unchecked(Enum):
    """The type of `UNCHECKED`."""

    UNCHECKED = "UNCHECKED"

    def __repr__(self) -> str:
        return "UNCHECKED"


UNCHECKED: Final = Unchecked.UNCHECKED
"""As ``if_version``: the write has no condition. ``None`` means that the key must not exist."""


class Kept(Enum):
    """The type of `KEPT`."""

    KEPT = "KEPT"

    def __repr__(self) -> str:
        return "KEPT"


KEPT: Final = Kept.KEPT
"""As ``expires_in``: the key keeps its time of expiry, if it has one."""


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
    """A durable atomic change of one manifest, whose position in the order of commits is final.

    Attributes:
        id: The id of the commit, unique in the manifest.
        versions: The version of each key that it wrote; ``None`` for a deleted key.
        manifest: The manifest.
        others: The commits of the same write to its other manifests.
    """

    id: str
    versions: Mapping[str, str | None]
    manifest: Ref
    others: tuple[Commit, ...] = ()


@dataclass(frozen=True, slots=True)
class Status:
    """The status of a client at the moment of the call.

    Attributes:
        online: Whether the store answered the last request, and the client is not switched offline.
        pending: The number of writes that are not in the store yet.
        last_contact: When the store last answered, by this machine's clock; ``None`` before the first answer.
        last_error: The error of the last request, or of the last try of a write that waits to be tried again; ``None``
            if there is none.
        subscriptions: The number of open subscriptions.
        manifests: The manifests in use.
        oldest_pending: When the oldest pending write was called, by this machine's clock.
    """

    online: bool
    pending: int
    last_contact: datetime | None
    last_error: Exception | None
    subscriptions: int
    manifests: tuple[Ref, ...] = field(default=())
    oldest_pending: datetime | None = None


T_co = TypeVar("T_co", covariant=True)


@dataclass(frozen=True, slots=True)
class Change(Generic[T_co]):
    """The change of one key.

    Attributes:
        key: The key; one in another bucket than the default is written ``s3://bucket/key``.
        value: Its new value, or `DELETE`.
        version: The version of the value; ``None`` for a deleted key, and for a value that is not stored yet.
        pending: Whether it is a pending write of this client.
    """

    key: str
    value: T_co | Delete
    version: str | None
    pending: bool = False


@dataclass(frozen=True, slots=True)
class Batch(Generic[T_co]):
    """The changes of the watched keys by one commit.

    Attributes:
        id: The id of the commit. The last initial batch has that of the newest commit of the listed state, even if it
            changed no watched key. ``None`` for other initial batches, if there is no commit yet, for pending writes
            and those taken back, and for expired keys.
        changes: The changes, sorted by key.
        initial: Whether the batch is part of the initial listing of a watch.
        end_of_initial: Whether it is the last batch of that listing.
        skipped: Whether the batch stands for several commits: it contains all differences that they made.
        cursor: The ``since`` of a new watch that resumes after this batch. ``None`` where resuming is not possible:
            before the end of the initial listing, and while the manifest has no commit.
    """

    id: str | None
    changes: tuple[Change[T_co], ...]
    initial: bool = False
    end_of_initial: bool = False
    skipped: bool = False
    cursor: str | None = None


class Auth(Protocol):
    """Authorises requests: any ``httpx.Auth``."""

    def async_auth_flow(self, request: Any, /) -> AsyncGenerator[Any, Any]:
        """Yield requests and receive their responses; the response to the last request is used."""
        ...


JournalKind: TypeAlias = Literal["auto", "log", "merge"]
