"""Whether a store enforces conditions: some take the header and ignore it."""

from __future__ import annotations

import contextlib
from typing import Final

import orjson

from ..errors import ConfigurationError, ConflictError, MPS3Error
from ..storage.etags import bare, strong
from ..storage.protocol import Object, Storage, Stored
from ..support.environment import Environment
from .trials import SUFFIX, remove, to_the_end

__all__ = ["SUFFIX", "lacking_conditions", "require_conditions", "to_the_end"]

_NOBODYS: Final = '"00000000000000000000000000000000"'
# As long as a small manifest, and as easy to compress: a proxy that compresses does not compress what is short.
_BODIES: Final = tuple(orjson.dumps({"probe": number, "filling": "mps3 " * 800}) for number in range(2))


async def lacking_conditions(storage: Storage, bucket: str, manifest: str, environment: Environment) -> str | None:
    """Try conditions on an object of one's own, and remove it again.

    Args:
        storage: The store.
        bucket: The bucket.
        manifest: The manifest's key; the object is made beside it.
        environment: Names the object.

    Returns:
        What the store does not do; ``None`` when it enforces conditions.

    Raises:
        AccessError: It may not be tried.
        UnavailableError: The store does not answer.
    """
    return await to_the_end(_try(storage, bucket, f"{manifest}{SUFFIX}{environment.name()}"))


async def lacking_creation(storage: Storage, bucket: str, manifest: str, environment: Environment) -> str | None:
    """The same, but only of create-if-absent, which is all that the log journal needs."""
    key = f"{manifest}{SUFFIX}{environment.name()}"
    return await to_the_end(_try(storage, bucket, key, only_creation=True))


async def _try(storage: Storage, bucket: str, key: str, *, only_creation: bool = False) -> str | None:
    made: list[Stored] = []
    try:
        lacking = await _lacking(storage, bucket, key, made, only_creation=only_creation)
    except BaseException as error:
        if made or not isinstance(error, MPS3Error) or error.maybe_written:
            await remove(storage, bucket, key)  # a PUT that was not answered may have made another version
        raise
    await _remove(storage, bucket, key, made)
    return lacking


async def _lacking(storage: Storage, bucket: str, key: str, made: list[Stored], *, only_creation: bool) -> str | None:
    try:
        first = await storage.put(bucket, key, _BODIES[0], if_none_match=True)
    except (ConfigurationError, ConflictError) as error:
        return f"it refuses a PUT with If-None-Match ({error})"
    made.append(first)
    if await _accepted(storage, bucket, key, made, if_none_match=True):
        return "it ignores If-None-Match: a second create of the same object was not refused"
    if only_creation:
        return None
    if await _accepted(storage, bucket, key, made, if_match=_NOBODYS):
        return "it ignores If-Match: an object that had changed was overwritten"
    # As a client does it, which commits upon what it has read.
    found = await storage.get(bucket, key)
    if not isinstance(found, Object):
        return "it does not show an object that was just written"
    if found.body != _BODIES[0]:
        return "it does not give back the bytes of an object that was just written"
    if found.etag is None:
        return "it sends no ETag, so no condition can be made of it"
    if first.etag is not None and bare(first.etag) != bare(found.etag):
        return (
            f"the answer to a GET has another ETag ({found.etag}) than the answer to the PUT ({first.etag}): something "
            "between this client and the store changes ETags, as some proxies do that compress. Let it pass answers on "
            "as they are"
        )
    if not await _accepted(storage, bucket, key, made, if_match=strong(found.etag)):
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
        made.append(await storage.put(bucket, key, _BODIES[1], if_match=if_match, if_none_match=if_none_match))
    except (ConflictError, ConfigurationError):
        return False
    return True


async def _remove(storage: Storage, bucket: str, key: str, made: list[Stored]) -> None:
    with contextlib.suppress(MPS3Error):
        for stored in made:
            if stored.version is not None:
                await storage.delete(bucket, key, version=stored.version)
        if any(stored.version is None for stored in made):
            await remove(storage, bucket, key)


async def require_conditions(storage: Storage, bucket: str, manifest: str, environment: Environment) -> None:
    """Refuse a store that does not enforce conditions.

    Raises:
        ConfigurationError: It does not.
    """
    _require(await lacking_conditions(storage, bucket, manifest, environment), bucket, manifest)


async def require_creation(storage: Storage, bucket: str, manifest: str, environment: Environment) -> None:
    """Refuse a store that does not enforce create-if-absent.

    Raises:
        ConfigurationError: It does not.
    """
    _require(await lacking_creation(storage, bucket, manifest, environment), bucket, manifest)


def _require(lacking: str | None, bucket: str, manifest: str) -> None:
    if lacking is not None:
        raise ConfigurationError(
            f"commits to s3://{bucket}/{manifest} need conditional writes, and the store does not enforce them: "
            f"{lacking}. Use a bucket with versioning enabled, or another store",
            bucket=bucket,
            key=manifest,
            operation="PutObject",
        )
