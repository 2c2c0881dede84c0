"""The commits of one manifest, by how far they have come."""

from __future__ import annotations

import logging
from collections import deque

from ..errors import MPS3Error, doubted
from ..format.file_entry import version_of
from ..format.patches import comes_from
from ..format.run import NotAtHandError
from ..format.state import View
from .in_flight import InFlightCommit
from .outbox import Outbox
from .pending import Pending
from .state import ManifestState

_log = logging.getLogger("mps3")


class CommitPipeline:
    """The commits that have been made from pending writes and are not decided yet.

    A commit is first *recovered* or *proposed*, unless it is made from the outbox; then it is *sending*, one at a
    time; a transaction is *undecided* once it has arrived.

    Attributes:
        recovered: Commits that an earlier client may have sent.
        proposed: Transactions, and what ends them, that wait to be sent.
        sending: The commit that is being sent.
        undecided: Transactions that have arrived, and what ends them.
        ahead: Commits that are acknowledged, and not part of the state that is known here (L12).
    """

    def __init__(self, state: ManifestState, outbox: Outbox) -> None:
        self._state = state
        self._outbox = outbox
        self.recovered: deque[InFlightCommit] = deque()
        self.proposed: deque[InFlightCommit] = deque()
        self.sending: InFlightCommit | None = None
        self.undecided: list[InFlightCommit] = []
        self.ahead: list[InFlightCommit] = []

    def next(self) -> InFlightCommit | None:
        """Take the commit that is sent before what is in the outbox, if there is one."""
        if self.recovered:
            return self.recovered.popleft()
        return self.proposed.popleft() if self.proposed else None

    def retry_now(self) -> None:
        """Let the commit that is being sent be tried again at once."""
        if self.sending is not None:
            self.sending.retry_now()

    def update_overlay(self) -> None:
        """Remove writes from the overlay that are part of the state: the state shows them, and what followed them."""
        journal, view = self._state.journal, self._state.view
        if journal is None:
            return
        for commit in (self.sending, *self.recovered, *self.undecided):
            if commit is not None:
                seen = view.has(commit.attempt.session or journal.session, commit.attempt.sequence)
                if seen != commit.seen:
                    commit.seen = seen
                    self._outbox.mark_seen(commit.group, seen=seen)
        seen_now = [commit for commit in self.ahead if journal.shows(commit.attempt)]
        if seen_now:
            self.ahead = [commit for commit in self.ahead if commit not in seen_now]
            void = [commit for commit in seen_now if journal.is_void(commit.attempt)]
            self._outbox.forget([pending for commit in seen_now if commit not in void for pending in commit.group])
            if void:
                _log.warning("another client has made commits to %s in the name of this client", self._state.ref)
                self._outbox.send_again([pending for commit in void for pending in commit.group])
        for commit in self.undecided:
            for pending in commit.group:
                self._outbox.mark_overwritten(pending, _changed_after(pending, journal.tentative))

    def fail_all(self, error: MPS3Error) -> None:
        """Fail all commits: the manifest has ended."""
        for commit in (self.sending, *self.proposed, *self.undecided):
            if commit is not None:
                doubtful = commit.attempt.doubtful or any(pending.safe for pending in commit.group)
                self._outbox.fail(commit.group, doubted(error) if doubtful else error)
                if commit.closes is not None:
                    self._outbox.fail(commit.closes.group, doubted(error))
        self.sending = None


def _changed_after(pending: Pending, tentative: View) -> frozenset[str]:
    """Return the keys of a transaction that later commits have changed."""
    return frozenset(
        name
        for name, content in pending.changes.items()
        if not _is_at(tentative, name, None if content is None else content.version)
    )


def _is_at(view: View, name: str, version: str | None) -> bool:
    try:
        return comes_from(version_of(view.look_up(name)), version)
    except NotAtHandError:
        return False  # what arrived lately is at hand
