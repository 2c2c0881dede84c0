"""Reading many values of one state concurrently."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Final

from ..format.file_entry import FileEntry
from ..format.values import load
from ..support.gather import map_concurrently
from ..types import DELETE, JSON, Delete
from .store import ValueStore
from .value import PendingValue

STEP: Final = 256
"""Values in memory that are decoded before the event loop runs other tasks."""


class ValueReader:
    """Reads values that a manifest names.

    Args:
        contents: The values of the client.
        place: Returns the bucket and the key of a name.
    """

    def __init__(self, contents: ValueStore, place: Callable[[str], tuple[str, str]]) -> None:
        self._contents = contents
        self._place = place

    async def read(self, wanted: Sequence[tuple[str, PendingValue | FileEntry | None]]) -> list[JSON | Delete]:
        """Return the values of many keys, fetched concurrently.

        Args:
            wanted: Names and their files or pending values; ``None`` for a deleted key.

        Returns:
            The values in the same order; `DELETE` for a deleted key.

        Raises:
            CorruptionError: A value is missing or damaged.
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
                body = found.body if isinstance(found, PendingValue) else self._contents.cached(bucket, key, found)
                if body is None:
                    missing.append(index)
                else:
                    version = found.version if isinstance(found, PendingValue) else found["version"]
                    values[index] = await load(body, bucket, key, version)
            if len(wanted) > STEP:
                await asyncio.sleep(0)

        async def fetch(index: int) -> None:
            name, file = wanted[index]
            assert file is not None and not isinstance(file, PendingValue)  # noqa: S101, PT018 - missing are files
            bucket, key = self._place(name)
            values[index] = await load(await self._contents.fetch(bucket, key, file), bucket, key, file["version"])

        if missing:
            await map_concurrently(fetch, missing)
        return values
