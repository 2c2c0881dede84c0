"""Schema migrations of the SQLite files of a directory."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path

from ..errors import FormatError
from ..support.sqlite import value


def upgrade(
    connection: sqlite3.Connection, file: Path, steps: Sequence[Sequence[str]], *, what: str, advice: str
) -> None:
    """Migrate a file to the newest schema, atomically, under an exclusive lock.

    Args:
        connection: A connection to the file.
        file: The file.
        steps: The statements of each migration. The ``user_version`` of a file is the number of migrations that were
            applied to it. A published migration never changes.
        what: The kind of the file, for the error.
        advice: What to do about a file that is newer, for the error.

    Raises:
        FormatError: A newer mps3 wrote the file, which is unchanged.
        sqlite3.Error: The migration failed, and the file is unchanged.
    """
    if value(connection, "PRAGMA user_version") == len(steps):
        return
    connection.execute("BEGIN EXCLUSIVE")
    try:
        schema = value(connection, "PRAGMA user_version")
        if schema > len(steps):
            raise FormatError(
                f"the {what} {file} was written by a newer mps3 (its schema is {schema}, this version reads up to "
                f"{len(steps)}): {advice}"
            )
        for step in steps[schema:]:
            for statement in step:
                connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {len(steps)}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
