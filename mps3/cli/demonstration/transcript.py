"""A transcript of two clients of one store, in two columns."""

from __future__ import annotations

import asyncio
from typing import Any, Final, TextIO

from ... import DELETE, MPS3, Batch, MemoryStorage, Subscription
from ..base.formatting import compact

_WIDTH: Final = 40
_POLL_INTERVAL: Final = 0.05
_TIMEOUT: Final = 30.0
"""Seconds to wait for a change."""


class _User:
    """A user with a client, and the column for what the user does."""

    def __init__(self, client: MPS3, column: int, stream: TextIO) -> None:
        self.client = client
        self._column = column
        self._stream = stream
        self._batches: Subscription[Batch[Any]] = client.watch()

    def says(self, text: str) -> None:
        """Print what the user does."""
        print(" " * self._column + text, file=self._stream, flush=True)

    async def starts(self) -> None:
        """Wait for the present state, which is empty."""
        await anext(self._batches)

    async def sees(self, *keys: str) -> None:
        """Wait for the commit of the other user that changes these keys, and print its changes."""
        async with asyncio.timeout(_TIMEOUT):
            async for batch in self._batches:
                if batch.id is not None and {change.key for change in batch.changes} == {*keys}:
                    seen = ", ".join(_named(change.key, change.value) for change in batch.changes)
                    self.says(f"sees {seen}" + (" (together)" if len(keys) > 1 else ""))
                    return

    async def puts(self, **values: Any) -> None:
        """Write, and wait until it is durable."""
        self.says("puts " + ", ".join(_named(key, value) for key, value in values.items()))
        await self.client.put_all(values)


def _named(key: str, value: Any) -> str:
    return f"{key} is gone" if value is DELETE else f"{key} = {compact(value)}"


async def print_transcript(stream: TextIO) -> None:
    """Run two clients, and print what they do and see."""
    options: dict[str, Any] = {"storage": MemoryStorage(), "poll_interval": _POLL_INTERVAL}
    async with MPS3("demo", **options) as one, MPS3("demo", **options) as other:
        ann, bob = _User(one, 0, stream), _User(other, _WIDTH, stream)
        print(f"{'ANN':{_WIDTH}}BOB", file=stream)
        await ann.starts()
        await bob.starts()
        await ann.puts(color="red")
        await bob.sees("color")
        await bob.puts(shape="circle", size=3)
        await ann.sees("shape", "size")
        one_by_one = bob.client.put("size", 4)
        bob.says(f"puts size = 4, and has it at once: {compact(await bob.client.get('size'))}")
        await one_by_one
        await ann.sees("size")
        bob.client.go_offline()
        bob.says("goes offline")
        waiting = bob.client.put("size", 5)
        bob.says(f"puts size = 5, and has it: {compact(await bob.client.get('size'))}")
        await ann.puts(color="blue")
        ann.says(f"still has size = {compact(await ann.client.get('size'))}")
        bob.client.go_online()
        bob.says("is back")
        await waiting
        await ann.sees("size")
        await bob.sees("color")
        ann.says("deletes shape")
        await ann.client.delete("shape")
        await bob.sees("shape")
        revisions = await ann.client.history("color")
        values = [compact(await revision.value()) for revision in revisions]
        ann.says(f"reads the history of color: {', '.join(values)}")
        ann.says(f"brings back {values[-1]}")
        await ann.client.restore("color", revisions[-1])
        await bob.sees("color")
