import asyncio
import errno
import os
import pickle
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest
from blockbuster import blockbuster_ctx

from mps3.errors import AccessError, ClosedError, ConfigurationError, CorruptionError, FormatError, UnavailableError
from mps3.storage import ABSENT, Object, local, local_database
from mps3.storage.local import FILE_NAME, LocalStorage
from mps3.storage.local_database import LOCK_WAIT
from mps3.storage.local_schema import SCHEMA
from mps3.storage.memory import PAGE_SIZE
from mps3.support.sqlite import error_of


@pytest.fixture
async def storage(tmp_path):
    storage = LocalStorage(tmp_path)
    await storage.open()
    yield storage
    await storage.aclose()


@pytest.fixture(autouse=True)
def no_threads_left():
    before = set(threading.enumerate())
    yield
    left = [thread for thread in set(threading.enumerate()) - before if not thread.name.startswith("asyncio_")]
    assert left == []


def another_connection(path):
    return closing(sqlite3.connect(path / FILE_NAME, isolation_level=None, timeout=0))


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


# Failing --------------------------------------------------------------------------------------------------------------


async def test_a_full_disk_loses_nothing(storage, tmp_path):
    await storage.put("b", "k", b"before")
    await storage._database._writer.execute("PRAGMA max_page_count = 20")
    with pytest.raises(UnavailableError, match="make room") as caught:
        await storage.put("b", "k", b"x" * 1_000_000)
    assert (caught.value.bucket, caught.value.key, caught.value.operation) == ("b", "k", "PutObject")
    assert isinstance(caught.value.__cause__, sqlite3.Error)
    assert (await storage.get("b", "k")).body == b"before"
    await storage.put("b", "k", b"after")
    with another_connection(tmp_path) as other:
        other.execute("BEGIN IMMEDIATE")


async def test_a_lock_held_too_long(storage, tmp_path, monkeypatch):
    monkeypatch.setattr(local_database, "LOCK_TIMEOUT", 0.1)
    with another_connection(tmp_path) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(UnavailableError, match="locked"):
            await storage.put("b", "k", b"x")
        assert await storage.get("b", "k") is ABSENT
    await storage.put("b", "k", b"x")


async def test_waits_for_a_lock(storage, tmp_path):
    with another_connection(tmp_path) as other:
        other.execute("BEGIN IMMEDIATE")
        writing = asyncio.ensure_future(storage.put("b", "k", b"x"))
        await asyncio.sleep(LOCK_WAIT * 2)
        assert not writing.done()
        started = time.monotonic()
        assert await storage.get("b", "k") is ABSENT
        assert time.monotonic() - started < LOCK_WAIT / 2, "reading waits for writing"
        other.execute("COMMIT")
        await writing


@pytest.mark.parametrize("wait", [0, 0.0001, 0.001, 0.005])
async def test_cancelled_writes_hold_no_lock(storage, tmp_path, wait):
    for _ in range(20):
        writes = [asyncio.ensure_future(storage.put("b", "k", b"x" * 10_000)) for _ in range(5)]
        await asyncio.sleep(wait)
        for write in writes:
            write.cancel()
        await asyncio.gather(*writes, return_exceptions=True)
    stored = await storage.put("b", "k", b"y")
    with another_connection(tmp_path) as other:
        other.execute("BEGIN IMMEDIATE")
    assert (await storage.versions("b", "k")).versions[0].version == stored.version


