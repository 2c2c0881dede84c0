"""What a history must look like, whatever the store did: the promises, checked from what clients saw.

Every write has a name (``c1.0/3``: the fourth write of the first life of client c1), and every value says
which write it is of. Most writes also put a key of their own, ``only/<write>``: whoever has a whole state
can tell from it which writes it contains. All sets of writes here are bit masks.

The promises, by the name a violation carries:

========== =====================================================================================
lost       an acknowledged write is in every state of a client opened later, and in all final states
unseen     what a client has seen, or was acknowledged to it, stays in all it sees later
stale      a value never gives way to one that came before it: no repetition, no half a ``put_all``, own
           writes seen at once
acausal    what a write was based on is there wherever the write is; so are its session's earlier writes
partial    who sees a key of a ``put_all`` sees all of it
reordered  all states of all clients agree on one order of the writes (see :func:`check`)
repeated   no commit is applied twice
diverged   in the end all clients have the same values
withdrawn  a write that was withdrawn or refused is never seen again
silent     a subscription ends up with the final value
stuck      every write of a client that lives is acknowledged in the end
refused    no write fails, since nothing in this world is permanent
invented   only values that were written are read
========== =====================================================================================
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from .history import (
    Acknowledged,
    Event,
    Failed,
    Final,
    Invoked,
    Killed,
    Observed,
    Opened,
    State,
    Violation,
    Watched,
    Withdrawn,
)


def check(history: Sequence[Event], movable: Collection[str] = (), overdue: Collection[str] = ()) -> list[Violation]:
    """All violations in a history, in order of time.

    Args:
        history: What happened.
        movable: The writes and commits that were sent to the store more than once. They take the place of
            the first that is visible, so they may move to an earlier place among concurrent ones.
        overdue: The writes that became visible later than the window allows. Nothing is promised of them
            until they are acknowledged.
    """
    return _Check(history, frozenset(movable), frozenset(overdue)).violations


@dataclass
class _Write:
    name: str
    bit: int
    client: str
    changes: Mapping[str, bool]
    past: int
    acknowledged: int | None = None  # the index of the event
    voided: int | None = None
    commit: str | None = None


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
    def __init__(self, history: Sequence[Event], movable: frozenset[str], overdue: frozenset[str]) -> None:
        self.violations: list[Violation] = []
        self._writes: dict[str, _Write] = {}
        self._list: list[_Write] = []
        self._writers: defaultdict[str, int] = defaultdict(int)
        self._clients: defaultdict[str, _Client] = defaultdict(_Client)
        self._tracked = 0  # the writes that put a key of their own
        self._acknowledged = 0
        self._acknowledgements: list[tuple[int, int]] = []
        self._before: defaultdict[int, int] = defaultdict(int)  # of a bit: what some state shows it to have replaced
        self._followers: defaultdict[str, set[str]] = defaultdict(set)  # of a commit: those listed right after it
        self._final: dict[str, Mapping[str, str]] = {}
        self._movable = movable | overdue
        self._overdue = overdue
        # What never takes effect is nobody's cause, from the start.
        self._never = {event.write for event in history if isinstance(event, Failed | Withdrawn)}
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
                self._clients[name].unacknowledged &= ~mask
                self._acknowledgements.append((self._index, mask | self._writes[write].past))
            case Failed(_, name, write) | Withdrawn(_, name, write):
                if isinstance(event, Failed):
                    self._wrong("refused", f"{write}: {event.error}")
                self._writes[write].voided = self._index
                self._clients[name].unacknowledged &= ~self._writes[write].bit
            case Observed():
                self._observe(event)
            case State(_, name, values, ids):
                self._state(name, values)
                if len(set(ids)) < len(ids):
                    self._wrong("repeated", f"{name} lists a commit twice: {list(ids)}")
                steady = [commit for commit in ids if commit not in self._movable]
                for one, other in pairwise(steady):
                    self._followers[one].add(other)
            case Final(_, name, values):
                self._learn(name, self._acknowledged)
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
            case Killed(_, name):
                self._clients[name].killed = True

    def _invoke(self, event: Invoked) -> None:
        client = self._clients[event.client]
        bit = 1 << len(self._list)
        write = _Write(event.write, bit, event.client, event.changes, past=client.known)
        self._writes[event.write] = write
        self._list.append(write)
        for key in event.changes:
            self._writers[key] |= bit
        if f"only/{event.write}" in event.changes:
            self._tracked |= bit
        client.unacknowledged |= bit
        self._learn(event.client, bit)

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
        if write is not None:
            # An own pending write hides what is resolved, so it tells nothing about the order.
            if write.client != name or (write.acknowledged is not None and write.acknowledged < event.since):
                self._before[write.bit] |= known & self._writers[key] & ~write.bit
            self._learn(name, write.bit | write.past)

    def _state(self, name: str, values: Mapping[str, str], *, all_acknowledged: bool = False) -> None:
        client = self._clients[name]
        held = 0
        for key, value in values.items():
            if key.startswith("only/"):
                write = self._read(key, value, f"state of {name}")
                held |= write.bit if write else 0
        known = client.known & ~client.unacknowledged
        for write in self._these(known & self._tracked & ~held):
            promise = "lost" if all_acknowledged and write.bit & self._acknowledged else "unseen"
            acknowledged = "" if write.bit & self._acknowledged else " (never acknowledged)"
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
                if read.bit & write.past:
                    self._wrong("stale", f"{key} is {read.name} after {write.name}, {where}", read, write)
            elif not any(
                not other.changes[key] and not other.bit & write.past and other.name not in self._never
                for other in self._these(writers & ~write.bit)
            ):
                self._wrong("stale", f"{key} is absent after {write.name}, {where}", write)

    def _one_order(self) -> None:
        """There must be an order of all writes that agrees with every state and with every cause."""
        steady = sum(
            write.bit
            for write in self._list
            if not {write.name, write.commit} & self._movable and (write.bit & self._tracked or write.commit)
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
        self._one_order_of_commits()

    def _one_order_of_commits(self) -> None:
        waiting = dict.fromkeys(self._followers, 0)
        for commit in self._followers.values():
            for follower in commit:
                waiting[follower] = waiting.get(follower, 0) + 1
        ready = [commit for commit, number in waiting.items() if not number]
        while ready:
            commit = ready.pop()
            del waiting[commit]
            for follower in self._followers.get(commit, ()):
                waiting[follower] -= 1
                if not waiting[follower]:
                    ready.append(follower)
        if waiting:
            self._wrong("reordered", "commits in a circle: " + ", ".join(sorted(waiting)))

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
            if write.name in self._overdue and not write.bit & self._acknowledged:
                return
        self.violations.append(Violation(promise, self._at, text))
