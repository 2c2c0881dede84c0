"""Keys that expire (R19): which, and when. Pure."""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator
from itertools import chain

from .document import Document
from .file_entry import expires_of
from .layers import Layer, is_partial_run, look_up, require_at_hand
from .run import Run, read_all
from .state import EMPTY, View, added_commits, common_layers


def expiring(layer: Layer, until: float = math.inf) -> Iterator[tuple[float, str]]:
    """Return the keys of a layer that expire up to a moment, and when.

    Raises:
        NotAtHandError: They are in a run, and not at hand.
    """
    if isinstance(layer, Run):
        yield from layer.expiring(until)
    else:
        for name, file in layer.items():
            if (moment := expires_of(file)) is not None and moment <= until:
                yield moment, name


def names_expired(view: View, moment: float) -> bool:
    """Return whether a state may still name keys that have expired at this time."""
    for layer in view.layers:
        if isinstance(layer, Run):
            if layer.reference.expires is not None and layer.reference.expires <= moment:
                return True
        elif any(True for _ in expiring(layer, moment)):
            return True
    return False


def gone(view: View, moment: float) -> set[str]:
    """Return the keys that a state still names although they have expired at this time.

    Raises:
        NotAtHandError: What is needed of its runs is not at hand.
    """
    found = _names_expiring(view, moment)
    present = view.at(moment)
    require_at_hand(view.layers, found)
    return {name for name in found if view.look_up(name) is not None and present.look_up(name) is None}


def missed(view: View, old: View | None, until: float, moment: float) -> set[str]:
    """Return the keys whose expiry a reader has missed.

    Args:
        view: The newest state.
        old: The last state that the reader knows; ``None`` if no key that it has missed can have been dropped since.
        until: The time up to which the reader knows what has expired, by the store's clock.
        moment: The time now, by the store's clock.

    Raises:
        NotAtHandError: What is needed of their runs is not at hand.
    """
    known = view.at(until)
    found = {name for name in gone(view, moment) if known.look_up(name) is not None}
    if old is not None:
        known = old.at(until)
        named = _names_expiring(old, moment)
        require_at_hand(old.layers, named)
        require_at_hand(view.layers, named)
        found.update(name for name in named if known.look_up(name) is not None and view.look_up(name) is None)
    return found


def _names_expiring(view: View, until: float) -> set[str]:
    found = read_all(view.layers, lambda layer: list(expiring(layer, until)))
    return {name for _, name in chain.from_iterable(found)}


def unread(view: View) -> list[tuple[float, str]]:
    """Return when keys expire in runs that are read in pieces, and which: nobody may have looked them up.

    Raises:
        NotAtHandError: They are not at hand.
    """
    found = read_all(filter(is_partial_run, view.layers), lambda layer: list(expiring(layer)))
    return list(chain.from_iterable(found))


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
        self._seen: set[tuple[float, str]] = set()

    @property
    def next(self) -> float:
        """When the next key may expire, by the store's clock; infinite if none will."""
        return self._heap[0][0] if self._heap else math.inf

    def update(self, view: View) -> bool:
        """Add the changes of the newest state; return whether it is a new one."""
        if view is self._view:
            return False
        layers = _new_layers(self._view, view)
        # Of what is not at hand, those keys matter that somebody has looked up; and it may hide what other layers say.
        note = self.add if any(map(is_partial_run, layers)) else self._set
        for layer in layers:
            if not is_partial_run(layer):
                for moment, name in expiring(layer):
                    note(name, moment)
        self._view = view
        if len(self._heap) > 2 * (len(self._due) + len(self._seen)) + 64:  # most have newer expiries
            self._heap = [*((moment, name) for name, moment in self._due.items()), *self._seen]
            heapq.heapify(self._heap)
        return True

    def _set(self, name: str, moment: float) -> None:
        if self._due.get(name) != moment:
            self._due[name] = moment
            heapq.heappush(self._heap, (moment, name))

    def add(self, name: str, moment: float) -> None:
        """Add a key that was looked up, in whatever state; what is known of it otherwise stays.

        Args:
            name: The key.
            moment: When it expires, by the store's clock.
        """
        if self._due.get(name) != moment and (moment, name) not in self._seen:
            self._seen.add((moment, name))
            heapq.heappush(self._heap, (moment, name))

    def take(self, now: float) -> list[str]:
        """Return the keys that have expired, each once. Some may have newer values that do not expire."""
        taken = []
        while self._heap and self._heap[0][0] <= now:
            moment, name = heapq.heappop(self._heap)
            seen = (moment, name) in self._seen
            self._seen.discard((moment, name))
            if self._due.get(name) == moment:
                del self._due[name]
                taken.append(name)
            elif seen:
                taken.append(name)
        self.until = max(self.until, now)
        return taken
