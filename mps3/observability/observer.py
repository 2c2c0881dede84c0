"""The observer of a client, which counts what happens and passes events to hooks."""

from __future__ import annotations

import asyncio
import inspect
import itertools
import logging
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, Protocol

from ..errors import ClosedError, ConflictError, MPS3Error
from ..types import Commit, Ref
from . import events
from .statistics import Counters

_log = logging.getLogger("mps3")
_numbers = itertools.count(1)


def check_hooks(hooks: Iterable[events.Hook]) -> tuple[events.Hook, ...]:
    """Return the hooks as a tuple. A hook that is not callable, or is a coroutine function, is a ``TypeError``."""
    checked = tuple(hooks)
    for hook in checked:
        if not callable(hook):
            raise TypeError(f"a hook is a callable that takes one event, not {type(hook).__qualname__}")
        if inspect.iscoroutinefunction(hook) or inspect.iscoroutinefunction(getattr(hook, "__call__", None)):  # noqa: B004
            raise TypeError("a hook is called, not awaited: for asynchronous work, put the event into an asyncio.Queue")
    return checked


class ObservedWrite(Protocol):
    """What an observer reads of a pending write."""

    @property
    def labels(self) -> Mapping[str, str]:
        """The labels of the keys, by their names in the manifest."""
        ...

    @property
    def outcome(self) -> asyncio.Future[Commit]:
        """Its commit, or the error that it failed with."""
        ...

    @property
    def announces_collection(self) -> bool:
        """Whether it announces a collection and writes nothing."""
        ...

    @property
    def reruns(self) -> bool:
        """Whether its caller repeats it after a conflict, so that a conflict is not a failure."""
        ...


@dataclass(slots=True)
class _SentCommit:
    """A commit that was sent and is not decided yet."""

    attempt: object  # a reference, so that no other object gets its id
    commit: str
    sent_at: float
    attempts: int = 0
    conflicts: int = 0


@dataclass(slots=True)
class _PendingWrite:
    """A write that is pending."""

    manifest: Ref
    number: int
    at: float
    sent: _SentCommit | None = None


