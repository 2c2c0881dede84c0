"""Several clients write through a network that does everything wrong, and nothing acknowledged is lost."""

from __future__ import annotations

import asyncio
import os
import random
from typing import Any

import pytest
from helpers import MANIFEST
from proxy import Faults, FaultyProxy

from mps3 import MPS3, MPS3Error

pytestmark = pytest.mark.server

# `nox -s faults` sets it; every day a few have to do.
WRITES = int(os.environ.get("MPS3_TEST_FAULTY_WRITES", "48"))
CLIENTS = 4
LARGE = "x" * 200_000

EVERYTHING = Faults(
    reset_before=0.02,
    reset_request=0.02,
    reset_after=0.03,
    reset_response=0.02,
    black_hole=0.004,
    black_hole_after=0.004,
    internal_error=0.02,
    internal_error_after=0.03,
    slow_down=0.03,
    truncate=0.02,
    drip=0.01,
    error_inside=0.01,
    error_inside_after=0.02,
    silence=1.0,
    patience=0.4,
)
FLAPPING = Faults(flap=0.3, reset_after=0.02)
STALE = Faults(stale=0.05, reset_after=0.05)


class Writer:
    """Writes its own keys and a shared one, and remembers what was acknowledged."""

    def __init__(self, client: MPS3, name: int, large: bool) -> None:
        self.client = client
        self.name = name
        self.large = large
        self.acknowledged: dict[str, Any] = {}
        self.failed: list[MPS3Error] = []

    async def write(self, number: int) -> None:
        value = {"by": self.name, "n": number, **({"pad": LARGE} if self.large and number % 10 == 0 else {})}
        mine = {f"only/{self.name}/{number}": value, f"mine/{self.name}": value}
        try:
            await self.client.put_all({**mine, "shared": value} if number % 3 == 0 else mine)
        except MPS3Error as error:
            self.failed.append(error)
        else:
            self.acknowledged[f"only/{self.name}/{number}"] = value
            last = self.acknowledged.get(f"mine/{self.name}", value)
            self.acknowledged[f"mine/{self.name}"] = max(value, last, key=lambda one: one["n"])


@pytest.mark.parametrize("journal", ["merge", "log"])
@pytest.mark.parametrize(
    ("faults", "large"),
    [
        pytest.param(EVERYTHING, False, id="everything"),
        pytest.param(EVERYTHING, True, id="everything, large values", marks=pytest.mark.thorough),
        pytest.param(FLAPPING, False, id="flapping"),
        pytest.param(STALE, False, id="stale answers", marks=pytest.mark.thorough),
    ],
)
async def test_nothing_acknowledged_is_lost(
    server: Any, s3_config: dict[str, Any], usable_bucket: Any, faults: Faults, large: bool, journal: Any
) -> None:
    bucket = usable_bucket("Enabled" if journal == "merge" else None)
    seed = random.randrange(10**6)
    print("seed", seed)
    # Opened while all is well: that opening fails in a storm is no news.
    async with FaultyProxy(server.url, Faults(), seed=seed) as proxy:
        config = {**s3_config, "endpoint_url": proxy.url}
        clients = [MPS3(bucket, MANIFEST, s3_config=config, poll_interval=0.2) for _ in range(CLIENTS)]
        try:
            for client in clients:
                await client.__aenter__()
            proxy.faults = faults
            writers = [Writer(client, name, large) for name, client in enumerate(clients)]
            watched = [asyncio.create_task(watch(clients[0], f"mine/{writer.name}")) for writer in writers]
            # Where the network is mostly away, half of them take as long.
            each = WRITES // CLIENTS // (2 if faults.flap else 1)
            await asyncio.gather(*(some_at_a_time(writer, each) for writer in writers))
            proxy.faults = Faults()
            injected = dict(proxy.injected)
            # Who has just lost the store answers with what is known, until it is there again.
            keys = ["shared", *map(_mine, writers)]
            async with MPS3(bucket, MANIFEST, s3_config=s3_config) as judge:
                await asyncio.gather(*(agree(client, judge, keys) for client in clients))
            finals = [{key: await client.get(key) for key in keys} for client in clients]
            seen = [numbers for task in watched for numbers in [await stop(task)]]
        finally:
            proxy.faults = Faults()
            await asyncio.gather(*(client.aclose() for client in clients))
    print("injected", injected)
    assert injected or faults.flap
    assert not [error for writer in writers for error in writer.failed]
    async with MPS3(bucket, MANIFEST, s3_config=s3_config) as fresh:
        for writer in writers:
            stored = await asyncio.gather(*(fresh.get(key) for key in writer.acknowledged))
            lost = [
                key for key, value in zip(writer.acknowledged, stored, strict=True) if value != writer.acknowledged[key]
            ]
            assert not lost
        final = {key: await fresh.get(key) for key in ["shared", *map(_mine, writers)]}
    assert all(one == final for one in finals)
    assert all(numbers == sorted(set(numbers)) for numbers in seen), "a watcher went back, or saw a value twice"


async def some_at_a_time(writer: Writer, most: int) -> None:
    """Up to four of its writes are pending at once, in the order they were made."""
    for first in range(0, most, 4):
        await asyncio.gather(*(writer.write(number) for number in range(first, min(first + 4, most))))


async def agree(one: MPS3, judge: MPS3, keys: list[str]) -> None:
    async with asyncio.timeout(30):
        while [await one.get(key) for key in keys] != [await judge.get(key) for key in keys]:
            await asyncio.sleep(0.2)


async def watch(client: MPS3, key: str) -> list[int]:
    numbers = []
    subscription = client.subscribe(key, {"n": -1})
    try:
        async for value in subscription:
            numbers.append(value["n"])  # type: ignore[index, call-overload]
    except asyncio.CancelledError:
        pass
    return numbers


async def stop(task: asyncio.Task[list[int]]) -> list[int]:
    task.cancel()
    return await task


def _mine(writer: Writer) -> str:
    return f"mine/{writer.name}"
