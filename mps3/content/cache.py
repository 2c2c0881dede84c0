"""A cache of values in memory."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import Final

CACHE: Final = 64 * 2**20


class ValueCache:
    """The values read or written last, by version.

    Args:
        most: Bytes to keep at the most.

    Attributes:
        size: Bytes that are kept.
    """

    def __init__(self, most: int = CACHE) -> None:
        self._most = most
        self.size = 0
        self._bodies: OrderedDict[Hashable, bytes] = OrderedDict()

    def get(self, name: Hashable) -> bytes | None:
        """The bytes kept under a name."""
        body = self._bodies.get(name)
        if body is not None:
            self._bodies.move_to_end(name)
        return body

    def add(self, name: Hashable, body: bytes) -> None:
        """Keep some bytes, and let go of those not used for longest."""
        self.size += len(body) - len(self._bodies.pop(name, b""))
        self._bodies[name] = body
        while self.size > self._most:
            self.size -= len(self._bodies.popitem(last=False)[1])
