"""The durable state of a client, with which it works without the store and after a crash.

It has two separate parts: *outboxes*, which must never be lost, and a *cache*, which may be deleted at any time.
`OfflineDirectory` is their interface; `offline/directory.py` implements it.

An outbox belongs to one client at a time. It holds the sessions of that client in its manifests. Each session has its
writes in the order in which they were made, and the group of them that may have been sent. A client that opens takes
over the outboxes of clients that have ended, and continues their sessions under the same names.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Union

from ..storage.cached import ObjectCache
from ..types import UNCHECKED, Ref, Unchecked


@dataclass(frozen=True, slots=True)
class DirectoryOwner:
    """The store and the manifest that a directory belongs to.

    Attributes:
        store: The store, as `mps3.storage.identity.identity_of`.
        bucket: The client's default bucket.
        manifest: Its default manifest, bucket included.
        format: The newest format of documents that the client can read.
    """

    store: str
    bucket: str
    manifest: Ref
    format: int

    def __str__(self) -> str:
        other = "" if self.bucket == self.manifest.bucket else f" (with default bucket {self.bucket})"
        return f"the manifest s3://{self.manifest.bucket}/{self.manifest.key}{other} in the store {self.store}"


@dataclass(frozen=True, slots=True)
class StoredChange:
    """A new value of one key, as it is stored.

    Attributes:
        bucket: The bucket of the value.
        key: The key of the value.
        label: The key as the user gave it.
        body: The value's bytes; ``None`` deletes the key.
        base: The version of the key that the client knew when it made the change; ``None`` if it knew none.
        expect: The version that the key must have for the change to be committed; ``None`` if the key must be absent.
        expires_in: Seconds from the commit until the value expires; ``None`` if it does not.
        inline: Whether the value becomes part of the commit.
        patch: Whether the bytes are those of the steps of a patch.
    """

    bucket: str
    key: str
    label: str
    body: bytes | None
    base: str | None = None
    expect: str | Unchecked | None = UNCHECKED
    expires_in: float | None = None
    inline: bool = False
    patch: bool = False


@dataclass(frozen=True, slots=True)
class Refusal:
    """The error for which a write was set aside.

    Attributes:
        kind: The name of its class.
        message: Its message.
        about: Its bucket, key and operation, each of which may be ``None``.
        time: The time of the error, in seconds since 1970, by this machine's clock.
        maybe_written: Whether the write may have taken effect.
    """

    kind: str
    message: str
    about: tuple[str | None, str | None, str | None]
    time: float
    maybe_written: bool = False


@dataclass(frozen=True, slots=True)
class StoredWrite:
    """A write as it is stored.

    Attributes:
        id: Its position among the writes of its outbox.
        made: The time of the write, in seconds since 1970, by this machine's clock. It is only displayed.
        changes: The changes by the names of their keys in the manifest.
        sequence: The sequence of the group that it was sent with; ``None`` if it was not sent.
        refusal: Why it was set aside; ``None`` if it was not.
        stamp: The time of the write by the clock of the directory, which orders the writes of all clients. ``None`` for
            a write of an older mps3.
    """

    id: int
    made: float
    changes: Mapping[str, StoredChange]
    sequence: int | None = None
    refusal: Refusal | None = None
    stamp: float | None = None


@dataclass(frozen=True, slots=True)
class Sent:
    """A group of writes that may have reached the store.

    Attributes:
        sequence: Its position in the session.
        tries: How often it may have been written.
        update: The content of the commit.
        witnesses: The sessions that were settled last when it was first sent, with their last sequences.
    """

    sequence: int
    tries: int
    update: Mapping[str, Any]
    witnesses: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class StoredSession:
    """A session of one manifest, with its writes in the order in which they were made.

    ``sequence`` is the last one that was used; ``sent`` is the group that may have been sent, if there is one.
    """

    manifest: Ref
    name: str
    sequence: int
    sent: Sent | None
    writes: Sequence[StoredWrite]


@dataclass(frozen=True, slots=True)
class Keep:
    """Add a write."""

    manifest: Ref
    session: str
    write: StoredWrite


@dataclass(frozen=True, slots=True)
class Replace:
    """Replace the changes of a write."""

    id: int
    changes: Mapping[str, StoredChange]


@dataclass(frozen=True, slots=True)
class Forget:
    """Delete writes that will never be sent."""

    ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Send:
    """Record that these writes may reach the store, as one commit."""

    session: str
    ids: tuple[int, ...]
    sent: Sent


@dataclass(frozen=True, slots=True)
class Done:
    """Delete the group with this sequence: it is committed, or it has been set aside."""

    session: str
    sequence: int


@dataclass(frozen=True, slots=True)
class SetAside:
    """Set aside writes that failed permanently."""

    ids: tuple[int, ...]
    refusal: Refusal


Operation = Union[Keep, Replace, Forget, Send, Done, SetAside]


class DurableOutbox(Protocol):
    """An outbox: the durable writes of this client, or of one that it took over from."""

    @property
    def last_id(self) -> int:
        """The largest id of a write so far; 0 if there was none."""
        ...

    def now(self) -> float:
        """Return the time of the clock of the directory, which never goes back, in seconds."""
        ...

    async def sessions(self) -> Sequence[StoredSession]:
        """Return its sessions, oldest first."""
        ...

    async def write(self, operations: Sequence[Operation]) -> None:
        """Execute these operations atomically and durably.

        Raises:
            MPS3Error: They failed; nothing has changed.
        """
        ...

    async def aclose(self) -> None:
        """Release it. An empty outbox is deleted."""
        ...


class OfflineCache(ObjectCache, Protocol):
    """A cache of states and objects of the store. Its methods do not raise: a failed read is a miss."""

    async def state(self, manifest: Ref) -> bytes | None:
        """Return the newest stored state."""
        ...

    async def keep_state(self, manifest: Ref, state: bytes, stamp: float, runs: Sequence[tuple[str, str]]) -> None:
        """Store a state, unless a newer one is stored.

        ``stamp`` is the newest time stamp of the store in the state. ``runs`` are the buckets and keys of the objects
        that the state needs; the cache does not evict them.
        """
        ...


class OfflineDirectory(Protocol):
    """A directory with outboxes and a cache."""

    @property
    def cache(self) -> OfflineCache:
        """The cache, which all clients of the directory share."""
        ...

    async def open(self, owner: DirectoryOwner) -> tuple[DurableOutbox, Sequence[DurableOutbox]]:
        """Create an outbox, and take over those of clients that have ended, oldest first.

        Args:
            owner: The owner of the directory. It cannot change as long as the directory is not empty.

        Raises:
            AccessError: The directory is not writable.
            ConfigurationError: The directory is invalid, or belongs to another store.
            CorruptionError: An outbox is damaged.
            FormatError: A newer mps3 wrote to it.
            UnavailableError: The disk is full.
        """
        ...

    async def aclose(self) -> None:
        """Close the cache. Each outbox is closed separately."""
        ...
