"""The client broken on purpose, one rule at a time: the simulation must notice each."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from itertools import takewhile
from typing import Any
from unittest.mock import patch

from mps3.client import watch
from mps3.collect.live import LiveVersions
from mps3.collect.sweep import Sweep
from mps3.format import update
from mps3.format.document import Document
from mps3.format.schema import LATEST
from mps3.journal import compactor, settle
from mps3.journal import diff as steps
from mps3.journal import outcome as doubt
from mps3.journal.log import fold, tail
from mps3.journal.log import writer as log
from mps3.journal.merge import journal as merge
from mps3.journal.merge import unsettled, validation
from mps3.journal.merge.journal import MergeJournal
from mps3.journal.merge.order import once
from mps3.journal.merge.unsettled import Unsettled
from mps3.manifest.announcer import CollectionAnnouncer
from mps3.manifest.committer import Committer
from mps3.manifest.session import Session
from mps3.offline.queue import OutboxQueue

from . import crowd, log_breaks, patch_breaks
from .faults import Faults


@dataclass(frozen=True)
class Break:
    """One way to break the client.

    Attributes:
        damage: Breaks it while the context lasts.
        options: What the histories are to be like, beyond what is drawn.
        versioning: Whether the bucket has versions.
        durable: Whether clients have a disk.
        collect: Whether garbage is collected.
        first: The seed to begin with, where those before it are known to show nothing.
        forgetful: Whether documents remember few sessions.
        overdue: Whether some versions are visible later than is assumed; some rules matter little otherwise.
        crowd: Whether everyone takes themselves for one of very many writers.
    """

    damage: Callable[[], AbstractContextManager[Any]]
    options: Mapping[str, Any] = field(default_factory=dict)
    versioning: bool = True
    durable: bool = False
    collect: bool = False
    forgetful: bool = False
    overdue: bool = True
    crowd: bool = False
    first: int = 0


@contextmanager
def _without_r4() -> Iterator[None]:
    with patch.object(unsettled, "once", lambda entries, sessions: list(entries)):
        yield


@contextmanager
def _without_r5() -> Iterator[None]:
    with patch.object(unsettled, "causal_order", lambda entries, sessions, log=(): list(entries)):
        yield


@contextmanager
def _without_r6() -> Iterator[None]:
    with patch.object(MergeJournal, "_audit_due", lambda self: False):
        yield


@contextmanager
def _without_r7s_bound() -> Iterator[None]:
    """Settle whatever is in the log, but what ``previous`` needs."""
    original = merge.settle
    compose = MergeJournal._compose

    async def eager(self: MergeJournal, attempt: Any) -> Any:
        document = await compose(self, attempt)
        before = list(takewhile(lambda entry: entry.version != document.previous, document.log))
        if not before:
            return document
        settled = once(before, document.sessions)
        into = await original(document, settled, self._view, self._runs, self._compactor)
        log = document.log[len(before) :]
        return replace(document, log=log, files=into.files, sessions=into.sessions, runs=into.runs)

    with patch.object(MergeJournal, "_compose", eager):
        yield


@contextmanager
def _without_r8s_doubt() -> Iterator[None]:
    with (
        patch.object(MergeJournal, "_too_slow", lambda self, seconds: False),
        patch.object(MergeJournal, "_in_time", lambda self, attempt, version: True),
    ):
        yield


@contextmanager
def _window_too_short() -> Iterator[None]:
    with patch.object(MergeJournal.__init__, "__kwdefaults__", {"window": 0.3}):
        yield


@contextmanager
def _lists_only_the_head() -> Iterator[None]:
    """R3 without siblings: the newest writer wins, and who wrote meanwhile is forgotten."""
    with patch.object(Unsettled, "bound", lambda self, document, version=None: math.inf):
        yield


@contextmanager
def _forgets_what_it_sent() -> Iterator[None]:
    """After a crash what had left is sent as if it had not."""

    async def record_in_flight(self: Session, stored_ids: Any, attempt: Any, witnesses: Any) -> None:
        pass

    with patch.object(Session, "record_in_flight", record_in_flight):
        yield


@contextmanager
def _watch_without_late_commits() -> Iterator[None]:
    """A watch that looks only at what comes after the last commit it knows."""
    original = steps.replay

    def replay(new: Any, commits: Any, fresh: Any, *others: Any) -> Any:
        known = [place for place, commit in enumerate(commits) if commit.id not in fresh]
        last = known[-1] if known else -1
        return original(new, commits, {commit.id for commit in commits[last + 1 :]}, *others)

    with patch.object(steps, "replay", replay), patch.object(steps, "_corrected", lambda old, new, made, matches: made):
        yield


@contextmanager
def _without_r16() -> Iterator[None]:
    """Whatever a client commits counts, however long it has slept."""
    with patch.object(Document, "counts", lambda self, modified: True):
        yield


@contextmanager
def _promises_too_early() -> Iterator[None]:
    """A write is said to be kept before it is."""
    submit = OutboxQueue.submit

    def early(self: OutboxQueue, *operations: Any) -> Any:
        submit(self, *operations)
        done = asyncio.get_running_loop().create_future()
        done.set_result(None)
        return done

    with patch.object(OutboxQueue, "submit", early):
        yield


@contextmanager
def _without_r17() -> Iterator[None]:
    """No collection is announced."""
    original = CollectionAnnouncer.retained

    async def silent(self: CollectionAnnouncer, seconds: float, *, announce: bool) -> Any:
        return await original(self, seconds, announce=False)

    with patch.object(CollectionAnnouncer, "retained", silent):
        yield


@contextmanager
def _without_grace() -> Iterator[None]:
    """What no state names is garbage, however young."""

    def needs(self: LiveVersions, bucket: str, key: str, version: str, modified: float) -> bool:
        return original(replace(self, before=math.inf), bucket, key, version, modified)

    original = LiveVersions.needs
    with patch.object(LiveVersions, "needs", needs):
        yield


@contextmanager
def _only_the_oldest_state() -> Iterator[None]:
    """What the oldest retained state does not name is garbage, though later commits do."""

    def needs(self: LiveVersions, bucket: str, key: str, version: str, modified: float) -> bool:
        retained = replace(self.retained, views=self.retained.views[:1], named=frozenset())
        return original(replace(self, before=self.retained.moment, retained=retained), bucket, key, version, modified)

    original = LiveVersions.needs
    with patch.object(LiveVersions, "needs", needs), patch.object(Sweep, "_is_old_run", _no_run):
        yield


async def _no_run(self: Sweep, found: Any) -> bool:
    return False


@contextmanager
def _all_old_manifests() -> Iterator[None]:
    """Versions of the manifest are garbage as soon as they are not the head."""
    with patch.object(Sweep, "_is_old_version", _any_version):
        yield


async def _any_version(self: Sweep, found: Any) -> bool:
    return True


@contextmanager
def _runs_of_the_newest_state() -> Iterator[None]:
    """Runs are garbage as soon as the newest state does not name them."""

    async def is_old_run(self: Sweep, found: Any) -> bool:
        document = self._live.retained.views[-1].document
        return found.key not in {reference.key for reference in document.references()}

    with patch.object(Sweep, "_is_old_run", is_old_run):
        yield


@contextmanager
def _watch_goes_on_by_the_order() -> Iterator[None]:
    """A cursor that takes all that comes before it in the order as seen."""
    with patch.object(steps.Cursors, "after", lambda self, position, done: self._commits[position].id):
        yield


@contextmanager
def _without_expectations() -> Iterator[None]:
    """What a transaction expects is written down, and nobody looks at it."""
    with patch.object(unsettled, "any_transaction", lambda entries: False), patch.object(merge, "require", _accept):
        yield


@contextmanager
def _swaps_without_expectations() -> Iterator[None]:
    """A commit that lost the race is made again on top of the winner, whatever it was made from."""
    with patch.object(log, "require", _accept), patch.object(tail, "judge", _counts_though_changed):
        yield


def _counts_though_changed(view: Any, entry: Any) -> Any:
    found = _judge(view, entry)
    return fold.Judgement.COUNTS if found is fold.Judgement.CHANGED else found


_judge = fold.judge


async def _accept(attempt: Any, *others: Any) -> None:
    pass


@contextmanager
def _decides_at_once() -> Iterator[None]:
    """A transaction counts as soon as it holds, though something may become visible before it."""
    with patch.object(unsettled, "undecided", lambda *arguments: ()):
        yield


@contextmanager
def _forgets_its_tries() -> Iterator[None]:
    """Another try of a transaction is a commit of its own."""
    original = Committer.gather

    def gather(self: Committer, group: Any) -> Any:
        if group[0].attempt is not None and group[0].expect:
            group[0].attempt = None
        return original(self, group)

    with patch.object(Committer, "gather", gather):
        yield


@contextmanager
def _inherits_the_time() -> Iterator[None]:
    """A value expires when the one before it would have."""
    original = update.patched

    def patched(current: Any, patch: Any, moment: float) -> Any:
        kept = {"expires": current["expires"]} if current and "expires" in current else {}
        return {**kept, **original(current, patch, moment)}

    # What says all there is to say is looked up, too.
    with patch.object(update, "patched", patched), patch.object(update, "is_whole", lambda _: False):
        yield


@contextmanager
def _leaves_out_what_lives() -> Iterator[None]:
    """Whoever settles leaves out whatever is to expire some time."""
    with (
        patch.object(settle, "expired_for_all", lambda document: float(LATEST)),
        patch.object(compactor, "expired_for_all", lambda document: float(LATEST)),
    ):
        yield


@contextmanager
def _watch_goes_on_without_asking_who_left() -> Iterator[None]:
    """A watch that goes on is told only of what expires from now on."""
    with patch.object(watch, "missed", lambda *arguments: set()):
        yield


@contextmanager
def _takes_forgotten_for_no() -> Iterator[None]:
    """A session that a document does not list has not committed, however many it has forgotten."""
    with patch.object(doubt, "spans", lambda *arguments: True):
        yield


@contextmanager
def _forgets_at_once() -> Iterator[None]:
    """A session is forgotten as soon as enough others have committed, though a try of its commit may still arrive."""
    original = merge.settle

    async def forgetful(*arguments: Any, **options: Any) -> Any:
        return await original(*arguments, **{**options, "now": None})

    with patch.object(merge, "settle", forgetful):
        yield


@contextmanager
def _fails_while_a_try_may_arrive() -> Iterator[None]:
    """A transaction fails without an end, though a try of it that was never answered may still arrive, and count."""
    with patch.object(MergeJournal, "may_arrive", lambda self, attempt: False):
        yield


@contextmanager
def _judges_leases_by_an_earlier_time() -> Iterator[None]:
    """A transaction counts though a lease that it has read is over by the stamp of its commit."""
    alive = validation.alive
    with (
        patch.object(tail, "judge", log_breaks.counts_though_expired),
        patch.object(validation, "alive", lambda file, time: alive(file, time - log_breaks.EARLIER)),
    ):
        yield


# Settling too early does not lose a commit, it moves one: that takes many writers, and clocks far apart, to show.
_CONTENDED = {
    "clients": 5,
    "operations": 12,
    "keys": 4,
    "pause": 1.0,
    "page": 1000,
    "stall": 0.0,
    "kill": 0.0,
    "offline": 0.0,
    "faults": Faults(late=0.1, lateness=0.9, slow=0.2, slowness=1.4, skew=1.4),
}

# Clients that sleep for longer than anything is let lie.
_ASLEEP = {"stall": 0.02, "longest_stall": 150.0, "lateness": 14.0, "grace": 28.0, "retention": 0.0, "kill": 0.0}

# Clients that seldom write, so that nobody commits while one of them sleeps, and collect all the time.
_COLLECTED = {
    **_ASLEEP,
    "clients": 3,
    "collectors": 3,
    "operations": 10,
    "pause": 100.0,
    "rest": 10.0,
    "stall": 0.05,
    "poll_interval": 20.0,
    "offline": 0.0,
    "calm_after": 3000.0,
}

# Clients that are away while something expires.
_OFTEN_AWAY = {"expiring": 0.5, "watchers": True, "kill": 0.95, "sleep": 1.0, "longest_sleep": 20.0}

# Many who count at once, where what made one of them void may be void itself after all.
_CONTESTED = {
    **_CONTENDED,
    "transactions": True,
    "pause": 0.3,
    "keys": 1,
    "faults": Faults(late=0.9, lateness=0.5, skew=1.0),
}

# A few who write the same keys, hear nothing for long, and are forgotten meanwhile.
_FORGOTTEN = {
    "sessions": 2,
    "visitors": 15,
    "clients": 2,
    "keys": 1,
    "kill": 0.0,
    "offline": 0.0,
    "faults": Faults(withheld=0.3, withholding=60.0),
}

# The same where what was sent arrives late.
_REPEATED = {**_FORGOTTEN, "faults": Faults(ghost=0.4, ghost_delay=25.0, withholding=30.0)}

# Leases that are over while what needs them is on its way.
_LEASED = {
    "transactions": True,
    "leases": True,
    "clients": 2,
    "operations": 10,
    "kill": 0.0,
    "offline": 0.0,
    "stall": 0.0,
    "faults": Faults(ghost=0.4, ghost_delay=25.0),
}

# The same where the nodes of the store disagree about when a lease is over: what is late may be stamped before.
_LEASED_BY_CLOCKS_APART = {**_LEASED, "faults": Faults(ghost=0.4, ghost_delay=10.0, skew=1.4)}

# The same where what is late is answered.
_LEASED_AND_SLOW = {**_LEASED, "faults": Faults(slow=0.4, slowness=15.0)}

# Many who commit at once, so that slots are left free for others.
_CROWDED = {"clients": 5, "operations": 12, "pause": 0.1}

# Answers that are lost, of PUTs that arrive, and of PUTs that arrive later.
_DOUBTFUL = {"clients": 4, "operations": 10, "pause": 0.5, "faults": Faults(lost=0.2, ghost=0.2, ghost_delay=8.0)}

# Commits that arrive so late that their slots have been collected.
_LATE = {**_COLLECTED, "faults": Faults(slow=0.1, slowness=120.0)}

# The same where sessions are forgotten, too.
_COLLECTED_DOUBT = {
    **_FORGOTTEN,
    "lateness": 14.0,
    "grace": 28.0,
    "collectors": 1,
    "rest": 10.0,
    "faults": Faults(withheld=0.3, withholding=90.0),
}

# Many who patch one document, whose values are objects of their own and are often stored anew.
_PATCHED = {"patches": True, "keys": 1, "pause": 1.0, "waiting": 2}

# The same where what was committed becomes visible late, below what others have made of it.
_PATCHED_LATE = {**_PATCHED, "clients": 5, "operations": 12, "faults": Faults(late=0.9, lateness=0.5, skew=1.0)}

BREAKS: dict[str, Break] = {
    "R3 no siblings": Break(_lists_only_the_head),
    "R4 once": Break(_without_r4),
    "R5 order": Break(_without_r5),
    "R6 audit": Break(_without_r6),
    "R7 bound": Break(_without_r7s_bound, _CONTENDED),
    "R8 doubt": Break(_without_r8s_doubt),
    "window too short": Break(_window_too_short),
    "outbox forgets what it sent": Break(_forgets_what_it_sent, durable=True),
    "outbox promises too early": Break(_promises_too_early, durable=True),
    "R16 deadline": Break(_without_r16, _ASLEEP, collect=True),
    "R17 announcement": Break(_without_r17, _COLLECTED, versioning=False, collect=True),
    "collects without grace": Break(_without_grace, collect=True),
    "collects what came after": Break(_only_the_oldest_state, collect=True),
    "collects every old manifest": Break(_all_old_manifests, collect=True),
    "collects young runs": Break(_runs_of_the_newest_state, {"tiny": True}, collect=True),
    "R19 the time of a value": Break(_inherits_the_time, {"expiring": 0.5}, overdue=False),
    "R19 leaves out what lives": Break(_leaves_out_what_lives, {"expiring": 0.5, "tiny": True}, overdue=False),
    "R19 watch that goes on": Break(_watch_goes_on_without_asking_who_left, _OFTEN_AWAY, overdue=False),
    "R20 expectations": Break(_without_expectations, {"transactions": True}, overdue=False),
    "R20 expectations, swapped": Break(_swaps_without_expectations, {"transactions": True}, versioning=False),
    "R20 decided at once": Break(_decides_at_once, {"transactions": True}, overdue=False),
    "R20 tries are forgotten": Break(_forgets_its_tries, _CONTESTED, overdue=False, first=50),
    "R20 a failed try may arrive": Break(_fails_while_a_try_may_arrive, _LEASED, overdue=False),
    "R20 a lease that is over": Break(_judges_leases_by_an_earlier_time, _LEASED_AND_SLOW, overdue=False),
    "R22 forgotten is not no": Break(_takes_forgotten_for_no, _FORGOTTEN, forgetful=True, overdue=False),
    "R22 forgotten is not no, swapped": Break(
        _takes_forgotten_for_no, _FORGOTTEN, versioning=False, forgetful=True, overdue=False, first=15
    ),
    "R23 forgets at once": Break(_forgets_at_once, _REPEATED, forgetful=True, overdue=False),
    "L1 slots are replaced": Break(log_breaks.replaces_slots, _CROWDED, versioning=False),
    "L2 holes are never filled": Break(log_breaks.counts_beyond_holes, _CROWDED, versioning=False),
    "L3 another slot in doubt": Break(log_breaks.tries_another_slot_in_doubt, _DOUBTFUL, versioning=False),
    "L3 a refused slot is not looked at": Break(
        log_breaks.takes_what_was_refused_for_lost, _DOUBTFUL, versioning=False
    ),
    "L5 a failed try may arrive": Break(
        log_breaks.fails_while_its_slot_is_free, _LEASED_BY_CLOCKS_APART, versioning=False
    ),
    "L5 a lease that is over": Break(_judges_leases_by_an_earlier_time, _LEASED_AND_SLOW, versioning=False),
    "L6 a checkpoint of what it does not have": Break(
        log_breaks.checkpoints_too_much, {"tiny": True}, versioning=False
    ),
    "L9 a reader opens anew": Break(log_breaks.never_opens_anew, _COLLECTED, versioning=False, collect=True),
    "L9 a late answer": Break(
        log_breaks.takes_a_late_answer_for_an_acknowledgement, _LATE, versioning=False, collect=True
    ),
    "L9 grace": Break(log_breaks.collects_slots_without_grace, versioning=False, collect=True),
    "L10 outbox forgets what it sent": Break(_forgets_what_it_sent, versioning=False, durable=True),
    "L11 unknown is not no": Break(log_breaks.takes_collected_for_no, _COLLECTED_DOUBT, versioning=False, collect=True),
    "L12 all below exists": Break(crowd.counts_beyond_holes, _CROWDED, versioning=False, crowd=True),
    "L12 ahead is not read": Break(crowd.takes_ahead_for_read, _CROWDED, versioning=False, crowd=True),
    "L12 own writes": Break(crowd.shows_no_own_writes, {**_CROWDED, "offline": 0.3}, versioning=False, crowd=True),
    "watch without late commits": Break(_watch_without_late_commits, {"watchers": True}),
    "watch goes on by the order": Break(_watch_goes_on_by_the_order, {"watchers": True}),
    "patches: a version of its own": Break(patch_breaks.version_of_the_patch_alone, _PATCHED_LATE, overdue=False),
    "patches: rebase drops later ones": Break(patch_breaks.rebase_drops_later_patches, _PATCHED, versioning=False),
    "patches: rebase of another version": Break(patch_breaks.rebase_of_another_version, _PATCHED, versioning=False),
    "patches: applied twice": Break(_without_r4, {"patches": True}, overdue=False),
    "patches: joining loses a step": Break(patch_breaks.joining_loses_a_step, {"patches": True}, versioning=False),
    "patches: overlay ignores the state": Break(patch_breaks.overlay_ignores_the_state, _PATCHED, versioning=False),
    "patches: watch applies settled ones": Break(
        patch_breaks.watch_applies_settled_patches_again, {**_PATCHED, "watchers": True}, versioning=False
    ),
}
