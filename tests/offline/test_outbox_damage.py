"""The outbox where the disk is full, files are damaged, or a directory cannot be used."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from helpers import COMMIT, eventually, soon

from mps3 import AccessError, CorruptionError, FormatError, UnavailableError
from mps3.offline.directory import SCHEMAS
from offline.device import drained, outboxes


async def test_a_full_disk_keeps_nothing_and_loses_nothing(device, caplog):
    client = await device.begin()
    await client.put("a", 0).kept()
    connection = client._outbox_queues[0]._durable_outbox._connection
    await drained(client)
    await connection.execute("PRAGMA max_page_count = 1")
    write = client.put("large", "x" * 500_000)
    with pytest.raises(UnavailableError, match="full"):
        await write.kept()
    client.put("larger", "z" * 500_000)
    await eventually(lambda: caplog.text.count("could not be kept") == 1)  # once, though there are two
    await soon(write)  # it is sent all the same
    client.go_offline()
    lost = client.put("larger", "y" * 500_000)
    with pytest.raises(UnavailableError, match="full"):
        await lost.kept()
    await connection.execute("PRAGMA max_page_count = 100000")
    await client.put("b", 1).kept()
    client.go_online()
    await soon(lost)
    await drained(client)
    assert (await client.get("b"), await client.get("large")) == (1, "x" * 500_000)


async def test_a_commit_waits_while_it_cannot_be_recorded_that_it_leaves(device):
    client = await device.begin()
    client.go_offline()
    await client.put("a", 1).kept()
    durable_outbox = client._outbox_queues[0]._durable_outbox
    write = durable_outbox.write

    async def full(operations):
        raise UnavailableError("the disk is full")

    durable_outbox.write = full
    device.storage.calls.clear()
    client.go_online()
    await eventually(lambda: device.storage.count("get", COMMIT) >= 3)
    assert client.status().pending == 1
    assert device.storage.count("put", COMMIT) == 0
    durable_outbox.write = write
    await eventually(lambda: client.status().pending == 0)


async def test_a_damaged_outbox_is_left_as_it_is_and_said(device):
    client = await device.begin()
    client.go_offline()
    await client.put("a", "x" * 10_000).kept()
    await device.kill(client)
    (file,) = outboxes(device)
    sound = file.read_bytes()
    file.write_bytes(b"not a database at all" * 1000)
    with pytest.raises(CorruptionError, match=r"the outbox .* is damaged.*move it away"):
        await device.begin()
    assert file.read_bytes() == b"not a database at all" * 1000
    file.write_bytes(sound)
    again = await device.begin()
    await drained(again)
    assert await again.get("a") == "x" * 10_000


async def test_an_outbox_of_a_newer_version_is_left_as_it_is(device):
    client = await device.begin()
    client.go_offline()
    await client.put("a", 1).kept()
    await device.kill(client)
    (file,) = outboxes(device)
    with sqlite3.connect(file) as connection:
        connection.execute(f"PRAGMA user_version = {len(SCHEMAS) + 1}")
    connection.close()
    with pytest.raises(FormatError, match="newer mps3"):
        await device.begin()
    with sqlite3.connect(file) as connection:
        connection.execute(f"PRAGMA user_version = {len(SCHEMAS)}")
    connection.close()
    again = await device.begin()
    await drained(again)


async def test_a_directory_that_is_none(device, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(Exception, match="cannot be a directory") as caught:
        await device.begin(offline=tmp_path / "file")
    assert type(caught.value).__name__ == "ConfigurationError"


@pytest.mark.skipif(not Path("/sys/kernel").is_dir(), reason="there is no file system that nobody may write to")
async def test_a_directory_that_cannot_be_written(device):
    with pytest.raises(AccessError, match="let this user write to it"):
        await device.begin(offline="/sys/kernel/mps3")
