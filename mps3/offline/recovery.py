"""What clients that are no more have left to do, in the order in which it was made. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from . import Done, Forget, Line, Operation, Row
from .keeper import Keeper


@dataclass(frozen=True, slots=True)
class Unit:
    """What has to be sent together.

    Attributes:
        line: The session that it belongs to.
        keeper: Where that is kept.
        rows: One write that has not left, or those that have left as one commit.
    """

    line: Line
    keeper: Keeper
    rows: Sequence[Row]

    @property
    def left(self) -> bool:
        """Whether it may have reached the store."""
        return self.line.sent is not None and self.rows[0].sequence is not None

    def without(self, rows: Sequence[Row]) -> Sequence[Operation]:
        """What to write down when only these of its writes are left."""
        if self.left and not rows:
            assert self.line.sent is not None  # noqa: S101 - it has left
            return [Done(self.line.session, self.line.sent.sequence)]
        left = {row.id for row in rows}
        return [Forget(tuple(row.id for row in self.rows if row.id not in left))]


def in_order(lines: Sequence[tuple[Line, Keeper]]) -> list[Unit]:
    """Put the writes of several outboxes in the order in which they were made.

    Those of one session keep their order, whatever their stamps say. What has left as one commit has to leave as one
    again, so it stands where the last of its writes was made.

    Args:
        lines: The sessions of one manifest, and where each is kept. Of what is set aside nothing is in the result.
    """
    placed: list[tuple[float, int, int, Unit]] = []
    for place, (line, keeper) in enumerate(lines):
        rows = [row for row in line.rows if row.refusal is None]
        sent = [row for row in rows if row.sequence is not None]
        units = [Unit(line, keeper, sent)] if sent else []
        units += [Unit(line, keeper, [row]) for row in rows if row.sequence is None]
        reached = -math.inf
        for number, unit in enumerate(units):
            reached = max(reached, *(row.made if row.stamp is None else row.stamp for row in unit.rows))
            placed.append((reached, place, number, unit))
    return [unit for *_, unit in sorted(placed, key=lambda one: one[:3])]


def in_time(row: Row, wall: float, now: float) -> Row | None:
    """What is left of a write: what was to expire is gone when its time is over, counted from when it was made.

    Args:
        row: The write.
        wall: This machine's clock, in seconds since 1970.
        now: The clock of the directory.

    Returns:
        The write with the time that is left for each of its values; ``None`` if it has none any more.
    """
    if all(change.expires_in is None for change in row.changes.values()):
        return row
    # Either clock may have stood still meanwhile, or have been set.
    passed = max(0.0, wall - row.made, 0.0 if row.stamp is None else now - row.stamp)
    changes = {}
    for name, change in row.changes.items():
        if change.expires_in is None:
            changes[name] = change
        elif change.expires_in > passed:
            changes[name] = replace(change, expires_in=change.expires_in - passed)
    return replace(row, changes=changes) if changes else None
