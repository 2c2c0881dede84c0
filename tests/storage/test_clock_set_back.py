"""Stores whose clock is this machine's, which is set back, set forward or stands still."""

from __future__ import annotations

import asyncio
import itertools
import os
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import time_machine
from helpers import POLL, eventually, soon

from mps3 import MPS3, ConflictError, LocalStorage, MemoryStorage
from mps3.storage import local_clock
from mps3.testing import VirtualLoop

HOUR = 3600.0
AGO = [-1.0, -20.0, -HOUR, -1000 * HOUR]


@pytest.fixture(params=["memory", "file"])
def kind(request) -> str:
    return request.param


@pytest.fixture(params=["merge", "log"])
def journal(request) -> str:
    return request.param


@pytest.fixture
def make(kind, journal, tmp_path) -> Callable[[], Any]:
    """Makes what another process has of the store: in memory, there is only one process."""
    memory = MemoryStorage(versioning=journal == "merge")
    return lambda: memory if kind == "memory" else LocalStorage(tmp_path, versioning=journal == "merge")


def client(storage: Any) -> MPS3:
    return MPS3("bucket", storage=storage, poll_interval=POLL)


def machine(seconds: float, *, tick: bool = True) -> Any:
    """The machine's clock is set by so much."""
    return time_machine.travel(time.time() + seconds, tick=tick)


@pytest.mark.parametrize("ago", AGO)
async def test_an_acknowledged_write_is_seen_though_the_clock_was_set_back(make, ago):
    async with client(make()) as ann, client(make()) as bob:
        await ann.put("color", "green")
        with machine(ago):
            for number in range(3):
                await soon((ann, bob)[number % 2].put("color", number))
                assert await ann.get("color") == await bob.get("color") == number
            assert [await one.value() for one in await bob.history("color")] == [2, 1, 0, "green"]
            async with client(make()) as late:
                assert await late.get("color") == 2
        await soon(bob.put("color", "red"))
        assert await ann.get("color") == "red"


async def test_an_update_takes_no_longer_though_the_clock_was_set_back(make):
    async with client(make()) as ann:
        await ann.put_all({"a": 1, "b": 1})
        with machine(-HOUR):
            async with client(make()) as bob:
                updates = bob.update("a", lambda n: n + 1), ann.update("b", lambda n: n + 1)
                assert await soon(asyncio.gather(*updates), 15) == [2, 2]


async def test_an_update_ends_while_the_clock_stands_still(make):
    with machine(0, tick=False):
        async with client(make()) as ann:
            assert await soon(ann.update("n", lambda n: n + 1, 0), 15) == 1


async def test_a_lease_is_free_for_all_alike_though_the_clock_was_set_back(make):
    async with client(make()) as ann:
        await ann.put("lease", "ann", expires_in=2)
        await ann.put("held", "ann", expires_in=HOUR)

        async def free() -> bool:
            return await ann.get("lease") is None

        await eventually(free, within=15)
        with machine(-20):
            async with client(make()) as bob:
                assert await bob.get("lease") is None
                assert await ann.get("lease") is None
                with pytest.raises(ConflictError):
                    await soon(bob.put("held", "bob", if_version=None))
                await soon(bob.put("lease", "bob", if_version=None))
                assert await ann.get("lease") == "bob"


async def test_a_key_expires_while_the_clock_stands_still(make):
    with machine(0, tick=False):
        async with client(make()) as ann, client(make()) as bob:
            await ann.put("here", 1, expires_in=1.5)
            assert await bob.get("here") == 1

            async def gone() -> bool:
                return await ann.get("here") is None and await bob.get("here") is None

            await eventually(gone, within=15)


async def test_a_key_expires_when_the_clock_is_put_forward(make):
    async with client(make()) as ann:
        await ann.put("here", 1, expires_in=HOUR)
        with machine(HOUR + 60):
            async with client(make()) as bob:

                async def gone() -> bool:
                    return await ann.get("here") is None and await bob.get("here") is None

                await eventually(gone, within=15)
        # What has been can not be undone.
        async with client(make()) as late:
            assert await ann.get("here") is None
            assert await late.get("here") is None


async def stamps(storage: Any, number: int) -> list[float]:
    return [(await storage.put("b", f"k{one}", b"x")).modified for one in range(number)]