async def test_a_write_cancelled_while_it_waits_for_its_turn_is_not_written(storage, tmp_path):
    with another_connection(tmp_path) as other:
        other.execute("BEGIN IMMEDIATE")
        first = asyncio.ensure_future(storage.put("b", "first", b"x"))
        second = asyncio.ensure_future(storage.put("b", "second", b"x"))
        await asyncio.sleep(0.05)
        second.cancel()
        await asyncio.wait([second])
        other.execute("COMMIT")
    await first
    assert [entry.key for entry in (await storage.list("b")).entries] == ["first"]


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (OSError(errno.ENOSPC, "no space"), UnavailableError),
        (OSError(errno.EROFS, "read-only"), AccessError),
        (OSError(errno.EIO, "input/output"), UnavailableError),
        (OSError(errno.ENOTDIR, "not a directory"), ConfigurationError),
        (OverflowError("too long"), ConfigurationError),
        (sqlite3.SQLITE_BUSY_SNAPSHOT, UnavailableError),
        (sqlite3.SQLITE_FULL, UnavailableError),
        (sqlite3.SQLITE_IOERR, UnavailableError),
        (sqlite3.SQLITE_READONLY, AccessError),
        (sqlite3.SQLITE_CANTOPEN, AccessError),
        (sqlite3.SQLITE_CORRUPT, CorruptionError),
        (sqlite3.SQLITE_NOTADB, CorruptionError),
        (sqlite3.SQLITE_TOOBIG, ConfigurationError),
    ],
)
def test_every_error_becomes_one_of_ours(error, kind):
    if isinstance(error, int):
        code, error = error, sqlite3.OperationalError("as SQLite says it")
        error.sqlite_errorcode = code
    ours = error_of(error, Path("somewhere") / FILE_NAME, "b", "k", "PutObject")
    assert type(ours) is kind
    assert str(error) in str(ours)
    assert (ours.bucket, ours.key, ours.operation) == ("b", "k", "PutObject")


# Reading and writing --------------------------------------------------------------------------------------------------


async def test_stamps_never_go_back(storage, monkeypatch):
    now = time.time()
    await storage.put("b", "k", b"1")
    monkeypatch.setattr(time, "time", lambda: now - 3600)
    await storage.put("b", "k", b"2")
    await storage.delete("b", "k")
    monkeypatch.undo()
    stamps = [one.modified for one in (await storage.versions("b", "k")).versions]
    assert stamps == sorted(stamps, reverse=True)
    assert len(set(stamps)) == 3
    assert all(abs(stamp - now) < 60 for stamp in stamps)


async def test_an_order_is_not_used_twice(storage):
    versions = [(await storage.put("b", "k", b"x")).version for _ in range(3)]
    page = await storage.versions("b", "k", limit=1)
    for version in versions:
        await storage.delete("b", "k", version=version)
    await storage.put("b", "k", b"y")
    assert (await storage.versions("b", "k", start=page.next)).versions == ()


async def test_keys_with_nul(storage):
    for key in ("a\0b", "a\0c", "a"):
        await storage.put("b\0", key, key.encode())
    assert (await storage.get("b\0", "a\0c")).body == b"a\0c"
    assert [entry.key for entry in (await storage.list("b\0", "a\0")).entries] == ["a\0b", "a\0c"]
    assert await storage.get("b", "a") is ABSENT


async def test_lists_more_than_a_page(storage, tmp_path):
    with another_connection(tmp_path) as other:
        other.execute("BEGIN")
        other.executemany(
            "INSERT INTO objects (bucket, key, version, modified, etag, size, body) VALUES (?, ?, ?, 0, ?, 0, '')",
            (
                (b"b", b"%05d" % number, f"{number}/{turn}", None if turn == 2 and number % 2 else "etag")
                for turn in range(3)
                for number in range(2 * PAGE_SIZE + 10)
            ),
        )
        other.execute("COMMIT")
    first = await storage.list("b")
    rest = await storage.list("b", start=first.next)
    assert len(first.entries) == PAGE_SIZE
    assert rest.next is None
    assert [entry.key for entry in first.entries + rest.entries] == [f"{n:05}" for n in range(0, 2 * PAGE_SIZE + 10, 2)]
    assert len((await storage.list("b", "0000")).entries) == 5


async def test_many_versions_are_quick(storage, tmp_path):
    with another_connection(tmp_path) as other:
        other.execute("BEGIN")
        other.executemany(
            "INSERT INTO objects (bucket, key, version, modified, etag, size, body) VALUES (?, ?, ?, 0, 'e', 0, '')",
            ((b"b", b"k", f"v{number}") for number in range(100_000)),
        )
        other.execute("COMMIT")
    started = time.monotonic()
    for _ in range(10):
        await storage.get("b", "k")
        await storage.get("b", "k", version="v0")
        await storage.versions("b", "k", limit=10)
        await storage.list("b")
    assert time.monotonic() - started < 1


@pytest.mark.parametrize("versioning", [True, False])
async def test_never_blocks_the_event_loop(tmp_path, versioning):
    storage = LocalStorage(tmp_path / "new", versioning=versioning)
    with blockbuster_ctx():
        await storage.open()
        await storage.put("b", "k", b"x" * 100_000)
        await storage.get("b", "k")
        await storage.list("b")
        await storage.versions("b", "k")
        await storage.delete("b", "k")
        await storage.aclose()


