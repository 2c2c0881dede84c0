"""What goes on inside a client, as frozen objects that hooks receive.

A hook is any callable that takes one `Event`. It is called at once, in the event loop, so it should return soon::

    def show(event: Event) -> None:
        match event:
            case RequestMade(operation=operation, seconds=seconds):
                print(operation, seconds)


    MPS3("bucket", hooks=[show])

No event holds a value, credentials, or anything that they could be derived from. Keys are in them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias, Union

from ..types import Ref

Outcome: TypeAlias = Literal["ok", "absent", "unchanged", "conflict", "error", "cancelled"]
"""How a request ended: ``unchanged`` is a 304, and ``conflict`` a condition that did not hold."""


@dataclass(frozen=True, slots=True)
class Problem:
    """What an error was about. It keeps nothing of the error alive.

    Attributes:
        kind: The name of its class, such as ``UnavailableError``.
        message: What it says; empty if it is not one of this library, whose messages hold no secrets.
    """

    kind: str
    message: str


@dataclass(frozen=True, slots=True)
class RequestMade:
    """The store was asked for something, and answered or did not.

    Attributes:
        operation: As S3 names it, such as ``PutObject``.
        bucket: Of which bucket.
        key: Of which object; for listings what the keys begin with; ``None`` for the bucket itself.
        outcome: How it ended.
        seconds: How long it took, with all its tries.
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
    """Something failed in a way that may pass, and is tried again.

    Attributes:
        what: A ``request``, repeated below the storage before its caller hears of it; storing a ``value``; a
            ``commit``.
        operation: As S3 names it.
        bucket: Of which bucket.
        key: Of which object; for a commit it is the manifest.
        attempt: How many tries have failed.
        wait: Seconds until the next one, at the most.
        error: Why the last one failed.
        commit: The id of a commit that had left.
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
    """A manifest was looked at, to see what others did.

    Attributes:
        manifest: Which one.
        news: Whether there was any.
        seconds: How long it took.
        error: Why it failed; ``None`` if it did not.
    """

    manifest: Ref
    news: bool
    seconds: float
    error: Problem | None = None


@dataclass(frozen=True, slots=True)
class Merged:
    """Commits of other clients became part of what this one shows.

    What there was when the client first looked is not among them, nor what was settled while it did not look.

    Attributes:
        manifest: Which manifest.
        commits: Their ids, in the order of commits.
    """

    manifest: Ref
    commits: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class WriteMade:
    """This client made a write. One that goes to several manifests is one to each; a transaction is one each run.

    Attributes:
        manifest: Where it is to be committed.
        write: A number that no other write of this process has; later events name it.
        keys: What it writes to; a key in another bucket than the default is ``s3://bucket/key``.
        recovered: Whether a client that is no more made it, and this one goes on with it.
    """

    manifest: Ref
    write: int
    keys: tuple[str, ...]
    recovered: bool = False


@dataclass(frozen=True, slots=True)
class WriteFailed:
    """Writes came to nothing: they were withdrawn, refused for good, or the client was closed.

    Each run of a transaction that has to be run again ends so too, with an ``OutdatedError``.

    Attributes:
        manifest: Where they were to be committed.
        writes: Their numbers.
        error: Why: a ``WithdrawnError``, a ``ClosedError``, or what refused them.
        commit: The commit that they were in, if they had come so far.
    """

    manifest: Ref
    writes: tuple[int, ...]
    error: Problem
    commit: str | None = None


@dataclass(frozen=True, slots=True)
class CommitSent:
    """A commit leaves for the store, its values being there.

    Attributes:
        manifest: Which manifest.
        commit: Its id.
        writes: The numbers of the writes in it.
        keys: What it writes to.
        attempt: How often it was sent, with this time.
    """

    manifest: Ref
    commit: str
    writes: tuple[int, ...]
    keys: tuple[str, ...]
    attempt: int


@dataclass(frozen=True, slots=True)
class Conflicted:
    """Somebody else committed first, or changed what a transaction was made from.

    A commit is made again, and a transaction run again. A `put` with ``if_version`` fails, as does a transaction that
    is a block of code, since nobody else could run it.

    Attributes:
        manifest: Which manifest.
        commit: Its id.
        conflicts: How many it has met.
        wait: Seconds until it is sent again, at the most; ``None`` for transactions.
    """

    manifest: Ref
    commit: str
    conflicts: int
    wait: float | None


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """A commit is durable and has its place in the order.

    Attributes:
        manifest: Which manifest.
        commit: Its id.
        writes: The numbers of the writes in it.
        keys: What it writes to.
        seconds: Since it was first sent; ``None`` if that was in an earlier life of the client.
        waited: Seconds since each of the writes was made, in the order of ``writes``.
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
    """The store does not answer any more, or is not to be asked.

    Attributes:
        error: What failed; ``None`` if `MPS3.go_offline` was called.
    """

    error: Problem | None = None


@dataclass(frozen=True, slots=True)
class CameOnline:
    """The store answers.

    Attributes:
        away: Seconds since it did not; ``None`` the first time.
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
"""All that a hook may receive. More may follow, so a hook should pass over what it does not know."""

Hook: TypeAlias = Callable[[Event], object]
"""Called with each event, at once, in the event loop. What it returns does not matter; if it raises, that is logged
once, and it is called for the next event all the same."""
