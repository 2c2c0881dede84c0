"""What a wake-up says. Pure."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Final

import orjson

from ..types import Ref

LONGEST: Final = 1000
"""Bytes of a message. Some services take no more than 8,000."""


@dataclass(frozen=True, slots=True)
class Hint:
    """A message between clients.

    Attributes:
        topic: Which manifest has moved, as `topic_of` returns it; empty for a heartbeat.
        position: Up to where: the number of its last slot, or its newest version. Of a heartbeat, who has sent it.
    """

    topic: str
    position: str

    def encode(self) -> bytes:
        """Return it as bytes."""
        return orjson.dumps([self.topic, self.position])

    @classmethod
    def decode(cls, message: bytes) -> Hint | None:
        """Return what a message says; ``None`` if it is none of this library. Anybody may have sent it."""
        if len(message) > LONGEST:
            return None
        try:
            raw = orjson.loads(message)
        except orjson.JSONDecodeError:
            return None
        match raw:
            case [str(topic), str(position)]:
                return cls(topic, position)
        return None


def topic_of(ref: Ref) -> str:
    """Return what stands for a manifest in messages. It tells nobody the names of the bucket and of the key."""
    return hashlib.sha256(f"{ref.bucket}\0{ref.key}".encode()).hexdigest()[:32]
