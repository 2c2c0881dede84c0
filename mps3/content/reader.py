"""Reading many values of one state."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from itertools import islice
from typing import Final, TypeVar

from ..format.entries import FileEntry
from ..format.values import load
from ..types import DELETE, JSON, Delete
from .store import Contents
from .value import Content

AT_ONCE: Final = 64
"""Values that are asked for at once; the store is asked for half as many."""
STEP: Final = 256
"""Values that are at hand and are decoded before others get their turn."""

T = TypeVar("T")
R = TypeVar("R")


async def for_all(function: Callable[[T], Awaitable[R]], things: Iterable[T], at_once: int = AT_ONCE) -> list[R]:
    """Call a function for all things, some at once; the results are in the order of the things.

    The first failure ends it; what else is under way is cancelled.
    """
    left = enumerate(things)
    results: dict[int, R] = {}

    async def work() -> None:
        for index, thing in left:
            results[index] = await function(thing)

    tasks = [asyncio.ensure_future(work()) for _ in range(at_once)]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return [results[index] for index in range(len(results))]


class Reader:
    """Reads values that a manifest names.

    Args:
        contents: The values of all manifests.
        place: The bucket and the key that the manifest means by a name.
    """

    def __init__(self, contents: Contents, place: Callable[[str], tuple[str, str]]) -> None:
        self._contents = contents
        self._place = place

    async def read(self, wanted: Sequence[tuple[str, Content | FileEntry | None]]) -> list[JSON | Delete]:
        """The values of many keys, fetched concurrently.

        Args:
            wanted: Names, and what is said of them; ``None``: the key is deleted.

        Returns:
            In the same order, `DELETE` for a deleted key.

        Raises:
            CorruptionError: One is missing, or not what was written.
            UnavailableError: The store does not answer.
        """
        values: list[JSON | Delete] = [DELETE] * len(wanted)
        missing = []
        everything = enumerate(wanted)
        while some := list(islice(everything, STEP)):
            for index, (name, found) in some:
                if found is None:
                    continue
                bucket, key = self._place(name)
                body = found.body if isinstance(found, Content) else self._contents.cached(bucket, key, found)
                if body is None:
                    missing.append(index)
                else:
                    version = found.version if isinstance(found, Content) else found["version"]
                    values[index] = await load(body, bucket, key, version)
            if len(wanted) > STEP:
                await asyncio.sleep(0)

        async def fetch(index: int) -> None:
            name, file = wanted[index]
            assert file is not None and not isinstance(file, Content)  # noqa: S101, PT018 - missing are files
            bucket, key = self._place(name)
            values[index] = await load(await self._contents.fetch(bucket, key, file), bucket, key, file["version"])

        if missing:
            await for_all(fetch, missing, min(AT_ONCE, len(missing)))
        return values
