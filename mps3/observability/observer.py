"""Who counts what a client does, and tells its hooks. All others only say that something happened."""

from __future__ import annotations

import asyncio
import inspect
import itertools
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

from ..errors import ClosedError, ConflictError, MPS3Error
from ..format.document import commit_id
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

if TYPE_CHECKING:
    from ..format.state import View
    from ..journal.attempt import Attempt
    from ..journal.protocol import Journal
    from ..manifest.outbox import Pending

_log = logging.getLogger("mps3")
_numbers = itertools.count(1)


def check_hooks(hooks: Iterable[Hook]) -> tuple[Hook, ...]:
    """Refuse what cannot be a hook.

    Raises:
        TypeError: One is not callable, or would have to be awaited.
    """
    checked = tuple(hooks)
    for hook in checked:
        if not callable(hook):
            raise TypeError(f"a hook is a callable that takes one event, not {type(hook).__qualname__}")
        if inspect.iscoroutinefunction(hook) or inspect.iscoroutinefunction(getattr(hook, "__call__", None)):  # noqa: B004
            raise TypeError("a hook is called and not awaited: let it put the event into an asyncio.Queue, for example")
    return checked


@dataclass(slots=True)
class _Underway:
    """A commit that was sent."""

    attempt: Attempt  # held, so that no other has its id
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
    underway: _Underway | None = None


