"""What was seen can be seen again without the store, and a cache that is broken does no harm."""

from __future__ import annotations

import asyncio
import hashlib
import sqlite3

import pytest
from commits import is_commit
from helpers import BUCKET, MANIFEST, eventually, soon

from mps3 import FormatError, UnavailableError
from mps3.journal import levels
from mps3.offline.cache import FileCache
from mps3.storage import Object
from mps3.types import Ref


async def reopened_offline(device, client, **options):
    await device.end(client)
    return await device.begin(online=False, **options)


async def test_values_that_were_read_or_written_are_there_offline(device):
    stranger = await device.begin(offline=None, inline=0)
    await stranger.put_all({"read": 1, "unread": 2})
    client = await device.begin(inline=0)
    await client.get("read")
    await client.put("written", 3)
    client = await reopened_offline(device, client)
    assert (await client.get("read"), await client.get("written")) == (1, 3)
    with pytest.raises(UnavailableError):
        await client.get("unread")


async def test_a_value_that_was_collected_is_no_damage_while_it_is_not_known_what_there_is_now(device):
    stranger = await device.begin(offline=None, inline=0)
    version = (await stranger.put("k", 1)).versions["k"]
    client = await device.begin(inline=0)
    assert await client.keys() == ["k"]
    await device.end(client)
    await stranger.put("k", 2)
    device.storage.fail = lambda operation, key: UnavailableError("no answer") if key.startswith(MANIFEST) else None
    client = await device.begin(inline=0)
    await device.storage.delete(BUCKET, "k", version=version)
    await device.storage.delete(BUCKET, f"k@{version}")
    with pytest.raises(UnavailableError):
        await client.get("k")
    async with client.subscribe("k") as values:
        value = asyncio.ensure_future(anext(values))
        await asyncio.sleep(0.05)
        assert not value.done()
        device.storage.up()
        assert await soon(value) == 2
    assert await client.get("k") == 2


async def test_a_restarted_client_never_shows_less_than_it_has_shown(device):
    client = await device.begin()
    stranger = await device.stranger()
    for number in range(20):
        await stranger.put("n", number)
        seen = await client.get("n")
        assert seen == number
    await device.kill(client)
    client = await device.begin(online=False)
    assert await client.get("n") == 19


async def test_runs_are_there_offline(device, monkeypatch):
    monkeypatch.setattr(levels, "SPILL", 200)
    monkeypatch.setattr(levels, "CHECKPOINT", 200)
    monkeypatch.setattr(levels, "CHECKPOINT_OVER_RUNS", 200)
    monkeypatch.setattr("mps3.journal.merge.journal.MergeJournal.__init__.__kwdefaults__", {"window": 0.05})
    monkeypatch.setattr("mps3.journal.log.tail.EVERY", 2)
    client = await device.begin()

    async def spilled():
        await client.put_all({f"k/{number}": number for number in range(10)})
        keys = [entry.key for entry in (await device.storage.list(BUCKET, f"{MANIFEST}.runs/")).entries]
        return len(keys) >= 2

    await eventually(spilled)
    client = await reopened_offline(device, client)
    assert [await client.get(f"k/{number}") for number in range(10)] == list(range(10))


async def test_the_least_recently_used_values_go_first(device):
    client = await device.begin(cache_bytes=40_000)
    await client.put("kept", "k" * 8_000)
    for number in range(12):
        await client.put(f"v/{number}", "x" * 8_000)
        client._contents._cache._bodies.clear()
        client._contents._cache._size = 0
        assert await client.get("kept") == "k" * 8_000
    client = await reopened_offline(device, client)
    assert await client.get("kept") == "k" * 8_000
    assert await client.get("v/11") == "x" * 8_000
    with pytest.raises(UnavailableError):
        await client.get("v/0")
    rows = list(await client._directory.cache._connection.execute_fetchall("SELECT sum(size) FROM objects"))
    assert rows[0][0] <= 50_000


