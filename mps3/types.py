"""The words that everyone here uses."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import Any, Final, Generic, Literal, Protocol, TypeAlias, TypeVar, Union

JSON: TypeAlias = Union[bool, int, float, str, Sequence["JSON"], Mapping[str, "JSON"], None]
"""Any JSON value. Read-only containers, so that ``dict[str, int]`` is one too."""


class Delete(Enum):
    """The type of `DELETE`."""

    DELETE = "DELETE"

    def __repr__(self) -> str:
        return "DELETE"


DELETE: Final = Delete.DELETE
"""Put this to delete a key. ``None`` is JSON null, a value like any other."""


class Unchecked(Enum):
    """The type of `UNCHECKED`."""

    UNCHECKED = "UNCHECKED"

    def __repr__(self) -> str:
        return "UNCHECKED"


UNCHECKED: Final = Unchecked.UNCHECKED
"""As a version: whatever it is. ``None`` as a version means that there is no such key."""


class Kept(Enum):
    """The type of `KEPT`."""

    KEPT = "KEPT"

    def __repr__(self) -> str:
        return "KEPT"


KEPT: Final = Kept.KEPT
"""As ``expires_in``: the key expires when it was to expire before; if it was not to, it does not."""


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
        online: Whether the last contact with the store succeeded, and the client was not told to be offline.
        pending: How many writes are not yet in the store.
        last_contact: When the store last answered, by this machine's clock; ``None`` before that.
        last_error: The last error of the store; ``None`` again once it answers.
        subscriptions: How many subscriptions are open.
        manifests: The manifests in use.
        oldest_pending: When the first of the pending writes was made, by this machine's clock.
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
    """What became of one key.

    Attributes:
        key: The key; one in another bucket than the default is written ``s3://bucket/key``.
        value: Its value, or `DELETE`.
        version: The version of the value; ``None`` for a deleted key, and for a value not stored yet.
        pending: Whether it is a write of this client that is only here so far.
    """

    key: str
    value: T_co | Delete
    version: str | None
    pending: bool = False


@dataclass(frozen=True, slots=True)
class Batch(Generic[T_co]):
    """What happened in one moment: one commit, whole, as far as it concerns what is watched.

    Attributes:
        id: Of the commit. The last of the batches with which a watch begins has that of the newest commit which
            the present shows, whether that touched a watched key or not; ``None`` if there is no commit yet.
            ``None`` also for the initial batches before that, for writes of this client that are pending, or were
            taken back, and for keys that expired.
        changes: In the order of keys.
        initial: Whether it is part of the present, with which a watch begins.
        end_of_initial: Whether it is the last of those.
        skipped: Whether it stands for several commits that were not seen one by one: it has all that differs.
        cursor: Give this as ``since`` to a new watch, to go on after this batch. ``None`` where one has to
            begin anew: before the end of the initial batches, and while the manifest has no commit.
    """

    id: str | None
    changes: tuple[Change[T_co], ...]
    initial: bool = False
    end_of_initial: bool = False
    skipped: bool = False
    cursor: str | None = None


class Auth(Protocol):
    """What authorises requests: any ``httpx.Auth``."""

    def async_auth_flow(self, request: Any, /) -> AsyncGenerator[Any, Any]:
        """Yield requests, receive their responses; the last one yielded counts."""
        ...


JournalKind: TypeAlias = Literal["auto", "log", "merge"]
