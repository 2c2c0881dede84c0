"""A client that is used from another event loop, or another thread, than its own."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import pytest
from helpers import memory_client, soon

from mps3 import MPS3, ClosedError, ConfigurationError, LocalStorage, MemoryStorage

WITHIN = 20.0


async def transact(client: MPS3) -> None:
    async def write(transaction: Any) -> None:
        transaction.put("k", 1)

    await client.transact(write)


async def block(client: MPS3) -> None:
    async with client.transaction():
        pass


async def enter(client: MPS3) -> None:
    async with client.presence("room", "ann"):
        pass


ASYNCHRONOUS: dict[str, Callable[[MPS3], Any]] = {
    "get": lambda client: client.get("k"),
    "get at": lambda client: client.get("k", at="c.1"),
    "get_all": lambda client: client.get_all(),
    "get_all of keys": lambda client: client.get_all(["k"]),
    "keys": lambda client: client.keys(),
    "history": lambda client: client.history("k"),
    "log": lambda client: client.log(),
    "snapshot": lambda client: client.snapshot(),
    "restore": lambda client: client.restore("k", "c.1"),
    "restore_all": lambda client: client.restore_all("c.1"),
    "update": lambda client: client.update("k", lambda value: value),
    "update of a type": lambda client: client.typed(int).update("k", lambda value: 1),
    "get of a type": lambda client: client.typed(int).get("k"),
    "transact": transact,
    "transaction": block,
    "presence": enter,
    "collect": lambda client: client.collect(),
    "aclose": lambda client: client.aclose(),
    "leaving": lambda client: client.__aexit__(None, None, None),
}
SYNCHRONOUS: dict[str, Callable[[MPS3], Any]] = {
    "put": lambda client: client.put("k", 1),
    "put of a type": lambda client: client.typed(int).put("k", 1),
    "put_all": lambda client: client.put_all({"k": 1}),
    "patch": lambda client: client.patch("k", {}),
    "patch of a type": lambda client: client.typed(int).patch("k", {}),
    "patch_all": lambda client: client.patch_all({"k": {}}),
    "increment": lambda client: client.increment("k"),
    "delete": lambda client: client.delete("k"),
    "subscribe": lambda client: client.subscribe("k"),
    "watch": lambda client: client.watch(),
    "view": lambda client: client.view(),
    "transaction": lambda client: client.transaction(),
    "presence": lambda client: client.presence("room"),
    "status_changes": lambda client: client.status_changes(),
    "store_time": lambda client: client.store_time(),
    "go_offline": lambda client: client.go_offline(),
    "go_online": lambda client: client.go_online(),
}
GLANCES: dict[str, Callable[[MPS3], Any]] = {
    "status": lambda client: client.status(),
    "statistics": lambda client: client.statistics(),
    "rejected": lambda client: client.rejected(),
}


async def called(call: Callable[[MPS3], Any], client: MPS3) -> Any:
    found = call(client)
    return await soon(found, WITHIN) if asyncio.iscoroutine(found) else found


def own_loop(coroutine: Any) -> None:
    asyncio.run(coroutine)


def in_thread(call: Callable[[], Any]) -> Any:
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        return pool.submit(call).result(60)


@contextmanager
def elsewhere(where: str) -> Generator[MPS3]:
    """A client that is open in a loop which runs in another thread, stands still, or is closed."""
    if where == "thread":
        loop, opened = asyncio.new_event_loop(), threading.Event()
        thread = threading.Thread(target=lambda: (loop.call_soon(opened.set), loop.run_forever()))
        thread.start()
        opened.wait(60)
        client = asyncio.run_coroutine_threadsafe(memory_client(MemoryStorage()).open(), loop).result(60)
        try:
            yield client
        finally:
            asyncio.run_coroutine_threadsafe(client.aclose(), loop).result(60)
            loop.call_soon_threadsafe(loop.stop)
            thread.join(60)
            loop.close()
        return
    runner = asyncio.Runner()
    client = runner.run(memory_client(MemoryStorage()).open())
    if where == "closed":
        runner.close()
    try:
        yield client
    finally:
        if where == "closed":
            client._state = "closed"  # nobody can close it any more
        else:
            runner.run(client.aclose())
            runner.close()


@pytest.fixture(params=["thread", "standing", "closed"])
def client(request) -> Generator[MPS3]:
    with elsewhere(request.param) as client:
        yield client


@pytest.mark.parametrize("name", [*ASYNCHRONOUS, *SYNCHRONOUS, *GLANCES])
def test_every_call_from_another_loop_is_an_error_at_once(client, name):
    call = (ASYNCHRONOUS | SYNCHRONOUS | GLANCES)[name]
    with pytest.raises(ConfigurationError, match="event loop that it was opened in") as caught:
        own_loop(called(call, client))
    assert isinstance(caught.value, RuntimeError)


@pytest.mark.parametrize("name", SYNCHRONOUS)
def test_every_call_without_a_loop_is_an_error(client, name):
    with pytest.raises(ConfigurationError, match="event loop"):
        SYNCHRONOUS[name](client)


@pytest.mark.parametrize("name", GLANCES)
def test_looking_takes_no_loop_but_no_other_thread(name):
    with elsewhere("standing") as client:
        GLANCES[name](client)
        with pytest.raises(ConfigurationError, match="event loop"):
            in_thread(lambda: GLANCES[name](client))


def test_everything_public_is_tried():
    tried = {name.split()[0] for name in (*ASYNCHRONOUS, *SYNCHRONOUS, *GLANCES)}
    public = {name for name in dir(MPS3) if not name.startswith("_")}
    assert public - tried == {"from_url", "open", "typed"}


def test_what_a_client_has_given_is_of_no_use_elsewhere_either():
    async def make(client: MPS3) -> dict[str, Callable[[], Any]]:
        await client.put("k", 1)
        (revision,) = await client.history("k")
        subscription, watch, changes = client.subscribe("k"), client.watch(), client.status_changes()
        typed = client.typed(int).watch()
        presence, block, snapshot = client.presence("room"), client.transaction(), await client.snapshot()
        await anext(changes)
        client.go_offline()
        write = client.put("k", 2)

        async def waited() -> None:
            await write

        return {
            "write": waited,
            "kept": write.kept,
            "subscription": subscription.__anext__,
            "closing": subscription.aclose,
            "watch": watch.__anext__,
            "watch of a type": typed.__anext__,
            "status": changes.__anext__,
            "presence": presence.__anext__,
            "block": block.__aenter__,
            "snapshot": lambda: snapshot.get("k"),
            "snapshot of all": snapshot.get_all,
            "revision": revision.value,
        }

    async def gone(client: MPS3) -> None:
        client.go_online()

    with asyncio.Runner() as runner:
        client = runner.run(memory_client(MemoryStorage()).open())
        for name, call in runner.run(make(client)).items():

            async def use(call: Callable[[], Any] = call) -> Any:
                return await soon(call(), WITHIN)

            with pytest.raises(ConfigurationError, match="event loop"):
                in_thread(lambda use=use: own_loop(use()))
            assert name
        runner.run(gone(client))
        runner.run(client.aclose())


def test_two_runs_with_one_client():
    storage = MemoryStorage()
    client = memory_client(storage)

    async def first() -> None:
        await client.open()
        await client.put("k", 1)

    async def second() -> Any:
        return await soon(client.get("k"), WITHIN)

    asyncio.run(first())
    with pytest.raises(ConfigurationError, match="closed: make a client within each"):
        asyncio.run(second())
    client._state = "closed"

    async def anew() -> Any:
        async with memory_client(storage) as another:
            return await another.get("k")

    assert asyncio.run(anew()) == asyncio.run(anew()) == 1


def test_from_a_thread_by_way_of_its_loop():
    async def main() -> None:
        async with memory_client(MemoryStorage()) as client:
            loop = asyncio.get_running_loop()

            async def put(value: int) -> str:
                return (await client.put("k", value)).id

            def work() -> Any:
                asyncio.run_coroutine_threadsafe(put(1), loop).result(60)
                return asyncio.run_coroutine_threadsafe(client.get("k"), loop).result(60)

            assert await asyncio.to_thread(work) == 1
            with pytest.raises(ConfigurationError, match="run_coroutine_threadsafe"):
                await asyncio.to_thread(client.put, "k", 2)

    asyncio.run(main())


def test_once_closed_it_says_that_it_is_closed():
    async def main() -> MPS3:
        async with memory_client(MemoryStorage()) as client:
            await client.put("k", 1)
        return client

    client = asyncio.run(main())
    client.status()
    asyncio.run(client.aclose())
    with pytest.raises(ClosedError):
        client.put("k", 1)
    with pytest.raises(ClosedError):
        asyncio.run(called(lambda client: client.get("k"), client))


def test_a_store_that_is_open_in_one_loop_is_refused_in_another(tmp_path):
    storage = LocalStorage(tmp_path)

    async def use() -> Any:
        async with memory_client(storage) as client:
            await client.put("k", 1)
            return await client.get("k")

    with asyncio.Runner() as runner:
        first = runner.run(memory_client(storage).open())
        with pytest.raises(ConfigurationError, match="a store belongs to the event loop"):
            in_thread(lambda: asyncio.run(soon(use(), WITHIN)))
        assert runner.run(first.get("k")) is None
        runner.run(first.aclose())
    assert in_thread(lambda: asyncio.run(soon(use(), WITHIN))) == 1


def test_a_store_outlives_a_loop_in_which_nobody_closed_it(tmp_path):
    storage = LocalStorage(tmp_path)
    asyncio.run(storage.open())

    async def use() -> Any:
        async with memory_client(storage) as client:
            await client.put("k", 1)
            return await client.get("k")

    assert asyncio.run(soon(use(), WITHIN)) == 1
    asyncio.run(storage.aclose())
