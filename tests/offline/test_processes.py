"""Processes share one directory, and one of them is killed."""

from __future__ import annotations

import asyncio
import sys

import pytest
from helpers import eventually

from mps3 import MPS3, LocalStorage

WRITER = """
import asyncio, sys
from mps3 import MPS3, LocalStorage

async def main(name, store, directory):
    async with MPS3("bucket", storage=LocalStorage(store), offline=directory, poll_interval=0.05) as client:
        if name == "doomed":
            client.go_offline()
        for number in range(50):
            await client.put_all({f"only/{name}/{number}": number, f"latest/{name}": number}).kept()
        print("kept", client.status().pending, flush=True)
        if name == "doomed":
            await asyncio.Event().wait()
        await asyncio.to_thread(sys.stdin.readline)

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.fixture
async def start(tmp_path):
    processes = []

    async def start(name):
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            WRITER,
            name,
            str(tmp_path / "store"),
            str(tmp_path / "offline"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        processes.append(process)
        return process

    yield start
    for process in processes:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def test_each_has_its_own_outbox_and_takes_over_only_from_the_dead(start, tmp_path):
    async with asyncio.timeout(60):
        doomed, healthy = await start("doomed"), await start("healthy")
        assert (await doomed.stdout.readline()).split() == [b"kept", b"50"]
        assert (await healthy.stdout.readline()).startswith(b"kept")
        options = {"storage": LocalStorage(tmp_path / "store"), "poll_interval": 0.05}
        async with MPS3("bucket", **options, offline=tmp_path / "offline") as client:
            assert client.status().pending == 0
            assert await client.get("latest/doomed", "nothing") == "nothing"
            assert len(list((tmp_path / "offline" / "outbox").glob("*.sqlite3"))) == 3
        doomed.kill()
        await doomed.wait()
        async with MPS3("bucket", **options, offline=tmp_path / "offline") as client:
            assert await client.get("latest/doomed") == 49
            await eventually(lambda: client.status().pending == 0)
        healthy.stdin.write(b"\n")
        assert await healthy.wait() == 0
    async with MPS3("bucket", **options) as client:
        for name in ("doomed", "healthy"):
            assert [await client.get(f"only/{name}/{number}") for number in range(50)] == list(range(50))
            assert await client.get(f"latest/{name}") == 49
    assert not list((tmp_path / "offline" / "outbox").glob("*.sqlite3"))


async def test_only_one_of_many_takes_over(start, tmp_path):
    async with asyncio.timeout(60):
        doomed = await start("doomed")
        await doomed.stdout.readline()
        doomed.kill()
        await doomed.wait()
        clients = [
            MPS3("bucket", storage=LocalStorage(tmp_path / "store"), offline=tmp_path / "offline", online=True)
            for _ in range(4)
        ]
        await asyncio.gather(*(client.__aenter__() for client in clients))
        owners = [client for client in clients if len(client._outbox_queues) == 2]
        assert len(owners) == 1
        await eventually(lambda: owners[0].status().pending == 0)
        for client in clients:
            assert await client.get("latest/doomed") == 49
        await asyncio.gather(*(client.aclose() for client in clients))
