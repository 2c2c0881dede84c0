"""Opening without ``async with``, and what a client calls itself."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from helpers import memory_client, no_task_left

from mps3 import MPS3, ClosedError, LocalStorage, MemoryStorage, Ref, UnavailableError
from mps3.testing import FaultyStorage


async def test_open_returns_the_client():
    async with no_task_left():
        made = memory_client(MemoryStorage())
        client = await made.open()
        assert client is made
        await client.put("k", 1)
        await client.aclose()
        with pytest.raises(ClosedError):
            await client.get("k")


async def test_a_client_can_be_awaited():
    async with no_task_left():
        made = MPS3.from_url("memory:")
        client = await made
        assert client is made
        await client.put("k", 1)
        assert await client.get("k") == 1
        await client.aclose()


async def test_what_has_not_been_opened_says_how():
    client = memory_client(MemoryStorage())
    with pytest.raises(ClosedError, match="await MPS3"):
        client.put("k", 1)


@pytest.mark.parametrize("again", [MPS3.open, MPS3.__aenter__], ids=["open", "async with"])
async def test_a_client_is_opened_once(again):
    client = await memory_client(MemoryStorage())
    with pytest.raises(ClosedError, match="opened before"):
        await again(client)
    with pytest.raises(ClosedError, match="opened before"):
        await client
    await client.put("k", 1)  # it is none the worse for it
    await client.aclose()
    with pytest.raises(ClosedError, match="opened before"):
        await again(client)


async def test_what_could_not_be_opened_leaves_nothing():
    store = FaultyStorage()
    store.fail(100, error=UnavailableError("away"))
    async with no_task_left():
        for start in (MPS3.open, MPS3.__aenter__):
            client = MPS3("bucket", storage=store)
            with pytest.raises(UnavailableError):
                await start(client)
            await client.aclose()


async def test_who_is_cancelled_while_opening_leaves_nothing():
    store = FaultyStorage()
    with store.hang():
        async with no_task_left():
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(MPS3("bucket", storage=store).open(), 0.05)


async def test_an_open_client_that_is_dropped_is_reported():
    client = await MPS3.from_url("memory:")
    with pytest.warns(ResourceWarning, match="memory:.* was not closed"):
        client.__del__()
    await client.aclose()


REPR: dict[str, Any] = {
    "s3://bucket/manifest.json": lambda path: MPS3("bucket", s3_config={"aws_secret_access_key": "SECRET"}),
    "s3://other/m": lambda path: MPS3("bucket", Ref("m", "other")),
    "s3://b/a/m": lambda path: MPS3.from_url("s3://b/a/m?endpoint_url=http://localhost:1&aws_secret_access_key=SECRET"),
    "manifest.json in file://{path}": lambda path: MPS3.from_url(f"file://{path}"),
    "a/m&n in file://{path}": lambda path: MPS3.from_url(f"file://{path}?manifest=a/m%26n"),
    "b/manifest.json in file://{path}": lambda path: MPS3("b", storage=LocalStorage(path)),
    "manifest.json in file://{path}/with%20space%3F": lambda path: MPS3.from_url(f"file://{path}/with%20space%3F"),
    "manifest.json in memory:": lambda path: MPS3.from_url("memory:"),
    "manifest.json in memory:a%20b": lambda path: MPS3.from_url("memory:a b"),
    "b/manifest.json in memory:": lambda path: MPS3("b", storage=MemoryStorage()),
    "bucket/manifest.json in FaultyStorage": lambda path: MPS3("bucket", storage=FaultyStorage()),
}


@pytest.mark.parametrize("expected", REPR)
def test_a_client_calls_itself_by_its_store(expected, tmp_path):
    client = REPR[expected](tmp_path)
    assert repr(client) == f"<MPS3 {expected.format(path=tmp_path.as_posix())}, new>"
    assert "SECRET" not in repr(client)
    if "file:" in expected:
        url = client._source.url
        assert MPS3.from_url(url)._source.url == url


async def test_and_says_whether_it_is_open(tmp_path):
    client = MPS3.from_url(f"file://{tmp_path}")
    await client.open()
    assert repr(client) == f"<MPS3 manifest.json in file://{tmp_path.as_posix()}, open>"
    await client.aclose()
    assert repr(client).endswith(", closed>")


def test_a_relative_directory_is_called_by_its_whole_path(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    client = MPS3("default", storage=LocalStorage(Path("here")))
    assert repr(client) == f"<MPS3 manifest.json in {(tmp_path / 'here').as_uri()}, new>"
