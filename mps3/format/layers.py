"""The layers of a state, one over the other. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final, TypeAlias, cast

from .file_entry import FileEntry, Files
from .run import HeldPieces, NotAtHandError, Run

Layer: TypeAlias = Files | Run
"""Part of a state; ``None`` hides a key in the layers under it."""

REMEMBERED: Final = 10_000
"""Keys whose files are remembered, of layers that never change."""
_MISSING: Final = object()


def look_up(name: str, layers: Iterable[Layer]) -> FileEntry | None:
    """What is said of a key.

    Args:
        name: The key.
        layers: One over the other, the newest first.
    """
    for layer in layers:
        found = layer.get(name, _MISSING)
        if found is not _MISSING:
            return found  # type: ignore[return-value]
    return None


def is_partial_run(layer: Layer) -> bool:
    """Return whether a layer is a run of which pieces may have to be fetched."""
    return isinstance(layer, Run) and not isinstance(layer.pieces, HeldPieces)


def require_at_hand(layers: Sequence[Layer], names: Iterable[str]) -> None:
    """Check that keys can be looked up.

    Args:
        layers: One over the other, the oldest first.
        names: The keys.

    Raises:
        NotAtHandError: Not all of them can be. It names what is needed next for all of them.
    """
    if not any(map(is_partial_run, layers)):
        return
    wanted: dict[Run, dict[int, None]] = {}
    for name in names:
        for layer in reversed(layers):
            try:
                if layer.get(name, _MISSING) is not _MISSING:
                    break
            except NotAtHandError as error:
                certain = False
                for run, numbers in error.wanted.items():
                    wanted.setdefault(run, {}).update(dict.fromkeys(numbers))
                    certain = bool(numbers)
                if certain:
                    break  # nearly always it is there; where only an index is missing, those below are fetched too
    if wanted:
        raise NotAtHandError({run: list(numbers) for run, numbers in wanted.items()})


class FrozenLayers:
    """Layers that never change, the oldest first, and what was looked up in them.

    Every resolution applies the commits of the last seconds anew, to what is said of the same keys.
    """

    __slots__ = ("_found", "layers")

    def __init__(self, layers: tuple[Layer, ...]) -> None:
        self.layers = layers
        self._found: dict[str, FileEntry | None] = {}

    def __bool__(self) -> bool:
        return bool(self.layers)

    def look_up(self, name: str) -> FileEntry | None:
        """What they say of a key."""
        # Threads may be looking, too.
        found: Any = self._found.get(name, _MISSING)
        if found is _MISSING:
            if len(self._found) >= REMEMBERED:
                self._found.clear()
            self._found[name] = found = look_up(name, reversed(self.layers))
        return cast("FileEntry | None", found)
