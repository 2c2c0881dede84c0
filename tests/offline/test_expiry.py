"""What expires, of a client that keeps its writes."""

from __future__ import annotations

import sqlite3

import orjson
from helpers import Clock, eventually

from mps3 import AccessError
from offline.device import drained

HOUR = 3600.0


async def test_the_time_counts_from_when_a_kept_write_reached_the_store(device):
    device.storage._clock = clock = Clock()
    client = await device.begin()
    client.go_offline()
    await client.put("k", 1, expires_in=30).kept()
    await client.put("stays", 1).kept()
    clock.later(HOUR)
    assert await client.get("k") == 1
    await device.kill(client)

    again = await device.begin(online=False)
    assert await again.get("k") == 1
    again.go_online()
    await drained(again)
    clock.later(25)
    stranger = await device.stranger()
    assert await stranger.get_all() == {"k": 1, "stays": 1}
    clock.later(10)
    assert await stranger.get_all() == await again.get_all() == {"stays": 1}


async def test_a_refused_write_is_retried_with_its_time(device):
    device.storage._clock = clock = Clock()
    client = await device.begin(inline=0)
    client.go_offline()
    await client.put("k", 1, expires_in=30).kept()
    device.storage.refuse(AccessError("no"), key="k" if device.storage._versioning else None)
    client.go_online()
    await eventually(client.rejected)
    device.storage.up()
    (rejected,) = client.rejected()
    await rejected.retry()
    assert await client.get("k") == 1
    clock.later(31)
    assert await client.get("k", "absent") == "absent"


async def test_an_outbox_of_the_first_schema_is_read(device):
    client = await device.begin()
    client.go_offline()
    await client.put_all({"a": 1, "b": 2}).kept()
    await device.kill(client)
    (file,) = (device.directory / "outbox").glob("*.sqlite3")
    with sqlite3.connect(file) as connection:
        ((changes,),) = connection.execute("SELECT changes FROM writes")
        older = orjson.dumps([row[:6] for row in orjson.loads(changes)])
        connection.execute("UPDATE writes SET changes = ?", (older,))
        connection.execute("PRAGMA user_version = 1")
    connection.close()
    again = await device.begin()
    await drained(again)
    assert await again.get_all() == {"a": 1, "b": 2}


async def test_what_replaces_a_value_on_reconnecting_expires_like_it(device):
    device.storage._clock = clock = Clock()

    def merge(offer):
        for write in offer.conflicts:
            write.replace({"k": "both"})

    client = await device.begin(on_reconnect=merge)
    await client.put("k", 0)
    device.down()
    await eventually(lambda: not client.status().online)
    client.put("k", "mine", expires_in=30)
    device.up()
    client.go_offline()
    stranger = await device.stranger()
    await stranger.put("k", "theirs")
    client.go_online()
    await drained(client)
    assert await stranger.get("k") == "both"
    clock.later(31)
    assert await stranger.get("k", "absent") == "absent"