class Observer:
    """Counts, and tells hooks.

    Args:
        hooks: Those who want to know.
        clock: Seconds on a clock that never goes back. Read only if there are hooks.

    Attributes:
        counters: What has happened so far.
    """

    def __init__(self, hooks: tuple[Hook, ...] = (), clock: Callable[[], float] = lambda: 0.0) -> None:
        self.counters: Final = Counters()
        self._hooks = hooks
        self._clock = clock
        self._failing: set[int] = set()
        self._made: dict[Pending, _Made] = {}
        self._underway: dict[int, _Underway] = {}
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
        """The store was asked for something."""
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
        """A request is repeated by the storage."""
        self.counters.request_retries += 1
        if self._hooks:
            self._tell(Retried("request", operation, bucket, key, attempt, wait, _problem(error)))

    def storing_again(self, bucket: str, key: str, attempt: int, wait: float, error: MPS3Error) -> None:
        """A value could not be stored."""
        self.counters.retries += 1
        if self._hooks:
            self._tell(Retried("value", "PutObject", bucket, key, attempt, wait, _problem(error)))

    # What others do

    def polled(self, manifest: Ref, started: float, *, news: bool = False, error: MPS3Error | None = None) -> None:
        """A manifest was looked at, beginning at ``started`` by the clock."""
        self.counters.polls += 1
        if error is not None:
            self.counters.failed_polls += 1
        elif not news:
            self.counters.polls_without_news += 1
        if self._hooks:
            seconds = self._clock() - started
            self._tell(Polled(manifest, news, seconds, None if error is None else _problem(error)))

    def shown(self, manifest: Ref, journal: Journal, before: View, view: View) -> None:
        """There is a new state of a manifest."""
        if manifest not in self._seen:
            self._seen.add(manifest)
            return
        own = self._own
        fresh = tuple(
            commit.id
            for commit in view.commits
            if commit.session != journal.session
            and commit.session not in own
            and not before.has(commit.session, commit.sequence)
        )
        self.counters.merged += len(fresh)
        if fresh and self._hooks:
            self._tell(Merged(manifest, fresh))

    # What this client does

    def wrote(self, manifest: Ref, pending: Pending, *, recovered: bool = False) -> None:
        """There is a new write, made here or in an earlier life."""
        if recovered and pending.session.name is not None:
            self._own.add(pending.session.name)
        if pending.fence:
            return  # it writes nothing
        self.counters.writes += not recovered
        pending.outcome.add_done_callback(partial(self._decided, pending))
        if self._hooks:
            made = self._made[pending] = _Made(manifest, next(_numbers), self._clock())
            self._tell(WriteMade(manifest, made.number, tuple(pending.labels.values()), recovered))

    def sent(self, manifest: Ref, journal: Journal, attempt: Attempt, group: list[Pending]) -> None:
        """A commit is about to leave."""
        self.counters.commits_sent += 1
        session = attempt.session or journal.session
        self._own.add(session)
        if self._hooks and group:  # without one it only ends a transaction
            commit = commit_id(session, attempt.sequence)
            underway = self._underway.get(id(attempt))
            if underway is None or underway.commit != commit:
                underway = self._underway[id(attempt)] = _Underway(attempt, commit, self._clock())
            underway.times += 1
            for pending in group:
                if (made := self._made.get(pending)) is not None:
                    made.underway = underway
            self._tell(CommitSent(manifest, commit, self._writes(group), _keys(group), underway.times))

    def conflicted(self, manifest: Ref, attempt: Attempt, wait: float | None = None) -> None:
        """Somebody else committed first, or changed what a transaction was made from."""
        self.counters.conflicts += 1
        if self._hooks and (underway := self._underway.get(id(attempt))) is not None:
            underway.conflicts += 1
            self._tell(Conflicted(manifest, underway.commit, underway.conflicts, wait))

    def committing_again(self, manifest: Ref, attempt: Attempt, failures: int, wait: float, error: MPS3Error) -> None:
        """A commit is not known to have arrived."""
        self.counters.retries += 1
        if self._hooks:
            operation, bucket = error.operation or "PutObject", manifest.bucket or ""
            underway = self._underway.get(id(attempt))
            commit = None if underway is None else underway.commit
            self._tell(Retried("commit", operation, bucket, manifest.key, failures, wait, _problem(error), commit))

    def acknowledged(self, manifest: Ref, commit: str, attempt: Attempt, group: list[Pending]) -> None:
        """A commit is durable."""
        self.counters.commits += 1
        if self._hooks:
            now = self._clock()
            underway = self._underway.pop(id(attempt), None)
            made = [self._made.pop(pending) for pending in group if pending in self._made]
            self._tell(
                Acknowledged(
                    manifest,
                    commit,
                    tuple(one.number for one in made),
                    _keys(group),
                    None if underway is None else now - underway.sent_at,
                    tuple(now - one.at for one in made),
                    0 if underway is None else underway.times,
                )
            )

    def refused(self, manifest: Ref, attempt: Attempt, group: list[Pending], error: MPS3Error) -> None:
        """A commit can never succeed."""
        if self._hooks and group:
            underway = self._underway.pop(id(attempt), None)
            writes = self._writes(group)
            for pending in group:
                self._made.pop(pending, None)
            self._tell(WriteFailed(manifest, writes, _problem(error), None if underway is None else underway.commit))

    def _decided(self, pending: Pending, outcome: asyncio.Future[Commit]) -> None:
        error = None if outcome.cancelled() else outcome.exception()
        if error is not None:
            again = pending.policy.name == "RERUN" and isinstance(error, ConflictError)
            self.counters.failed_writes += not again
            self._failed(pending, error)

    def _failed(self, pending: Pending, error: BaseException) -> None:
        made = self._made.pop(pending, None)
        if made is not None:
            commit = None
            if made.underway is not None:
                commit = made.underway.commit
                self._underway.pop(id(made.underway.attempt), None)
            self._tell(WriteFailed(made.manifest, (made.number,), _problem(error), commit))

    def closed(self) -> None:
        """The client has closed: nothing more becomes of what is pending."""
        for pending in list(self._made):
            outcome = pending.outcome
            error = outcome.exception() if outcome.done() and not outcome.cancelled() else None
            self._failed(pending, error or ClosedError("the client was closed before it was known what became of it"))

    def _writes(self, group: list[Pending]) -> tuple[int, ...]:
        return tuple(self._made[pending].number for pending in group if pending in self._made)

    # How it is doing

    def contact(self, error: MPS3Error | None, *, online: bool) -> None:
        """Whether the store answers; told whenever that may be different."""
        if online is self._online:
            return
        self._online = online
        if online:
            if self._hooks:
                away = None if self._offline_at is None else self._clock() - self._offline_at
                self._tell(CameOnline(away))
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


def _keys(group: list[Pending]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(label for pending in group for label in pending.labels.values()))


def _problem(error: BaseException) -> Problem:
    # What others say may hold anything: the URL of a request, with its signature.
    return Problem(type(error).__name__, str(error) if isinstance(error, MPS3Error) else "")
