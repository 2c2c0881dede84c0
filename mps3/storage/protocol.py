"""The protocol of a storage: the operations on the objects of a bucket, and what the bucket supports.

Implement `Storage` to keep data somewhere else. A storage raises only errors of
`mps3.errors`, with the bucket, the key, the operation and the cause in them:
``ConfigurationError`` for a bucket that does not exist, ``AccessError`` for a refusal,
``UnavailableError`` for a failure that may be temporary. The error of a ``put`` or a ``delete`` says in
`mps3.MPS3Error.maybe_written` whether it may have taken effect.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final, Literal, Protocol, runtime_checkable

from ..errors import ConfigurationError


class KeyRefusedError(ConfigurationError):
    """The store cannot hold an object with this key; with another key it may.

    A store that keeps objects in directories cannot hold both ``a`` and ``a/b``.
    """


class Absence(Enum):
    """Why a ``get`` returned no object."""

    ABSENT = "absent"
    UNCHANGED = "unchanged"


ABSENT: Final = Absence.ABSENT
"""There is no such object, or no such version of it, or its newest version is a delete marker."""
UNCHANGED: Final = Absence.UNCHANGED
"""The object still has the ETag that was given as ``if_none_match``."""
NULL_VERSION: Final = "null"
"""The version that S3 lists for an object without one."""


@dataclass(frozen=True, slots=True)
class Object:
    """An object, as ``get`` returns it.

    Attributes:
        body: Its bytes.
        version: The version read; ``None`` in a bucket without versions.
        etag: Its ETag as the store sent it. Pass it back unchanged.
        modified: The store's time stamp, in seconds since 1970 (UTC), if it sent one.
        partial: Whether a ``byte_range`` was read: ``body`` is that part, and the rest is about the whole object.
    """

    body: bytes
    version: str | None
    etag: str | None
    modified: float | None = None
    partial: bool = False


@dataclass(frozen=True, slots=True)
class Head:
    """The metadata of an object, without its body.

    Attributes:
        metadata: The ``metadata`` of the ``put`` that wrote it, and other metadata that the store has.
        size: In bytes.
        modified: The store's time stamp, in seconds since 1970 (UTC), if it sent one.
    """

    metadata: Mapping[str, str]
    size: int
    modified: float | None = None


@dataclass(frozen=True, slots=True)
class Stored:
    """The result of a ``put``.

    Attributes:
        version: The new version; ``None`` in a bucket without versions (also while versioning is suspended).
        etag: Its ETag as the store sent it, if it sent one.
        modified: The store's time stamp, in seconds since 1970 (UTC), or the time of its answer, if it sent one.
    """

    version: str | None
    etag: str | None
    modified: float | None = None


@dataclass(frozen=True, slots=True)
class Version:
    """One version of an object, as listed.

    Attributes:
        version: Its version.
        modified: The store's time stamp, in seconds since 1970 (UTC). Its resolution may be a second.
        etag: Its ETag, ``None`` for a delete marker.
        size: In bytes.
        deleted: Whether it is a delete marker.
    """

    version: str
    modified: float
    etag: str | None
    size: int
    deleted: bool


@dataclass(frozen=True, slots=True)
class VersionPage:
    """Some versions of one object, newest first.

    Attributes:
        versions: In the order of the store, which their time stamps may contradict.
        next: The ``start`` of the next page; ``None`` on the last page.
        answered: The time of the answer, in seconds since 1970 (UTC), if the store sends it. It is of the same clock
            as the stamps, and never much earlier than the newest stamp in the page.
    """

    versions: tuple[Version, ...]
    next: str | None
    answered: float | None = None


@dataclass(frozen=True, slots=True)
class ListedVersion:
    """One version of an object, as listed by ``scan``.

    Attributes:
        key: The object's key.
        version: Its version; ``"null"`` if it has none.
        modified: The store's time stamp, in seconds since 1970 (UTC).
        size: In bytes.
        deleted: Whether it is a delete marker.
    """

    key: str
    version: str
    modified: float
    size: int
    deleted: bool


@dataclass(frozen=True, slots=True)
class Scan:
    """Some versions of many objects.

    Attributes:
        found: The versions, in no defined order.
        next: The ``start`` of the next page; ``None`` on the last page.
    """

    found: tuple[ListedVersion, ...]
    next: str | None


@dataclass(frozen=True, slots=True)
class ListedObject:
    """One current object, as listed by ``list``.

    Attributes:
        key: Its key.
        modified: The store's time stamp, in seconds since 1970 (UTC).
        size: In bytes.
    """

    key: str
    modified: float
    size: int


@dataclass(frozen=True, slots=True)
class Page:
    """Some current objects of a bucket.

    Attributes:
        entries: The objects, in no defined order.
        next: The ``start`` of the next page; ``None`` on the last page.
    """

    entries: tuple[ListedObject, ...]
    next: str | None


Versioning = Literal["enabled", "suspended", "off"]


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a bucket supports.

    Attributes:
        versioning: Whether every ``put`` creates a version and keeps the old ones.
        versionable: Whether versioning could be enabled, as far as that is known. Errors advise it only then.
        exclusive: Whether the store is known to let only one of several clients create an object (``if_none_match``),
            if it lets any. Where that is not known, clients try it.
    """

    versioning: Versioning
    versionable: bool = True
    exclusive: bool = False


