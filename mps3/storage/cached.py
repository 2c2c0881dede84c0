"""A storage wrapper with a cache of objects that never change: versions, and objects named after their content."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from .bypass import BYPASS
from .byte_ranges import check_byte_range, part_of
from .protocol import NULL_VERSION, Absence, Object, Storage, Stored
from .wrapper import StorageWrapper

_NEVER_CHANGES: Final = re.compile(r"(\.runs/[0-9a-f]{64}(@[0-9a-f]{32})?|@mps3-[0-9a-f]{32})\Z")


class ObjectCache(Protocol):
    """A cache of objects that never change. Its methods do not raise: a failed read is a miss."""

    async def get(self, bucket: str, key: str, version: str) -> bytes | None:
        """Return the bytes of an object; ``None`` if the cache does not have it.

        The version is ``""`` for an object that is never overwritten, and ``"START-END"`` for a part of one.
        """
        ...

    def add(self, bucket: str, key: str, version: str, body: bytes) -> None:
        """Add an object, now or in the background."""
        ...


@dataclass(frozen=True, slots=True)
class CachedObject(Object):
    """An object from the cache. The store may no longer have it."""


def add_to_cache(
    storage: Storage,
    bucket: str,
    key: str,
    version: str | None,
    found: Object,
    *,
    byte_range: tuple[int, int] | None = None,
) -> None:
    """Add an object to the cache of a storage, if it has one.

    The arguments are those of the `get` that returned it. The caller has verified it, because later processes trust
    the cache.
    """
    if isinstance(storage, CachedStorage):
        storage.add_to_cache(bucket, key, version, found, byte_range=byte_range)


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

    def _cached_as(self, bucket: str, key: str, version: str | None, byte_range: tuple[int, int] | None) -> str | None:
        """Return the version of an object, or of a part of it, in the cache; ``None`` if it is not cached."""
        if version is None:
            return _of_part(byte_range) if _NEVER_CHANGES.search(key) else None
        # A version and a part would need a name for both, and nobody reads parts of versions.
        cacheable = byte_range is None and version != NULL_VERSION and not self._is_manifest(bucket, key)
        return version if cacheable else None

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
        """As `mps3.storage.Storage.get`. A whole object in the cache serves its parts too."""
        if if_none_match is None and not BYPASS.get():
            check_byte_range(byte_range, bucket, key)
            body = await self._find(bucket, key, version, byte_range)
            if body is not None and (limit is None or len(body) <= limit):
                return CachedObject(body, version, None, partial=byte_range is not None)
        return await super().get(
            bucket, key, version=version, if_none_match=if_none_match, limit=limit, byte_range=byte_range
        )

    async def _find(
        self, bucket: str, key: str, version: str | None, byte_range: tuple[int, int] | None
    ) -> bytes | None:
        name = self._cached_as(bucket, key, version, byte_range)
        body = None if name is None else await self._cache.get(bucket, key, name)
        if body is not None or byte_range is None:
            return body
        whole = self._cached_as(bucket, key, version, None)
        body = None if whole is None else await self._cache.get(bucket, key, whole)
        return None if body is None else part_of(body, byte_range)

    async def find(self, bucket: str, key: str, byte_range: tuple[int, int]) -> CachedObject | None:
        """Return a part of an object that never changes; ``None`` if the cache does not have it."""
        body = None if BYPASS.get() else await self._find(bucket, key, None, byte_range)
        return None if body is None else CachedObject(body, None, None, partial=True)

    def add_to_cache(
        self,
        bucket: str,
        key: str,
        version: str | None,
        found: Object,
        *,
        byte_range: tuple[int, int] | None = None,
    ) -> None:
        """Add a verified object, as the function `add_to_cache`."""
        name = self._cached_as(bucket, key, version, byte_range)
        # What was read with a range is added as a part, or not at all.
        if not isinstance(found, CachedObject) and name is not None and found.partial == (byte_range is not None):
            self._cache.add(bucket, key, name, found.body)

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
        elif stored.version is not None:
            name = self._cached_as(bucket, key, stored.version, None)
            if name is not None:
                self._cache.add(bucket, key, name, body)
        return stored


def _of_part(byte_range: tuple[int, int] | None) -> str:
    return "" if byte_range is None else "{}-{}".format(*byte_range)
