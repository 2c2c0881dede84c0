"""The base class of the storages that wrap another storage and add to it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TypeVar

from .identity import identity_of
from .protocol import Absence, Capabilities, Head, Object, Page, Scan, Storage, Stored, TellsTime, VersionPage

T = TypeVar("T")


class StorageWrapper:
    """A storage that forwards every call to another storage.

    Args:
        storage: The other storage.
    """

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._time_source: TellsTime | None = storage if isinstance(storage, TellsTime) else None
        if isinstance(storage, StorageWrapper) and type(storage).clock is StorageWrapper.clock:
            self._time_source = storage._time_source  # noqa: SLF001 - asked several times in each commit

    async def _ask(
        self,
        operation: str,  # noqa: ARG002 - only subclasses need it
        bucket: str,  # noqa: ARG002
        key: str | None,  # noqa: ARG002
        request: Callable[[], Awaitable[T]],
        *,
        sent: int = 0,  # noqa: ARG002
    ) -> T:
        """Forward a request. A subclass overrides this to act before and after each request.

        The operation is named as on S3. The key is the prefix for a listing, and ``None`` for the bucket itself.
        ``sent`` is the number of bytes of the object that is sent.
        """
        return await request()

    def clock(self) -> float | None:
        """As `mps3.storage.TellsTime.clock`."""
        return None if self._time_source is None else self._time_source.clock()

    def identity(self) -> str:
        """As `mps3.storage.identity.Identified.identity`."""
        return identity_of(self._storage)

    async def open(self) -> None:
        """As `mps3.storage.Storage.open`."""
        await self._storage.open()

    async def aclose(self) -> None:
        """As `mps3.storage.Storage.aclose`."""
        await self._storage.aclose()

    async def capabilities(self, bucket: str) -> Capabilities:
        """As `mps3.storage.Storage.capabilities`."""
        return await self._ask("GetBucketVersioning", bucket, None, lambda: self._storage.capabilities(bucket))

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
        """As `mps3.storage.Storage.get`."""
        return await self._ask(
            "GetObject",
            bucket,
            key,
            lambda: self._storage.get(
                bucket, key, version=version, if_none_match=if_none_match, limit=limit, byte_range=byte_range
            ),
        )

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
        """As `mps3.storage.Storage.put`."""
        return await self._ask(
            "PutObject",
            bucket,
            key,
            lambda: self._storage.put(bucket, key, body, sha256=sha256, if_none_match=if_none_match, metadata=metadata),
            sent=len(body),
        )

    async def head(self, bucket: str, key: str, *, version: str | None = None) -> Head | Absence:
        """As `mps3.storage.Storage.head`."""
        return await self._ask("HeadObject", bucket, key, lambda: self._storage.head(bucket, key, version=version))

    async def delete(self, bucket: str, key: str, *, version: str | None = None) -> None:
        """As `mps3.storage.Storage.delete`."""
        await self._ask("DeleteObject", bucket, key, lambda: self._storage.delete(bucket, key, version=version))

    async def versions(
        self, bucket: str, key: str, *, start: str | None = None, limit: int | None = None
    ) -> VersionPage:
        """As `mps3.storage.Storage.versions`."""
        return await self._ask(
            "ListObjectVersions", bucket, key, lambda: self._storage.versions(bucket, key, start=start, limit=limit)
        )

    async def scan(self, bucket: str, prefix: str = "", *, start: str | None = None) -> Scan:
        """As `mps3.storage.Storage.scan`."""
        return await self._ask(
            "ListObjectVersions", bucket, prefix, lambda: self._storage.scan(bucket, prefix, start=start)
        )

    async def list(self, bucket: str, prefix: str = "", *, start: str | None = None, limit: int | None = None) -> Page:
        """As `mps3.storage.Storage.list`."""
        return await self._ask(
            "ListObjects", bucket, prefix, lambda: self._storage.list(bucket, prefix, start=start, limit=limit)
        )