@runtime_checkable
class TellsTime(Protocol):
    """A storage that knows the store's time, not only the stamps in its answers. This is optional."""

    def clock(self) -> float | None:
        """Return a lower bound of the store's time, in seconds since 1970 (UTC), without a request.

        It is of the same clock as the stamps. ``None`` means that nothing is known yet.
        """
        ...


class Storage(Protocol):
    """A store of objects in buckets. All other methods are called between `open` and `aclose`.

    Calls run concurrently, and each may be cancelled at any time.
    """

    async def open(self) -> None:
        """Acquire resources. Each client calls it once, before any other method."""

    async def aclose(self) -> None:
        """Release resources when the last client calls it. It is safe without `open`."""

    async def capabilities(self, bucket: str) -> Capabilities:
        """Return what ``bucket`` supports.

        Raises:
            ConfigurationError: There is no such bucket.
            AccessError: The permission to ask is missing.
        """
        ...

    async def get(
        self,
        bucket: str,
        key: str,
        *,
        version: str | None = None,
        if_none_match: str | None = None,
        limit: int | None = None,
        byte_range: tuple[int, int] | None = None,
    ) -> Object | Absence:
        """Read an object.

        Args:
            bucket: The bucket.
            key: The key, taken literally.
            version: Which version; the newest if ``None``.
            if_none_match: An ETag of an earlier answer. If the object still has it, the result is `UNCHANGED`.
            limit: The most bytes to return. A larger object, or part of one, is refused before its body is read.
            byte_range: Read only a part: the position of its first byte, and that after its last. The first is less
                than the second. Bytes after the end of the object are missing from the result, so the body is empty
                where the object is not longer than the first position.

        Raises:
            CorruptionError: It is larger than ``limit``.
            ConfigurationError: ``byte_range`` is not a range.
        """
        ...

    async def put(
        self,
        bucket: str,
        key: str,
        body: bytes,
        *,
        sha256: bytes | None = None,
        if_none_match: bool = False,
        metadata: Mapping[str, str] | None = None,
    ) -> Stored:
        """Write an object atomically and durably.

        An implementation repeats a request only after a failure that certainly had no effect.

        Args:
            bucket: The bucket.
            key: The key, taken literally.
            body: Its bytes.
            sha256: The SHA-256 digest of ``body``, for the store to verify if it can.
            if_none_match: Only create the object: it must not exist.
            metadata: Metadata that ``head`` returns: lower-case names, printable ASCII without a space at either end,
                2,000 bytes in all.

        Raises:
            ConflictError: The condition did not hold; nothing was written.
            KeyRefusedError: The store cannot hold an object with this key.
            UnavailableError: It is unknown whether the object was written. An incomplete answer, or one that is not the
                store's, raises it too.
        """
        ...

    async def head(self, bucket: str, key: str, *, version: str | None = None) -> Head | Absence:
        """Return the metadata of an object, without its body; of its newest version if ``version`` is ``None``."""
        ...

    async def delete(self, bucket: str, key: str, *, version: str | None = None) -> None:
        """Delete one version permanently; without ``version``, the object (with versioning, by a delete marker).

        Deleting an absent object or version succeeds.
        """

    async def versions(
        self, bucket: str, key: str, *, start: str | None = None, limit: int | None = None
    ) -> VersionPage:
        """List the versions of exactly this key, newest first, delete markers included.

        In a bucket without versions, a store that has no listing of versions raises ``ConfigurationError``.

        Args:
            bucket: The bucket.
            key: The key, taken literally, not as a prefix.
            start: ``next`` of the previous page.
            limit: The approximate maximum of versions in a page. A page may have fewer even if more follow.
        """
        ...

    async def list(self, bucket: str, prefix: str = "", *, start: str | None = None, limit: int | None = None) -> Page:
        """List current objects whose keys start with ``prefix``.

        Args:
            bucket: The bucket.
            prefix: The prefix.
            start: ``next`` of the previous page.
            limit: The approximate maximum of objects in a page. A page may have fewer even if more follow.
        """
        ...

    async def scan(self, bucket: str, prefix: str = "", *, start: str | None = None) -> Scan:
        """List all versions of all objects whose keys start with ``prefix``, delete markers included.

        ``start`` is ``next`` of the previous page. A caller may delete listed versions between pages, except for the
        last version of the previous page.
        """
        ...
