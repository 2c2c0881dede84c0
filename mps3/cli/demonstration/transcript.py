"""Two clients of one store, step by step, as text in two columns."""

from __future__ import annotations

import asyncio
from typing import Any, Final, TextIO

from ... import DELETE, MPS3, Batch, MemoryStorage, Subscription
from ..base.formatting import compact

_WIDTH: Final = 40
_POLL: Final = 0.05
"""Seconds between polls: nobody pays for them here."""
_PATIENCE: Final = 30.0
"""Seconds after which something is wrong."""


class _User:
    """One of the two.

    Args:
        name: What they are called.
        client: Theirs.
        column: Where what they do is printed.
        stream: Where.
    """

    def __init__(self, name: str, client: MPS3, column: int, stream: TextIO) -> None:
        self.name = name
        self.client = client
        self._column = column
        self._stream = stream
        self._batches: Subscription[Batch[Any]] = client.watch()

    def says(self, text: str) -> None:
        """Print what they do."""
        print(" " * self._column + text, file=self._stream, flush=True)

    async def looks(self) -> None:
        """See what there is, which is nothing."""
        await anext(self._batches)

    async def sees(self, *keys: str) -> None:
        """Wait for the commit of somebody else that changes these keys, and print what it says."""
        async with asyncio.timeout(_PATIENCE):
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


async def tell(stream: TextIO) -> None:
    """Let them do it.

    Args:
        stream: Where to print.
    """
    store = MemoryStorage()
    options: dict[str, Any] = {"storage": store, "poll_interval": _POLL}
    async with MPS3("demo", **options) as one, MPS3("demo", **options) as other:
        ann, bob = _User("ann", one, 0, stream), _User("bob", other, _WIDTH, stream)
        print(f"{'ANN':{_WIDTH}}BOB", file=stream)
        await ann.looks()
        await bob.looks()
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