async def test_stamps_rise_whatever_the_clock_does(make):
    storage = make()
    await storage.open()
    try:
        found = await stamps(storage, 3)
        for jump in (-HOUR, 5.0, -2 * HOUR, HOUR, -1.0):
            with machine(jump):
                found += await stamps(storage, 3)
                page = await storage.versions("b", "k0")
                assert page.answered >= page.versions[0].modified
                assert storage.clock() >= found[-1] - 0.01
        with machine(-HOUR, tick=False):
            found += await stamps(storage, 3)
            before = storage.clock()
            await asyncio.sleep(0.02)
            assert storage.clock() >= before + 0.01
    finally:
        await storage.aclose()
    assert all(one < other for one, other in itertools.pairwise(found))


async def test_a_store_in_memory_makes_its_own_stamps_rise_and_its_copy_goes_on():
    shown = 1000.0
    storage = MemoryStorage(clock=lambda: shown)
    first = (await storage.put("b", "k", b"1")).modified
    assert first == 1000.0
    shown = 10.0
    copy = storage.copy()
    for one in (storage, copy):
        await asyncio.sleep(0.02)
        second = (await one.put("b", "k", b"2")).modified
        assert 1000.01 < second < 1060.0


async def test_a_store_in_memory_goes_on_in_every_event_loop():
    storage = MemoryStorage(clock=lambda: 1000.0)
    storage.clock()

    async def visit() -> tuple[float, float]:
        before = storage.clock()
        await asyncio.sleep(0.05)
        return before, storage.clock()

    await asyncio.sleep(0.05)
    here = storage.clock()
    before, after = await asyncio.to_thread(asyncio.run, visit())
    assert 1000.04 <= here <= before <= after - 0.04
    assert storage.clock() >= after


def test_in_virtual_time_a_store_of_the_machines_clock_goes_on_too():
    async def main() -> float:
        storage = MemoryStorage()
        before = storage.clock()
        await asyncio.sleep(1000)
        return storage.clock() - before

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        assert 999 < runner.run(main()) < 1060


OTHER = """
    import asyncio, json, sys, time_machine
    from mps3 import LocalStorage

    async def main(path, jump):
        with time_machine.travel(__import__("time").time() + float(jump)):
            storage = LocalStorage(path)
            await storage.open()
            told = storage.clock()
            stored = (await storage.put("b", "k", b"other")).modified
            await storage.aclose()
            print(json.dumps([told, stored]))

    asyncio.run(main(*sys.argv[1:]))
"""


async def other_process(path: Path, jump: float) -> list[float]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        textwrap.dedent(OTHER),
        os.fspath(path),
        str(jump),
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    out, _ = await process.communicate()
    assert process.returncode == 0
    return [float(one) for one in out.decode().strip("[]\n").split(",")]


@pytest.mark.parametrize("jump", [-HOUR, HOUR])
async def test_processes_that_share_a_directory_have_one_time(tmp_path, jump):
    storage = LocalStorage(tmp_path)
    await storage.open()
    try:
        first = (await storage.put("b", "k", b"own")).modified
        before = storage.clock()
        told, stored = await other_process(tmp_path, jump)
        # The other one may put it forward, but never back.
        assert max(before, before + jump) <= told <= stored + 0.001
        assert first < stored
        assert stored < (await storage.put("b", "k", b"own")).modified
        page = await storage.versions("b", "k")
        assert page.answered >= page.versions[0].modified
    finally:
        await storage.aclose()
    again = LocalStorage(tmp_path)
    await again.open()
    try:
        assert again.clock() >= stored
    finally:
        await again.aclose()


async def test_the_time_of_a_directory_goes_on_after_a_restart_of_the_machine(tmp_path, monkeypatch):
    storage = LocalStorage(tmp_path)
    await storage.open()
    stored = (await storage.put("b", "k", b"1")).modified
    await storage.aclose()
    started = time.monotonic()
    monkeypatch.setattr(local_clock, "uptime", lambda: time.monotonic() - started)
    with machine(-HOUR):
        for number in range(2):
            again = LocalStorage(tmp_path)
            await again.open()
            try:
                assert stored - 0.01 <= again.clock() < stored + 60
                before = again.clock()
                await asyncio.sleep(0.05)
                assert again.clock() >= before + 0.04
                modified = (await again.put("b", "k", str(number).encode())).modified
                assert modified > stored
                stored = modified
            finally:
                await again.aclose()


async def test_a_directory_of_an_earlier_version_takes_its_time_from_its_stamps(tmp_path):
    storage = LocalStorage(tmp_path)
    await storage.open()
    with machine(HOUR):
        stored = (await storage.put("b", "k", b"1")).modified
    await storage._database._require_open(storage._database._writer).execute("DROP TABLE clock")
    await storage.aclose()
    again = LocalStorage(tmp_path)
    await again.open()
    try:
        assert again.clock() >= stored
    finally:
        await again.aclose()
