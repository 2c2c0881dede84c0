"""What all manifests of a client share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from .clock import StoreClock
from .content import Contents
from .errors import MPS3Error
from .home import Home
from .observer import Observer
from .offline import Cache, Refusal
from .offline.keeper import Keeper
from .offline.reconnect import OnReconnect
from .outbox import Pending
from .world import World


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What all manifests of a client share.

    Attributes:
        contents: Stores and fetches values.
        world: Time, chance and names.
        poll_interval: Seconds between polls when nothing happens.
        contact: Told of each answer of the store (``None``) and each failure to get one.
        shut: Whether nothing may be asked of the store.
        changed: Called when there are more or fewer pending writes.
        refused: Told of writes that failed for good and are kept, and why.
        time: What time it is at the store.
        keeper: Keeps writes durably.
        cache: Keeps what was seen.
        on_reconnect: Asked before writes go out after a time without the store.
        observer: Told of all that happens.
        home: The event loop that the client belongs to.
    """

    contents: Contents
    world: World
    poll_interval: float
    contact: Callable[[MPS3Error | None], None]
    shut: Callable[[], bool]
    changed: Callable[[], None]
    refused: Callable[[Pending, Refusal], None]
    time: StoreClock
    keeper: Keeper | None = None
    cache: Cache | None = None
    on_reconnect: OnReconnect | None = None
    observer: Observer = field(default_factory=Observer)
    home: Home = field(default_factory=Home)
