"""What a store in a directory keeps, how it fails, and that it never blocks the event loop."""

import asyncio
import errno
import sqlite3
import threading
import time
from pathlib import Path

import pytest
from blockbuster import blockbuster_ctx
from storage.local_store import another_connection, no_threads_left, storage

from mps3.errors import AccessError, ConfigurationError, CorruptionError, UnavailableError
from mps3.storage import ABSENT, memory
from mps3.storage.local import FILE_NAME, LocalStorage
from mps3.storage.local_database import LOCK_WAIT
from mps3.storage.pagination import PAGE_SIZE
from mps3.support import sqlite
from mps3.support.sqlite import error_of

__all__ = ["no_threads_left", "storage"]  # fixtures


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
    monkeypatch.setattr(sqlite, "LOCK_TIMEOUT", 0.1)
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
    threads, etag_of = {}, memory.etag_of

    def recorded(body):
        threads[len(body)] = threading.current_thread()
        return etag_of(body)

    monkeypatch.setattr(memory, "etag_of", recorded)
    await storage.put("b", "k", b"")
    await storage.put("b", "k", b"x" * memory.LARGE)
    assert threads[0] is threading.current_thread()
    assert threads[memory.LARGE] is not threading.current_thread()
