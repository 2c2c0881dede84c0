"""What all manifests of a client share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from ..content.store import Contents
from ..errors import MPS3Error
from ..observability.observer import Observer
from ..offline.protocol import OfflineCache, Refusal
from ..offline.queue import OutboxQueue
from ..storage.clock import StoreClock
from ..support.environment import Environment
from ..support.loop_affinity import LoopAffinity
from .pending import Pending
from .reconnect import OnReconnect


@dataclass(frozen=True, slots=True)
class ManifestContext:
    """What all manifests of a client share.

    Attributes:
        contents: Stores and fetches values.
        environment: Time, chance and names.
        poll_interval: Seconds between polls when nothing happens.
        contact: Told of each answer of the store (``None``) and each failure to get one.
        shut: Whether nothing may be asked of the store.
        changed: Called when there are more or fewer pending writes.
        refused: Told of writes that failed for good and are kept, and why.
        time: What time it is at the store.
        outbox_queue: Keeps writes durably.
        cache: Keeps what was seen.
        on_reconnect: Asked before writes go out after a time without the store.
        observer: Told of all that happens.
        home: The event loop that the client belongs to.
    """

    contents: Contents
    environment: Environment
    poll_interval: float
    contact: Callable[[MPS3Error | None], None]
    shut: Callable[[], bool]
    changed: Callable[[], None]
    refused: Callable[[Pending, Refusal], None]
    time: StoreClock
    outbox_queue: OutboxQueue | None = None
    cache: OfflineCache | None = None
    on_reconnect: OnReconnect | None = None
    observer: Observer = field(default_factory=Observer)
    home: LoopAffinity = field(default_factory=LoopAffinity)