@pytest.mark.parametrize("damage", ["garbage", "cut", "other tables", "flipped"])
async def test_a_damaged_cache_is_put_aside_and_made_anew(device, damage, caplog):
    client = await device.begin()
    await client.put_all({f"k/{number}": "x" * 100 for number in range(100)})
    client.go_offline()
    await client.put("pending", 1).kept()
    await device.kill(client)
    file = device.directory / "cache.sqlite3"
    whole = file.read_bytes()
    match damage:
        case "garbage":
            file.write_bytes(b"\x00\x01garbage" * 500)
        case "cut":
            file.write_bytes(whole[: len(whole) // 2])
        case "other tables":
            file.unlink()
            with sqlite3.connect(file) as connection:
                connection.execute("CREATE TABLE x (y)")
                connection.execute("PRAGMA user_version = 1")
            connection.close()
        case "flipped":
            file.write_bytes(whole[:4096] + bytes(byte ^ 0x55 for byte in whole[4096:]))
    client = await device.begin()
    assert await client.get("k/7") == "x" * 100
    assert await client.get("pending") == 1
    await eventually(lambda: client.status().pending == 0)
    if damage != "cut":
        assert "cache" in caplog.text
    await device.end(client)
    client = await device.begin(online=False)
    assert await client.get("k/7") == "x" * 100


async def test_a_damaged_value_in_the_cache_is_fetched_again(device):
    client = await device.begin()
    await client.put("a", "sound")
    await device.end(client)
    with sqlite3.connect(device.directory / "cache.sqlite3") as connection:
        connection.execute("UPDATE objects SET body = ?", [b'"damaged"'])
    connection.close()
    client = await device.begin()
    assert await client.get("a") == "sound"


async def test_a_cache_of_a_newer_version_is_left_as_it_is(device):
    client = await device.begin()
    await device.end(client)
    with sqlite3.connect(device.directory / "cache.sqlite3") as connection:
        connection.execute("PRAGMA user_version = 2")
    connection.close()
    with pytest.raises(FormatError, match="upgrade, or remove it"):
        await device.begin()


async def test_while_the_disk_is_full_the_cache_is_read_and_afterwards_it_is_written_again(device, caplog):
    client = await device.begin()
    await client.put("before", 1)
    connection = client._directory.cache._connection
    await connection.execute("PRAGMA max_page_count = 1")
    for number in range(3):
        await client.put("large", [number, "x" * 300_000])
    assert await client.get("large") == [2, "x" * 300_000]
    assert caplog.text.count("cannot be used") == 1
    client._contents._cache._bodies.clear()
    client.go_offline()
    assert await client.get("before") == 1
    client.go_online()
    await connection.execute("PRAGMA max_page_count = 100000")
    await client.put("after", 3)
    client = await reopened_offline(device, client)
    assert (await client.get("before"), await client.get("after")) == (1, 3)


async def test_an_older_state_does_not_replace_a_newer_one(tmp_path):
    one, two = FileCache(tmp_path / "cache.sqlite3"), FileCache(tmp_path / "cache.sqlite3")
    await one.open()
    await two.open()
    ref = Ref(MANIFEST, BUCKET)
    await one.keep_state(ref, b"newer", 5.0, [])
    await two.keep_state(ref, b"older", 4.0, [])
    assert await two.state(ref) == b"newer"
    await two.keep_state(ref, b"newest", 6.0, [])
    assert await one.state(ref) == b"newest"
    one.add(BUCKET, "k", "v", b"body")
    await one.aclose()
    assert await two.get(BUCKET, "k", "v") == b"body"
    await two.aclose()


async def test_a_manifest_that_is_empty_is_known_to_be(device):
    client = await reopened_offline(device, await device.begin())
    assert await client.get("a", "absent") == "absent"


async def test_the_store_is_not_asked_for_what_the_cache_has(device):
    client = await device.begin()
    commit = await client.put("a", [1, 2, 3])
    await device.end(client)
    client = await device.begin()
    device.storage.calls.clear()
    assert await client.get("a") == [1, 2, 3]
    asked = [key for operation, key in device.storage.calls if operation == "get"]
    assert all(is_commit(key) for key in asked)
    found = await device.storage.get(BUCKET, "a", version=commit.versions["a"])
    if isinstance(found, Object):
        assert hashlib.sha256(found.body).hexdigest()
