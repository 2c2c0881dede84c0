"""Reading a watch in a test."""

from __future__ import annotations

from typing import Any

from helpers import soon

from mps3 import DELETE, Batch


class WatchReader:
    """Reads a watch, and applies what it says."""

    def __init__(self, watch: Any, committed: dict[str, Any] | None = None) -> None:
        self.watch = watch
        self.batches: list[Batch[Any]] = []
        self.committed: dict[str, Any] = committed if committed is not None else {}
        self.shown: dict[str, Any] = dict(self.committed)

    async def next(self) -> Batch[Any]:
        batch = await soon(anext(self.watch))
        self.batches.append(batch)
        for change in batch.changes:
            for values in (self.shown,) if change.pending else (self.shown, self.committed):
                if change.value is DELETE:
                    values.pop(change.key, None)
                else:
                    values[change.key] = change.value
        return batch

    async def present(self) -> list[Batch[Any]]:
        while not (await self.next()).end_of_initial:
            pass
        return self.batches

    async def until(self, condition: Any) -> None:
        while not condition(self):
            await self.next()

    @property
    def ids(self) -> list[str]:
        return [batch.id for batch in self.batches if batch.id is not None and not batch.initial]


async def present(watch: Any) -> Batch[Any]:
    """The last batch of what was there when the watch began."""
    batch = await soon(anext(watch))
    while not batch.end_of_initial:
        batch = await soon(anext(watch))
    return batch
