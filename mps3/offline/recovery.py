"""What clients that are no more have left to do, in the order in which it was made. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from .protocol import Done, Forget, Operation, StoredSession, StoredWrite
from .queue import OutboxQueue


@dataclass(frozen=True, slots=True)
class Unit:
    """What has to be sent together.

    Attributes:
        line: The session that it belongs to.
        outbox_queue: Where that is kept.
        rows: One write that has not left, or those that have left as one commit.
    """

    line: StoredSession
    outbox_queue: OutboxQueue
    rows: Sequence[StoredWrite]

    @property
    def left(self) -> bool:
        """Whether it may have reached the store."""
        return self.line.sent is not None and self.rows[0].sequence is not None

    def without(self, ids: Sequence[int]) -> Operation:
        """What to write down when only these of its writes are left."""
        if self.left and not ids:
            assert self.line.sent is not None  # noqa: S101 - it has left
            return Done(self.line.session, self.line.sent.sequence)
        return Forget(tuple(row.id for row in self.rows if row.id not in ids))


def in_order(lines: Sequence[tuple[StoredSession, OutboxQueue]]) -> list[Unit]:
    """Put the writes of several outboxes in the order in which they were made.

    Those of one session keep their order, whatever their stamps say. What has left as one commit has to leave as one
    again, so it stands where the last of its writes was made.

    Args:
        lines: The sessions of one manifest, and where each is kept. Of what is set aside nothing is in the result.
    """
    placed: list[tuple[float, int, int, Unit]] = []
    for place, (line, outbox_queue) in enumerate(lines):
        rows = [row for row in line.rows if row.refusal is None]
        sent = [row for row in rows if row.sequence is not None]
        units = [Unit(line, outbox_queue, sent)] if sent else []
        units += [Unit(line, outbox_queue, [row]) for row in rows if row.sequence is None]
        reached = -math.inf
        for number, unit in enumerate(units):
            reached = max(reached, *(row.made if row.stamp is None else row.stamp for row in unit.rows))
            placed.append((reached, place, number, unit))
    return [unit for *_, unit in sorted(placed, key=lambda one: one[:3])]


def lapsed(row: StoredWrite, wall: float, now: float) -> tuple[StoredWrite, frozenset[str]]:
    """Give what was to expire the time that is left, counted from when it was made.

    Args:
        row: A write.
        wall: This machine's clock, in seconds since 1970.
        now: The clock of the directory.

    Returns:
        The write, and the keys whose time is over. It deletes these: had it been sent in time, they would be gone.
    """
    if all(change.expires_in is None for change in row.changes.values()):
        return row, frozenset()
    # Either clock may have stood still meanwhile, or have been set.
    passed = max(0.0, wall - row.made, 0.0 if row.stamp is None else now - row.stamp)
    changes, over = dict(row.changes), set()
    for name, change in row.changes.items():
        if change.expires_in is None:
            continue
        if change.expires_in > passed:
            changes[name] = replace(change, expires_in=change.expires_in - passed)
        else:
            changes[name] = replace(change, body=None, expires_in=None)
            over.add(name)
    return replace(row, changes=changes), frozenset(over)


def only(row: StoredWrite, names: Iterable[str]) -> StoredWrite:
    """A write with some of its changes."""
    return replace(row, changes={name: row.changes[name] for name in names})
