"""The clock of a directory, which all processes that use the directory share.

The database stores one reference point: a time, and the machine's uptime at that time. From there on, the clock
advances with the uptime, which is the same in all processes and is never set. When the wall clock is set forward, the
reference point moves; when it is set back or stands still, nothing changes.
"""

from __future__ import annotations

import sqlite3
import sys
import time
from collections.abc import Mapping
from functools import partial
from typing import Any, Final

JUMP: Final = 0.25
"""Seconds that the wall clock may be ahead before the reference point is updated."""
PAUSE: Final = 5.0
"""Seconds before another attempt, when the reference point could not be written."""

_CREATE: Final = """
    CREATE TABLE IF NOT EXISTS clock (
        id INTEGER PRIMARY KEY CHECK (id = 1), uptime REAL NOT NULL, time REAL NOT NULL
    )
"""
_INSERT: Final = "INSERT OR IGNORE INTO clock VALUES (1, :uptime, :wall)"
_READ: Final = "SELECT uptime, time FROM clock"
NEWEST_STAMP: Final = "coalesce((SELECT modified FROM objects ORDER BY id DESC LIMIT 1), 0)"
TIME: Final = "coalesce((SELECT time + max(0, :uptime - uptime) FROM clock), 0)"
"""The time by the stored reference point. It needs the parameter ``uptime``."""
UPDATE_REFERENCE: Final = (
    f"UPDATE clock SET time = max(:wall, {TIME}, {NEWEST_STAMP}), uptime = :uptime "  # noqa: S608 - of constants
    "RETURNING uptime, time"
)
"""Store and return a new reference point, not earlier than the old one, nor than any time stamp."""

if sys.platform == "win32":
    _uptime: Final = time.monotonic
else:
    # Where available, the clock that also counts while the machine sleeps.
    _uptime: Final = partial(time.clock_gettime, getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


def uptime() -> float:
    """Return the time of a monotonic clock that all processes of this machine share, in seconds."""
    return _uptime()


class SharedClock:
    """The clock of one directory, in one process.

    Two boots of the machine cannot be told apart. If the uptime has decreased, the time goes on from the stored
    reference point.
    """

    def __init__(self) -> None:
        self._reference: tuple[float, float] | None = None
        self._next_attempt = 0.0

    def __call__(self) -> float:
        """Return the time, in seconds since 1970. Only the uptime advances it from the reference point."""
        if self._reference is None:
            return time.time()
        since, then = self._reference
        return then + max(0.0, uptime() - since)

    @property
    def is_behind(self) -> bool:
        """Whether `UPDATE_REFERENCE` is due: the wall clock was set forward, or the machine was rebooted."""
        if self._reference is None:
            return False
        now = uptime()
        return now >= self._next_attempt and (now < self._reference[0] or time.time() > self() + JUMP)

    def parameters(self) -> Mapping[str, float]:
        """Return the parameters of `TIME` and `UPDATE_REFERENCE`."""
        return {"uptime": uptime(), "wall": time.time()}

    def set_reference(self, rows: list[Any]) -> None:
        """Go on from the reference point that `UPDATE_REFERENCE` returned."""
        for since, then in rows:
            self._reference, self._next_attempt = (since, then), 0.0

    def postpone_update(self) -> None:
        """Wait before the next attempt to update the reference point."""
        self._next_attempt = uptime() + PAUSE

    def open(self, connection: sqlite3.Connection) -> None:
        """Read the reference point with a new connection, or create it."""
        connection.execute(_CREATE)
        rows = connection.execute(_READ).fetchall()
        if not rows:
            connection.execute(_INSERT, self.parameters())
            rows = connection.execute(UPDATE_REFERENCE, self.parameters()).fetchall()
        self.set_reference(rows)
        (newest,) = connection.execute(f"SELECT {NEWEST_STAMP}").fetchone()
        if self.is_behind or newest > self() + JUMP:
            self.set_reference(connection.execute(UPDATE_REFERENCE, self.parameters()).fetchall())
