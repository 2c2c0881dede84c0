"""What clients did and saw, as a list of events, and what was wrong with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Union


@dataclass(frozen=True)
class Opened:
    """A client may be used; it was opened at the event ``since``."""

    at: float
    client: str
    since: int


@dataclass(frozen=True)
class Invoked:
    """A write was made. ``changes`` says of each key whether it is put (or deleted)."""

    at: float
    client: str
    write: str
    changes: Mapping[str, bool]
    expires_in: float | None = None


@dataclass(frozen=True)
class Acknowledged:
    at: float
    client: str
    write: str
    commit: str


@dataclass(frozen=True)
class Kept:
    """A write survives its client, unless it is ``Withdrawing`` it."""

    at: float
    client: str
    write: str


@dataclass(frozen=True)
class Withdrawing:
    """A write is being withdrawn: if its client dies now it may be kept, or not."""

    at: float
    client: str
    write: str


@dataclass(frozen=True)
class Recovered:
    """A client goes on with the life of another on the same disk, whose ``writes`` are now pending here."""

    at: float
    client: str
    before: str
    writes: Sequence[str]


@dataclass(frozen=True)
class Failed:
    at: float
    client: str
    write: str
    error: str


@dataclass(frozen=True)
class Unknown:
    """A write of which its client cannot tell whether it took effect."""

    at: float
    client: str
    write: str


@dataclass(frozen=True)
class Withdrawn:
    at: float
    client: str
    write: str


@dataclass(frozen=True)
class Observed:
    """A value was returned by a call that began at the event ``since``. ``write`` is ``None``: absent.

    ``begun`` is when it began, if it looked at the value as it was then or later.
    """

    at: float
    client: str
    how: str
    key: str
    write: str | None
    since: int
    begun: float | None = None


@dataclass(frozen=True)
class State:
    """All that a client has resolved, without its own pending writes.

    ``ids``: its last commits, in order. ``versions``: the manifest version that each of them counts by. ``since``: the
    event at which its client knew it, if that was earlier: a watch tells of one state after the other.
    """

    at: float
    client: str
    values: Mapping[str, str]
    ids: Sequence[str] = ()
    versions: Sequence[str] = ()
    since: int | None = None


@dataclass(frozen=True)
class Final:
    """All values as a client read them once everything had settled."""

    at: float
    client: str
    values: Mapping[str, str]


@dataclass(frozen=True)
class Watched:
    """The last value a subscription gave that was never closed."""

    at: float
    client: str
    key: str
    write: str | None


@dataclass(frozen=True)
class Batched:
    """A watch of everything gave a batch. ``watcher`` lives as long as its state, over all its watches and lives.

    ``id``: of its commit. ``listed``: whether it ended the present, so that all that comes later is to follow.
    ``repeated``: keys that it deletes without a commit, and that were not there.
    """

    at: float
    client: str
    watcher: str
    id: str | None
    listed: bool
    skipped: bool
    repeated: tuple[str, ...] = ()


@dataclass(frozen=True)
class Told:
    """A watcher has been told everything: what it has from that, and what its client would read.

    Without the client's pending writes in ``values`` and ``resolved``, with them in ``shown`` and ``read``.
    """

    at: float
    client: str
    watcher: str
    values: Mapping[str, str]
    resolved: Mapping[str, str]
    shown: Mapping[str, str]
    read: Mapping[str, str]
    last: bool = False


@dataclass(frozen=True)
class Killed:
    at: float
    client: str


Event = Union[
    Opened,
    Invoked,
    Acknowledged,
    Kept,
    Withdrawing,
    Recovered,
    Failed,
    Unknown,
    Withdrawn,
    Observed,
    State,
    Final,
    Watched,
    Batched,
    Told,
    Killed,
]


class Violation(NamedTuple):
    """A broken promise, when and how it showed."""

    promise: str
    at: float
    text: str

    def __str__(self) -> str:
        return f"{self.promise} at {self.at:.3f}: {self.text}"
