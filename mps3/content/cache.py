"""A cache of values in memory."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import Final

CACHE: Final = 64 * 2**20
"""Bytes that the cache keeps unless told otherwise."""


class ValueCache:
    """A least-recently-used cache of values, by version.

    Args:
        capacity: The most bytes to keep.

    Attributes:
        size: The bytes that are kept.
    """

    def __init__(self, capacity: int = CACHE) -> None:
        self._most = capacity
        self.size = 0
        self._bodies: OrderedDict[Hashable, bytes] = OrderedDict()

    def get(self, name: Hashable) -> bytes | None:
        """Return the bytes kept under a name, if there are any."""
        body = self._bodies.get(name)
        if body is not None:
            self._bodies.move_to_end(name)
        return body

    def add(self, name: Hashable, body: bytes) -> None:
        """Keep some bytes, and drop the least recently used ones."""
        self.size += len(body) - len(self._bodies.pop(name, b""))
        self._bodies[name] = body
        while self.size > self._most:
            self.size -= len(self._bodies.popitem(last=False)[1])
