"""Whether a store enforces create-if-absent: some take the header and ignore it, some let two clients win."""

from __future__ import annotations

from typing import Final

import orjson

from ..errors import ConfigurationError, ConflictError, MPS3Error
from ..storage.protocol import Capabilities, Object, Storage, Stored
from ..support.environment import Environment
from .race import lacking_exclusion
from .trials import SUFFIX, put_at_pace, remove, remove_made, to_the_end

# As long as a small manifest, and as easy to compress: a proxy that compresses does not compress what is short.
_BODIES: Final = tuple(orjson.dumps({"probe": number, "filling": "mps3 " * 800}) for number in range(2))


async def lacking_creation(
    storage: Storage,
    bucket: str,
    manifest: str,
    environment: Environment,
    capabilities: Capabilities | None = None,
) -> str | None:
    """Try create-if-absent on objects of its own, and remove them again.

    Args:
        storage: The store.
        bucket: The bucket.
        manifest: The manifest's key; the objects are made beside it.
        environment: Names the objects.
        capabilities: What the bucket supports, if the caller knows it.

    Returns:
        What the store does not do; ``None`` when it enforces create-if-absent.

    Raises:
        AccessError: It may not be tried.
        ConfigurationError: The bucket refuses every PUT.
        UnavailableError: The store does not answer.
    """
    return await to_the_end(_try(storage, bucket, f"{manifest}{SUFFIX}", environment, capabilities))


async def _try(
    storage: Storage, bucket: str, prefix: str, environment: Environment, capabilities: Capabilities | None
) -> str | None:
    lacking = await _try_one_after_another(storage, bucket, f"{prefix}{environment.name()}")
    if lacking is not None:
        return lacking
    if capabilities is None:
        capabilities = await storage.capabilities(bucket)
    if capabilities.exclusive:
        return None
    return await lacking_exclusion(storage, bucket, prefix, environment, _BODIES, capabilities)


async def _try_one_after_another(storage: Storage, bucket: str, key: str) -> str | None:
    made: list[Stored] = []
    try:
        lacking = await _lacking(storage, bucket, key, made)
    except BaseException as error:
        if made or not isinstance(error, MPS3Error) or error.maybe_written:
            await remove(storage, bucket, key)  # a PUT that was not answered may have made another version
        raise
    await remove_made(storage, bucket, key, made)
    return lacking


async def _lacking(storage: Storage, bucket: str, key: str, made: list[Stored]) -> str | None:
    try:
        first = await storage.put(bucket, key, _BODIES[0], if_none_match=True)
    except (ConfigurationError, ConflictError) as error:
        if isinstance(error, ConfigurationError):
            # A bucket that refuses this too, such as for want of a checksum, does not refuse the condition.
            made.append(await put_at_pace(lambda: storage.put(bucket, key, _BODIES[0])))
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
