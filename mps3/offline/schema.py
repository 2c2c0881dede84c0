"""The shapes that the files of a directory have had, and the way from each to the next."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path

from ..errors import FormatError
from ..support.sqlite import value


def upgrade(
    connection: sqlite3.Connection, file: Path, steps: Sequence[Sequence[str]], *, what: str, advice: str
) -> None:
    """Bring a file to the newest shape, from whichever it has; all of that or nothing.

    Args:
        connection: To the file. Nobody else may be writing: the first statement takes the lock, and the last lets go.
        file: The file.
        steps: The statements that lead from each shape to the next. The number of the shape that a file has, which it
            knows as its ``user_version``, is how many of the steps it has behind it. A step that was published never
            changes.
        what: What to call the file.
        advice: What to do about one that is newer.

    Raises:
        FormatError: A newer mps3 wrote it; it is left as it is.
        sqlite3.Error: It could not be changed, and has not been.
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
