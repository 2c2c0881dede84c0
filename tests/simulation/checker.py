"""What a history must look like, whatever the store did: the promises, checked from what clients saw.

Every write has a name (``c1.0/3``: the fourth write of the first life of client c1), and every value says
which write it is of. Most writes also put a key of their own, ``only/<write>``: whoever has a whole state
can tell from it which writes it contains. All sets of writes here are bit masks.

The promises, by the name a violation carries:

========== =====================================================================================
lost       an acknowledged write is in every state of a client opened later, and in all final states;
           a kept write is in all final states, though its client was killed
unseen     what a client has seen, or was acknowledged to it, stays in all it sees later
stale      a value never gives way to one that came before it: no repetition, no half a ``put_all``, own
           writes seen at once
acausal    what a write was based on is there wherever the write is; so are its session's earlier writes
partial    who sees a key of a ``put_all`` sees all of it
reordered  all states of all clients agree on one order of the writes (see :func:`check`)
repeated   no commit is applied twice
diverged   in the end all clients have the same values
withdrawn  a write that was withdrawn or refused is never seen again
watched    applying the batches of a watch gives what is resolved, and with the pending changes what is read;
           each commit is in one batch, those made after it began in any, unless it says that it skipped some
silent     a subscription ends up with the final value
stuck      every write of a client that lives is acknowledged in the end
expired    a value that is to expire is not read for long after it should have; nor is it missing before
           (that is called stale)
refused    no write fails, since nothing in this world is permanent; of some nobody can tell what became of them
invented   only values that were written are read
collected  a value that is named does not stay missing (noted while it happens, not here)
========== =====================================================================================
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from mps3.format.schema import NOTHING

from .history import (
    Acknowledged,
    Batched,
    Event,
    Failed,
    Final,
    Invoked,
    Kept,
    Killed,
    Observed,
    Opened,
    Recovered,
    State,
    Told,
    Unknown,
    Violation,
    Watched,
    Withdrawing,
    Withdrawn,
)


@dataclass(frozen=True)
class Ends:
    """When writes expire, and how exactly clients can know the time.

    Attributes:
        of: The earliest and the latest time of each write that is to expire: it may have been stored again.
        early: Seconds that a client's idea of the store's time may be ahead of the true one.
        late: Seconds that it may be behind.
    """

    of: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    early: float = 0.0
    late: float = 0.0


def check(
    history: Sequence[Event],
    commits: Mapping[str, Collection[str]] = NOTHING,
    overdue: Collection[str] = (),
    ends: Ends = Ends(),
    reading: float = 0.0,
) -> list[Violation]:
    """All violations in a history, in order of time.

    Args:
        history: What happened.
        commits: The writes in each commit. A commit that is in the store more than once takes the place of
            its first version, and when that becomes visible after another it moves to an earlier place among
            concurrent ones. So what is asked is one order of all versions, and that no commit moves to a later
            one; and for writes, one order of those whose commits nobody saw move.
        overdue: The commits that became visible later than the window allows. Nothing is promised of their
            writes until they are acknowledged, and of their order nothing at all.
        ends: When writes expire.
        reading: Seconds that a client may take to read a state. What it shows of overdue commits is as old as that.
    """
    return _Check(history, commits, frozenset(overdue), ends, reading).violations


@dataclass
class _Write:
    name: str
    bit: int
    client: str
    changes: Mapping[str, bool]
    past: int
    acknowledged: int | None = None  # the index of the event
    acknowledged_at: float = math.inf
    voided: int | None = None
    commit: str | None = None


@dataclass
class _Watcher:
    ids: set[str] = field(default_factory=set)
    listed: int | None = None  # the index of the event
    skipped: bool = False


@dataclass
class _Client:
    known: int = 0
    timeline: list[tuple[int, int]] = field(default_factory=list)
    unacknowledged: int = 0
    killed: bool = False

    def at(self, since: int) -> int:
        """What it knew before the event of this index."""
        place = bisect_left(self.timeline, (since, 0))
        return self.timeline[place - 1][1] if place else 0


class _Check:
    def __init__(
        self,
        history: Sequence[Event],
        commits: Mapping[str, Collection[str]],
        overdue: frozenset[str],
        ends: Ends,
        reading: float,
    ) -> None:
        self._ends = ends
        self._reading = reading
        self.violations: list[Violation] = []
        self._writes: dict[str, _Write] = {}
        self._list: list[_Write] = []
        self._writers: defaultdict[str, int] = defaultdict(int)
        self._clients: defaultdict[str, _Client] = defaultdict(_Client)
        self._tracked = 0  # the writes that put a key of their own
        self._acknowledged = 0
        self._kept = 0
        self._acknowledgements: list[tuple[int, int]] = []
        self._before: defaultdict[int, int] = defaultdict(int)  # of a bit: what some state shows it to have replaced
        self._followers: defaultdict[str, set[str]] = defaultdict(set)  # of a version: those listed right after it
        self._counting: defaultdict[str, dict[str, str]] = defaultdict(dict)  # of a client: version by commit
        self._first: dict[str, str] = {}  # the version that anybody first saw a commit count by
        self._overdue = frozenset(write for commit in overdue for write in commits.get(commit, ()))
        self._moved = set(self._overdue)
        self._final: dict[str, Mapping[str, str]] = {}
        self._commits = commits
        self._overdue_commits = overdue
        self._known_at = math.inf  # the event from which what is looked at is
        self._watchers: defaultdict[str, _Watcher] = defaultdict(_Watcher)
        self._invoked: dict[str, int] = {}
        # What never takes effect is nobody's cause, from the start.
        self._never = {event.write for event in history if isinstance(event, Failed | Withdrawn)}
        # Of these nobody knows, before it is seen by somebody.
        self._unknown = {event.write for event in history if isinstance(event, Unknown)}
        # Nor does what was being withdrawn when its client died, if nobody ever sees it.
        shown = {write for event in history if isinstance(event, State | Final) for write in event.values.values()}
        self._never |= {event.write for event in history if isinstance(event, Withdrawing)} - shown
        for self._index, event in enumerate(history):
            self._at = event.at
            self._take(event)
        for name, client in self._clients.items():
            for write in self._these(0 if client.killed else client.unacknowledged):
                self._wrong("stuck", f"{write.name} of {name} was never acknowledged")
        self._one_order()

    def _take(self, event: Event) -> None:
        match event:
            case Opened(_, name, since):
                for index, mask in self._acknowledgements:
                    if index < since:
                        self._learn(name, mask)
            case Invoked():
                self._invoke(event)
            case Acknowledged(_, name, write, commit):
                self._writes[write].commit = commit
                mask = self._writes[write].bit
                self._acknowledged |= mask
                self._writes[write].acknowledged = self._index
                self._writes[write].acknowledged_at = self._at
                self._clients[name].unacknowledged &= ~mask
                self._acknowledgements.append((self._index, mask | self._writes[write].past))
            case Kept(_, _, write):
                self._kept |= self._writes[write].bit
            case Withdrawing(_, _, write):
                self._kept &= ~self._writes[write].bit
            case Recovered(_, name, before, writes):
                # It was shown all that the other was, and its own pending writes are those of the other.
                old, client = self._clients[before], self._clients[name]
                pending = sum(self._writes[write].bit for write in writes)
                client.unacknowledged |= pending
                known = (old.known & ~old.unacknowledged) | (self._kept & old.unacknowledged) | pending
                self._learn(name, known & ~self._doubted() | (old.known & ~old.unacknowledged))
            case Failed(_, name, write) | Withdrawn(_, name, write):
                if isinstance(event, Failed):
                    self._wrong("refused", f"{write}: {event.error}")
                self._writes[write].voided = self._index
                self._clients[name].unacknowledged &= ~self._writes[write].bit
            case Unknown(_, name, write):
                self._kept &= ~self._writes[write].bit
                self._clients[name].unacknowledged &= ~self._writes[write].bit
            case Observed():
                self._observe(event)
            case State(_, name, values, ids, versions, since):
                self._known_at = self._index if since is None else since
                self._state(name, values)
                self._known_at = math.inf
                if len(set(ids)) < len(ids):
                    self._wrong("repeated", f"{name} lists a commit twice: {list(ids)}")
                steady = {
                    commit: version
                    for commit, version in zip(ids, versions, strict=True)
                    if commit not in self._overdue_commits
                }
                for one, other in pairwise(steady.values()):
                    self._followers[one].add(other)
                for commit, version in steady.items():
                    before = self._counting[name].setdefault(commit, version)
                    if before != version:
                        self._counting[name][commit] = version
                        self._followers[version].add(before)
                    if self._first.setdefault(commit, version) != version:
                        self._moved.update(self._commits.get(commit, ()))
            case Final(_, name, values):
                self._learn(name, self._acknowledged | self._kept)
                self._state(name, values, all_acknowledged=True)
                for other, others in self._final.items():
                    for key in sorted(set(values) | set(others)):
                        one, two = values.get(key), others.get(key)
                        about = [self._writes[write] for write in (one, two) if write in self._writes]
                        if one != two:
                            self._wrong("diverged", f"{key} is {one} at {name}, {two} at {other}", *about)
                    break
                self._final[name] = values
            case Watched(_, name, key, write):
                if name in self._final and write != self._final[name].get(key):
                    self._wrong("silent", f"{name} was last told {write} of {key}, not {self._final[name].get(key)}")
            case Batched():
                self._batch(event)
            case Told():
                self._told(event)
            case Killed(_, name):
                self._clients[name].killed = True

    def _invoke(self, event: Invoked) -> None:
        client = self._clients[event.client]
        bit = 1 << len(self._list)
        write = _Write(event.write, bit, event.client, event.changes, past=client.known)
        self._writes[event.write] = write
        self._invoked[event.write] = self._index
        self._list.append(write)
        for key in event.changes:
            self._writers[key] |= bit
        if f"only/{event.write}" in event.changes:
            self._tracked |= bit
        client.unacknowledged |= bit
        if event.write not in self._unknown:
            self._learn(event.client, bit)

    def _doubted(self) -> int:
        """The writes of which nobody can tell what became of them."""
        return sum(self._writes[write].bit for write in self._unknown if write in self._writes)

    def _observe(self, event: Observed) -> None:
        name, key = event.client, event.key
        client = self._clients[name]
        known = client.at(event.since)
        how = f"{event.how} by {name}"
        write = self._read(key, event.write, how)
        if write is None and event.write is not None:
            return
        if write is not None and write.voided is not None and write.voided < event.since:
            self._wrong("withdrawn", f"{write.name} at {key}, {how}", write)
        self._not_stale(key, write, known, how)
        if write is not None and write.name in self._ends.of and event.begun is not None:
            end = self._ends.of[write.name][1] + self._ends.late
            if event.begun > end and write.acknowledged is not None and write.acknowledged < event.since:
                self._wrong("expired", f"{write.name} at {key}, {how}, was over at {end:.3f} at the latest", write)
        if write is not None:
            # An own pending write hides what is resolved, so it tells nothing about the order.
            if write.client != name or (write.acknowledged is not None and write.acknowledged < event.since):
                self._before[write.bit] |= known & self._writers[key] & ~write.bit
            own = write.client == name and write.name in self._unknown  # shown while it is pending
            self._learn(name, write.past if own else write.bit | write.past)

    def _batch(self, event: Batched) -> None:
        watcher = self._watchers[event.watcher]
        if event.listed:
            watcher.listed = self._index
        watcher.skipped |= event.skipped
        if event.id is not None and not event.skipped:
            if event.id in watcher.ids:
                self._wrong("watched", f"{event.watcher} is told of {event.id} twice")
            watcher.ids.add(event.id)
        for key in event.repeated:
            self._wrong("watched", f"{event.watcher} is told twice that {key} is gone")

    def _told(self, event: Told) -> None:
        for one, other, what in (
            (event.values, event.resolved, "committed"),
            (event.shown, event.read, "there"),
        ):
            for key in sorted(set(one) | set(other)):
                if one.get(key) != other.get(key):
                    self._wrong(
                        "watched", f"{event.watcher} was told {one.get(key)} of {key}, {other.get(key)} is {what}"
                    )
        watcher = self._watchers[event.watcher]
        if event.last and watcher.listed is not None and not watcher.skipped:
            for write in self._list:
                late = self._invoked[write.name] > watcher.listed
                if late and write.commit is not None and write.commit not in watcher.ids:
                    self._wrong("watched", f"{event.watcher} was never told of {write.name}, {write.commit}")

    def _state(self, name: str, values: Mapping[str, str], *, all_acknowledged: bool = False) -> None:
        client = self._clients[name]
        held = 0
        for key, value in values.items():
            if key.startswith("only/"):
                write = self._read(key, value, f"state of {name}")
                held |= write.bit if write else 0
        known = client.known & ~client.unacknowledged
        for write in self._these(known & self._tracked & ~held):
            promise = "lost" if all_acknowledged and write.bit & (self._acknowledged | self._kept) else "unseen"
            acknowledged = "" if write.bit & self._acknowledged else " (never acknowledged)"
            acknowledged += " (kept)" if write.bit & self._kept else ""
            self._wrong(promise, f"{write.name} is not in the state of {name}{acknowledged}", write)
        for write in self._these(held):
            for cause in self._these(write.past & self._tracked & ~held):
                self._wrong(
                    "acausal", f"{name} has {write.name} without {cause.name}, which came before it", write, cause
                )
            if write.voided is not None:
                self._wrong("withdrawn", f"{write.name} in the state of {name}", write)
        for key, writers in self._writers.items():
            if not writers & (writers - 1):
                continue  # a key of one write
            write = self._read(key, values.get(key), f"state of {name}")
            if write is None and key in values:
                continue
            self._not_stale(key, write, held | known, f"state of {name}")
            if write is not None:
                self._before[write.bit] |= held & writers & ~write.bit
                if write.bit & self._tracked & ~held:
                    self._wrong("partial", f"{name} has {write.name} at {key}, but not only/{write.name}", write)
        causes = 0
        for write in self._these(held & ~client.known):
            causes |= write.past
        self._learn(name, held | causes)

    # Rules.

    def _read(self, key: str, value: str | None, where: str) -> _Write | None:
        write = None if value is None else self._writes.get(value)
        if value is not None and (write is None or not write.changes.get(key)):
            self._wrong("invented", f"{value} at {key}, {where}")
            return None
        return write

    def _not_stale(self, key: str, read: _Write | None, known: int, where: str) -> None:
        """``read`` may be at ``key`` of whoever has all writes of ``known``."""
        writers = self._writers.get(key, 0)
        for write in self._these(known & writers):
            if read is write or (read is None and not write.changes[key]):
                continue
            if read is not None:
                if read.bit & write.past and not self._may_come_again(read, write):
                    self._wrong("stale", f"{key} is {read.name} after {write.name}, {where}", read, write)
            elif not any(self._may_take_away(other, key, write) for other in self._these(writers)):
                self._wrong("stale", f"{key} is absent after {write.name}, {where}", write)

    def _may_come_again(self, read: _Write, write: _Write) -> bool:
        """Whether an overdue write may stand behind another that was based on it: others had settled past it then."""
        early = read.acknowledged is None or self._invoked[write.name] < read.acknowledged
        return early and read.name in self._overdue

    def _may_take_away(self, other: _Write, key: str, write: _Write) -> bool:
        """Whether a key may be absent after a write because of another write, or of the same, which has expired."""
        if other.name in self._never or other.bit & write.past & ~write.bit:
            return False
        if not other.changes[key]:
            return other is not write
        return other.name in self._ends.of and self._at >= self._ends.of[other.name][0] - self._ends.early

    def _one_order(self) -> None:
        """There must be an order of all writes that agrees with every state and with every cause."""
        steady = sum(
            write.bit
            for write in self._list
            if write.name not in self._moved and (write.bit & self._tracked or write.acknowledged is not None)
        )
        before = {
            write.bit: write.past | (self._before[write.bit] & steady if write.bit & steady else 0)
            for write in self._list
        }
        left = sum(before)
        done = True
        while left and done:
            done = 0
            for write in self._these(left):
                if not before[write.bit] & left & ~write.bit:
                    done |= write.bit
            left &= ~done
        for write in self._these(left):
            for other in self._these(before[write.bit] & left):
                if other.bit < write.bit and before[other.bit] & write.bit:
                    self._wrong("reordered", f"{other.name} before {write.name}, and {write.name} before {other.name}")
                    left = 0
        if left:
            self._wrong("reordered", "in a circle: " + ", ".join(write.name for write in self._these(left)))
        self._one_order_of_versions()

    def _one_order_of_versions(self) -> None:
        waiting = dict.fromkeys(self._followers, 0)
        for followers in self._followers.values():
            for follower in followers:
                waiting[follower] = waiting.get(follower, 0) + 1
        ready = [version for version, number in waiting.items() if not number]
        while ready:
            version = ready.pop()
            del waiting[version]
            for follower in self._followers.get(version, ()):
                waiting[follower] -= 1
                if not waiting[follower]:
                    ready.append(follower)
        if waiting:
            self._wrong("reordered", "versions in a circle: " + ", ".join(sorted(waiting)))

    # Sets of writes.

    def _learn(self, name: str, mask: int) -> None:
        client = self._clients[name]
        for write in self._these(mask & ~client.known):
            if write.name in self._never:
                mask &= ~write.bit
        if mask & ~client.known:
            client.known |= mask
            client.timeline.append((self._index, client.known))

    def _these(self, mask: int) -> Iterator[_Write]:
        while mask:
            bit = mask & -mask
            yield self._list[bit.bit_length() - 1]
            mask ^= bit

    def _wrong(self, promise: str, text: str, *about: _Write) -> None:
        for write in about:
            known = write.acknowledged is not None and write.acknowledged < self._known_at
            if write.name in self._overdue and not (known and self._at - write.acknowledged_at > self._reading):
                return
        self.violations.append(Violation(promise, self._at, text))
