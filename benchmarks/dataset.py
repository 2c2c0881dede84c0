"""The keys that the scenarios use, and how they get into a store."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import orjson

from mps3 import MPS3

CHUNK: Final = 1000
"""Keys that are loaded with one `put_all`."""


def names(count: int, seed: int = 0) -> list[str]:
    """So many keys, in an order that is not theirs."""
    numbers = list(range(count))
    random.Random(seed).shuffle(numbers)
    return [f"item/{number:07d}" for number in numbers]


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
