"""A storage wrapper with a cache of objects that never change: versions, and objects named after their content."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from .bypass import BYPASS
from .protocol import NULL_VERSION, Absence, Object, Storage, Stored
from .wrapper import StorageWrapper

_NEVER_CHANGES: Final = re.compile(r"(\.runs/[0-9a-f]{64}(@[0-9a-f]{32})?|@mps3-[0-9a-f]{32})\Z")


class ObjectCache(Protocol):
    """A cache of objects that never change. Its methods do not raise: a failed read is a miss."""

    async def get(self, bucket: str, key: str, version: str) -> bytes | None:
        """Return the bytes of an object; ``None`` if the cache does not have it.

        The version is ``""`` for an object that is never overwritten.
        """
        ...

    def add(self, bucket: str, key: str, version: str, body: bytes) -> None:
        """Add an object, now or in the background."""
        ...


@dataclass(frozen=True, slots=True)
class CachedObject(Object):
    """An object from the cache. The store may no longer have it."""


def add_to_cache(storage: Storage, bucket: str, key: str, version: str | None, found: Object) -> None:
    """Add an object to the cache of a storage, if it has one.

    The arguments are those of the `get` that returned it. The caller has verified it, because later processes trust
    the cache.
    """
    if isinstance(storage, CachedStorage):
        storage.add_to_cache(bucket, key, version, found)


class CachedStorage(StorageWrapper):
    """A storage with a cache in front of it.

    Args:
        storage: The store.
        cache: The cache.
        is_manifest: Whether a bucket and a key name a manifest. Manifests are not cached, because each of their
            versions is read once.
    """

    def __init__(self, storage: Storage, cache: ObjectCache, is_manifest: Callable[[str, str], bool]) -> None:
        super().__init__(storage)
        self._cache = cache
        self._is_manifest = is_manifest

    def _is_cacheable(self, bucket: str, key: str, version: str | None) -> bool:
        if version is None:
            return _NEVER_CHANGES.search(key) is not None
        return version != NULL_VERSION and not self._is_manifest(bucket, key)

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
        if if_none_match is None and not BYPASS.get() and self._is_cacheable(bucket, key, version):
            body = await self._cache.get(bucket, key, version or "")
            if body is not None and (limit is None or len(body) <= limit):
                return CachedObject(body, version, None)
        return await super().get(bucket, key, version=version, if_none_match=if_none_match, limit=limit)

    def add_to_cache(self, bucket: str, key: str, version: str | None, found: Object) -> None:
        """Add a verified object, as the function `add_to_cache`."""
        if not isinstance(found, CachedObject) and self._is_cacheable(bucket, key, version):
            self._cache.add(bucket, key, version or "", found.body)

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
        stored = await super().put(bucket, key, body, sha256=sha256, if_none_match=if_none_match, metadata=metadata)
        if _NEVER_CHANGES.search(key):
            self._cache.add(bucket, key, "", body)
        elif stored.version is not None and self._is_cacheable(bucket, key, stored.version):
            self._cache.add(bucket, key, stored.version, body)
        return stored
