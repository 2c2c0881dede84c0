"""The buckets of a collection: with versions or without, at a bounded rate, and with retries."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final, TypeVar

from ..errors import UnavailableError
from ..storage.pagination import PageProgress
from ..storage.protocol import ABSENT, NULL_VERSION, Absence, Head, ListedVersion, Scan, Storage, VersionPage
from ..support.environment import Environment

CONCURRENCY: Final = 32
TRIES: Final = 6
"""How often a request is sent to a store that does not answer."""

T = TypeVar("T")


class Buckets:
    """The buckets of a collection.

    Args:
        storage: The store.
        environment: The clock and randomness.
        rate: The most objects a second to look at and delete, one by one; ``None``: no limit.
    """

    def __init__(self, storage: Storage, environment: Environment, rate: float | None) -> None:
        self._storage = storage
        self._environment = environment
        self._rate = rate
        self._next_at = 0.0
        self._slots = asyncio.Semaphore(CONCURRENCY)
        self._versions: dict[str, bool] = {}

    async def versioned(self, bucket: str) -> bool:
        """Return whether there may be versions, so that deleting without one would leave a delete marker."""
        if bucket not in self._versions:
            found = await self._with_retries(lambda: self._storage.capabilities(bucket))
            self._versions[bucket] = found.versioning != "off"
        return self._versions[bucket]

    async def everything(self, bucket: str, prefix: str = "") -> AsyncIterator[list[ListedVersion]]:
        """Return all versions of all objects, page by page, without delete markers."""
        versioned, start = await self.versioned(bucket), None
        pages = PageProgress(bucket, prefix, "ListObjectVersions" if versioned else "ListObjectsV2")
        while True:
            page = await (self._scan if versioned else self._list)(bucket, prefix, start)
            yield [found for found in page.found if not found.deleted]
            start = pages.forward(page.next)
            if start is None:
                return

    async def older_versions(self, bucket: str, key: str, head: str | None) -> AsyncIterator[list[ListedVersion]]:
        """Return all versions of one object but the newest, page by page, without delete markers.

        Args:
            bucket: The object's bucket.
            key: Its key.
            head: The version or the ETag of one that is needed, and left out wherever a damaged listing has it.
        """
        newest, start = 1, None
        pages = PageProgress(bucket, key, "ListObjectVersions")
        while True:
            page = await self._page(bucket, key, start)
            yield [
                ListedVersion(key, version.version, version.modified, version.size, version.deleted)
                for version in page.versions[newest:]
                if not version.deleted and head not in (version.version, (version.etag or "").strip('"'))
            ]
            newest, start = (0 if page.versions else newest), pages.forward(page.next)
            if start is None:
                return

    async def head(self, bucket: str, found: ListedVersion) -> Head | Absence:
        """Return what the store says of a version that was listed."""
        version = await self._version_id(bucket, found)
        async with self._slots:
            await self._throttle()
            head = await self._with_retries(lambda: self._storage.head(bucket, found.key, version=version))
            if head is ABSENT and version == NULL_VERSION:
                # Some servers list a version that is called null, and do not find it. There is no other one of a value.
                head = await self._with_retries(lambda: self._storage.head(bucket, found.key))
            return head

    async def delete(self, bucket: str, found: ListedVersion) -> None:
        """Delete a version that was listed, permanently."""
        version = await self._version_id(bucket, found)
        async with self._slots:
            await self._throttle()
            await self._with_retries(lambda: self._storage.delete(bucket, found.key, version=version))

    async def _version_id(self, bucket: str, found: ListedVersion) -> str | None:
        return found.version if await self.versioned(bucket) else None

    async def _scan(self, bucket: str, prefix: str, start: str | None) -> Scan:
        return await self._with_retries(lambda: self._storage.scan(bucket, prefix, start=start))

    async def _list(self, bucket: str, prefix: str, start: str | None) -> Scan:
        page = await self._with_retries(lambda: self._storage.list(bucket, prefix, start=start))
        return Scan(
            tuple(ListedVersion(one.key, NULL_VERSION, one.modified, one.size, deleted=False) for one in page.entries),
            page.next,
        )

    async def _page(self, bucket: str, key: str, start: str | None) -> VersionPage:
        return await self._with_retries(lambda: self._storage.versions(bucket, key, start=start))

    async def _throttle(self) -> None:
        if self._rate is not None:
            now = self._environment.monotonic()
            self._next_at = max(now, self._next_at + 1 / self._rate)
            await asyncio.sleep(self._next_at - now)

    async def _with_retries(self, call: Callable[[], Awaitable[T]]) -> T:
        attempt = 1
        while True:
            try:
                return await call()
            except UnavailableError:
                if attempt == TRIES:
                    raise
            await asyncio.sleep(self._environment.backoff(attempt))
            attempt += 1
