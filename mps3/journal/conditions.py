"""Whether a store enforces conditions: some take the header and ignore it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine
from typing import Any, Final, TypeVar

from ..errors import ConfigurationError, ConflictError, MPS3Error
from ..storage import Storage, Stored
from ..world import World

SUFFIX: Final = ".probe/"
PATIENCE: Final = 5.0
"""Seconds that an interrupted trial has to clean up."""

T = TypeVar("T")

_NOBODYS: Final = '"00000000000000000000000000000000"'


async def lacking_conditions(storage: Storage, bucket: str, manifest: str, world: World) -> str | None:
    """Try conditions on an object of one's own, and remove it again.

    Args:
        storage: The store.
        bucket: The bucket.
        manifest: The manifest's key; the object is made beside it.
        world: Names the object.

    Returns:
        What the store does not do; ``None`` when it enforces conditions.

    Raises:
        AccessError: It may not be tried.
        UnavailableError: The store does not answer.
    """
    return await to_the_end(_try(storage, bucket, f"{manifest}{SUFFIX}{world.name()}"))


async def to_the_end(trial: Coroutine[Any, Any, T]) -> T:
    """Let a trial remove what it made, also when nobody waits for it any more."""
    task = asyncio.ensure_future(trial)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task], timeout=PATIENCE)
        task.cancel()
        raise


async def _try(storage: Storage, bucket: str, key: str) -> str | None:
    made: list[Stored] = []
    try:
        return await _lacking(storage, bucket, key, made)
    finally:
        await _remove(storage, bucket, key, made)


async def _lacking(storage: Storage, bucket: str, key: str, made: list[Stored]) -> str | None:
    try:
        first = await storage.put(bucket, key, b"1", if_none_match=True)
    except (ConfigurationError, ConflictError) as error:
        return f"it refuses a PUT with If-None-Match ({error})"
    made.append(first)
    if await _accepted(storage, bucket, key, made, if_none_match=True):
        return "it ignores If-None-Match: a second create of the same object was not refused"
    if await _accepted(storage, bucket, key, made, if_match=_NOBODYS):
        return "it ignores If-Match: an object that had changed was overwritten"
    if first.etag is None or not await _accepted(storage, bucket, key, made, if_match=first.etag):
        return "it refuses If-Match although the object has not changed"
    return None


async def _accepted(
    storage: Storage,
    bucket: str,
    key: str,
    made: list[Stored],
    *,
    if_match: str | None = None,
    if_none_match: bool = False,
) -> bool:
    try:
        made.append(await storage.put(bucket, key, b"2", if_match=if_match, if_none_match=if_none_match))
    except (ConflictError, ConfigurationError):
        return False
    return True


async def _remove(storage: Storage, bucket: str, key: str, made: list[Stored]) -> None:
    with contextlib.suppress(MPS3Error):
        for stored in made:
            if stored.version is not None:
                await storage.delete(bucket, key, version=stored.version)
        if any(stored.version is None for stored in made):
            await storage.delete(bucket, key)


async def require_conditions(storage: Storage, bucket: str, manifest: str, world: World) -> None:
    """Refuse a store that does not enforce conditions.

    Raises:
        ConfigurationError: It does not.
    """
    lacking = await lacking_conditions(storage, bucket, manifest, world)
    if lacking is not None:
        raise ConfigurationError(
            f"commits to s3://{bucket}/{manifest} need conditional writes, and the store does not enforce them: "
            f"{lacking}. Use a bucket with versioning enabled, or another store",
            bucket=bucket,
            key=manifest,
            operation="PutObject",
        )
