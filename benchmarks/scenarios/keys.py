"""What it costs to read a few keys of very many: opening, a key, a prefix, a page. In virtual time.

All of it is measured on an idle store: `settle` has let a client wait until nothing was left to be merged.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any, Final

import orjson
from dataset import Names
from meter import Tally
from results import Row
from virtual import Place

from mps3 import MPS3
from mps3.format.run import Run
from mps3.format.run_reference import encode_reference

from . import resources, sizes

SETTLING: Final = 10
"""Commits of a client, after which it waits. For one or two, nothing is put in order."""
IDLE: Final = 60.0
"""Seconds without commits, in which a client is open."""
COLD: Final = 10
"""Fresh clients, each of which reads one key."""
ABSENT: Final = 10_000
"""Keys that are not there, which one client asks for."""
SMALL: Final = "small/"
"""What the keys of the small values begin with."""
VALUES: Final = 1_000
"""Small values, whose prefix is read."""
PAGE: Final = 20
"""Keys of a page."""


def settle(place: Place, keys: Sequence[str]) -> Row:
    """A client commits some keys, one after another, and stays until nothing is left to be done."""

    async def main() -> Row:
        meter = place.meter()
        async with place.client(meter) as client:
            for key in keys[:SETTLING]:
                await client.put(key, "settled")
            await asyncio.sleep(IDLE)
            tally = meter.take().without_polls()
            return Row("settling", len(keys), tally, journal=place.journal)

    return place.run(main)


def shape(place: Place, keys: Sequence[str]) -> Row:
    """How the keys are stored. It is what the costs of more keys are computed from."""

    async def main() -> Row:
        async with place.client(place.meter()) as client:
            journal: Any = client._manifests[client._default]._state.journal  # noqa: SLF001 - what nobody could ask for
            parts = [layer.reference for layer in journal.view.layers if isinstance(layer, Run)]
        indexes, blocks = sum(part.index for part in parts), sum(part.size - part.index for part in parts)
        facts = {
            "runs": float(sum(not part.continues for part in parts)),
            "parts": float(len(parts)),
            "entries": float(sum(part.entries for part in parts)),
            "bytes of indexes": float(indexes),
            "bytes of blocks": float(blocks),
            "bytes of references": float(sum(len(orjson.dumps(encode_reference(part))) for part in parts)),
        }
        return Row("shape", len(keys), journal=place.journal, facts=facts)

    return place.run(main)


def opening(place: Place, keys: Sequence[str]) -> Row:
    """A client that knows nothing opens."""
    row = sizes.cold_open(place, keys)
    return replace(row, scenario="opening", facts={"bytes of listings": row.tally.select("LIST").down})


def memory(place: Place, keys: Sequence[str], limit: float) -> Row:
    """How much a process grows that opens, and reads one key."""
    return replace(resources.memory(place, keys, limit), scenario="memory of one key")


def get(place: Place, keys: Sequence[str]) -> Row:
    """A fresh client each reads a random key."""
    return place.run(lambda: _cold(place, keys, "get", lambda client, key: client.get(key)))


def page(place: Place, keys: Sequence[str]) -> Row:
    """A fresh client each lists a page that begins somewhere."""

    async def list_page(client: MPS3, key: str) -> bool:
        return len(await client.keys("item/", limit=PAGE, after=key)) > 0

    return place.run(lambda: _cold(place, keys, "page", list_page))


async def _cold(
    place: Place, keys: Sequence[str], scenario: str, read: Callable[[MPS3, str], Awaitable[object]]
) -> Row:
    dice, clock = random.Random(len(keys)), asyncio.get_running_loop().time
    tally, seconds, most, largest = Tally(), 0.0, 0, 0
    for _ in range(COLD):
        meter, key = place.meter(), dice.choice(keys)
        async with place.client(meter) as client:
            meter.take()
            started = clock()
            assert await read(client, key) not in (None, False)
            seconds += clock() - started
            made = meter.take()
        tally += made
        most, largest = max(most, made.count()), max(largest, made.bodies)
    facts = {"requests, at most": float(most), "bytes, at most": float(largest)}
    return Row(scenario, len(keys), tally, COLD, seconds, place.journal, facts=facts)


def absent(place: Place, keys: Sequence[str]) -> Row:
    """A client asks for keys that are not there, one after another: the first with nothing at hand."""

    async def main() -> Row:
        dice, clock = random.Random(len(keys)), asyncio.get_running_loop().time
        meter = place.meter()
        async with place.client(meter) as client:
            meter.take()
            started = clock()
            assert await client.get(f"{dice.choice(keys)}x") is None
            first = meter.take()
            for _ in range(ABSENT - 1):
                assert await client.get(f"{dice.choice(keys)}x") is None
            seconds = clock() - started
            tally = first + meter.take()
        facts = {
            "requests of the first": float(first.count()),
            "bytes of the first": float(first.bodies),
            "blocks and indexes": float(tally.count("GET", "run")),
        }
        return Row("absent", len(keys), tally, ABSENT, seconds, place.journal, facts=facts)

    return place.run(main)


def prefix(place: Place, keys: Names) -> list[Row]:
    """A fresh client reads all values that have a prefix: small ones beside the other keys, and numbers among them."""

    async def write() -> None:
        dice = random.Random(0)
        async with place.client(place.meter()) as client:
            await client.put_all({f"{SMALL}{number:04d}": dice.randbytes(49).hex() for number in range(VALUES)})

    place.run(write)
    settle(place, keys)
    return [
        _read_prefix(place, keys, "get_all of a prefix", SMALL),
        _read_prefix(place, keys, "get_all of numbers", keys.prefix(VALUES)),
    ]


def _read_prefix(place: Place, keys: Sequence[str], scenario: str, prefix: str) -> Row:
    async def main() -> Row:
        meter, clock = place.meter(), asyncio.get_running_loop().time
        async with place.client(meter) as client:
            meter.take()
            started = clock()
            found = await client.get_all(prefix=prefix)
            tally, seconds = meter.take(), clock() - started
        size = sum(len(str(value)) + 2 * isinstance(value, str) for value in found.values())
        facts = {"values": float(len(found)), "bytes of the values": float(size), "times those": tally.bodies / size}
        return Row(scenario, len(keys), tally, 1, seconds, place.journal, facts=facts)

    return place.run(main)
