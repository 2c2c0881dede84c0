"""A storage that remembers what never changes: versions of values, and runs, which are named by their content."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from ..storage import Absence, Object, Storage, Stored
from . import Cache
from .through import Through

_NEVER_CHANGES: Final = re.compile(r"(\.runs/[0-9a-f]{64}(@[0-9a-f]{32})?|@mps3-[0-9a-f]{32})\Z")


@dataclass(frozen=True, slots=True)
class Recalled(Object):
    """An object from the cache: that it is here says nothing of the store."""


class CachedStorage(Through):
    """A storage with a cache before it.

    Args:
        storage: The store.
        cache: The cache.
        passing: Whether an object is not worth to be kept: a manifest, whose versions are read once.
    """

    def __init__(self, storage: Storage, cache: Cache, passing: Callable[[str, str], bool]) -> None:
        super().__init__(storage)
        self._cache = cache
        self._passing = passing

    def _kept(self, bucket: str, key: str, version: str | None) -> bool:
        if version is None:
            return _NEVER_CHANGES.search(key) is not None
        return version != "null" and not self._passing(bucket, key)

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
        kept = if_none_match is None and self._kept(bucket, key, version)
        if kept:
            body = await self._cache.get(bucket, key, version or "")
            if body is not None and (limit is None or len(body) <= limit):
                return Recalled(body, version, None)
        found = await super().get(bucket, key, version=version, if_none_match=if_none_match, limit=limit)
        if kept and isinstance(found, Object):
            self._cache.add(bucket, key, version or "", found.body)
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
        if _NEVER_CHANGES.search(key):
            self._cache.add(bucket, key, "", body)
        elif stored.version is not None and self._kept(bucket, key, stored.version):
            self._cache.add(bucket, key, stored.version, body)
        return stored
