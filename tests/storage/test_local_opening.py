"""Opening and closing a store in a directory: who shares it, what is refused, what is left behind."""

import asyncio
import os
import pickle
import sqlite3
import time

import pytest
from storage.local_store import another_connection, no_threads_left, run

from mps3.errors import AccessError, ClosedError, ConfigurationError, CorruptionError, FormatError
from mps3.storage import ABSENT, Object
from mps3.storage.local import FILE_NAME, LocalStorage
from mps3.storage.local_schema import SCHEMA

__all__ = ["no_threads_left"]  # a fixture

# Opening --------------------------------------------------------------------------------------------------------------


async def test_creates_directories_and_keeps_objects(tmp_path):
    for number in range(2):
        storage = LocalStorage(str(tmp_path / "a" / "b"))
        await storage.open()
        assert len((await storage.versions("b", "k")).versions) == number
        await storage.put("b", "k", b"x")
        await storage.aclose()
        await storage.aclose()


async def test_must_be_open(tmp_path):
    storage = LocalStorage(tmp_path)
    await storage.aclose()
    for call in (storage.get("b", "k"), storage.put("b", "k", b""), storage.list("b")):
        with pytest.raises(ClosedError):
            await call
    await storage.open()
    await storage.aclose()
    with pytest.raises(ClosedError):
        await storage.get("b", "k")
    await storage.open()
    assert await storage.get("b", "k") is ABSENT
    await storage.aclose()


async def test_the_last_user_closes_it(tmp_path):
    storage = LocalStorage(tmp_path)
    await asyncio.gather(*(storage.open() for _ in range(3)))
    for _ in range(2):
        await storage.aclose()
        await storage.put("b", "k", b"x")
    await storage.aclose()
    with pytest.raises(ClosedError):
        await storage.put("b", "k", b"x")


async def test_one_user_who_gives_up_opening_does_not_disturb_another(tmp_path):
    storage = LocalStorage(tmp_path)
    first, second = (asyncio.ensure_future(storage.open()) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    await second
    await storage.put("b", "k", b"x")
    await storage.aclose()
    with pytest.raises(ClosedError):
        await storage.put("b", "k", b"x")


async def test_versioning_is_settled_at_first(tmp_path):
    storage = LocalStorage(tmp_path, versioning=False)
    await storage.open()
    await storage.aclose()
    with pytest.raises(ConfigurationError, match="versioning=False"):
        await LocalStorage(tmp_path).open()


async def test_many_can_create_it_at_once(tmp_path):
    storages = [LocalStorage(tmp_path / "new") for _ in range(8)]
    await asyncio.gather(*(storage.open() for storage in storages))
    await asyncio.gather(*(storage.put("b", "k", b"x") for storage in storages))
    assert len((await storages[0].versions("b", "k")).versions) == 8
    await asyncio.gather(*(storage.aclose() for storage in storages))


async def test_refuses_a_newer_schema(tmp_path):
    with another_connection(tmp_path) as connection:
        connection.execute(f"PRAGMA user_version = {SCHEMA + 1}")
    with pytest.raises(FormatError, match=FILE_NAME):
        await LocalStorage(tmp_path).open()


async def test_takes_over_what_knew_no_metadata(tmp_path):
    storage = LocalStorage(tmp_path)
    await storage.open()
    old = await storage.put("b", "k", b"old")
    await storage.aclose()
    with another_connection(tmp_path) as connection:
        connection.execute("ALTER TABLE objects DROP COLUMN metadata")
        connection.execute("PRAGMA user_version = 1")
    storages = [LocalStorage(tmp_path) for _ in range(3)]
    await asyncio.gather(*(one.open() for one in storages))
    for number, one in enumerate(storages):
        new = await one.put("b", "k", b"new", metadata={"number": str(number)})
        assert (await one.head("b", "k", version=new.version)).metadata == {"number": str(number)}
        assert (await one.head("b", "k", version=old.version)).metadata == {}
        await one.aclose()


@pytest.mark.parametrize(("schema", "kind"), [(0, ConfigurationError), (1, CorruptionError), (SCHEMA, CorruptionError)])
async def test_refuses_tables_of_others(tmp_path, schema, kind):
    with another_connection(tmp_path) as connection:
        connection.execute("CREATE TABLE recipes (title)")
        connection.execute(f"PRAGMA user_version = {schema}")
    with pytest.raises(kind, match=FILE_NAME):
        await LocalStorage(tmp_path).open()
    with another_connection(tmp_path) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("delete",)


async def test_refuses_what_is_no_database(tmp_path):
    (tmp_path / FILE_NAME).write_text("Dear diary, " * 100)
    with pytest.raises(CorruptionError, match=FILE_NAME) as caught:
        await LocalStorage(tmp_path).open()
    assert isinstance(caught.value.__cause__, sqlite3.DatabaseError)
    assert pickle.loads(pickle.dumps(caught.value)).args == caught.value.args


@pytest.mark.parametrize("path", ["file", "file/below", "n" * 300, "nul\0"])
async def test_refuses_what_cannot_be_a_directory(tmp_path, path):
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError) as caught:
        await LocalStorage(tmp_path / path).open()
    assert caught.value.__cause__ is not None


