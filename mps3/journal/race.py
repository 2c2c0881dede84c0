"""Whether a store lets one of several clients create an object, if they do it at the same time.

Some servers look whether there is such an object, and write it a moment later. In between, another client can do so,
too: both are told that they have created it, and the commit of one of them is lost.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Final

from ..errors import ConfigurationError, ConflictError, MPS3Error, UnavailableError
from ..storage.hold import HOLD, Hold
from ..storage.protocol import Capabilities, Storage, Stored
from ..support.environment import Environment
from .trials import remove, remove_made

RACERS: Final = 2
"""PUTs in each race. More of them are slower, and fall into the gap of a server no more often."""
ROUNDS: Final = 5
RACES: Final = 4
"""How many races there are in each round. One in three, or more, finds such a gap in a server on the same machine."""


async def lacking_exclusion(
    storage: Storage,
    bucket: str,
    prefix: str,
    environment: Environment,
    bodies: Sequence[bytes],
    capabilities: Capabilities,
) -> str | None:
    """Create objects by several PUTs at once, and remove them again.

    Args:
        storage: The store.
        bucket: The bucket.
        prefix: What the keys of the objects begin with.
        environment: Names the objects.
        bodies: What is put; each PUT of a race has another one.
        capabilities: What the bucket supports.

    Returns:
        What the store does not do; ``None`` when nothing was found.

    Raises:
        AccessError: It may not be tried.
    """
    races: list[_Race] = []
    try:
        for _ in range(ROUNDS):
            starting = [_Race(storage, bucket, f"{prefix}{environment.name()}") for _ in range(RACES)]
            races += starting
            won = await asyncio.gather(*(race.run(bodies[:RACERS]) for race in starting))
            if max(won) > 1:
                return "two clients that create the same object at the same time both succeed, so commits would be lost"
    finally:
        await asyncio.gather(*(race.remove(capabilities) for race in races))
    return None


class _Race:
    """Several PUTs that create one object."""

    def __init__(self, storage: Storage, bucket: str, key: str) -> None:
        self._storage = storage
        self._bucket = bucket
        self._key = key
        self._made: list[Stored] = []
        self._known = False

    async def run(self, bodies: Sequence[bytes]) -> int:
        """Send the PUTs; return how many were told that they have created the object."""
        hold = Hold(len(bodies))
        answers = await asyncio.gather(*(self._create(body, hold) for body in bodies))
        self._known = not any(answer is not None and answer.maybe_written for answer in answers)
        return len(self._made)

    async def _create(self, body: bytes, hold: Hold) -> MPS3Error | None:
        HOLD.set(hold)
        try:
            self._made.append(await self._storage.put(self._bucket, self._key, body, if_none_match=True))
        except (ConflictError, ConfigurationError, UnavailableError) as error:
            return error  # stores have errors of their own for who loses a race
        finally:
            hold.leave()
        return None

    async def remove(self, capabilities: Capabilities) -> None:
        """Remove the object."""
        if self._known and capabilities.versioning == "off":
            with contextlib.suppress(MPS3Error):
                await self._storage.delete(self._bucket, self._key)
        elif self._known:
            await remove_made(self._storage, self._bucket, self._key, self._made)
        else:
            await remove(self._storage, self._bucket, self._key)
