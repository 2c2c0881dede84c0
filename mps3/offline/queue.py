"""Group commit for an outbox: operations that arrive while the disk is busy share the next transaction."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from ..errors import ConfigurationError, MPS3Error
from .protocol import DurableOutbox, Operation


class OutboxQueue:
    """The queue of the operations on one outbox, in order."""

    def __init__(self, durable_outbox: DurableOutbox) -> None:
        self._durable_outbox = durable_outbox
        self._id = durable_outbox.last_id
        self._waiting: list[tuple[Sequence[Operation], asyncio.Future[None]]] = []
        self._task: asyncio.Task[None] | None = None

    def next_id(self) -> int:
        """Return an id that is larger than that of all writes so far."""
        self._id += 1
        return self._id

    def now(self) -> float:
        """Return the time of the clock of the directory."""
        return self._durable_outbox.now()

    def submit(self, *operations: Operation) -> asyncio.Future[None]:
        """Queue operations, which are executed atomically. The future is done once they are durable."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((operations, done))
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._drain(), name="mps3 outbox")
        return done

    async def _drain(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting, []
                await self._write(batch)
        finally:
            self._task = None

    async def _write(self, batch: list[tuple[Sequence[Operation], asyncio.Future[None]]]) -> None:
        error: MPS3Error | None = None
        try:
            await self._durable_outbox.write([operation for operations, _ in batch for operation in operations])
        except MPS3Error as caught:
            if isinstance(caught, ConfigurationError) and len(batch) > 1:
                for one in batch:  # one that is too large must not fail the others
                    await self._write([one])
                return
            error = caught
        for _, done in batch:
            if not done.done():
                if error is None:
                    done.set_result(None)
                else:
                    done.set_exception(error)
                    done.exception()  # marks the error as retrieved, because the caller may ignore it

    async def aclose(self) -> None:
        """Execute the waiting operations, and release the outbox."""
        while self._task is not None:
            await asyncio.wait([self._task])
        await self._durable_outbox.aclose()
