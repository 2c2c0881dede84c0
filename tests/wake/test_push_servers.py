"""Wake-ups by real servers: two clients whose polls are an hour apart hear of each other at once."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest
from helpers import BUCKET, eventually, no_task_left, soon
from wake.servers import SECRET, PushServer, push_server

from mps3 import MPS3, MemoryStorage

__all__ = ["push_server"]  # a fixture


def make(storage: MemoryStorage, server: PushServer) -> MPS3:
    return MPS3(BUCKET, storage=storage, wake=server.wake(), poll_interval=3600)


def works(client: MPS3) -> bool:
    return client._waker._works_since is not None  # type: ignore[union-attr]


async def test_a_change_is_heard_at_once(push_server: Any) -> None:
    storage = MemoryStorage()
    async with no_task_left(), make(storage, push_server) as writer, make(storage, push_server) as reader:
        await eventually(lambda: works(writer) and works(reader))
        async with reader.subscribe("k") as values:
            assert await soon(anext(values)) is None
            for number in range(20):
                await writer.put("k", number)
                assert await soon(anext(values)) == number


async def test_a_server_that_is_killed_and_started_again(push_server: Any, caplog: pytest.LogCaptureFixture) -> None:
    storage = MemoryStorage()
    caplog.set_level(logging.DEBUG)
    async with make(storage, push_server) as writer, make(storage, push_server) as reader:
        await eventually(lambda: works(writer) and works(reader))
        async with reader.subscribe("k") as values:
            assert await soon(anext(values)) is None
            for number in range(3):
                push_server.kill()
                await eventually(lambda: not works(writer) and not works(reader))
                write = writer.put("k", number)
                await asyncio.to_thread(push_server.start)
                assert await soon(anext(values)) == number
                await write
                await eventually(lambda: works(writer) and works(reader))
    assert SECRET not in caplog.text
    assert SECRET not in repr(push_server.wake())


async def test_a_server_that_is_not_there_is_no_reason_not_to_work(push_server: Any) -> None:
    push_server.kill()
    storage = MemoryStorage()
    async with make(storage, push_server) as writer, make(storage, push_server) as reader:
        await writer.put("k", 1)
        assert await reader.get("k") == 1
        await asyncio.to_thread(push_server.start)
        await eventually(lambda: works(writer) and works(reader))


async def test_what_others_send_there_does_no_harm(push_server: Any) -> None:
    storage = MemoryStorage()
    async with make(storage, push_server) as writer, make(storage, push_server) as reader:
        await eventually(lambda: works(writer) and works(reader))
        async with push_server.wake().connect() as stranger:
            for number in range(3000):
                await stranger.publish(b"x" * 1000 if number % 3 else b'["", 7]')
            async with reader.subscribe("k") as values:
                assert await soon(anext(values)) is None
                await writer.put("k", 1)
                assert await soon(anext(values)) == 1
