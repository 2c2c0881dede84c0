"""Objects that are made to try something, and removed again whatever happens."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import Any, Final, TypeVar

from ..errors import AccessError, MPS3Error, UnavailableError
from ..storage.pagination import PageProgress
from ..storage.protocol import Storage, Stored

SUFFIX: Final = ".probe/"
"""What follows a manifest's key in the keys of such objects."""
PATIENCE: Final = 5.0
"""Seconds that an interrupted trial has to come to its end, and again to remove what it made."""
PACE: Final = 1.5
"""Seconds before another PUT to an object, where the store has refused one: some stores take one a second."""

T = TypeVar("T")


async def to_the_end(trial: Coroutine[Any, Any, T]) -> T:
    """Let a trial remove what it made, also when nobody waits for it any more."""
    task = asyncio.ensure_future(trial)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task], timeout=PATIENCE)
        if not task.done():
            task.cancel()
            await asyncio.wait([task], timeout=PATIENCE)
        if task.done() and not task.cancelled():
            task.exception()  # nobody needs to hear of it
        raise


async def put_at_pace(put: Callable[[], Awaitable[Stored]]) -> Stored:
    """Write an object that was written a moment ago; once more after a pause if the store is not ready for it.

    Args:
        put: Sends the PUT.

    Raises:
        MPS3Error: Whatever ``put`` raises.
    """
    try:
        return await put()
    except UnavailableError as error:
        if error.maybe_written:
            raise
    await asyncio.sleep(PACE)
    return await put()


async def remove(storage: Storage, bucket: str, key: str) -> MPS3Error | None:
    """Remove all versions of an object that was made for a trial, whether or not its PUTs were answered.

    Returns:
        Why something may be left; ``None`` if nothing is.
    """
    try:
        if (await storage.capabilities(bucket)).versioning == "off":
            await storage.delete(bucket, key)
            return None
        start: str | None = None
        progress = PageProgress(bucket, key, "ListObjectVersions")
        while True:
            page = await storage.versions(bucket, key, start=start)
            for version in page.versions:
                await storage.delete(bucket, key, version=version.version)
            start = progress.forward(page.next)
            if start is None or not page.versions:
                return None
    except MPS3Error as error:
        if isinstance(error, AccessError):
            # Who may not list may perhaps delete: at least the object is out of the way then.
            with contextlib.suppress(MPS3Error):
                await storage.delete(bucket, key)
        return error


async def remove_made(storage: Storage, bucket: str, key: str, made: Iterable[Stored]) -> None:
    """Remove an object whose PUTs were all answered, as far as it is allowed: without a listing where it has versions.

    Args:
        storage: The store.
        bucket: The bucket.
        key: The object's key.
        made: What the PUTs that succeeded have returned.
    """
    with contextlib.suppress(MPS3Error):
        versions = [stored.version for stored in made]
        for version in versions:
            if version is not None:
                await storage.delete(bucket, key, version=version)
        if None in versions:
            await remove(storage, bucket, key)
