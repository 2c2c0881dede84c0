"""What things cost in requests, on a warm client that nobody else disturbs.

Warm: opened, with one commit behind it, and the audit (R6) of that commit over. Idle polls (a GET of the
manifest answered 304) are counted apart where one may come in between: they are the price of time, not
of the call.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from contextlib import asynccontextmanager
from urllib.parse import parse_qs

import pytest
from helpers import client, eventually, soon
from servers import Counted

pytestmark = pytest.mark.server

INTERVAL = 6.0
WINDOW = 2.0  # seconds; a PUT that takes half of it is repeated, which a busy machine must not bring about


def is_listing(request: Counted) -> bool:
    return request.method == "GET" and "versions" in parse_qs(request.query, keep_blank_values=True)


def is_idle_poll(request: Counted) -> bool:
    return request.method == "GET" and request.path.endswith("/manifest.json") and request.status == 304


def is_manifest(request: Counted) -> bool:
    return request.path.endswith("/manifest.json")


class Spent:
    """The requests since the client was warm."""

    def __init__(self, requests: list[Counted]) -> None:
        self._requests = requests

    def count(self, condition: Callable[[Counted], bool] = lambda _: True) -> int:
        return sum(map(condition, self._requests))

    @property
    def puts(self) -> int:
        return self.count(lambda request: request.method == "PUT")

    @property
    def manifest_puts(self) -> int:
        return self.count(lambda request: request.method == "PUT" and is_manifest(request))

    @property
    def idle_polls(self) -> int:
        return self.count(is_idle_poll)

    @property
    def others(self) -> int:
        """Neither PUTs nor idle polls."""
        return self.count() - self.puts - self.idle_polls

    def __repr__(self) -> str:
        return "\n".join(f"{one.status} {one.method} {one.path}?{one.query}" for one in self._requests)


@pytest.fixture
def warmed(bucket, s3, s3_config, counting_proxy):
    """A client whose requests are counted, warm, right after a poll, so that the next is a while away."""

    document = {"mps3": 2, "journal": "merge", "window": WINDOW, "session": "s", "sequence": 0, "update": {}}
    s3.put_object(Bucket=bucket, Key="manifest.json", Body=json.dumps(document).encode())

    @asynccontextmanager
    async def warm(*, interval: float = INTERVAL, prepare=None, **options):
        config = s3_config | {"endpoint_url": counting_proxy.url}
        async with client(bucket, config, poll_interval=interval, **options) as one:
            await one.put("k", 0)
            if prepare is not None:
                await prepare(one)
            counting_proxy.clear()
            await eventually(lambda: any(map(is_listing, counting_proxy.requests)))  # the audit
            await asyncio.sleep(0.1)
            counting_proxy.clear()
            yield one, Spent(counting_proxy.requests)

    return warm


async def test_an_acknowledged_put_is_one_put_and_one_further_request(warmed):
    async with warmed() as (one, spent):
        await one.put("k", {"name": "x" * 990})
        assert spent.puts == spent.manifest_puts == 1, spent
        assert spent.others <= 1, spent
        assert spent.idle_polls == 0, spent


async def test_an_acknowledged_put_of_a_large_value_is_two_puts_and_one_further_request(warmed):
    async with warmed(inline=0) as (one, spent):
        await one.put("k", 1)
        assert spent.puts == 2, spent
        assert spent.others <= 1, spent
        assert spent.idle_polls == 0, spent


async def test_a_delete_is_one_put_and_one_further_request(warmed):
    async with warmed() as (one, spent):
        await one.delete("k")
        assert spent.puts == spent.manifest_puts == 1, spent
        assert spent.others <= 1, spent


async def test_puts_in_a_row_cost_no_more_each(warmed):
    async with warmed() as (one, spent):
        for number in range(10):
            await one.put("k", number)
        assert spent.puts == 10, spent
        assert spent.others <= 10, spent


async def test_a_put_all_of_100_small_values_is_the_same_two(warmed):
    async with warmed() as (one, spent):
        await one.put_all({f"k{number}": number for number in range(100)})
        assert spent.puts == spent.manifest_puts == 1, spent
        assert spent.others <= 1, spent


async def test_a_put_all_of_100_objects_is_100_puts_at_once_and_the_same_two(warmed):
    async with warmed(inline=0) as (one, spent):
        await one.put_all({f"k{number}": number for number in range(100)})
        assert spent.manifest_puts == 1, spent
        assert spent.puts == 101, spent
        assert spent.others <= 1, spent


async def test_an_idle_poll_is_one_get_answered_304(warmed):
    async with warmed(interval=0.2) as (one, spent):
        subscriptions = [one.subscribe(f"k{number}") for number in range(20)]
        await asyncio.gather(*map(anext, subscriptions))
        await asyncio.sleep(1.5)
        assert spent.count() == spent.idle_polls, spent
        assert 1.5 / 0.2 - 3 <= spent.count() <= 1.5 / (0.8 * 0.2) + 3, spent


async def test_a_get_of_an_unchanged_key_is_at_most_one_get(warmed):
    async with warmed() as (one, spent):
        assert await one.get("k") == 0
        assert spent.count() == spent.idle_polls <= 1, spent
        assert await one.get("absent") is None
        assert spent.count() == spent.idle_polls <= 2, spent


async def test_gets_at_once_share_it(warmed):
    async with warmed() as (one, spent):
        await asyncio.gather(*(one.get("k") for _ in range(100)))
        assert spent.count() == spent.idle_polls <= 2, spent


async def test_a_change_seen_is_one_get_one_listing_and_one_get_per_changed_key(warmed, bucket, s3_config):
    values = {f"k{number}": 0 for number in range(10)}

    async def prepare(one):
        await one.put_all(values)

    async with (
        client(bucket, s3_config, poll_interval=30, inline=0) as other,
        warmed(interval=0.3, prepare=prepare) as (one, spent),
    ):
        changing = [one.subscribe("k1"), one.subscribe("k2")]
        staying = [one.subscribe("k3"), one.subscribe("k4")]
        assert await asyncio.gather(*map(anext, changing + staying)) == [0] * 4
        waiting = asyncio.gather(*map(anext, changing))
        unmoved = [asyncio.create_task(anext(each)) for each in staying]
        await asyncio.sleep(0)
        await other.put_all({name: 1 for name in values if name not in ("k3", "k4")})
        assert await soon(waiting) == [1, 1]
        await asyncio.sleep(0.5)
        assert spent.puts == 0, spent
        assert spent.count(is_listing) <= 1, spent
        assert (
            spent.count(lambda request: is_manifest(request) and request.status == 200 and not is_listing(request)) <= 1
        )
        values_read = [each for each in spent._requests if not is_listing(each) and not is_manifest(each)]
        assert sorted(each.path for each in values_read) == [f"/{bucket}/k1", f"/{bucket}/k2"], spent
        assert spent.others <= 4, spent
        for task in unmoved:
            task.cancel()
        await asyncio.wait(unmoved)


async def test_100_puts_without_awaiting_are_few_commits(warmed):
    async with warmed() as (one, spent):
        await asyncio.gather(*(one.put(f"k{number}", number) for number in range(100)))
        assert spent.puts == spent.manifest_puts <= 5, spent
        assert spent.others <= spent.manifest_puts, spent


async def test_100_puts_of_objects_without_awaiting_are_100_puts_and_few_commits(warmed):
    async with warmed(inline=0) as (one, spent):
        writes = [one.put(f"k{number}", number) for number in range(100)]
        for write in writes:
            await write
        assert spent.manifest_puts <= 5, spent
        assert spent.puts - spent.manifest_puts == 100, spent
        assert spent.others <= spent.manifest_puts, spent


async def test_puts_of_one_key_without_awaiting_send_only_some_values(warmed):
    async with warmed(inline=0) as (one, spent):
        await asyncio.gather(*(one.put("k", number) for number in range(100)))
        assert spent.puts - spent.manifest_puts <= 2, spent


async def test_opening_is_cheap(bucket, s3_config, counting_proxy):
    async with client(bucket, s3_config) as other:
        await other.put("k", 0)
    async with client(bucket, s3_config | {"endpoint_url": counting_proxy.url}, poll_interval=30) as one:
        await one.get("k")
        spent = Spent(counting_proxy.requests)
        assert spent.puts == 0, spent
        assert spent.count() <= 6, spent
