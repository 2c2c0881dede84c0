"""A storage before another storage, which takes all that is asked to it."""

from __future__ import annotations

from collections.abc import Mapping

from ..storage import Absence, Capabilities, Head, Object, Page, Scan, Storage, Stored, TellsTime, VersionPage


class Through:
    """Passes everything on.

    Args:
        storage: The other one.
    """

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._source = storage if isinstance(storage, TellsTime) else None

    async def _pass(self, operation: str, bucket: str, key: str | None = None) -> None:
        """Called before each request."""

    def clock(self) -> float | None:
        """As `mps3.storage.TellsTime.clock`."""
        return None if self._source is None else self._source.clock()

    async def open(self) -> None:
        """As `mps3.storage.Storage.open`."""
        await self._storage.open()

    async def aclose(self) -> None:
        """As `mps3.storage.Storage.aclose`."""
        await self._storage.aclose()

    async def capabilities(self, bucket: str) -> Capabilities:
        """As `mps3.storage.Storage.capabilities`."""
        await self._pass("GetBucketVersioning", bucket)
        return await self._storage.capabilities(bucket)

    async def get(
        self,
        bucket: str,
        key: str,
        *,
        version: str | None = None,
        if_none_match: str | None = None,
        limit: int | None = None,
    ) -> Object | Absence:
        """As `mps3.storage.Storage.get`."""
        await self._pass("GetObject", bucket, key)
        return await self._storage.get(bucket, key, version=version, if_none_match=if_none_match, limit=limit)

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
        """As `mps3.storage.Storage.put`."""
        await self._pass("PutObject", bucket, key)
        return await self._storage.put(
            bucket, key, body, sha256=sha256, if_match=if_match, if_none_match=if_none_match, metadata=metadata
        )

    async def head(self, bucket: str, key: str, *, version: str | None = None) -> Head | Absence:
        """As `mps3.storage.Storage.head`."""
        await self._pass("HeadObject", bucket, key)
        return await self._storage.head(bucket, key, version=version)

    async def delete(self, bucket: str, key: str, *, version: str | None = None) -> None:
        """As `mps3.storage.Storage.delete`."""
        await self._pass("DeleteObject", bucket, key)
        await self._storage.delete(bucket, key, version=version)

    async def versions(
        self, bucket: str, key: str, *, start: str | None = None, limit: int | None = None
    ) -> VersionPage:
        """As `mps3.storage.Storage.versions`."""
        await self._pass("ListObjectVersions", bucket, key)
        return await self._storage.versions(bucket, key, start=start, limit=limit)

    async def scan(self, bucket: str, prefix: str = "", *, start: str | None = None) -> Scan:
        """As `mps3.storage.Storage.scan`."""
        await self._pass("ListObjectVersions", bucket, prefix)
        return await self._storage.scan(bucket, prefix, start=start)

    async def list(self, bucket: str, prefix: str = "", *, start: str | None = None) -> Page:
        """As `mps3.storage.Storage.list`."""
        await self._pass("ListObjects", bucket, prefix)
        return await self._storage.list(bucket, prefix, start=start)
