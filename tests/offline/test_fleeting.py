"""What is of no use later is not brought back by a later life."""

from __future__ import annotations

import asyncio
import sqlite3
from datetime import datetime, timedelta, timezone

import pytest
from helpers import COMMIT, Clock, eventually

from mps3.support.environment import Environment
from offline.device import drained


def kept(device):
    """How many writes are in the outboxes."""
    count = 0
    for file in (device.directory / "outbox").glob("*.sqlite3"):
        with sqlite3.connect(f"file:{file}?mode=ro", uri=True) as connection:
            count += connection.execute("SELECT count(*) FROM writes").fetchone()[0]
        connection.close()
    return count


class LaterWorld(Environment):
    """One whose wall clock is ahead."""

    def __init__(self, ahead):
        super().__init__()
        self.ahead = timedelta(seconds=ahead)

    def now(self):
        return datetime.now(timezone.utc) + self.ahead


async def test_a_presence_is_not_kept_and_no_ghost_comes_back(device):
    client = await device.begin()
    client.go_offline()
    here = client.presence("room", "ann", {"color": "red"}, expires_in=1000)
    await here.__aenter__()
    here.update({"color": "blue"})
    await client.put("stays", 1).kept()
    assert await client.get("room/ann") == {"color": "blue"}
    here._renewing.cancel()
    await device.kill(client)
    assert kept(device) == 1
    again = await device.begin()
    await drained(again)
    stranger = await device.stranger()
    assert await stranger.get_all() == {"stays": 1}


async def test_who_left_offline_does_not_take_the_member_from_a_later_client(device):
    client = await device.begin()
    async with client.presence("room", "ann", expires_in=1000):
        await eventually(lambda: not client.status().pending)
        client.go_offline()
    await device.kill(client)
    again = await device.begin()
    async with again.presence("room", "ann", expires_in=1000):
        await drained(again)
        stranger = await device.stranger()
        assert await stranger.keys("room/") == ["room/ann"]


async def test_leaving_and_closing_offline_is_no_error(device, caplog):
    client = await device.begin()
    async with client.presence("room", "ann"):
        await drained(client)
        client.go_offline()
    await device.end(client)
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


@pytest.mark.parametrize("how", ["kill", "end"])
async def test_what_was_to_expire_is_not_sent_once_its_time_is_over(device, how):
    client = await device.begin()
    await client.put_all({"lease": "before", "taken": "before"})
    client.go_offline()
    await client.put("ghost", 1, expires_in=30).kept()
    await client.put_all({"ghost/2": 1, "ghost/3": 1}, expires_in=30).kept()
    await client.put_all({"lease": "mine", "taken": "mine"}, expires_in=30).kept()
    await client.put("twice", "earlier").kept()
    await client.put("twice", "later", expires_in=30).kept()
    await client.put("lasting", 1, expires_in=1000).kept()
    await client.put("stays", 1).kept()
    await getattr(device, how)(client)
    stranger = await device.stranger()
    await stranger.put_all({"taken": "by another", "ghost/3": "of another"})

    again = await device.begin(online=False, environment=LaterWorld(31))
    for key in ("ghost", "lease", "twice"):  # it would be gone if it had been sent
        assert await again.get(key, "absent") == "absent"
    again.go_online()
    await drained(again)
    left = {"lasting": 1, "taken": "by another", "ghost/3": "of another", "stays": 1}
    assert await stranger.get_all() == left
    assert await again.get_all() == left
    await device.end(again)
    assert kept(device) == 0


async def test_what_was_to_expire_has_the_time_that_is_left(device):
    device.storage._clock = clock = Clock()
    client = await device.begin()
    client.go_offline()
    await client.put("k", 1, expires_in=100).kept()
    await device.kill(client)
    again = await device.begin(environment=LaterWorld(60))
    await drained(again)
    stranger = await device.stranger()
    clock.later(35)
    assert await stranger.get("k") == 1
    clock.later(10)
    assert await stranger.get("k", "absent") == "absent"


async def test_what_had_left_and_was_to_expire_is_not_sent_again_once_its_time_is_over(device):
    client = await device.begin()
    device.storage.hold("put", COMMIT)
    device.storage.calls.clear()
    client.put("ghost", 1, expires_in=30)
    client.put("stays", 1)
    await eventually(lambda: device.storage.count("put", COMMIT))
    await device.kill(client)
    device.storage.release()
    again = await device.begin(environment=LaterWorld(31))
    await drained(again)
    assert await again.get_all() == {"stays": 1}
    device.storage.hold("put", COMMIT)
    device.storage.calls.clear()
    again.put("ghost", 1, expires_in=30)
    await eventually(lambda: device.storage.count("put", COMMIT))
    await device.kill(again)
    device.storage.release()
    last = await device.begin(environment=LaterWorld(62))
    await drained(last)
    assert await last.get_all() == {"stays": 1}
    await last.put("more", 1)
    await device.end(last)
    assert kept(device) == 0


async def test_a_clock_that_was_set_back_makes_nothing_last_longer(device):
    client = await device.begin()
    client.go_offline()
    await client.put("k", 1, expires_in=0.2).kept()
    await device.kill(client)
    await asyncio.sleep(0.25)
    again = await device.begin(environment=LaterWorld(-3600))
    await drained(again)
    assert await again.get("k", "absent") == "absent"
    assert await again.keys() == []
