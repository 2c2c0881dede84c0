"""What an older mps3 left in the directory is read, and brought to the newest shape; all of it or nothing."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest
from helpers import BUCKET, MANIFEST, eventually

from mps3 import FormatError
from mps3.offline import cache
from mps3.offline import directory as files
from mps3.offline.schema import upgrade

# As the first release wrote it. Whatever becomes of the code, there are such files.
FIRST_OUTBOX = (
    """
    CREATE TABLE sessions (
        name TEXT PRIMARY KEY, bucket TEXT NOT NULL, manifest TEXT NOT NULL, sequence INTEGER NOT NULL
    )
    """,
    """
    CREATE TABLE writes (
        id INTEGER PRIMARY KEY, session TEXT NOT NULL, made REAL NOT NULL, changes BLOB NOT NULL, bodies BLOB NOT NULL,
        sequence INTEGER, refusal BLOB
    )
    """,
    """
    CREATE TABLE sent (
        session TEXT PRIMARY KEY, sequence INTEGER NOT NULL, tries INTEGER NOT NULL, change BLOB NOT NULL,
        witnesses BLOB NOT NULL
    )
    """,
)
ROWS = (
    ("INSERT INTO sessions VALUES (?, ?, ?, ?)", ("abcd", BUCKET, MANIFEST, 1)),
    (
        "INSERT INTO writes VALUES (?, ?, ?, ?, ?, ?, ?)",
        (1, "abcd", 1.7e9, b'[["a","%b","a","a",null,3],["b","%b","b","b",null,null]]' % ((BUCKET.encode(),) * 2),
         b"[1]", 1, None),
    ),
    (
        "INSERT INTO sent VALUES (?, ?, ?, ?, ?)",
        ("abcd", 1, 1, b'{"files":{"a":{"version":"lost","sha256":null,"size":3},"b":null}}', b"{}"),
    ),
    (
        "INSERT INTO writes VALUES (?, ?, ?, ?, ?, ?, ?)",
        (2, "abcd", 1.7e9, b'[["c","%b","c","c","v",5]]' % BUCKET.encode(), b'"two"', None, None),
    ),
    (
        "INSERT INTO writes VALUES (?, ?, ?, ?, ?, ?, ?)",
        (3, "abcd", 1.7e9, b'[["d","%b","d","d",null,4]]' % BUCKET.encode(), b"true", None,
         b'["AccessError","no",["%b","d","PutObject"],1.7e9]' % BUCKET.encode()),
    ),
)  # fmt: skip


def write(file, statements):
    file.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(file)) as connection, connection:
        for sql, *values in statements:
            connection.execute(sql, *values)


def version(file):
    with closing(sqlite3.connect(file)) as connection:
        return connection.execute("PRAGMA user_version").fetchone()[0]


def first_outbox(device):
    file = device.directory / "outbox" / "000001-old.sqlite3"
    write(file, [*((sql,) for sql in FIRST_OUTBOX), *ROWS, ("PRAGMA user_version = 1",)])
    return file


async def test_the_outbox_of_the_first_release_is_sent(device):
    first_outbox(device)
    client = await device.begin()
    await eventually(lambda: client.status().pending == 0)
    assert (await client.get("a"), await client.get("b", "absent"), await client.get("c")) == ([1], "absent", "two")
    (rejected,) = client.rejected()
    assert (dict(rejected.values), str(rejected.error)) == ({"d": True}, "no")


async def test_an_outbox_of_an_older_version_is_brought_to_the_newest_shape(device, monkeypatch):
    file = first_outbox(device)
    step = ("ALTER TABLE writes ADD COLUMN more TEXT", "UPDATE writes SET more = 'none'")
    monkeypatch.setattr(files, "SCHEMAS", (*files.SCHEMAS, step))
    client = await device.begin()
    await eventually(lambda: client.status().pending == 0)
    assert await client.get("c") == "two"
    await device.end(client)
    assert version(file) == len(files.SCHEMAS)  # it is still there for what was set aside
    monkeypatch.undo()
    with pytest.raises(FormatError, match="newer mps3"):
        await device.begin()


async def test_the_cache_of_an_older_version_is_brought_to_the_newest_shape(device, monkeypatch):
    client = await device.begin()
    await client.put("a", 1)
    await device.end(client)
    monkeypatch.setattr(cache, "SCHEMAS", (*cache.SCHEMAS, ("ALTER TABLE objects ADD COLUMN more TEXT",)))
    client = await device.begin(online=False)
    assert await client.get("a") == 1
    await device.end(client)
    assert version(device.directory / "cache.sqlite3") == len(cache.SCHEMAS)


def test_a_step_that_fails_changes_nothing(tmp_path):
    file = tmp_path / "file.sqlite3"
    write(file, [("CREATE TABLE a (b)",), ("PRAGMA user_version = 1",)])
    steps = (("CREATE TABLE a (b)",), ("ALTER TABLE a ADD COLUMN c", "nonsense"))
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        with pytest.raises(sqlite3.Error):
            upgrade(connection, file, steps, what="file", advice="")
        assert not connection.in_transaction
        assert [row[1] for row in connection.execute("PRAGMA table_info(a)")] == ["b"]
        upgrade(connection, file, (*steps[:1], steps[1][:1]), what="file", advice="")
        assert [row[1] for row in connection.execute("PRAGMA table_info(a)")] == ["b", "c"]
    assert version(file) == 2
