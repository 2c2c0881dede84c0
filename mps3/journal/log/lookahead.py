"""Reading slots while something else goes on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from ...errors import MPS3Error
from .reader import CONCURRENCY, LogReader, ReadSlot


class Lookahead:
    """Reads slots in the background. What exists is kept; what is absent, or cannot be read, is asked for again later.

    Args:
        reader: Reads the slots.
        keep: Told of each slot that exists.
    """

    def __init__(self, reader: LogReader, keep: Callable[[int, ReadSlot], None]) -> None:
        self._reader = reader
        self._keep = keep
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._gets = asyncio.Semaphore(CONCURRENCY)

    def begin(self, numbers: Iterable[int]) -> None:
        """Begin to read slots, but those that are being read."""
        for number in numbers:
            if number not in self._tasks:
                self._tasks[number] = asyncio.get_running_loop().create_task(
                    self._read(number), name=f"mps3 slot {number}"
                )

    async def wait(self, numbers: Iterable[int]) -> None:
        """Wait for those of some slots that are being read."""
        tasks = [self._tasks[number] for number in numbers if number in self._tasks]
        if tasks:
            await asyncio.wait(tasks)

    async def aclose(self) -> None:
        """Stop."""
        for task in (tasks := list(self._tasks.values())):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _read(self, number: int) -> None:
        try:
            async with self._gets:
                found = await self._reader.slot(number)
        except MPS3Error:
            return
        finally:
            del self._tasks[number]
        if found is not None:
            self._keep(number, found)
