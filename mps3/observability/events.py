"""The events of a client: frozen objects that hooks receive.

A hook is any callable that takes one `Event`. It is called in the event loop, so it should return quickly::

    def show(event: Event) -> None:
        match event:
            case RequestMade(operation=operation, seconds=seconds):
                print(operation, seconds)


    MPS3("bucket", hooks=[show])

Events contain keys, but no values, no credentials, and nothing that these could be derived from.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias, Union

from ..types import Ref

Outcome: TypeAlias = Literal["ok", "absent", "unchanged", "conflict", "error", "cancelled"]
"""How a request ended: ``unchanged`` is status 304, ``conflict`` a condition that did not hold."""


@dataclass(frozen=True, slots=True)
class Problem:
    """A description of an error, which does not keep the error alive.

    Attributes:
        kind: The name of its class, such as ``UnavailableError``.
        message: Its message; empty for errors of other libraries, whose messages may contain secrets.
    """

    kind: str
    message: str


@dataclass(frozen=True, slots=True)
class RequestMade:
    """A request to the store has ended.

    Attributes:
        operation: The S3 action, such as ``PutObject``.
        bucket: The bucket.
        key: The key of the object; the prefix of a listing; ``None`` for a request about the bucket itself.
        outcome: How it ended.
        seconds: Its duration, with all attempts.
        sent: Bytes of the object that was sent.
        received: Bytes of the object that was received.
        error: Why it failed; ``None`` if it did not.
    """

    operation: str
    bucket: str
    key: str | None
    outcome: Outcome
    seconds: float
    sent: int
    received: int
    error: Problem | None = None


@dataclass(frozen=True, slots=True)
class Retried:
    """An operation failed with a transient error, and is retried.

    Attributes:
        what: A ``request``, which the storage repeats before it reports an error; storing a ``value``; a ``commit``.
        operation: The S3 action.
        bucket: The bucket.
        key: The key of the object; for a commit that of the manifest.
        attempt: How many attempts have failed.
        wait: Seconds until the next attempt, at most.
        error: Why the last attempt failed.
        commit: The id of a commit that was sent.
    """

    what: Literal["request", "value", "commit"]
    operation: str
    bucket: str
    key: str | None
    attempt: int
    wait: float
    error: Problem
    commit: str | None = None


@dataclass(frozen=True, slots=True)
class Polled:
    """A manifest was polled for changes by other clients.

    Attributes:
        manifest: The manifest.
        news: Whether it has changed.
        seconds: The duration of the poll.
        error: Why it failed; ``None`` if it did not.
        woken: Whether a wake-up was the reason for it. It was of use if there was news.
    """

    manifest: Ref
    news: bool
    seconds: float
    error: Problem | None = None
    woken: bool = False


@dataclass(frozen=True, slots=True)
class Merged:
    """Commits of other clients became visible in this one.

    Commits before the first poll are not included, nor those that the manifest stopped listing between two polls.

    Attributes:
        manifest: The manifest.
        commits: Their ids, in the order of commits.
        seconds: How long after its time stamp each became visible, by the store's clock, which is known as precisely
            as the store gives time stamps; empty if it is not known.
    """

    manifest: Ref
    commits: tuple[str, ...]
    seconds: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class WriteMade:
    """A write was called. A write to several manifests counts once for each, a transaction once for each run.

    Attributes:
        manifest: The manifest to commit it to.
        write: The number of the write, unique in this process; later events repeat it.
        keys: Its keys; a key in another bucket than the default is ``s3://bucket/key``.
        recovered: Whether an earlier client made it, and this client resumes it.
    """

    manifest: Ref
    write: int
    keys: tuple[str, ...]
    recovered: bool = False


@dataclass(frozen=True, slots=True)
class WriteFailed:
    """Writes failed: they were withdrawn, permanently refused, or the client was closed.

    Each run of a transaction that is repeated fails as well, with an ``OutdatedError``.

    Attributes:
        manifest: The manifest that they were for.
        writes: Their numbers.
        error: Why they failed, such as a ``WithdrawnError`` or a ``ClosedError``.
        commit: The id of their commit, if it had been sent.
    """

    manifest: Ref
    writes: tuple[int, ...]
    error: Problem
    commit: str | None = None


@dataclass(frozen=True, slots=True)
class CommitSent:
    """A commit is sent to the store. Its values have been stored.

    Attributes:
        manifest: The manifest.
        commit: Its id.
        writes: The numbers of its writes.
        keys: Its keys.
        attempt: The number of this attempt, from 1.
    """

    manifest: Ref
    commit: str
    writes: tuple[int, ...]
    keys: tuple[str, ...]
    attempt: int


@dataclass(frozen=True, slots=True)
class Conflicted:
    """Another client committed first, or changed a key that a transaction has read.

    The commit is retried, and `update` and `transact` run again. A `put` with ``if_version`` fails, as does a
    ``transaction()`` block.

    Attributes:
        manifest: The manifest.
        commit: The id of the commit that failed.
        conflicts: How many conflicts it has had.
        wait: Seconds until it is sent again, at most; ``None`` for transactions.
    """

    manifest: Ref
    commit: str
    conflicts: int
    wait: float | None


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """A commit is durable, and its position in the order of commits is final.

    Attributes:
        manifest: The manifest.
        commit: Its id.
        writes: The numbers of its writes.
        keys: Its keys.
        seconds: Seconds since it was first sent; ``None`` if an earlier client sent it.
        waited: Seconds since each write was called, in the order of ``writes``.
        attempts: How often this client sent it.
    """

    manifest: Ref
    commit: str
    writes: tuple[int, ...]
    keys: tuple[str, ...]
    seconds: float | None
    waited: tuple[float, ...]
    attempts: int


@dataclass(frozen=True, slots=True)
class WentOffline:
    """The store stopped answering, or the client was switched offline.

    Attributes:
        error: The error of the request; ``None`` if `MPS3.go_offline` was called.
    """

    error: Problem | None = None


@dataclass(frozen=True, slots=True)
class CameOnline:
    """The store answers.

    Attributes:
        away: Seconds that the client was offline; ``None`` the first time.
    """

    away: float | None = None


Event: TypeAlias = Union[
    RequestMade,
    Retried,
    Polled,
    Merged,
    WriteMade,
    WriteFailed,
    CommitSent,
    Conflicted,
    Acknowledged,
    WentOffline,
    CameOnline,
]
"""Every event. Later versions may add events, so a hook should ignore those that it does not know."""

Hook: TypeAlias = Callable[[Event], object]
"""Called with each event, in the event loop. Its result is ignored. Its first exception is logged."""
