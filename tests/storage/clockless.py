"""A store that does not tell the time."""

from __future__ import annotations

from mps3 import MemoryStorage


class ClocklessStorage:
    """A store without a clock of its own."""

    def __init__(self) -> None:
        self._storage = MemoryStorage(clock=lambda: 1000.0)
        for name in ("open", "aclose", "capabilities", "get", "put", "head", "delete", "versions", "list", "scan"):
            setattr(self, name, getattr(self._storage, name))
