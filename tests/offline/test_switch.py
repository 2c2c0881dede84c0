"""Being online or not, and what is told of it."""

from __future__ import annotations

import asyncio

import pytest
from helpers import BUCKET, COMMIT, MANIFEST, eventually, no_task_left, settle, soon

from mps3 import MPS3, AccessError, ClosedError, ConfigurationError, MemoryStorage, UnavailableError


async def test_offline_on_purpose_nothing_is_asked(device):
    client = await device.begin()
    await client.put("a", 1)
    values = client.subscribe("a")
    assert await soon(anext(values)) == 1
    client.go_offline()
    await asyncio.sleep(0.1)
    device.storage.calls.clear()
    write = client.put("a", 2)
    assert await soon(anext(values)) == 2
    assert await soon(client.get("a"), 1) == 2
    await write.kept()
    await asyncio.sleep(0.5)
    assert write.pending
    assert device.storage.calls == []
    client.go_online()
    await soon(write)
    await eventually(lambda: client.status().online)


async def test_a_client_may_start_offline_without_a_single_request(device):
    first = await device.begin()
    await first.put_all({"a": 1, "b": [2]})
    await first.get("a")
    await device.end(first)
    device.storage.calls.clear()
    client = await device.begin(online=False)
    assert (await client.get("a"), await client.get("b"), await client.get("c", "absent")) == (1, [2], "absent")
    assert not client.status().online
    assert client.status().last_contact is None
    assert device.storage.calls == []
    client.go_online()
    await client.put("a", 3)
    assert client.status().online


async def test_a_client_opens_by_itself_while_the_network_is_down(device):
    first = await device.begin()
    await first.put("a", 1)
    await device.end(first)
    device.down()
    client = await device.begin()
    values = client.subscribe("a")
    assert await soon(anext(values)) == 1
    assert isinstance(client.status().last_error, UnavailableError)
    device.up()
    stranger = await device.stranger()
    await stranger.put("a", 2)
    assert await soon(anext(values)) == 2


async def test_a_store_that_hangs_is_not_waited_for_long(device, monkeypatch):
    monkeypatch.setattr("mps3.manifest.opener.OPENING", 0.2)
    first = await device.begin()
    await first.put("a", 1)
    await device.end(first)
    device.storage.hold_all()
    client = await soon(device.begin(), 2)
    assert await soon(client.get("a"), 2) == 1
    device.storage.release()
    await eventually(lambda: client.status().online)


async def test_other_manifests_than_the_default_are_there_offline_too(device, monkeypatch):
    monkeypatch.setattr("mps3.manifest.reachability.SILENCE", 0.3)
    first = await device.begin()
    await first.put("a", 1, manifests=["other.json"])
    await device.end(first)
    device.storage.calls.clear()
    client = await device.begin(online=False)
    values = client.subscribe("a", manifest="other.json")
    assert await soon(anext(values)) == 1
    assert await soon(client.get("a", manifest="other.json"), 1) == 1
    with pytest.raises(UnavailableError):
        await client.get("a", manifest="unheard of.json")
    assert device.storage.calls == []
    stranger = await device.stranger()
    await stranger.put("a", 2, manifests=["other.json"])
    client.go_online()
    assert await soon(anext(values)) == 2
    await device.end(client)

    device.down()
    client = await device.begin()
    assert await soon(client.get("a", manifest="other.json")) == 2
    await device.end(client)
    device.up()
    client = await device.begin()
    device.storage.hold("get", "other.json")
    assert await soon(client.get("a", manifest="other.json"), 2) == 2
    device.storage.release()


@pytest.mark.parametrize("under_way", ["a poll", "a commit"])
async def test_a_store_that_falls_silent_is_as_good_as_gone(device, monkeypatch, under_way):
    monkeypatch.setattr("mps3.manifest.reachability.SILENCE", 0.3)
    client = await device.begin()
    await client.put("a", 1)
    values = client.subscribe("a")
    assert await soon(anext(values)) == 1
    changes = client.status_changes()
    assert (await soon(anext(changes))).online
    device.storage.hold("get" if under_way == "a poll" else "put", COMMIT)
    write = client.put("b", 2) if under_way == "a commit" else None
    await eventually(lambda: not client.status().online)
    assert "not answered" in str(client.status().last_error)
    assert await soon(client.get("a"), 0.2) == 1  # it does not wait for an error that takes half a minute
    client.put("a", 3)
    assert await soon(anext(values)) == 3
    device.storage.release()
    await eventually(lambda: client.status().online and not client.status().pending)
    assert write is None or not write.pending


async def test_what_was_never_read_cannot_be_opened_offline(device):
    device.down()
    with pytest.raises(UnavailableError, match="cannot be opened offline, because it has never been read"):
        await device.begin()
    device.up()
    with pytest.raises(UnavailableError, match=r"go_online.* cannot be opened offline"):
        await device.begin(online=False)


def test_starting_offline_needs_a_directory():
    with pytest.raises(ConfigurationError, match="offline=DIRECTORY"):
        MPS3(BUCKET, storage=MemoryStorage(), online=False)
    with pytest.raises(ValueError, match="cache_bytes"):
        MPS3(BUCKET, storage=MemoryStorage(), offline="x", cache_bytes=-1)


async def test_with_a_warm_cache_a_refusal_is_still_an_error_at_opening(device):
    first = await device.begin()
    await first.put("a", 1)
    await device.end(first)
    device.storage.refuse(AccessError("no", bucket=BUCKET, key=MANIFEST, operation="GetObject"), operation="get")
    with pytest.raises(AccessError):
        await device.begin()


async def test_the_status_says_what_waits_since_when(device):
    client = await device.begin()
    assert client.status().oldest_pending is None
    client.go_offline()
    before = client.status()
    client.put("a", 1)
    client.put("b", 1)
    status = client.status()
    assert (status.online, status.pending) == (False, 2)
    assert status.oldest_pending is not None
    assert status.oldest_pending >= before.last_contact


async def test_status_changes_begin_with_the_present_and_skip_to_the_newest(device):
    client = await device.begin()
    changes = client.status_changes()
    assert (await soon(anext(changes))).pending == 0
    client.go_offline()
    for number in range(10):
        client.put(f"k/{number}", number)
    found = await soon(anext(changes))
    assert (found.online, found.pending) == (False, 10)
    waiting = asyncio.create_task(anext(changes))
    await asyncio.sleep(0.1)
    assert not waiting.done()
    client.go_online()
    found = await soon(waiting)
    while found.pending or not found.online:
        found = await soon(anext(changes))
    rest = asyncio.create_task(anext(changes, None))
    await settle()
    await device.end(client)
    assert await soon(rest) is None
    with pytest.raises(ClosedError):
        client.status_changes()


async def test_a_loss_of_the_network_is_a_change(device):
    client = await device.begin()
    changes = client.status_changes()
    assert (await soon(anext(changes))).online
    device.down()
    found = await soon(anext(changes))
    assert not found.online
    assert found.last_error is not None
    device.up()
    found = await soon(anext(changes))
    assert found.online
    await changes.aclose()
    with pytest.raises(StopAsyncIteration):
        await anext(changes)


async def test_who_is_dropped_is_not_told(device):
    client = await device.begin()
    async with no_task_left():
        for _ in range(100):
            await anext(client.status_changes())
    assert len(client._connection.watchers._watchers) == 0


async def test_only_an_open_client_goes_offline(device):
    client = MPS3(BUCKET, storage=device.storage)
    for call in (client.go_offline, client.go_online):
        with pytest.raises(ClosedError):
            call()
