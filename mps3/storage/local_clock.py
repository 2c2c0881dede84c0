"""What time it is in a directory, for all processes that share it.

The database holds one moment: what time it was, and how long the machine had been up. From there on the time goes by
the machine's uptime, which all its processes see alike and nobody sets. A clock that is set forward moves the moment;
one that is set back, or stands still, changes nothing.
"""

from __future__ import annotations

import sqlite3
import sys
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

JUMP: Final = 0.25
"""Seconds that the machine's clock may be ahead before the moment is written anew."""
PAUSE: Final = 5.0
"""Seconds before another try, when the moment could not be written."""

_CREATE: Final = """
    CREATE TABLE IF NOT EXISTS clock (
        id INTEGER PRIMARY KEY CHECK (id = 1), uptime REAL NOT NULL, time REAL NOT NULL
    )
"""
_BEGIN: Final = "INSERT OR IGNORE INTO clock VALUES (1, :uptime, :wall)"
_READ: Final = "SELECT uptime, time FROM clock"
NEWEST_STAMP: Final = "coalesce((SELECT modified FROM objects ORDER BY id DESC LIMIT 1), 0)"
TIME: Final = "coalesce((SELECT time + max(0, :uptime - uptime) FROM clock), 0)"
"""What time it is by the moment that is kept: needs the parameter ``uptime``."""
ADOPT: Final = (
    f"UPDATE clock SET time = max(:wall, {TIME}, {NEWEST_STAMP}), uptime = :uptime "  # noqa: S608 - of constants
    "RETURNING uptime, time"
)
"""Keeps a new moment, and tells it; not earlier than the one before, nor than any time stamp."""

if sys.platform == "win32":
    _uptime: Final = time.monotonic
else:
    # The clock that also counts while the machine sleeps, where there is one.
    _uptime: Final = partial(time.clock_gettime, getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


def uptime() -> float:
    """Seconds on a clock that all processes of this machine share, that never goes back, and that nobody sets."""
    return _uptime()


class SharedClock:
    """The time of one directory, as one process knows it.

    Since two starts of the machine cannot be told apart, uptime that has become less counts as none: then the time
    goes on from the moment that is kept.

    Args:
        wall: The machine's clock, in seconds since 1970.
    """

    def __init__(self, wall: Callable[[], float]) -> None:
        self._wall = wall
        self._moment: tuple[float, float] | None = None
        self._try_at = 0.0

    def __call__(self) -> float:
        """What time it is, in seconds since 1970. It moves past what is kept only by uptime."""
        if self._moment is None:
            return self._wall()
        since, moment = self._moment
        return moment + max(0.0, uptime() - since)

    @property
    def is_behind(self) -> bool:
        """Whether the machine's clock was put forward, or the machine started anew: `ADOPT` is due."""
        if self._moment is None:
            return False
        now = uptime()
        return now >= self._try_at and (now < self._moment[0] or self._wall() > self() + JUMP)

    def parameters(self) -> Mapping[str, float]:
        """For `TIME` and `ADOPT`."""
        return {"uptime": uptime(), "wall": self._wall()}

    def adopted(self, rows: list[Any]) -> None:
        """Go on from the moment that `ADOPT` has told."""
        for since, moment in rows:
            self._moment, self._try_at = (since, moment), 0.0

    def put_off(self) -> None:
        """The moment could not be kept now."""
        self._try_at = uptime() + PAUSE

    def open(self, connection: sqlite3.Connection) -> None:
        """Take over the moment that is kept, or begin with one; to be called with a new connection."""
        connection.execute(_CREATE)
        rows = connection.execute(_READ).fetchall()
        if not rows:
            connection.execute(_BEGIN, self.parameters())
            rows = connection.execute(ADOPT, self.parameters()).fetchall()
        self.adopted(rows)
        (newest,) = connection.execute(f"SELECT {NEWEST_STAMP}").fetchone()
        if self.is_behind or newest > self() + JUMP:
            self.adopted(connection.execute(ADOPT, self.parameters()).fetchall())
