"""Whether a store does what a journal needs: some ignore a header, and some leave versions out of a listing."""

from __future__ import annotations

import asyncio
import contextlib
from functools import partial
from typing import Final

import orjson

from ..errors import ConfigurationError, ConflictError, MPS3Error
from ..format.names import SUFFIX as RUNS
from ..storage.protocol import Object, Storage, Stored
from ..support.environment import Environment
from .trials import SUFFIX, put_at_pace, remove, to_the_end

NEIGHBOURS: Final = 2
"""How many objects with longer keys lie beside the one whose versions are listed, and how many versions that has."""
VISIBLE: Final = 3.0
"""Seconds that a version may take to be listed: the window of new manifests."""
PAUSE: Final = 0.2

# As long as a small manifest, and as easy to compress: a proxy that compresses does not compress what is short.
_BODIES: Final = tuple(orjson.dumps({"probe": number, "filling": "mps3 " * 800}) for number in range(2))


async def lacking_creation(storage: Storage, bucket: str, manifest: str, environment: Environment) -> str | None:
    """Try create-if-absent on an object of its own, and remove that again.

    Args:
        storage: The store.
        bucket: The bucket.
        manifest: The manifest's key; the object is made beside it.
        environment: Names the object.

    Returns:
        What the store does not do; ``None`` when it enforces create-if-absent.

    Raises:
        AccessError: It may not be tried.
        UnavailableError: The store does not answer.
    """
    return await to_the_end(_try(storage, bucket, f"{manifest}{SUFFIX}{environment.name()}"))


async def _try(storage: Storage, bucket: str, key: str) -> str | None:
    made: list[Stored] = []
    try:
        lacking = await _lacking(storage, bucket, key, made)
    except BaseException as error:
        if made or not isinstance(error, MPS3Error) or error.maybe_written:
            await remove(storage, bucket, key)  # a PUT that was not answered may have made another version
        raise
    await _remove(storage, bucket, key, made)
    return lacking


async def _lacking(storage: Storage, bucket: str, key: str, made: list[Stored]) -> str | None:
    try:
        first = await storage.put(bucket, key, _BODIES[0], if_none_match=True)
    except (ConfigurationError, ConflictError) as error:
        return f"it refuses a PUT with If-None-Match ({error})"
    made.append(first)
    try:
        made.append(await put_at_pace(lambda: storage.put(bucket, key, _BODIES[1], if_none_match=True)))
    except (ConflictError, ConfigurationError):
        pass
    else:
        return "it ignores If-None-Match: a second create of the same object was not refused"
    found = await storage.get(bucket, key)
    if not isinstance(found, Object):
        return "it does not show an object that was just written"
    if found.body != _BODIES[0]:
        return "it does not give back the bytes of an object that was just written"
    return None


async def _remove(storage: Storage, bucket: str, key: str, made: list[Stored]) -> None:
    with contextlib.suppress(MPS3Error):
        for stored in made:
            if stored.version is not None:
                await storage.delete(bucket, key, version=stored.version)
        if any(stored.version is None for stored in made):
            await remove(storage, bucket, key)


async def lacking_listing(storage: Storage, bucket: str, manifest: str, environment: Environment) -> str | None:
    """Try whether the versions of a key are listed although there are keys that begin with it, as those of runs do.

    Args:
        storage: The store.
        bucket: The bucket, which has versions.
        manifest: The manifest's key; the objects are made beside it, and removed again.
        environment: Names the objects, and waits.

    Returns:
        What the store does not do; ``None`` when it lists the versions of exactly this key.

    Raises:
        AccessError: It may not be tried.
        UnavailableError: The store does not answer.
    """
    return await to_the_end(_try_listing(storage, bucket, f"{manifest}{SUFFIX}{environment.name()}", environment))


async def _try_listing(storage: Storage, bucket: str, key: str, environment: Environment) -> str | None:
    neighbours = [f"{key}{RUNS}{number}" for number in range(NEIGHBOURS)]
    made: dict[str, list[Stored]] = {one: [] for one in (*neighbours, key)}
    try:
        for one in (*neighbours, *[key] * NEIGHBOURS):
            made[one].append(await put_at_pace(partial(storage.put, bucket, one, b"{}")))
        lacking = await _unlisted(storage, bucket, key, [stored.version for stored in made[key]], environment)
    except BaseException as error:
        if any(made.values()) or not isinstance(error, MPS3Error) or error.maybe_written:
            for one in made:
                await remove(storage, bucket, one)
        raise
    for one, stored in made.items():
        await _remove(storage, bucket, one, stored)
    return lacking


async def _unlisted(
    storage: Storage, bucket: str, key: str, versions: list[str | None], environment: Environment
) -> str | None:
    deadline = environment.monotonic() + VISIBLE
    while True:
        page = await storage.versions(bucket, key, limit=NEIGHBOURS)
        if {*versions} <= {None, *(one.version for one in page.versions)}:
            return None  # where a PUT makes no version, the journal itself says so
        if environment.monotonic() > deadline:
            return f"it lists {len(page.versions)} of {NEIGHBOURS} new versions of a key with which other keys begin"
        await asyncio.sleep(PAUSE)


async def require_creation(storage: Storage, bucket: str, manifest: str, environment: Environment) -> None:
    """Refuse a store that does not enforce create-if-absent.

    Raises:
        ConfigurationError: It does not.
    """
    lacking = await lacking_creation(storage, bucket, manifest, environment)
    if lacking is not None:
        raise ConfigurationError(
            f"commits to s3://{bucket}/{manifest} need create-if-absent (If-None-Match), and the store does not "
            f'enforce it: {lacking}. Use another store, or journal="merge" and a bucket with versioning enabled',
            bucket=bucket,
            key=manifest,
            operation="PutObject",
        )
