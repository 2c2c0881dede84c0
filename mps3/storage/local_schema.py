"""The tables of a directory's database, and the statements that read and write them.

Each statement is one complete call of the storage, so SQLite makes the call atomic.
"""

from __future__ import annotations

import sqlite3
import weakref
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ..errors import ConfigurationError, FormatError
from ..support.sqlite import value
from .local_clock import NEWEST_STAMP, TIME, SharedClock

if TYPE_CHECKING:
    from collections.abc import Callable

SCHEMA: Final = 2
"""The version of the schema. Version 1 has no column `metadata`."""

# Rows are ordered by id, and an id is never reused. A delete marker is a row without an ETag.
_CREATE: Final = (
    "CREATE TABLE store (versioning INTEGER NOT NULL)",
    """
    CREATE TABLE objects (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        bucket BLOB NOT NULL,
        key BLOB NOT NULL,
        version TEXT,
        modified REAL NOT NULL,
        etag TEXT,
        size INTEGER NOT NULL,
        body BLOB NOT NULL,
        metadata TEXT
    )
    """,
    "CREATE INDEX objects_by_key ON objects (bucket, key)",
    "CREATE UNIQUE INDEX objects_by_version ON objects (version)",
    # Without versions, this is what makes INSERT OR REPLACE replace.
    "CREATE UNIQUE INDEX objects_unversioned ON objects (bucket, key) WHERE version IS NULL",
)
_NEWEST: Final = "SELECT etag FROM objects WHERE bucket = :bucket AND key = :key ORDER BY id DESC LIMIT 1"
# Time stamps always increase, because a reader that lists back to a time stamp must not miss newer ones.
_STAMP: Final = f"max(:now, {TIME}, {NEWEST_STAMP} + 0.0002)"
PUT: Final = f"""
    INSERT OR REPLACE INTO objects (bucket, key, version, modified, etag, size, body, metadata)
    SELECT :bucket, :key, :version, {_STAMP}, :etag, :size, :body, :metadata
    WHERE NOT :if_none_match OR ({_NEWEST}) IS NULL
    RETURNING modified
"""
PUT_DELETE_MARKER: Final = f"""
    INSERT INTO objects (bucket, key, version, modified, etag, size, body)
    SELECT :bucket, :key, :version, {_STAMP}, NULL, 0, x'' WHERE ({_NEWEST}) IS NOT NULL
"""
DELETE: Final = "DELETE FROM objects WHERE bucket = :bucket AND key = :key AND version IS :version"
# SQLite's substr() would read the whole body into memory.
_GET: Final = """
    SELECT version, modified, etag, size,
        CASE WHEN etag IS NULL OR etag = :if_none_match OR min(size, :end) - :start > :limit THEN NULL
            WHEN :partial THEN mps3_part(id, :start, :end) ELSE body END AS body
    FROM objects WHERE bucket = :bucket AND key = :key
"""
GET_NEWEST: Final = f"{_GET} ORDER BY id DESC LIMIT 1"
GET_VERSION: Final = f"{_GET} AND version = :version"
HEAD: Final = """
    SELECT modified, etag, size, metadata FROM objects
    WHERE bucket = :bucket AND key = :key AND (:version IS NULL OR version = :version) ORDER BY id DESC LIMIT 1
"""
SCAN: Final = """
    SELECT id, key, version, modified, etag, size FROM objects
    WHERE bucket = :bucket AND key >= :first AND key < :end
        AND (key > :after OR (key = :after AND id < :before))
    ORDER BY key, id DESC LIMIT :limit
"""
VERSIONS: Final = """
    SELECT id, version, modified, etag, size FROM objects
    WHERE bucket = :bucket AND key = :key AND id < :start ORDER BY id DESC LIMIT :limit
"""
# It seeks from key to key, because a key may have a hundred thousand versions.
LIST: Final = """
    WITH RECURSIVE keys (key) AS (
        SELECT min(key) FROM objects WHERE bucket = :bucket AND key >= :first AND key > :start AND key < :end
        UNION ALL
        SELECT (SELECT min(key) FROM objects WHERE bucket = :bucket AND key > keys.key AND key < :end)
        FROM keys WHERE keys.key IS NOT NULL
    )
    SELECT keys.key, modified, size FROM keys JOIN objects ON objects.id = (
        SELECT id FROM objects WHERE bucket = :bucket AND key = keys.key ORDER BY id DESC LIMIT 1
    )
    WHERE etag IS NOT NULL LIMIT :limit
"""


def prepare(connection: sqlite3.Connection, file: Path, *, versioning: bool, clock: SharedClock) -> None:
    """Set up a new connection, create or migrate the tables, and set the clock.

    Raises:
        ConfigurationError: Another program made the database, or it has another ``versioning``.
        FormatError: A newer mps3 wrote it.
    """
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA fullfsync = ON")
    connection.create_function("mps3_part", 3, partial(_part, weakref.ref(connection)))
    schema = value(connection, "PRAGMA user_version")
    if schema > SCHEMA:
        raise FormatError(
            f"{file} was written by a newer mps3 (its schema is {schema}, this version reads up to {SCHEMA}): upgrade"
        )
    if schema == 0:
        _create(connection, file, versioning=versioning)
    elif schema == 1:
        _add_metadata(connection)
    if bool(value(connection, "SELECT versioning FROM store")) != versioning:
        raise ConfigurationError(
            f"{file} was made with versioning={not versioning}: open it with that, or choose another directory"
        )
    clock.open(connection)


def _part(connection: Callable[[], sqlite3.Connection | None], number: int, start: int, end: int) -> bytes | None:
    """Return a part of the body of a row. A statement of this connection calls it, so the row exists."""
    opened = connection()
    if opened is None:
        return None
    with opened.blobopen("objects", "body", number, readonly=True) as blob:
        first, last = min(start, len(blob)), min(end, len(blob))
        blob.seek(first)
        return blob.read(last - first)


def _create(connection: sqlite3.Connection, file: Path, *, versioning: bool) -> None:
    if value(connection, "SELECT count(*) FROM sqlite_master"):
        # Another process may have just created them.
        if value(connection, "PRAGMA user_version") == SCHEMA:
            return
        raise ConfigurationError(f"{file} holds the tables of another program: choose another directory")
    if value(connection, "PRAGMA journal_mode = WAL") != "wal":
        raise ConfigurationError(f"SQLite cannot keep a write-ahead log beside {file}: choose another file system")
    connection.execute("BEGIN IMMEDIATE")
    if value(connection, "PRAGMA user_version") == 0:
        for statement in _CREATE:
            connection.execute(statement)
        connection.execute("INSERT INTO store VALUES (?)", [versioning])
        connection.execute(f"PRAGMA user_version = {SCHEMA}")
    connection.execute("COMMIT")


def _add_metadata(connection: sqlite3.Connection) -> None:
    connection.execute("BEGIN IMMEDIATE")
    if value(connection, "PRAGMA user_version") == 1:  # or another process has just done it
        connection.execute("ALTER TABLE objects ADD COLUMN metadata TEXT")
        connection.execute(f"PRAGMA user_version = {SCHEMA}")
    connection.execute("COMMIT")