async def test_a_large_body_is_hashed_elsewhere(storage, monkeypatch):
    threads, checked_etag = {}, local.checked_etag

    def recorded(body, *arguments):
        threads[len(body)] = threading.current_thread()
        return checked_etag(body, *arguments)

    monkeypatch.setattr(local, "checked_etag", recorded)
    await storage.put("b", "k", b"")
    await storage.put("b", "k", b"x" * local.LARGE)
    assert threads[0] is threading.current_thread()
    assert threads[local.LARGE] is not threading.current_thread()


# Processes ------------------------------------------------------------------------------------------------------------


def environment():
    return os.environ | {"PYTHONPATH": str(Path(local.__file__).parents[2]), "PYTHONWARNINGS": "default"}


def run(program, *arguments):
    return subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


WRITER = """
import asyncio, sys
from mps3.storage.local import LocalStorage

async def main(path, name):
    storage = LocalStorage(path)
    await storage.open()

    async def write(lane):
        for number in range(100_000):
            body = f"{name}/{lane}/{number}"
            stored = await storage.put("b", "shared", body.encode())
            await storage.put("b", body, b"x" * 5000, if_none_match=True)
            print(stored.version, body, flush=True)

    await asyncio.gather(*(write(lane) for lane in range(3)))

asyncio.run(main(*sys.argv[1:]))
"""


async def test_nothing_acknowledged_is_lost_when_processes_are_killed(tmp_path):
    acknowledged = await asyncio.to_thread(write_and_be_killed, tmp_path)
    assert len(acknowledged) > 40
    assert {body.split("/")[0] for _, body in acknowledged} == set("01234")
    storage = LocalStorage(tmp_path)
    await storage.open()
    listed, start = {}, None
    while True:
        page = await storage.versions("b", "shared", start=start)
        listed |= {one.version: one for one in page.versions}
        start = page.next
        if start is None:
            break
    for version, body in acknowledged:
        assert version in listed
        assert (await storage.get("b", "shared", version=version)).body == body.encode()
        assert (await storage.get("b", body)).body == b"x" * 5000
    await storage.aclose()
    with another_connection(tmp_path) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def write_and_be_killed(path):
    writers = [start_writer(path, number) for number in range(5)]
    try:
        # One after the other, so that the others meet what a dead one left.
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline and any(len(lines(path, number)) < 10 for number in range(5)):
            time.sleep(0.05)
        for writer in writers:
            writer.send_signal(signal.SIGKILL) if os.name == "posix" else writer.kill()
            time.sleep(0.1)
    finally:
        for writer in writers:
            writer.kill()
            writer.wait()
    return [tuple(line.split(" ")) for number in range(5) for line in lines(path, number)]


def start_writer(path, number):
    with (path / f"writer-{number}").open("wb") as output:
        return subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path), str(number)], env=environment(), stdout=output
        )


def lines(path, number):
    # The last one may be cut.
    return (path / f"writer-{number}").read_text().split("\n")[:-1]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
async def test_a_fork_does_not_use_what_its_parent_opened(tmp_path):
    program = """
import asyncio, os, sys
from mps3.errors import ClosedError
from mps3.storage.local import LocalStorage

async def child(storage, path):
    try:
        await storage.put("b", "child", b"x")
    except ClosedError:
        print("closed", flush=True)
    await storage.aclose()
    for own in (LocalStorage(path), storage):
        await own.open()
        await own.put("b", "child", b"x")
        await own.aclose()

async def parent(path):
    storage = LocalStorage(path)
    await storage.open()
    await storage.put("b", "parent", b"x")
    return storage

runner = asyncio.Runner()
storage = runner.run(parent(sys.argv[1]))
if os.fork() == 0:
    asyncio.Runner().run(child(storage, sys.argv[1]))
    os._exit(0)
print("child", os.wait()[1])
runner.run(storage.put("b", "parent", b"y"))
print(len(runner.run(storage.list("b")).entries))
runner.run(storage.aclose())
runner.close()
"""
    done = await asyncio.to_thread(run, program, tmp_path)
    assert (done.returncode, done.stdout) == (0, "closed\nchild 0\n2\n"), done.stderr
