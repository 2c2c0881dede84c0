"""A storage wrapper that tracks the store's clock."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from .clock import StoreClock
from .protocol import Absence, Object, Storage, Stored, VersionPage
from .wrapper import StorageWrapper


class ClockedStorage(StorageWrapper):
    """A storage that estimates the store's clock from its answers.

    Args:
        storage: The store.
        monotonic: This machine's monotonic clock, in seconds.

    Attributes:
        time: The estimate.
    """

    def __init__(self, storage: Storage, monotonic: Callable[[], float]) -> None:
        super().__init__(storage)
        self.time = StoreClock(monotonic, self.clock)

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
        found = await super().get(bucket, key, version=version, if_none_match=if_none_match, limit=limit)
        if isinstance(found, Object):
            self.time.hear(found.modified)
        return found

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
        stored = await super().put(
            bucket, key, body, sha256=sha256, if_match=if_match, if_none_match=if_none_match, metadata=metadata
        )
        self.time.hear(stored.modified)
        return stored

    async def versions(
        self, bucket: str, key: str, *, start: str | None = None, limit: int | None = None
    ) -> VersionPage:
        """As `mps3.storage.Storage.versions`."""
        page = await super().versions(bucket, key, start=start, limit=limit)
        self.time.hear(page.answered)
        self.time.hear(max((version.modified for version in page.versions), default=None))
        return page
