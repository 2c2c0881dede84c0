"""The observer of a client: it counts what happens, and passes events to hooks. The rooms above only report to it."""

from __future__ import annotations

import asyncio
import inspect
import itertools
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, Protocol

from ..errors import ClosedError, ConflictError, MPS3Error
from ..types import Commit, Ref
from .events import (
    Acknowledged,
    CameOnline,
    CommitSent,
    Conflicted,
    Event,
    Hook,
    Merged,
    Outcome,
    Polled,
    Problem,
    RequestMade,
    Retried,
    WentOffline,
    WriteFailed,
    WriteMade,
)
from .statistics import Counters

_log = logging.getLogger("mps3")
_numbers = itertools.count(1)


def check_hooks(hooks: Iterable[Hook]) -> tuple[Hook, ...]:
    """Return the hooks as a tuple.

    Raises:
        TypeError: A hook is not callable, or has to be awaited.
    """
    checked = tuple(hooks)
    for hook in checked:
        if not callable(hook):
            raise TypeError(f"a hook is a callable that takes one event, not {type(hook).__qualname__}")
        if inspect.iscoroutinefunction(hook) or inspect.iscoroutinefunction(getattr(hook, "__call__", None)):  # noqa: B004
            raise TypeError("a hook is called and not awaited: let it put the event into an asyncio.Queue, for example")
    return checked


class ObservedWrite(Protocol):
    """What an observer reads of a pending write. Writes are told apart by their identity."""

    @property
    def labels(self) -> Mapping[str, str]:
        """The keys as the user knows them, by what the manifest calls them."""
        ...

    @property
    def outcome(self) -> asyncio.Future[Commit]:
        """The commit that it became part of, or why it did not."""
        ...

    @property
    def fence(self) -> bool:
        """Whether it only announces a collection, and writes nothing."""
        ...

    @property
    def reruns(self) -> bool:
        """Whether its caller makes another try of it after a conflict, so that a conflict is no failure."""
        ...


@dataclass(slots=True)
class _InFlight:
    """A commit that was sent."""

    attempt: object  # held, so that no other has its id
    commit: str
    sent_at: float
    times: int = 0
    conflicts: int = 0


@dataclass(slots=True)
class _Made:
    """A write that is pending."""

    manifest: Ref
    number: int
    at: float
    in_flight: _InFlight | None = None


