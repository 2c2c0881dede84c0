"""The unsent writes of clients that have ended, in the order in which they were made. It does no I/O."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from .protocol import Done, Forget, Operation, StoredSession, StoredWrite
from .queue import OutboxQueue


@dataclass(frozen=True, slots=True)
class RecoveryUnit:
    """Writes of a session that have to be sent together.

    They are one write that was not sent, or all writes that may have been sent as one commit.
    """

    session: StoredSession
    outbox_queue: OutboxQueue
    writes: Sequence[StoredWrite]

    @property
    def in_flight(self) -> bool:
        """Whether the writes may have reached the store."""
        return self.session.sent is not None and self.writes[0].sequence is not None

    def keep_only(self, ids: Sequence[int]) -> Operation:
        """Return the operation that deletes all but these writes from the outbox."""
        if self.in_flight and not ids:
            assert self.session.sent is not None  # noqa: S101 - it is in flight
            return Done(self.session.name, self.session.sent.sequence)
        return Forget(tuple(write.id for write in self.writes if write.id not in ids))


def in_order(sessions: Sequence[tuple[StoredSession, OutboxQueue]]) -> list[RecoveryUnit]:
    """Return the writes of the sessions of one manifest in the order in which they were made.

    The writes of one session keep their order even if their stamps contradict it. Writes that were sent as one commit
    stay one commit, at the position of the last of them. Writes that were set aside are not in the result.
    """
    placed: list[tuple[float, int, int, RecoveryUnit]] = []
    for place, (session, outbox_queue) in enumerate(sessions):
        writes = [write for write in session.writes if write.refusal is None]
        sent = [write for write in writes if write.sequence is not None]
        units = [RecoveryUnit(session, outbox_queue, sent)] if sent else []
        units += [RecoveryUnit(session, outbox_queue, [write]) for write in writes if write.sequence is None]
        reached = -math.inf
        for number, unit in enumerate(units):
            reached = max(reached, *(write.made if write.stamp is None else write.stamp for write in unit.writes))
            placed.append((reached, place, number, unit))
    return [unit for *_, unit in sorted(placed, key=lambda one: one[:3])]


def apply_expiry(write: StoredWrite, wall: float, now: float) -> tuple[StoredWrite, frozenset[str]]:
    """Subtract the time since a write was made from the ``expires_in`` of its changes.

    ``wall`` is this machine's clock, in seconds since 1970; ``now`` is the clock of the directory. The result is the
    write, and its keys that have expired. The write deletes these keys.
    """
    if all(change.expires_in is None for change in write.changes.values()):
        return write, frozenset()
    # Either clock may have stood still in the meantime, or may have been set.
    passed = max(0.0, wall - write.made, 0.0 if write.stamp is None else now - write.stamp)
    changes, over = dict(write.changes), set()
    for name, change in write.changes.items():
        if change.expires_in is None:
            continue
        if change.expires_in > passed:
            changes[name] = replace(change, expires_in=change.expires_in - passed)
        else:
            changes[name] = replace(change, body=None, expires_in=None)
            over.add(name)
    return replace(write, changes=changes), frozenset(over)


def select_changes(write: StoredWrite, names: Iterable[str]) -> StoredWrite:
    """Return a write with some of its changes."""
    return replace(write, changes={name: write.changes[name] for name in names})
