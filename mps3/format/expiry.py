"""Keys that expire (R19): which, and when. Pure."""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator

from .document import Document
from .file_entry import expires_of
from .layers import Layer, look_up
from .run import Run
from .state import EMPTY, View, added_commits, common_layers


def expiring(layer: Layer) -> Iterator[tuple[float, str]]:
    """Return the keys of a layer that expire, and when."""
    if isinstance(layer, Run):
        yield from layer.expiring
    else:
        for name, file in layer.items():
            if (moment := expires_of(file)) is not None:
                yield moment, name


def names_expired(view: View, moment: float) -> bool:
    """Return whether a state may still name keys that have expired at this time."""
    return any(expires <= moment for layer in view.layers for expires, _ in expiring(layer))


def gone(view: View, moment: float) -> set[str]:
    """Return the keys that a state still names although they have expired at this time."""
    found = {name for layer in view.layers for expires, name in expiring(layer) if expires <= moment}
    present = view.at(moment)
    return {name for name in found if view.look_up(name) is not None and present.look_up(name) is None}


def missed(view: View, old: View | None, until: float, moment: float) -> set[str]:
    """Return the keys whose expiry a reader has missed.

    Args:
        view: The newest state.
        old: The last state that the reader knows; ``None`` if no key that it has missed can have been dropped since.
        until: The time up to which the reader knows what has expired, by the store's clock.
        moment: The time now, by the store's clock.
    """
    known = view.at(until)
    found = {name for name in gone(view, moment) if known.look_up(name) is not None}
    if old is not None:
        known = old.at(until)
        named = {name for layer in old.layers for _, name in expiring(layer)}
        found.update(name for name in named if known.look_up(name) is not None and view.look_up(name) is None)
    return found


def expired_for_all(document: Document) -> float:
    """Return the time up to which expired keys are absent for all clients, by the store's clock.

    It is two windows before `previous`, and one window before every commit whose position still matters, because no
    client lists an older commit.
    """
    oldest = min((entry.modified for entry in document.log), default=0.0)
    return min(document.bound(), oldest) - document.window


def _new_layers(old: View, new: View) -> tuple[Layer, ...]:
    """Return layers with all that a new state says, and an old one does not."""
    added = added_commits(old, new)
    if added is None or any(commit.runs for commit in added):
        return new.layers[common_layers(old, new) :]
    names = {name for commit in added for name in commit.files}
    return ({name: look_up(name, new.layers[-1:]) for name in names},)


class Expiries:
    """The next expiries of the newest state, updated with the changes of each new state.

    Attributes:
        until: The time up to which expired keys were taken, by the store's clock.
    """

    def __init__(self) -> None:
        self.until = -math.inf
        self._view = EMPTY
        self._heap: list[tuple[float, str]] = []
        self._due: dict[str, float] = {}

    @property
    def next(self) -> float:
        """When the next key may expire, by the store's clock; infinite if none will."""
        return self._heap[0][0] if self._heap else math.inf

    def update(self, view: View) -> bool:
        """Add the changes of the newest state; return whether it is a new one."""
        if view is self._view:
            return False
        for layer in _new_layers(self._view, view):
            for moment, name in expiring(layer):
                if self._due.get(name) != moment:
                    self._due[name] = moment
                    heapq.heappush(self._heap, (moment, name))
        self._view = view
        if len(self._heap) > 2 * len(self._due) + 64:  # most have newer expiries
            self._heap = [(moment, name) for name, moment in self._due.items()]
            heapq.heapify(self._heap)
        return True

    def take(self, now: float) -> list[str]:
        """Return the keys that have expired, each once. Some may have newer values that do not expire."""
        taken = []
        while self._heap and self._heap[0][0] <= now:
            moment, name = heapq.heappop(self._heap)
            if self._due.get(name) == moment:
                del self._due[name]
                taken.append(name)
        self.until = max(self.until, now)
        return taken