class Observer:
    """Counts what a client does, and passes events to its hooks.

    Args:
        hooks: Called with each event.
        clock: Returns seconds of a monotonic clock. It is read only if there are hooks.

    Attributes:
        counters: The counts so far.
    """

    def __init__(self, hooks: tuple[Hook, ...] = (), clock: Callable[[], float] = lambda: 0.0) -> None:
        self.counters: Final = Counters()
        self._hooks = hooks
        self._clock = clock
        self._failing: set[int] = set()
        self._made: dict[ObservedWrite, _Made] = {}
        self._in_flight: dict[int, _InFlight] = {}
        self._own: set[str] = set()
        self._seen: set[Ref] = set()
        self._online: bool | None = None
        self._offline_at: float | None = None

    # Requests

    def request(
        self,
        operation: str,
        bucket: str,
        key: str | None,
        outcome: Outcome,
        seconds: float,
        sent: int,
        received: int,
        error: BaseException | None,
    ) -> None:
        """Count a request to the store."""
        counters = self.counters
        counters.requests[operation] = counters.requests.get(operation, 0) + 1
        counters.bytes_sent += sent
        counters.bytes_received += received
        if outcome == "error":
            counters.failed_requests += 1
        if self._hooks:
            problem = None if error is None else _problem(error)
            self._tell(RequestMade(operation, bucket, key, outcome, seconds, sent, received, problem))

    def repeated(
        self, operation: str, bucket: str, key: str | None, attempt: int, wait: float, error: MPS3Error
    ) -> None:
        """Count a request that the storage repeats."""
        self.counters.request_retries += 1
        if self._hooks:
            self._tell(Retried("request", operation, bucket, key, attempt, wait, _problem(error)))

    def storing_again(self, bucket: str, key: str, attempt: int, wait: float, error: MPS3Error) -> None:
        """Count a value that could not be stored, and is tried again."""
        self.counters.retries += 1
        if self._hooks:
            self._tell(Retried("value", "PutObject", bucket, key, attempt, wait, _problem(error)))

    # What others do

    def polled(self, manifest: Ref, started: float, *, news: bool = False, error: MPS3Error | None = None) -> None:
        """Count a poll of a manifest that began at ``started`` by the clock."""
        self.counters.polls += 1
        if error is not None:
            self.counters.failed_polls += 1
        elif not news:
            self.counters.polls_without_news += 1
        if self._hooks:
            seconds = self._clock() - started
            self._tell(Polled(manifest, news, seconds, None if error is None else _problem(error)))

    def shown(self, manifest: Ref, commits: Iterable[tuple[str, str]]) -> None:
        """Count the commits of other clients in a new state of a manifest.

        Args:
            manifest: The manifest.
            commits: The session and the id of each commit that is new in it.
        """
        if manifest not in self._seen:
            self._seen.add(manifest)
            return
        fresh = tuple(commit for session, commit in commits if session not in self._own)
        self.counters.merged += len(fresh)
        if fresh and self._hooks:
            self._tell(Merged(manifest, fresh))

    # What this client does

    def recovered(self, manifest: Ref, session: str | None, pending: ObservedWrite) -> None:
        """Count a write that was made in an earlier life of the client, in the session of that name."""
        if session is not None:
            self._own.add(session)
        self.wrote(manifest, pending, recovered=True)

    def wrote(self, manifest: Ref, pending: ObservedWrite, *, recovered: bool = False) -> None:
        """Count a new write."""
        if pending.fence:
            return  # it writes nothing
        self.counters.writes += not recovered
        pending.outcome.add_done_callback(partial(self._decided, pending))
        if self._hooks:
            made = self._made[pending] = _Made(manifest, next(_numbers), self._clock())
            self._tell(WriteMade(manifest, made.number, tuple(pending.labels.values()), recovered))

    def sent(self, manifest: Ref, session: str, commit: str, attempt: object, group: Sequence[ObservedWrite]) -> None:
        """Count a commit that is about to be sent.

        Args:
            manifest: The manifest.
            session: The session of the commit.
            commit: The id of the commit.
            attempt: Any object that is the same for each try of the commit.
            group: The writes in it.
        """
        self.counters.commits_sent += 1
        self._own.add(session)
        if self._hooks and group:  # without one it only ends a transaction
            in_flight = self._in_flight.get(id(attempt))
            if in_flight is None or in_flight.commit != commit:
                in_flight = self._in_flight[id(attempt)] = _InFlight(attempt, commit, self._clock())
            in_flight.times += 1
            for pending in group:
                if (made := self._made.get(pending)) is not None:
                    made.in_flight = in_flight
            self._tell(CommitSent(manifest, commit, self._writes(group), _keys(group), in_flight.times))

    def conflicted(self, manifest: Ref, attempt: object, wait: float | None = None) -> None:
        """Count a conflict: another client committed first, or changed what a transaction has read."""
        self.counters.conflicts += 1
        if self._hooks and (in_flight := self._in_flight.get(id(attempt))) is not None:
            in_flight.conflicts += 1
            self._tell(Conflicted(manifest, in_flight.commit, in_flight.conflicts, wait))

    def committing_again(self, manifest: Ref, attempt: object, failures: int, wait: float, error: MPS3Error) -> None:
        """Count a commit that is not known to have arrived, and is tried again."""
        self.counters.retries += 1
        if self._hooks:
            operation, bucket = error.operation or "PutObject", manifest.bucket or ""
            in_flight = self._in_flight.get(id(attempt))
            commit = None if in_flight is None else in_flight.commit
            self._tell(Retried("commit", operation, bucket, manifest.key, failures, wait, _problem(error), commit))

    def acknowledged(self, manifest: Ref, commit: str, attempt: object, group: Sequence[ObservedWrite]) -> None:
        """Count a commit that is durable."""
        self.counters.commits += 1
        if self._hooks:
            now = self._clock()
            in_flight = self._in_flight.pop(id(attempt), None)
            made = [self._made.pop(pending) for pending in group if pending in self._made]
            self._tell(
                Acknowledged(
                    manifest,
                    commit,
                    tuple(one.number for one in made),
                    _keys(group),
                    None if in_flight is None else now - in_flight.sent_at,
                    tuple(now - one.at for one in made),
                    0 if in_flight is None else in_flight.times,
                )
            )

    def refused(self, manifest: Ref, attempt: object, group: Sequence[ObservedWrite], error: MPS3Error) -> None:
        """Report a commit that can never succeed."""
        if self._hooks and group:
            in_flight = self._in_flight.pop(id(attempt), None)
            writes = self._writes(group)
            for pending in group:
                self._made.pop(pending, None)
            self._tell(WriteFailed(manifest, writes, _problem(error), None if in_flight is None else in_flight.commit))

    def _decided(self, pending: ObservedWrite, outcome: asyncio.Future[Commit]) -> None:
        error = None if outcome.cancelled() else outcome.exception()
        if error is not None:
            again = pending.reruns and isinstance(error, ConflictError)
            self.counters.failed_writes += not again
            self._failed(pending, error)

    def _failed(self, pending: ObservedWrite, error: BaseException) -> None:
        made = self._made.pop(pending, None)
        if made is not None:
            commit = None
            if made.in_flight is not None:
                commit = made.in_flight.commit
                self._in_flight.pop(id(made.in_flight.attempt), None)
            self._tell(WriteFailed(made.manifest, (made.number,), _problem(error), commit))

    def closed(self) -> None:
        """Report the writes that are pending when the client closes."""
        for pending in list(self._made):
            outcome = pending.outcome
            error = outcome.exception() if outcome.done() and not outcome.cancelled() else None
            self._failed(pending, error or ClosedError("the client was closed before it was known what became of it"))

    def _writes(self, group: Sequence[ObservedWrite]) -> tuple[int, ...]:
        return tuple(self._made[pending].number for pending in group if pending in self._made)

    # How it is doing

    def contact(self, error: MPS3Error | None, *, online: bool) -> None:
        """Report whether the store answers. Called whenever that may have changed."""
        if online is self._online:
            return
        self._online = online
        if online:
            if self._hooks:
                seconds = None if self._offline_at is None else self._clock() - self._offline_at
                self._tell(CameOnline(seconds))
        else:
            self.counters.times_offline += 1
            if self._hooks:
                self._offline_at = self._clock()
                self._tell(WentOffline(None if error is None else _problem(error)))

    def _tell(self, event: Event) -> None:
        for number, hook in enumerate(self._hooks):
            try:
                hook(event)
            except (Exception, asyncio.CancelledError):  # noqa: BLE001 - whatever it is, it is not ours
                if number not in self._failing:
                    self._failing.add(number)
                    name = getattr(hook, "__qualname__", type(hook).__qualname__)
                    _log.exception("the hook %s raised for %s; this is logged once", name, type(event).__qualname__)


def _keys(group: Sequence[ObservedWrite]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(label for pending in group for label in pending.labels.values()))


def _problem(error: BaseException) -> Problem:
    # What others say may hold anything: the URL of a request, with its signature.
    return Problem(type(error).__name__, str(error) if isinstance(error, MPS3Error) else "")
