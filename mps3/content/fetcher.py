"""Fetching values by version."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable, Mapping
from typing import Any, Final

from ..errors import ClosedError, CorruptionError, MPS3Error
from ..format import limits
from ..format.file_entry import FileEntry, inline_body
from ..format.patches import WAITING, patched_body, stored_version
from ..format.values import LONG, decode
from ..storage.cached import CachedObject, add_to_cache
from ..storage.protocol import Absence, Object, Storage
from ..storage.verification import read_verified
from .cache import ValueCache
from .tasks import TaskSet
from .value import LARGE, MINTED, sha256_of

CONCURRENCY: Final = 32
"""Values that are fetched at once."""


class MissingError(CorruptionError):
    """The store has no such version of a value. For a state of the past that may be expected."""


class ValueFetcher:
    """Fetches values, and verifies them.

    Args:
        storage: Where they are stored.
        cache: The values that are in memory.
        tasks: Where its requests run.
        checksums: Whether to verify SHA-256 checksums.
        contact: Told of each answer of the store (``None``).
    """

    def __init__(
        self,
        storage: Storage,
        cache: ValueCache,
        tasks: TaskSet,
        *,
        checksums: bool,
        contact: Callable[[MPS3Error | None], None],
    ) -> None:
        self._storage = storage
        self._cache = cache
        self._tasks = tasks
        self._checksums = checksums
        self._contact = contact
        self._gets = asyncio.Semaphore(CONCURRENCY)
        self._fetching: dict[Hashable, asyncio.Task[bytes]] = {}

    def cached(self, bucket: str, key: str, file: FileEntry) -> bytes | None:
        """Return the bytes of a value, if they are in memory, or inline."""
        return inline_body(file) or self._cache.get((bucket, key, file["version"]))

    async def fetch(self, bucket: str, key: str, file: FileEntry) -> bytes:
        """Return the bytes of a value, verified. Concurrent calls for one value share a request.

        An inline value needs none, and was verified with what it is in.

        Args:
            bucket: The bucket of the value.
            key: The key of the value.
            file: Its entry in the manifest.

        Raises:
            CorruptionError: The value is missing, or does not match the manifest.
            UnavailableError: The store does not answer.
        """
        body = self.cached(bucket, key, file)
        if body is not None:
            return body
        if WAITING in file:
            return await self._patched(bucket, key, file)
        version = stored_version(file)
        if (body := self._cache.get((bucket, key, version))) is not None:
            return body
        name = (bucket, key, version)
        task = self._fetching.get(name)
        if task is None:
            task = self._fetching[name] = self._tasks.spawn(self._fetch(bucket, key, file))
            task.add_done_callback(lambda _: self._fetching.pop(name, None))
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            waiting = asyncio.current_task()
            if task.cancelled() and waiting is not None and not waiting.cancelling():
                raise ClosedError("the client was closed") from None
            raise

    async def _patched(self, bucket: str, key: str, file: FileEntry) -> bytes:
        """Return the bytes of a value after the patches that wait in front of it.

        The version of the result names it: it depends on all versions before it.
        """
        stored = {name: file[name] for name in ("sha256", "size") if name in file}
        base = await self.fetch(bucket, key, {**stored, "version": stored_version(file)})

        def apply() -> bytes:
            return patched_body(file, decode(base, bucket, key, stored_version(file)))

        body = apply() if len(base) <= LONG else await asyncio.to_thread(apply)
        self._cache.add((bucket, key, file["version"]), body)
        return body

    async def _fetch(self, bucket: str, key: str, file: Mapping[str, Any]) -> bytes:
        version = stored_version(file)
        where = (f"{key}@{version}", None) if version.startswith(MINTED) else (key, version)
        size = file.get("size")
        most = limits.VALUE if size is None else min(size, limits.VALUE)

        async def ask() -> Object | Absence:
            async with self._gets:
                found = await self._storage.get(bucket, where[0], version=where[1], limit=most)
            if not isinstance(found, CachedObject):
                self._contact(None)
            return found

        async def check(found: Object | Absence) -> Object:
            if not isinstance(found, Object):
                raise _corrupt(bucket, key, version, "it is missing, though the manifest names it", MissingError)
            await self._check(bucket, key, file, found.body)
            return found

        found = await read_verified(ask, check)
        add_to_cache(self._storage, bucket, where[0], where[1], found)
        self._cache.add((bucket, key, version), found.body)
        return found.body

    async def _check(self, bucket: str, key: str, file: Mapping[str, Any], body: bytes) -> None:
        """Verify the size and the checksum of a value, as far as the manifest has them.

        Raises:
            CorruptionError: The value does not match.
        """
        version, size, sha256 = stored_version(file), file.get("size"), file.get("sha256")
        if size is not None and len(body) != size:
            raise _corrupt(bucket, key, version, f"it has {len(body)} bytes, the manifest says {size}")
        if not self._checksums or sha256 is None:
            if len(body) <= LARGE:
                decode(body, bucket, key, version)
            else:
                await asyncio.to_thread(decode, body, bucket, key, version)
        elif (await sha256_of(body)).hex() != sha256:
            raise _corrupt(bucket, key, version, "its SHA-256 is not the one that the manifest names")


def _corrupt(
    bucket: str, key: str, version: str, why: str, kind: type[CorruptionError] = CorruptionError
) -> CorruptionError:
    return kind(
        f"cannot read s3://{bucket}/{key} (version {version}): {why}",
        bucket=bucket,
        key=key,
        operation="GetObject",
        version=version,
    )