async def test_refuses_a_directory_for_a_file(tmp_path):
    (tmp_path / FILE_NAME).mkdir()
    with pytest.raises(AccessError):
        await LocalStorage(tmp_path).open()


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="everything is allowed to this user")
@pytest.mark.parametrize("used", [False, True])
async def test_refuses_a_directory_that_is_read_only(tmp_path, used):
    directory = tmp_path / "directory"
    directory.mkdir()
    if used:
        storage = LocalStorage(directory)
        await storage.open()
        await storage.aclose()
    directory.chmod(0o500)
    try:
        with pytest.raises(AccessError, match="let this user write"):
            await LocalStorage(directory).open()
        with pytest.raises(AccessError):
            await LocalStorage(directory / "below").open()
    finally:
        directory.chmod(0o700)


@pytest.mark.parametrize("steps", range(12))
async def test_opening_can_be_cancelled(tmp_path, steps):
    storage = LocalStorage(tmp_path / "new")
    opening = asyncio.ensure_future(storage.open())
    for _ in range(steps):
        await asyncio.sleep(0)
    await asyncio.sleep(steps / 1000)
    opening.cancel()
    await asyncio.wait([opening])
    if opening.cancelled():
        with pytest.raises(ClosedError):
            await storage.get("b", "k")
        await storage.open()
    await storage.put("b", "k", b"x")
    await storage.aclose()


def test_can_be_opened_again_in_another_event_loop(tmp_path):
    storage = LocalStorage(tmp_path)

    async def use():
        await storage.open()
        await asyncio.gather(*(storage.put("b", "k", b"x") for _ in range(5)))
        await storage.aclose()

    asyncio.run(use())
    asyncio.run(use())


# Closing --------------------------------------------------------------------------------------------------------------


async def test_closing_can_be_cancelled(tmp_path):
    storage = LocalStorage(tmp_path)
    await storage.open()
    writes = [asyncio.ensure_future(storage.put("b", "k", b"x")) for _ in range(20)]
    await asyncio.sleep(0.001)
    task = asyncio.ensure_future(storage.aclose())
    await asyncio.sleep(0)
    for _ in range(3):
        task.cancel()
        await asyncio.sleep(0)
    with pytest.raises(asyncio.CancelledError):
        await task
    for answer in await asyncio.gather(*writes, return_exceptions=True):
        assert not isinstance(answer, Exception) or isinstance(answer, ClosedError)


async def test_closing_does_not_wait_for_the_locks_of_others(tmp_path):
    storage = LocalStorage(tmp_path)
    await storage.open()
    with another_connection(tmp_path) as other:
        other.execute("BEGIN IMMEDIATE")
        writes = [asyncio.ensure_future(storage.put("b", "k", b"x")) for _ in range(20)]
        await asyncio.sleep(0.05)
        started = time.monotonic()
        await storage.aclose()
        assert time.monotonic() - started < 3
        answers = await asyncio.gather(*writes, return_exceptions=True)
        assert {type(answer) for answer in answers} == {ClosedError}


async def test_a_program_that_does_not_close_ends(tmp_path):
    program = """
import asyncio, sys
from mps3.storage.local import LocalStorage

async def main():
    global storage
    storage = LocalStorage(sys.argv[1])
    await storage.open()
    await storage.put("b", "k", b"x")
    print("put")

asyncio.run(main())
"""
    done = await asyncio.to_thread(run, program, tmp_path)
    assert (done.returncode, done.stdout) == (0, "put\n"), done.stderr
    storage = LocalStorage(tmp_path)
    await storage.open()
    assert isinstance(await storage.get("b", "k"), Object)
    await storage.aclose()
