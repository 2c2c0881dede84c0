"""The keys that the scenarios use, and how they get into a store."""

from __future__ import annotations

import math
import random
from array import array
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, overload

import orjson

from mps3 import MPS3

CHUNK: Final = 1000
"""Keys that are loaded with one `put_all`."""
MILLION: Final = 1_000_000


class Names(Sequence[str]):
    """Keys, each of which is made when it is asked for: ten million of them would take a gigabyte.

    Args:
        numbers: Their numbers.
    """

    def __init__(self, numbers: array[int]) -> None:
        self._numbers = numbers

    def __len__(self) -> int:
        return len(self._numbers)

    @overload
    def __getitem__(self, place: int) -> str: ...

    @overload
    def __getitem__(self, place: slice) -> Names: ...

    def __getitem__(self, place: int | slice) -> str | Names:
        found = self._numbers[place]
        return Names(found) if isinstance(found, array) else f"item/{found:07d}"

    def prefix(self, count: int) -> str:
        """Return a prefix that about so many of them have: each of its digits leaves a tenth."""
        behind = math.log10(count * (max(self._numbers) + 1) / len(self))
        return self[0][: len(self[0]) - round(behind)]


def names(count: int, seed: int = 0) -> Names:
    """So many keys, in an order that is not theirs. The first million of more than that are those of a million."""
    dice = random.Random(seed)
    numbers = array("I")
    for some in array("I", range(min(count, MILLION))), array("I", range(MILLION, count)):
        dice.shuffle(some)
        numbers.extend(some)
    return Names(numbers)


def entry_bytes(keys: Sequence[str]) -> int:
    """What is to be known of these keys at least: each key and its entry with a number inline, as JSON."""
    file = {"value": 123456, "size": 6, "version": f"{0:016x}-{0xFFFFF:x}"}
    overhead = len(orjson.dumps({"": file})) - 1  # a comma in place of two brackets
    return sum(overhead + len(key.encode()) for key in keys)


async def load(
    client: MPS3,
    keys: Sequence[str],
    *,
    chunk: int = CHUNK,
    between: Callable[[int], Awaitable[bool]] | None = None,
) -> int:
    """Write these keys, so many at once, each chunk awaited.

    Args:
        client: Writes them.
        keys: What to write.
        chunk: How many at once.
        between: Called after each chunk with the number of keys written so far; says whether to go on.

    Returns:
        How many were written.
    """
    done = 0
    while done < len(keys):
        some = keys[done : done + chunk]
        await client.put_all({key: done + place for place, key in enumerate(some)})
        done += len(some)
        if between is not None and not await between(done):
            break
    return done
