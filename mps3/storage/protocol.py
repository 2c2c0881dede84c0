"""A bucket, as the rest of the library sees it: a few calls and a statement of what it can do.

Implement `Storage` to keep data somewhere else. A storage raises only errors of
`mps3.errors`, with the bucket, the key, the operation and the cause in them:
``ConfigurationError`` for a bucket that does not exist, ``AccessError`` for a refusal,
``UnavailableError`` for whatever may work later. The error of a ``put`` or a ``delete`` says in
`mps3.MPS3Error.maybe_written` whether it may have taken effect.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final, Literal, Protocol, runtime_checkable


class Absence(Enum):
    """Why a ``get`` returned no object."""

    ABSENT = "absent"
    UNCHANGED = "unchanged"


ABSENT: Final = Absence.ABSENT
"""There is no such object, or no such version of it, or its newest version is a delete marker."""
UNCHANGED: Final = Absence.UNCHANGED
"""The object still has the ETag that was given as ``if_none_match``."""


@dataclass(frozen=True, slots=True)
class Object:
    """An object as read.

    Attributes:
        body: Its bytes.
        version: The version read; ``None`` in a bucket without versions.
        etag: Its ETag as the store sent it, to be given back as it is.
        modified: The store's time stamp, in seconds since 1970 (UTC), if it sent one.
    """

    body: bytes
    version: str | None
    etag: str | None
    modified: float | None = None


@dataclass(frozen=True, slots=True)
class Head:
    """What is known of an object without reading it.

    Attributes:
        metadata: What was given to the ``put`` that wrote it, and whatever else is said of it.
        size: In bytes.
        modified: The store's time stamp, in seconds since 1970 (UTC), if it sent one.
    """

    metadata: Mapping[str, str]
    size: int
    modified: float | None = None


@dataclass(frozen=True, slots=True)
class Stored:
    """The answer to a ``put``.

    Attributes:
        version: The new version; ``None`` in a bucket without versions (also while versioning is suspended).
        etag: Its ETag as the store sent it, if it sent one.
        modified: The store's time stamp, in seconds since 1970 (UTC), or its clock when it answered, if it
            sent one.
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
        versions: In the store's own order, whatever the time stamps say.
        next: Where the next page starts; ``None`` when this is the last one.
        answered: The store's clock when it answered, in seconds since 1970 (UTC), if it tells. On the
            same clock as the stamps: never much earlier than the newest one listed.
    """

    versions: tuple[Version, ...]
    next: str | None
    answered: float | None = None


@dataclass(frozen=True, slots=True)
class ListedVersion:
    """One version of one of many objects, as listed by ``scan``.

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
        found: In no order that could be relied on.
        next: Where the next page starts; ``None`` when this is the last one.
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
        entries: In no order that could be relied on.
        next: Where the next page starts; ``None`` when this is the last one.
    """

    entries: tuple[ListedObject, ...]
    next: str | None


Versioning = Literal["enabled", "suspended", "off"]


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a bucket can do.

    Attributes:
        versioning: Whether every ``put`` makes a new version and the old ones stay.
        versionable: Whether versioning could be enabled, as far as that is known. It is what an error advises.
    """

    versioning: Versioning
    versionable: bool = True


@runtime_checkable
class TellsTime(Protocol):
    """A storage that knows more of the store's time than the stamps in its answers. No storage has to."""

    def clock(self) -> float | None:
        """What time it is at the store, in seconds since 1970 (UTC), as far as that is known without a request.

        On the same clock as the stamps. It may be late, and is never early; ``None``: nothing is known yet.
        """
        ...


class Storage(Protocol):
    """Objects in buckets. All methods but `open` and `aclose` are called between the two.

    Every call may be cancelled at any time, and many are under way at once.
    """

    async def open(self) -> None:
        """Acquire what is needed. Each client that uses it calls this once, before anything else."""

    async def aclose(self) -> None:
        """Release what `open` acquired; everything, when the last client does. Safe without `open`."""

    async def capabilities(self, bucket: str) -> Capabilities:
        """What ``bucket`` can do.

        Raises:
            ConfigurationError: There is no such bucket.
            AccessError: It may not be asked.
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
    ) -> Object | Absence:
        """Read an object.

        Args:
            bucket: The bucket.
            key: The key, literally.
            version: Which version; the newest if ``None``.
            if_none_match: An ETag as a former answer gave it: `UNCHANGED` if the object still has it.
            limit: Refuse an object of more bytes than this, before reading them.

        Raises:
            CorruptionError: It is larger than ``limit``.
        """
        ...

    async def put(
        self,
        bucket: str,
        key: str,
        body: bytes,
        *,
        sha256: bytes | None = None,
        if_match: str | None = None,
        if_none_match: bool = False,
        metadata: Mapping[str, str] | None = None,
    ) -> Stored:
        """Write an object, whole or not at all, durably.

        It is repeated inside only after failures that certainly had no effect.

        Args:
            bucket: The bucket.
            key: The key, literally.
            body: Its bytes.
            sha256: The SHA-256 digest of ``body``, for the store to verify if it can.
            if_match: Only replace the object that has this ETag.
            if_none_match: Only create: there must be no such object.
            metadata: What ``head`` is to tell of it: lower-case names, printable ASCII without a space at
                either end, 2,000 bytes in all.

        Raises:
            ConflictError: The condition did not hold; nothing was written.
            UnavailableError: Not known to be written: also when the answer is not that of the store in full.
        """
        ...

    async def head(self, bucket: str, key: str, *, version: str | None = None) -> Head | Absence:
        """What is known of an object, without its bytes.

        Args:
            bucket: The bucket.
            key: The key, literally.
            version: Which version; the newest if ``None``.
        """
        ...

    async def delete(self, bucket: str, key: str, *, version: str | None = None) -> None:
        """Delete one version for good; without ``version``, the object (a delete marker, where there are versions).

        What does not exist is deleted already.
        """

    async def versions(
        self, bucket: str, key: str, *, start: str | None = None, limit: int | None = None
    ) -> VersionPage:
        """List the versions of exactly this key, newest first, delete markers included.

        Args:
            bucket: The bucket.
            key: The key, literally; not a prefix.
            start: ``next`` of the page before.
            limit: At most about this many; a page may hold fewer though more follow.
        """
        ...

    async def list(self, bucket: str, prefix: str = "", *, start: str | None = None) -> Page:
        """List current objects whose keys start with ``prefix``.

        Args:
            bucket: The bucket.
            prefix: What the keys start with.
            start: ``next`` of the page before.
        """
        ...

    async def scan(self, bucket: str, prefix: str = "", *, start: str | None = None) -> Scan:
        """List all versions of all objects whose keys start with ``prefix``, delete markers included.

        It goes on in the right place though some of what it listed be deleted meanwhile, except for the last
        of the page that it goes on from.

        Args:
            bucket: The bucket.
            prefix: What the keys start with.
            start: ``next`` of the page before.
        """
        ...
