"""What a client keeps on this machine, so that it can work without the store and after its process has died.

Two things, apart from each other: *outboxes*, which must never be lost, and a *cache*, which may be thrown away
at any time. `OfflineDirectory` is what the client wants of the place where they are; `offline/directory.py` is
the one that users get.

An outbox belongs to one client at a time. It holds *lines*, the sessions of that client in its manifests; each with
its writes in the order they were made, and with the group of them that may have left already. A client that opens
takes over the outboxes of clients that are no more, and goes on with their lines under their names.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Union

from ..storage.cached import ObjectCache
from ..types import UNCHECKED, Ref, Unchecked


@dataclass(frozen=True, slots=True)
class Store:
    """What a directory belongs to.

    Attributes:
        place: Which store, as `mps3.storage.identity.identity_of` says it.
        bucket: The client's default bucket.
        manifest: Its default manifest, bucket included.
        format: The newest format of documents that the client reads.
    """

    place: str
    bucket: str
    manifest: Ref
    format: int

    def __str__(self) -> str:
        other = "" if self.bucket == self.manifest.bucket else f" (with default bucket {self.bucket})"
        return f"the manifest s3://{self.manifest.bucket}/{self.manifest.key}{other} in the store {self.place}"


@dataclass(frozen=True, slots=True)
class StoredChange:
    """A new value of one key, as it is kept.

    Attributes:
        bucket: Where the value goes.
        key: Where it goes.
        label: The key as the user knows it.
        body: The value's bytes; ``None`` deletes the key.
        base: The version that the client knew of the key when it made the change; ``None``: of none.
        expect: The version that the key must have for the change to be committed; ``None``: there must be none.
        expires_in: Seconds that it is to be there after it was stored; ``None`` for ever.
        inline: Whether the value becomes part of the commit.
    """

    bucket: str
    key: str
    label: str
    body: bytes | None
    base: str | None = None
    expect: str | Unchecked | None = UNCHECKED
    expires_in: float | None = None
    inline: bool = False


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a write was set aside.

    Attributes:
        kind: The name of the class of the error.
        message: What it said.
        about: The bucket, the key and the operation of the error, each if there was one.
        time: When, in seconds since 1970, by this machine's clock.
        maybe_written: Whether the write may have taken effect all the same.
    """

    kind: str
    message: str
    about: tuple[str | None, str | None, str | None]
    time: float
    maybe_written: bool = False


@dataclass(frozen=True, slots=True)
class StoredWrite:
    """A write as it is kept.

    Attributes:
        id: Its place among the writes of its outbox.
        made: When, in seconds since 1970, by this machine's clock; nothing is decided by it.
        changes: By what the manifest calls each key.
        sequence: Of the group that it left with; ``None`` if it has not left.
        refusal: Why it was set aside; ``None`` if it was not.
        stamp: When it was made, by the clock that all clients of the directory share: their order. ``None`` for one
            that an older mps3 kept.
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
        sequence: Its place in the session.
        tries: How often it may have been written.
        update: What the commit says.
        witnesses: Sessions that were settled last when it was first sent, and how far they had come.
    """

    sequence: int
    tries: int
    update: Mapping[str, Any]
    witnesses: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class StoredSession:
    """A session of one manifest.

    Attributes:
        manifest: The manifest.
        session: The name of the session.
        sequence: The last one given away.
        sent: What is on its way.
        rows: Its writes in the order they were made.
    """

    manifest: Ref
    session: str
    sequence: int
    sent: Sent | None
    rows: Sequence[StoredWrite]


@dataclass(frozen=True, slots=True)
class Keep:
    """Keep a write."""

    manifest: Ref
    session: str
    row: StoredWrite


@dataclass(frozen=True, slots=True)
class Replace:
    """Give a write other changes."""

    id: int
    changes: Mapping[str, StoredChange]


@dataclass(frozen=True, slots=True)
class Forget:
    """Writes that will never be sent."""

    ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Send:
    """From now on these writes may have reached the store, as one commit."""

    session: str
    ids: tuple[int, ...]
    sent: Sent


@dataclass(frozen=True, slots=True)
class Done:
    """What was sent with this sequence is committed, or has been set aside."""

    session: str
    sequence: int


@dataclass(frozen=True, slots=True)
class SetAside:
    """Writes that failed for good."""

    ids: tuple[int, ...]
    refusal: Refusal


Operation = Union[Keep, Replace, Forget, Send, Done, SetAside]


class DurableOutbox(Protocol):
    """An outbox: what this client, or one that it took over from, has promised to bring to the store."""

    @property
    def last_id(self) -> int:
        """The largest id of a write so far."""
        ...

    def now(self) -> float:
        """What time it is, in seconds, by a clock that all clients of the directory share, and that never goes back."""
        ...

    async def lines(self) -> Sequence[StoredSession]:
        """What it holds, oldest line first."""
        ...

    async def write(self, operations: Sequence[Operation]) -> None:
        """Carry out these operations, all or none, so that they survive the end of the process and of the power.

        Raises:
            MPS3Error: They could not be; nothing has changed.
        """
        ...

    async def aclose(self) -> None:
        """Let go of it. An empty one is removed."""
        ...


class OfflineCache(ObjectCache, Protocol):
    """What can be had from the store again, but not now. It never fails: what it cannot do it does not do."""

    async def state(self, manifest: Ref) -> bytes | None:
        """The state kept last."""
        ...

    async def keep_state(self, manifest: Ref, state: bytes, stamp: float, runs: Sequence[tuple[str, str]]) -> None:
        """Keep a state, unless a newer one is kept.

        Args:
            manifest: Whose it is.
            state: Its bytes.
            stamp: The newest time stamp of the store that it is made of.
            runs: The buckets and keys of objects that it needs, which are not to be let go.
        """
        ...


class OfflineDirectory(Protocol):
    """The place where outboxes and the cache are."""

    @property
    def cache(self) -> OfflineCache:
        """The cache, shared by all."""
        ...

    async def open(self, store: Store) -> tuple[DurableOutbox, Sequence[DurableOutbox]]:
        """Make an outbox of one's own, and take over those whose clients are no more, oldest first.

        Args:
            store: What the directory is for. As soon as something is in it, it belongs to one store for good.

        Raises:
            AccessError: It may not be written to.
            ConfigurationError: It cannot be one, or belongs to another store.
            CorruptionError: An outbox is damaged.
            FormatError: A newer mps3 wrote in it.
            UnavailableError: The disk is full.
        """
        ...

    async def aclose(self) -> None:
        """Let go of the cache; each outbox is closed by itself."""
        ...
