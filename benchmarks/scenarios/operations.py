"""What each operation asks of a store: requests, bytes and round trips.

One script runs in virtual time and over HTTP, so that both ways of counting can be compared. It calls each operation
after a calm, and counts all requests until the next one. The clients do not poll, except the one that hears of a
change; its polls that find nothing are not counted.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from dataset import names
from meter import Tally
from results import Row
from virtual import Place

from mps3 import MPS3

KEYS: Final = 1_000
"""Keys of the store."""
LOADED: Final = 10
"""How many of them are written by one commit; single puts would take minutes over HTTP."""
MANY: Final = 10_000
"""Values that are read with one `get_all`."""
TOGETHER: Final = 1_000
TIMES: Final = 3
CALM: Final = 4.0
"""Seconds: more than the window of the merge journal, so that nothing is in its log, and audits are over."""
VALUE: Final = "x" * 98
"""100 bytes as JSON."""
NEVER: Final = 600.0
"""The poll interval of clients that are not to poll."""
OPERATIONS: Final = (
    "awaited put",
    "update",
    "transaction",
    "1,000 puts at once",
    "opening 1,000 keys",
    "first put of a process",
    "change heard",
    "get_all of 10,000",
)
"""The names of the rows."""


@dataclass(frozen=True)
class Store:
    """A store with a way of counting.

    Attributes:
        make: Makes a client whose requests are counted.
        other: Makes one whose requests are not.
        take: The requests since it was called last.
        journal: Of the clients.
        where: How they are counted.
        latency: Seconds that a request takes, if each takes the same; otherwise 0.
    """

    make: Callable[..., MPS3]
    other: Callable[..., MPS3]
    take: Callable[[], Tally]
    journal: str
    where: str
    latency: float = 0.0

    def row(self, name: str, tally: Tally, seconds: float, times: int = 1, keys: int = KEYS) -> Row:
        """Return what was found."""
        facts = {"round trips": seconds / times / self.latency} if self.latency else {}
        return Row(name, keys, tally, times, seconds, self.journal, self.where, facts)

    async def count(self, work: Callable[[], Awaitable[object]]) -> tuple[Tally, float]:
        """Return the requests of an operation, with those that follow it, and the seconds until it returns."""
        clock = asyncio.get_running_loop().time
        self.take()
        began = clock()
        await work()
        seconds = clock() - began
        await asyncio.sleep(CALM)
        return self.take(), seconds


async def script(store: Store) -> list[Row]:
    """Run the operations on an empty store."""
    keys = names(KEYS)
    async with store.make(poll_interval=NEVER) as loader:  # as slow in both places
        for start in range(0, KEYS, LOADED):
            await loader.put_all(dict.fromkeys(keys[start : start + LOADED], VALUE))
        await asyncio.sleep(CALM)
    client = store.make(poll_interval=NEVER)
    tally, seconds = await store.count(client.__aenter__)
    rows = [store.row("opening 1,000 keys", tally, seconds)]
    await client.aclose()
    rows.append(store.row("first put of a process", *await store.count(partial(_first_put, store))))
    async with store.make(poll_interval=NEVER) as client:
        await client.put("warm", VALUE)
        await asyncio.sleep(CALM)
        for name, work in (
            ("awaited put", lambda: client.put("key", VALUE)),
            ("update", lambda: client.update("number", lambda value: (value or 0) + 1)),
            ("transaction", partial(_transaction, client)),
        ):
            tally, seconds = Tally(), 0.0
            for _ in range(TIMES):
                made, took = await store.count(work)
                tally, seconds = tally + made, seconds + took
            rows.append(store.row(name, tally, seconds, TIMES))
        at_once = await store.count(
            lambda: asyncio.gather(*(client.put(f"many/{number}", VALUE) for number in range(TOGETHER)))
        )
        rows.append(store.row("1,000 puts at once", *at_once))
    rows.append(await _change(store))
    some = [f"collection/{number}" for number in range(MANY)]
    async with store.other(poll_interval=NEVER) as loader:
        for start in range(0, MANY, TOGETHER):
            await loader.put_all(dict.fromkeys(some[start : start + TOGETHER], VALUE))
        await asyncio.sleep(CALM)
    rows.append(store.row("get_all of 10,000", *await store.count(partial(_read, store, some)), keys=MANY))
    return rows


async def _first_put(store: Store) -> None:
    async with store.make(poll_interval=NEVER) as client:
        await client.put("first", VALUE)


async def _transaction(client: MPS3) -> None:
    async with client.transaction() as transaction:
        number = await transaction.get("number")
        assert isinstance(number, int)
        transaction.put("number", number + 1)


async def _read(store: Store, keys: Sequence[str]) -> None:
    async with store.make(poll_interval=NEVER) as client:
        assert len(await client.get_all(keys)) == len(keys)


async def _change(store: Store) -> Row:
    """A change, to a client that polls once a second."""
    tally, seconds, clock = Tally(), 0.0, asyncio.get_running_loop().time
    async with store.make() as reader, store.other(poll_interval=NEVER) as writer:
        seen = reader.subscribe("key")
        await anext(seen)
        for number in range(TIMES):
            await writer.put("key", -number)  # what was left over from before is heard with it
            await anext(seen)
            await asyncio.sleep(CALM)
            store.take()
            await writer.put("key", f"change {number}")
            began = clock()
            assert await anext(seen) == f"change {number}"
            seconds += clock() - began
            tally += store.take().without_polls()
    row = store.row("change heard", tally, seconds, TIMES)
    row.facts.clear()  # most of the time is waiting for the poll
    return row


def at_the_seam(place: Place) -> list[Row]:
    """The script in virtual time, in which every request takes the same time."""
    meter, uncounted = place.meter(jitter=0.0), place.meter(jitter=0.0)
    store = Store(
        partial(place.client, meter),
        partial(place.client, uncounted),
        meter.take,
        place.journal,
        "seam",
        place.latency,
    )
    return place.run(lambda: script(store))


def after_single_puts(place: Place, count: int) -> Row:
    """`get_all` of values that were written one by one."""
    keys = names(count)
    meter = place.meter(jitter=0.0)

    async def main() -> Row:
        async with place.client(place.meter(), poll_interval=NEVER) as loader:
            for number, key in enumerate(keys):
                await loader.put(key, VALUE)
                if number % TOGETHER == 0:
                    await place.trim()
            await asyncio.sleep(CALM)
        store = Store(
            partial(place.client, meter), partial(place.client, meter), meter.take, place.journal, "seam", place.latency
        )
        return store.row("get_all after single puts", *await store.count(partial(_read, store, keys)), keys=count)

    return place.run(main)
