"""Ten clients in five processes write at once: nothing acknowledged is missing, and all see the same."""

from __future__ import annotations

import asyncio
import json
import sys
from collections import defaultdict
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
from multiplayer_worker import connect, see
from servers import MOTO

WORKER = Path(__file__).parents[1] / "multiplayer_worker.py"
PROCESSES = 5
CLIENTS = 2
PUTS = 50


class Worker:
    """A process with some clients, spoken to in lines of JSON."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def say(self, message: object) -> None:
        self._process.stdin.write(json.dumps(message).encode() + b"\n")
        await self._process.stdin.drain()

    async def hear(self) -> object:
        line = await self._process.stdout.readline()
        assert line, f"the worker ended with {await self._process.wait()}"
        return json.loads(line)


@asynccontextmanager
async def worker(settings: dict):
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(WORKER),
        json.dumps(settings),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=2**24,
    )
    try:
        yield Worker(process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        process._transport.close()


async def play(settings: dict, *, puts: int = PUTS, every: int = 1) -> None:
    """Play, then compare what each client reads of every so many keys, and what a late one reads of all."""
    async with asyncio.timeout(150), AsyncExitStack() as stack:
        workers = [
            await stack.enter_async_context(
                worker(
                    settings
                    | {
                        "names": [f"{number}.{client}" for client in range(CLIENTS)],
                        "distinct": puts,
                        "shared": puts,
                    }
                )
            )
            for number in range(PROCESSES)
        ]
        assert [await each.hear() for each in workers] == ["ready"] * PROCESSES
        for each in workers:
            await each.say("go")
        acknowledged = [put for each in workers for put in await each.hear()]
        assert len(acknowledged) == PROCESSES * CLIENTS * puts * 2

        written = defaultdict(list)
        for key, value, _, _ in acknowledged:
            written[key].append(value)
        keys = sorted(written)
        assert len(keys) == PROCESSES * CLIENTS * puts + 10
        for each in workers:
            await each.say(keys[::every])
        states = [state for each in workers for state in await each.hear()]
        async with connect(settings) as late:
            final = await see(late, keys)
        for each in workers:
            await each.say("end")

    assert len(states) == PROCESSES * CLIENTS
    assert all(state == {key: final[key] for key in keys[::every]} for state in states)
    for key, values in written.items():
        if key.startswith("own/"):
            assert final[key] == values[0]
        else:
            # Whoever's it is, it is the last that this client wrote to this key.
            name = final[key][0]
            assert final[key] == [value for value in values if value[0] == name][-1]


@pytest.mark.parametrize("journal", [pytest.param("merge", marks=pytest.mark.thorough), "log"])
@pytest.mark.server
async def test_over_a_server(bucket, s3_config, journal):
    slow = MOTO  # moto takes its time for each request
    smaller = {"puts": 20, "every": 4} if slow else {}
    await play({"bucket": bucket, "s3_config": s3_config, "journal": journal}, **smaller)


@pytest.mark.parametrize("journal", ["merge", "log"])
async def test_over_a_directory(tmp_path, journal):
    await play({"bucket": "bucket", "path": str(tmp_path), "journal": journal})
