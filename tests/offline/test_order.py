"""What several processes that died have left is sent in the order in which it was made."""

from __future__ import annotations

import itertools
from datetime import datetime, timedelta, timezone

import pytest
from helpers import COMMIT, eventually, soon

from mps3.support.environment import Environment
from offline.device import drained


class SetWorld(Environment):
    """One whose wall clock can be set."""

    ahead = timedelta()

    def now(self):
        return datetime.now(timezone.utc) + type(self).ahead


@pytest.mark.parametrize("order", list(itertools.permutations(range(3)))[1:])
async def test_the_newest_edit_of_processes_that_died_stays_the_newest(device, order):
    clients = [await device.begin() for _ in range(3)]
    for client in clients:
        client.go_offline()
    for turn in range(2):
        for number in order:
            await clients[number].put_all({"k": f"{turn} {number}", f"of/{number}": turn}).kept()
    for client in clients:
        await device.kill(client)
    again = await device.begin()
    await drained(again)
    stranger = await device.stranger()
    assert await stranger.get("k") == f"1 {order[-1]}"
    assert [await stranger.get(f"of/{number}") for number in range(3)] == [1, 1, 1]


async def test_the_order_is_not_that_of_clocks_that_are_set(device, monkeypatch):
    monkeypatch.setattr(SetWorld, "ahead", timedelta())
    one = await device.begin(environment=SetWorld())
    one.go_offline()
    await one.put("k", 1).kept()
    SetWorld.ahead = timedelta(hours=-1)
    two = await device.begin(environment=SetWorld())
    two.go_offline()
    await two.put("k", 2).kept()
    SetWorld.ahead = timedelta(hours=-2)
    await one.put("k", 3).kept()
    await two.put("k", 4).kept()
    await device.kill(two)
    await device.kill(one)
    SetWorld.ahead = timedelta(hours=-3)
    again = await device.begin(environment=SetWorld(), online=False)
    assert await again.get("k") == 4
    await again.put("k", 5).kept()
    await device.kill(again)
    last = await device.begin(environment=SetWorld())
    await drained(last)
    assert await last.get("k") == 5


async def test_the_order_goes_on_after_the_machine_was_started_anew(device, monkeypatch):
    starts = iter(("first", "second", "second", "third"))
    current = ""
    monkeypatch.setattr("mps3.offline.store_file.boot_id", lambda: current)
    offset = 0.0
    monkeypatch.setattr(Environment, "monotonic", lambda self: __import__("time").monotonic() - offset)
    values = []
    for number, current in enumerate(starts):  # noqa: B007 - boot_id() returns it
        offset += 1000.0  # the monotonic clock begins anew
        client = await device.begin(online=False) if number else await device.begin()
        client.go_offline()
        await client.put("k", number).kept()
        values.append(number)
        await device.kill(client)
    offset = 0.0
    again = await device.begin(online=False)
    assert await again.get("k") == values[-1]


async def test_what_had_left_is_sent_as_one_among_the_writes_of_others(device):
    """One commit is on its way, never answered and never there, when both die; the other has an older and a newer."""
    one, two = await device.begin(), await device.begin()
    two.go_offline()
    await two.put_all({"a": "older", "only/two": 1}).kept()
    device.storage.hold("put", COMMIT)
    device.storage.calls.clear()
    one.put("a", "sent")
    one.put("b", "sent")
    await eventually(lambda: device.storage.count("put", COMMIT))
    await one.put("c", "later").kept()
    await two.put("b", "newer").kept()
    await two.put("c", "newest").kept()
    await device.kill(one)
    await device.kill(two)
    device.storage.release()
    again = await device.begin()
    await drained(again)
    stranger = await device.stranger()
    found = await stranger.get_all(["a", "b", "c", "only/two"])
    assert found == {"a": "sent", "b": "newer", "c": "newest", "only/two": 1}


async def test_writes_of_an_older_version_go_by_when_they_say_that_they_were_made(device):
    clients = [await device.begin(), await device.begin()]
    for client in clients:
        client.go_offline()
    await clients[1].put("k", "older").kept()
    await clients[0].put("k", "newer").kept()
    for client in clients:
        await client._outbox_queues[0]._durable_outbox._connection.execute("UPDATE writes SET stamp = NULL")
        await device.kill(client)
    again = await device.begin()
    await drained(again)
    assert await again.get("k") == "newer"
    await soon(again.put("k", "newest"))
