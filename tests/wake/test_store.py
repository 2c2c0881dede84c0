"""Clients of a store on this machine hear of each other without any server: their polls are an hour apart."""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers import BUCKET, MANIFEST, no_task_left, settle, soon

from mps3 import MPS3, LocalStorage, MemoryStorage, Ref
from mps3.storage import line_file
from mps3.storage.line_file import LARGEST, LineFile
from mps3.storage.local_notifications import FILE_NAME
from mps3.storage.notifications import notifications_of
from mps3.storage.wrapper import StorageWrapper
from mps3.testing import VirtualEnvironment, VirtualLoop
from mps3.wake.hint import Hint, topic_of

TOPIC = topic_of(Ref(MANIFEST, BUCKET))
watched = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process of changes of files")


@pytest.fixture(params=["merge", "log"])
def journal(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(params=["memory", "one storage", "storages"])
def make(request: pytest.FixtureRequest, tmp_path: Path, journal: str) -> Callable[..., MPS3]:
    """Clients of one store: in memory, of one storage of a directory, or of storages of their own."""
    shared = MemoryStorage() if request.param == "memory" else LocalStorage(tmp_path)

    def client(**options: Any) -> MPS3:
        storage = LocalStorage(tmp_path) if request.param == "storages" else shared
        return MPS3(BUCKET, storage=storage, journal=journal, poll_interval=3600, **options)

    return client


async def test_a_change_is_heard_at_once(make):
    async with no_task_left(), make() as writer, make() as reader, make() as other:
        async with reader.subscribe("k") as values, other.subscribe("k") as others:
            assert await soon(anext(values)) is await soon(anext(others)) is None
            for number in range(50):
                await writer.put("k", number)
                assert await soon(anext(values)) == await soon(anext(others)) == number
        await reader.put("k", "back")
        async with writer.subscribe("k") as values:
            while await soon(anext(values)) != "back":
                pass


async def test_the_last_commit_of_a_client_is_heard(make):
    async with no_task_left(), make() as reader, reader.subscribe("k") as values:
        assert await soon(anext(values)) is None
        async with make() as writer:
            writer.put("k", 1)
        assert await soon(anext(values)) == 1


@watched
async def test_another_process_hears_and_is_heard(tmp_path, journal):
    async with MPS3(BUCKET, storage=LocalStorage(tmp_path), journal=journal, poll_interval=3600) as client:
        await client.put("k", 0)
        program = [sys.executable, str(Path(__file__).with_name("hearer.py")), str(tmp_path), journal]
        process = await asyncio.create_subprocess_exec(*program, stdout=asyncio.subprocess.PIPE)
        assert process.stdout is not None
        assert await soon(process.stdout.readline()) == b"0\n"
        for value in (1, 2, "last"):
            await client.put("k", value)
            assert await soon(process.stdout.readline()) == f"{value}\n".encode()
        async with client.subscribe("heard") as values:
            while await soon(anext(values)) != "last":
                pass
        assert await soon(process.wait()) == 0


def test_what_concerns_nobody_makes_no_request(journal):
    """Neither what happens to another manifest, nor one's own commits."""

    async def main() -> None:
        common = {"storage": MemoryStorage(), "journal": journal, "poll_interval": 3600}
        async with (
            MPS3(BUCKET, "one", environment=VirtualEnvironment(1), **common) as writer,
            MPS3(BUCKET, "two", environment=VirtualEnvironment(2), **common) as reader,
        ):
            await writer.put("k", 0)
            await asyncio.sleep(5 * 3600)
            before = writer.statistics().polls, reader.statistics().polls
            for number in range(100):
                await writer.put("k", number)
            assert (writer.statistics().polls, reader.statistics().polls) == before
            assert writer.statistics().wake_ups == reader.statistics().wake_ups == 0

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(main())


def test_polls_are_rare_if_it_is_said_so(tmp_path, journal):
    """Until there is a commit of which nothing was heard."""

    async def polls(client: MPS3) -> int:
        before = client.statistics().polls
        await asyncio.sleep(600)
        return client.statistics().polls - before

    async def main(storage: Any) -> None:
        common = {"journal": journal, "poll_interval": 1, "environment": VirtualEnvironment()}
        async with MPS3(BUCKET, storage=storage, idle_poll_interval=100, **common) as client:
            await asyncio.sleep(100)
            assert await polls(client) <= 7
            async with MPS3(BUCKET, storage=StorageWrapper(storage), **common) as stranger:
                await stranger.put("k", 1)
            await asyncio.sleep(120)
            assert await polls(client) > 400

    for storage in (MemoryStorage(), LocalStorage(tmp_path)):
        with asyncio.Runner(loop_factory=VirtualLoop) as runner:
            runner.run(main(storage))


def test_in_virtual_time_too(tmp_path, journal):
    async def main() -> float:
        common = {"journal": journal, "poll_interval": 3600}
        one, two = LocalStorage(tmp_path), LocalStorage(tmp_path)
        async with (
            MPS3(BUCKET, storage=one, environment=VirtualEnvironment(1), **common) as writer,
            MPS3(BUCKET, storage=two, environment=VirtualEnvironment(2), **common) as reader,
            reader.subscribe("k") as values,
        ):
            assert await anext(values) is None
            began = asyncio.get_running_loop().time()
            await writer.put("k", 1)
            assert await anext(values) == 1
            return asyncio.get_running_loop().time() - began

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        assert runner.run(main()) < 1


async def test_a_client_that_is_offline_asks_nobody(tmp_path):
    storage = MemoryStorage()
    async with (
        MPS3(BUCKET, storage=storage, poll_interval=3600) as writer,
        MPS3(BUCKET, storage=storage, poll_interval=3600, offline=tmp_path) as reader,
    ):
        reader.go_offline()
        await settle()
        await writer.put("k", 1)
        await settle()
        assert reader.statistics().wake_ups == 0
        async with reader.subscribe("k") as values:
            assert await soon(anext(values)) is None
            reader.go_online()
            assert await soon(anext(values)) == 1


async def test_clients_of_several_event_loops_hear_each_other():
    storage, opened, heard = MemoryStorage(), threading.Event(), threading.Event()

    async def elsewhere() -> None:
        async with MPS3(BUCKET, storage=storage, poll_interval=3600) as reader, reader.subscribe("k") as values:
            assert await anext(values) is None
            opened.set()
            assert await soon(anext(values)) == 1
            heard.set()

    thread = threading.Thread(target=lambda: asyncio.run(elsewhere()))
    thread.start()
    assert await asyncio.to_thread(opened.wait, 60)
    async with MPS3(BUCKET, storage=storage, poll_interval=3600) as writer:
        await writer.put("k", 1)
        assert await asyncio.to_thread(heard.wait, 60)
    await asyncio.to_thread(thread.join)


async def test_a_wrapper_that_forwards_all_attributes_does_not_notify():
    class Wrapper:
        def __init__(self, storage: Any) -> None:
            self._storage = storage

        def __getattr__(self, name: str) -> Any:
            return getattr(self._storage, name)

    assert notifications_of(Wrapper(MemoryStorage())) is None
    assert notifications_of(StorageWrapper(MemoryStorage())) is None
    assert notifications_of(object()) is None


async def test_a_client_that_was_forgotten_is_freed():
    storage = MemoryStorage()
    client = MPS3(BUCKET, storage=storage)
    client._waker.start()
    freed = weakref.ref(client)
    del client
    gc.collect()
    assert freed() is None
    async with MPS3(BUCKET, storage=storage) as writer:
        await writer.put("k", 1)


@watched
async def test_lies_and_noise_change_nothing(tmp_path):
    noise = [b"", b"\xff\n", b"x" * (3 * LARGEST), b"\n\n\n", b'["', Hint(TOPIC, "999").encode() + b"\n"]
    async with (
        MPS3(BUCKET, storage=LocalStorage(tmp_path), poll_interval=3600) as writer,
        MPS3(BUCKET, storage=LocalStorage(tmp_path), poll_interval=3600) as reader,
        reader.subscribe("k") as values,
    ):
        assert await soon(anext(values)) is None
        for number, message in enumerate(noise * 3):
            with (tmp_path / FILE_NAME).open("ab") as file:
                file.write(message)
            await writer.put("k", number)
            assert await soon(anext(values)) == number
        assert (tmp_path / FILE_NAME).stat().st_size <= 4 * LARGEST


async def test_a_directory_where_nobody_can_be_notified(tmp_path):
    (tmp_path / FILE_NAME).mkdir()
    async with (
        MPS3(BUCKET, storage=LocalStorage(tmp_path), poll_interval=0.05) as writer,
        MPS3(BUCKET, storage=LocalStorage(tmp_path), poll_interval=0.05) as reader,
    ):
        await writer.put("k", 1)
        async with reader.subscribe("k") as values:
            while await soon(anext(values)) != 1:
                pass


async def test_too_many_watches(tmp_path, monkeypatch):
    """Clients of this process hear each other still."""

    def watch(_: Path) -> None:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(line_file, "watch", watch)
    async with (
        MPS3(BUCKET, storage=LocalStorage(tmp_path), poll_interval=3600) as writer,
        MPS3(BUCKET, storage=LocalStorage(tmp_path), poll_interval=3600) as reader,
        reader.subscribe("k") as values,
    ):
        assert await soon(anext(values)) is None
        await writer.put("k", 1)
        assert await soon(anext(values)) == 1


async def test_a_full_disk(tmp_path, monkeypatch):
    def exchange(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(LineFile, "exchange", exchange)
    storage = LocalStorage(tmp_path)
    async with (
        MPS3(BUCKET, storage=storage, poll_interval=3600) as writer,
        MPS3(BUCKET, storage=storage, poll_interval=3600) as reader,
        reader.subscribe("k") as values,
    ):
        assert await soon(anext(values)) is None
        await writer.put("k", 1)
        assert await soon(anext(values)) == 1


def test_the_file_starts_again(tmp_path):
    one, two = LineFile(tmp_path / "lines"), LineFile(tmp_path / "lines")
    try:
        for number in range(5000):
            line = b"%d" % number + b"x" * 80
            assert one.exchange([line]) == [line]
            if number % 3 == 0:
                assert two.exchange([])[-1] == line
        assert (tmp_path / "lines").stat().st_size <= LARGEST + 200
    finally:
        one.close()
        two.close()
    assert one.exchange([b"late"]) == []


def open_files() -> int:
    gc.collect()  # what earlier tests have left
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


@watched
async def test_one_watch_for_all_storages_of_a_directory(tmp_path):
    before = open_files()
    storages = [LocalStorage(tmp_path) for _ in range(5)]
    async with no_task_left():
        for storage in storages:
            await storage.notifications.open()
        assert open_files() == before + 2
        for storage in storages:
            await storage.notifications.aclose()
    assert open_files() == before
