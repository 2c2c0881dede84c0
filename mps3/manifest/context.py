"""The context of a manifest: what all manifests of a client share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from ..content.store import ValueStore
from ..errors import MPS3Error
from ..observability.observer import Observer
from ..offline.protocol import OfflineCache, Refusal
from ..offline.queue import OutboxQueue
from ..storage.clock import StoreClock
from ..support.environment import Environment
from ..support.loop_affinity import LoopAffinity
from ..wake.waker import AnyWaker, NoWaker
from .pending import Pending
from .reconnect import OnReconnect


@dataclass(frozen=True, slots=True)
class ManifestContext:
    """What all manifests of a client share.

    Attributes:
        contents: Stores and fetches values.
        environment: The clock, randomness and names.
        poll_interval: Seconds between polls when nothing happens.
        on_response: Called with ``None`` for each answer of the store, and with the error for each failure.
        tried: Called with who tries to write, and why it waits to be tried again; with ``None`` if it does not.
        shut: Returns whether no request may be sent to the store.
        changed: Called when the number of pending writes may have changed.
        refused: Called with each kept write that has failed permanently, and why.
        time: The store's clock.
        outbox_queue: Keeps writes durably.
        cache: Keeps the states that were shown, and values.
        on_reconnect: Called before pending writes are sent after a time without the store.
        observer: Counts what happens, and passes events to hooks.
        affinity: The event loop that the client is bound to.
        waker: Tells other clients of commits.
    """

    contents: ValueStore
    environment: Environment
    poll_interval: float
    on_response: Callable[[MPS3Error | None], None]
    tried: Callable[[object, MPS3Error | None], None]
    shut: Callable[[], bool]
    changed: Callable[[], None]
    refused: Callable[[Pending, Refusal], None]
    time: StoreClock
    outbox_queue: OutboxQueue | None = None
    cache: OfflineCache | None = None
    on_reconnect: OnReconnect | None = None
    observer: Observer = field(default_factory=Observer)
    affinity: LoopAffinity = field(default_factory=LoopAffinity)
    waker: AnyWaker = field(default_factory=NoWaker)

    @property
    def idle_interval(self) -> float:
        """Seconds between polls when nothing happens, by now: more while wake-ups work."""
        return self.waker.idle_interval or self.poll_interval