class Observer:
    """Counts what a client does, and passes events to its hooks.

    Args:
        hooks: Called with each event.
        clock: Returns the seconds of a monotonic clock. Called only if there are hooks.

    Attributes:
        counters: The counts so far.
    """

    def __init__(self, hooks: tuple[events.Hook, ...] = (), clock: Callable[[], float] = lambda: 0.0) -> None:
        self.counters: Final = Counters()
        self._hooks = hooks
        self._clock = clock
        self._failing: set[int] = set()
        self._pending_writes: dict[ObservedWrite, _PendingWrite] = {}
        self._sent_commits: dict[int, _SentCommit] = {}
        self._own_sessions: set[str] = set()
        self._shown_manifests: set[Ref] = set()
        self._online: bool | None = None
        self._offline_since: float | None = None

    # Requests

    def request(
        self,
        operation: str,
        bucket: str,
        key: str | None,
        outcome: events.Outcome,
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
            self._emit(events.RequestMade(operation, bucket, key, outcome, seconds, sent, received, problem))

    def request_retried(
        self, operation: str, bucket: str, key: str | None, attempt: int, wait: float, error: MPS3Error
    ) -> None:
        """Count a request that the storage retries."""
        self.counters.request_retries += 1
        if self._hooks:
            self._emit(events.Retried("request", operation, bucket, key, attempt, wait, _problem(error)))

    def value_retried(self, bucket: str, key: str, attempt: int, wait: float, error: MPS3Error) -> None:
        """Count a value that could not be stored, and is retried."""
        self.counters.retries += 1
        if self._hooks:
            self._emit(events.Retried("value", "PutObject", bucket, key, attempt, wait, _problem(error)))

    # Commits of other clients

    def polled(
        self,
        manifest: Ref,
        started: float,
        *,
        news: bool = False,
        woken: bool = False,
        error: MPS3Error | None = None,
    ) -> None:
        """Count a poll of a manifest that began at the time ``started``, perhaps because of a wake-up."""
        self.counters.polls += 1
        self.counters.wake_ups += woken
        self.counters.useful_wake_ups += woken and news
        if error is not None:
            self.counters.failed_polls += 1
        elif not news:
            self.counters.polls_without_news += 1
        if self._hooks:
            seconds = self._clock() - started
            problem = None if error is None else _problem(error)
            self._emit(events.Polled(manifest, news, seconds, problem, woken))

    def merged(
        self, manifest: Ref, commits: Iterable[tuple[str, str, float]], now: Callable[[], float] = lambda: -math.inf
    ) -> None:
        """Count the commits of other clients.

        Args:
            manifest: The manifest.
            commits: The session, the id and the time stamp of each new commit of it.
            now: Returns the store's time; ``-inf`` if that is not known.
        """
        if manifest not in self._shown_manifests:
            self._shown_manifests.add(manifest)
            return
        fresh = [one for one in commits if one[0] not in self._own_sessions]
        if not fresh:
            return
        self.counters.merged += len(fresh)
        time = now()
        # The time stamps are of the store, whose time is known here to a lower bound only.
        seconds = tuple([max(0.0, time - stamp) for _, _, stamp in fresh]) if time > -math.inf else ()
        for one in seconds:
            self.counters.heard(one)
        if self._hooks:
            self._emit(events.Merged(manifest, tuple([commit for _, commit, _ in fresh]), seconds))

    # Writes of this client

    def recovered(self, manifest: Ref, session: str | None, pending: ObservedWrite) -> None:
        """Count a write that an earlier client made, in a session with this name."""
        if session is not None:
            self._own_sessions.add(session)
        self.write_made(manifest, pending, recovered=True)

    def write_made(self, manifest: Ref, pending: ObservedWrite, *, recovered: bool = False) -> None:
        """Count a new write."""
        if pending.announces_collection:
            return
        self.counters.writes += not recovered
        pending.outcome.add_done_callback(partial(self._completed, pending))
        if self._hooks:
            write = self._pending_writes[pending] = _PendingWrite(manifest, next(_numbers), self._clock())
            self._emit(events.WriteMade(manifest, write.number, tuple(pending.labels.values()), recovered))

    def sent(self, manifest: Ref, session: str, commit: str, attempt: object, group: Sequence[ObservedWrite]) -> None:
        """Count a commit that is about to be sent. ``attempt`` is the same object each time it is sent."""
        self.counters.commits_sent += 1
        self._own_sessions.add(session)
        if self._hooks and group:  # a commit without writes only ends a transaction
            sent = self._sent_commits.get(id(attempt))
            if sent is None or sent.commit != commit:
                sent = self._sent_commits[id(attempt)] = _SentCommit(attempt, commit, self._clock())
            sent.attempts += 1
            for pending in group:
                if (write := self._pending_writes.get(pending)) is not None:
                    write.sent = sent
            self._emit(events.CommitSent(manifest, commit, self._writes(group), _keys(group), sent.attempts))

    def conflicted(self, manifest: Ref, attempt: object, wait: float | None = None) -> None:
        """Count a conflict: another client committed first, or changed a key that a transaction has read."""
        self.counters.conflicts += 1
        if self._hooks and (sent := self._sent_commits.get(id(attempt))) is not None:
            sent.conflicts += 1
            self._emit(events.Conflicted(manifest, sent.commit, sent.conflicts, wait))

    def commit_retried(self, manifest: Ref, attempt: object, failures: int, wait: float, error: MPS3Error) -> None:
        """Count a commit whose outcome is unknown, and which is retried."""
        self.counters.retries += 1
        if self._hooks:
            operation, bucket = error.operation or "PutObject", manifest.bucket or ""
            sent = self._sent_commits.get(id(attempt))
            commit = None if sent is None else sent.commit
            self._emit(
                events.Retried("commit", operation, bucket, manifest.key, failures, wait, _problem(error), commit)
            )

    def acknowledged(self, manifest: Ref, commit: str, attempt: object, group: Sequence[ObservedWrite]) -> None:
        """Count a commit that is durable."""
        self.counters.commits += 1
        if self._hooks:
            now = self._clock()
            sent = self._sent_commits.pop(id(attempt), None)
            writes = [self._pending_writes.pop(pending) for pending in group if pending in self._pending_writes]
            self._emit(
                events.Acknowledged(
                    manifest,
                    commit,
                    tuple(one.number for one in writes),
                    _keys(group),
                    None if sent is None else now - sent.sent_at,
                    tuple(now - one.at for one in writes),
                    0 if sent is None else sent.attempts,
                )
            )

    def refused(self, manifest: Ref, attempt: object, group: Sequence[ObservedWrite], error: MPS3Error) -> None:
        """Report a commit that failed permanently."""
        if self._hooks and group:
            sent = self._sent_commits.pop(id(attempt), None)
            writes = self._writes(group)
            for pending in group:
                self._pending_writes.pop(pending, None)
            self._emit(events.WriteFailed(manifest, writes, _problem(error), None if sent is None else sent.commit))

    def _completed(self, pending: ObservedWrite, outcome: asyncio.Future[Commit]) -> None:
        error = None if outcome.cancelled() else outcome.exception()
        if error is not None:
            repeated = pending.reruns and isinstance(error, ConflictError)
            self.counters.failed_writes += not repeated
            self._failed(pending, error)

    def _failed(self, pending: ObservedWrite, error: BaseException) -> None:
        write = self._pending_writes.pop(pending, None)
        if write is not None:
            commit = None
            if write.sent is not None:
                commit = write.sent.commit
                self._sent_commits.pop(id(write.sent.attempt), None)
            self._emit(events.WriteFailed(write.manifest, (write.number,), _problem(error), commit))

    def closed(self) -> None:
        """Report the writes that are pending when the client closes."""
        for pending in list(self._pending_writes):
            outcome = pending.outcome
            error = outcome.exception() if outcome.done() and not outcome.cancelled() else None
            self._failed(
                pending, error or ClosedError("the client was closed before the outcome of the write was known")
            )

    def _writes(self, group: Sequence[ObservedWrite]) -> tuple[int, ...]:
        return tuple(self._pending_writes[pending].number for pending in group if pending in self._pending_writes)

    # The connection

    def connection_changed(self, error: MPS3Error | None, *, online: bool) -> None:
        """Report whether the store answers. Called whenever that may have changed."""
        if online is self._online:
            return
        self._online = online
        if online:
            if self._hooks:
                seconds = None if self._offline_since is None else self._clock() - self._offline_since
                self._emit(events.CameOnline(seconds))
        else:
            self.counters.times_offline += 1
            if self._hooks:
                self._offline_since = self._clock()
                self._emit(events.WentOffline(None if error is None else _problem(error)))

    def _emit(self, event: events.Event) -> None:
        for number, hook in enumerate(self._hooks):
            try:
                hook(event)
            except (Exception, asyncio.CancelledError):  # noqa: BLE001 - a hook must not break the client
                if number not in self._failing:
                    self._failing.add(number)
                    name = getattr(hook, "__qualname__", type(hook).__qualname__)
                    _log.exception("the hook %s raised for %s; this is logged once", name, type(event).__qualname__)


def _keys(group: Sequence[ObservedWrite]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(label for pending in group for label in pending.labels.values()))


def _problem(error: BaseException) -> events.Problem:
    # The messages of other libraries may contain the signed URL of a request.
    return events.Problem(type(error).__name__, str(error) if isinstance(error, MPS3Error) else "")
