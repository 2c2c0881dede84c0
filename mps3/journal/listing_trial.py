"""Whether a store lists the versions of a key beside which there are longer keys: some leave versions out."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Final

from ..errors import MPS3Error
from ..format.names import SUFFIX as RUNS
from ..storage.protocol import Storage, Stored
from ..support.environment import Environment
from .trials import SUFFIX, put_at_pace, remove, remove_made, to_the_end

NEIGHBOURS: Final = 2
"""How many objects with longer keys lie beside the one whose versions are listed, and how many versions that has."""
VISIBLE: Final = 3.0
"""Seconds that a version may take to be listed: the window of new manifests."""
PAUSE: Final = 0.2
PAGES: Final = 8
"""Pages that are read at the most: a PUT whose answer was lost is repeated, and makes one version more."""


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
        await remove_made(storage, bucket, one, stored)
    return lacking


async def _unlisted(
    storage: Storage, bucket: str, key: str, versions: list[str | None], environment: Environment
) -> str | None:
    deadline = environment.monotonic() + VISIBLE
    while True:
        listed: set[str | None] = set()
        start: str | None = None
        for _ in range(PAGES):
            page = await storage.versions(bucket, key, start=start, limit=NEIGHBOURS)
            listed.update(one.version for one in page.versions)
            start = page.next
            if start is None or listed.issuperset(versions):
                break
        missing = {*versions} - {None, *listed}
        if not missing:
            return None  # where a PUT makes no version, the journal itself says so
        if environment.monotonic() > deadline:
            found = NEIGHBOURS - len(missing)
            return f"it lists {found} of {NEIGHBOURS} new versions of a key with which other keys begin"
        await asyncio.sleep(PAUSE)
