"""Many clients increment one counter, on a store that fails now and then."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Final, TypeVar, cast

from meter import Meter, MeteredStorage
from results import Row
from virtual import Place

from mps3 import MPS3, UnavailableError
from mps3.storage import Storage
from mps3.storage.wrapper import StorageWrapper

from .contention import RetryingStorage

T = TypeVar("T")

FAULTS: Final = 0.02
"""How many of the requests fail before they reach the store; and of those that reach it, how many answers are lost."""


class FailingStorage(StorageWrapper):
    """A store that fails now and then, before it does something or after."""

    def __init__(self, storage: Storage, seed: int) -> None:
        super().__init__(storage)
        self._dice = random.Random(seed)

    async def _ask(
        self, operation: str, bucket: str, key: str | None, request: Callable[[], Awaitable[T]], *, sent: int = 0
    ) -> T:
        if self._dice.random() < FAULTS:
            raise UnavailableError("the network fails", operation=operation)
        answer = await super()._ask(operation, bucket, key, request, sent=sent)
        if self._dice.random() < FAULTS:
            raise UnavailableError("the answer is lost", operation=operation)
        return answer


def counter(places: tuple[Place, Place], writers: int, each: int) -> Row:
    """Let clients increment one counter, and compare that with puts of keys of their own. In virtual time.

    Args:
        places: A store for the puts, and another one for the increments.
        writers: How many clients.
        each: Increments of each, one after another.
    """
    row, put = (_count(place, writers, each, counts=place is places[1]) for place in reversed(places))
    row.facts["times that of puts"] = row.seconds / put.seconds
    return row


def _count(place: Place, writers: int, each: int, *, counts: bool) -> Row:
    meters: list[Meter] = []

    def make() -> MPS3:
        meter = MeteredStorage(place.storage, latency=place.latency, seed=len(meters))
        meters.append(meter)
        failing = FailingStorage(cast("Storage", meter), len(meters))
        return place.client(RetryingStorage(cast("Storage", failing)))

    async def main() -> Row:
        async with AsyncExitStack() as stack:
            clients = [await stack.enter_async_context(make()) for _ in range(writers)]
            await clients[0].put("n", 0)

            async def work(number: int) -> None:
                for turn in range(each):
                    await (clients[number].increment("n") if counts else clients[number].put(f"{number}/{turn}", turn))

            for meter in meters:
                meter.take()
            clock = asyncio.get_running_loop().time
            began = clock()
            await asyncio.gather(*map(work, range(writers)))
            seconds = clock() - began
            tally = sum((meter.take() for meter in meters[1:]), meters[0].take())
            found = await clients[0].get("n")
        wrong = abs(cast("int", found) - writers * each) if counts else 0
        facts: dict[str, float] = {"increments": writers * each, "wrong by": wrong}
        return Row(f"counter of {writers}", 1, tally, writers * each, seconds, place.journal, facts=facts)

    return place.run(main)
