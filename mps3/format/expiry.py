"""Keys that expire (R19): which, and when. Pure."""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator

from .document import Document
from .file_entry import expires_of
from .run import Run
from .state import EMPTY, Layer, View, common_layers


def expiring(layer: Layer) -> Iterator[tuple[float, str]]:
    """The keys of a layer that are to expire, and when."""
    if isinstance(layer, Run):
        yield from layer.expiring
    else:
        for name, file in layer.items():
            if (moment := expires_of(file)) is not None:
                yield moment, name


def gone(view: View, moment: float) -> set[str]:
    """The keys that a state still names, though they have expired at this moment."""
    found = {name for layer in view.layers for expires, name in expiring(layer) if expires <= moment}
    present = view.at(moment)
    return {name for name in found if view.look_up(name) is not None and present.look_up(name) is None}


def missed(view: View, old: View | None, moment: float) -> set[str]:
    """The keys of whose expiry somebody may not have heard who knows a state of which nobody knows when it was shown.

    Args:
        view: The newest state.
        old: The known one; ``None`` if nothing that was in it can have been left out since.
        moment: What time it is now.
    """
    found = gone(view, moment)
    if old is not None:
        named = {name for layer in old.layers for _, name in expiring(layer)}
        found.update(name for name in named if old.look_up(name) is not None and view.look_up(name) is None)
    return found


def expired_for_all(document: Document) -> float:
    """What expired until then, by the store's clock, is absent whenever anything is judged from now on.

    That is two windows before `previous`, and a window before every commit whose place still matters: nobody
    will list an older one any more.
    """
    oldest = min((entry.modified for entry in document.log), default=0.0)
    return min(document.bound(), oldest) - document.window


class Expiries:
    """What expires next in the newest state, maintained from what changes in it.

    Attributes:
        until: The moment up to which what expired was taken out, by the store's clock.
    """

    def __init__(self) -> None:
        self.until = -math.inf
        self._view = EMPTY
        self._heap: list[tuple[float, str]] = []
        self._due: dict[str, float] = {}

    @property
    def next(self) -> float:
        """When something may expire, by the store's clock; infinite if nothing will."""
        return self._heap[0][0] if self._heap else math.inf

    def update(self, view: View) -> bool:
        """Take over what changed in the newest state; whether it is another one at all."""
        if view is self._view:
            return False
        for layer in view.layers[common_layers(self._view, view) :]:
            for moment, name in expiring(layer):
                if self._due.get(name) != moment:
                    self._due[name] = moment
                    heapq.heappush(self._heap, (moment, name))
        self._view = view
        if len(self._heap) > 2 * len(self._due) + 64:  # most were renewed since
            self._heap = [(moment, name) for name, moment in self._due.items()]
            heapq.heapify(self._heap)
        return True

    def take(self, now: float) -> list[str]:
        """The keys whose time is over, each once. Some may have other values meanwhile, that do not expire."""
        taken = []
        while self._heap and self._heap[0][0] <= now:
            moment, name = heapq.heappop(self._heap)
            if self._due.get(name) == moment:
                del self._due[name]
                taken.append(name)
        self.until = max(self.until, now)
        return taken
