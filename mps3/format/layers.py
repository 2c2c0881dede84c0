"""The layers of a state, one over the other. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, TypeAlias, cast

from .file_entry import FileEntry, Files
from .run import Run

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
