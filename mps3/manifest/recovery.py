"""Recovery: the writes of clients that have ended are sent by this one."""

from __future__ import annotations

from collections.abc import Sequence

from ..format.file_entry import version_of
from ..journal.at_hand import look_up_in
from ..offline.protocol import StoredSession
from ..offline.queue import OutboxQueue
from ..offline.unsent_writes import RecoveryUnit, apply_expiry, in_order, select_changes
from ..types import UNCHECKED
from .committer import Committer
from .context import ManifestContext
from .outbox import Outbox
from .pending import SENT, Pending, stored_ids
from .reachability import StoreReachability
from .session import Session
from .state import ManifestState


class Recovery:
    """Continues with the sessions of clients that have ended."""

    def __init__(
        self,
        state: ManifestState,
        reachability: StoreReachability,
        outbox: Outbox,
        committer: Committer,
        context: ManifestContext,
    ) -> None:
        self._state = state
        self._reachability = reachability
        self._outbox = outbox
        self._committer = committer
        self._context = context
        self._unchecked = False

    def recover(self, stored: Sequence[tuple[StoredSession, OutboxQueue]]) -> None:
        """Add the writes of clients that have ended to the outbox.

        Args:
            stored: The sessions with their writes, and where each is kept.
        """
        sessions = {
            one.name: Session(one.manifest, name=one.name, sequence=one.sequence, outbox_queue=outbox_queue)
            for one, outbox_queue in stored
        }
        for one, _ in stored:
            for write in one.writes:
                if write.refusal is not None:
                    self._context.refused(Pending.of(write, sessions[one.name]), write.refusal)
        for unit in in_order(stored):
            self._recover(unit, sessions[unit.session.name])
        if stored:
            self._unchecked = True
            self._reachability.lost()

    def _recover(self, unit: RecoveryUnit, session: Session) -> None:
        wall, now = self._context.environment.now().timestamp(), unit.outbox_queue.now()
        group: list[Pending] = []
        gone: list[Pending] = []
        for kept in unit.writes:
            write, over = apply_expiry(kept, wall, now)
            if over and any(change.expect is not UNCHECKED for change in write.changes.values()):
                continue  # a conditional write that has expired is dropped: it has replaced nothing
            if over and unit.in_flight:
                # Only what has not expired is sent again. `check_lapsed` handles the rest.
                rest = Pending.of(select_changes(write, over), session)
                rest.stored_id, rest.lapsed = None, over
                gone.append(rest)
                write, over = select_changes(write, write.changes.keys() - over), frozenset()
                if not write.changes:
                    continue
            pending = Pending.of(write, session)
            pending.lapsed = over
            group.append(pending)
        if len(group) < len(unit.writes):
            unit.outbox_queue.submit(unit.keep_only(stored_ids(group)))
        for pending in (*group, *gone):
            if unit.in_flight and pending in group:
                pending.stage = SENT
            self._context.observer.recovered(self._state.ref, session.name, pending)
            self._outbox.add(pending)
        if group and unit.in_flight and unit.session.sent is not None:
            self._committer.recover(unit.session, group, session, unit.session.sent)

    async def check_lapsed(self) -> None:
        """Replace recovered writes that have expired, once, before any of them is sent.

        Such a write becomes a delete of the value that it would have replaced. If another client has changed the key
        since, the write does nothing to it.
        """
        if not self._unchecked:
            return
        view, earlier = self._state.view.at(self._context.time.now()), set[str]()
        names = [name for pending in self._outbox.all() if not pending.sent for name in pending.lapsed]
        said = await look_up_in(view, names)
        self._unchecked = False
        for pending in self._outbox.all():
            if pending.lapsed and not pending.sent:
                found = {name: version_of(said[name]) for name in pending.lapsed - earlier}
                others = {name for name, now in found.items() if now is None or now != pending.base_versions.get(name)}
                pending.lapsed = frozenset()
                if others:
                    self._outbox.leave_out(pending, others)
            earlier.update(pending.changes)
