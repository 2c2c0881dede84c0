"""The values of one write of very many keys, without an object for each.

Python's garbage collector visits each object again and again, and the event loop waits for it: with 100,000 objects,
tens of milliseconds each time. It does not visit bytes and texts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import orjson

from ..types import Ref
from .value import PendingValue


class ManyValues(Mapping[str, PendingValue | None]):
    """Small values that are written together. None of them expires, and each key is its own name in the manifest.

    Args:
        bucket: The bucket of the keys.
        bodies: The keys and their encoded values; ``None`` deletes.
        manifests: The manifests that the write commits to.

    Attributes:
        versions: The versions of the values, once they are ready to be committed; ``None`` for a deleted key.
    """

    def __init__(self, bucket: str, bodies: Mapping[str, bytes | None], manifests: tuple[Ref, ...]) -> None:
        self.versions: dict[str, str | None] = {}
        self._bucket = bucket
        self._bodies = bodies
        self._manifests = manifests
        self._made: dict[str, PendingValue] = {}

    def __getitem__(self, name: str) -> PendingValue | None:
        """Return the value of a key, which is always the same object."""
        body = self._bodies[name]
        if body is None:
            return None
        made = self._made.get(name)
        if made is None:
            made = self._made[name] = PendingValue(self._bucket, name, body, self._manifests, inline=True)
            made.version = self.versions.get(name)
        return made

    def __contains__(self, name: object) -> bool:
        return name in self._bodies

    def __iter__(self) -> Iterator[str]:
        return iter(self._bodies)

    def __len__(self) -> int:
        return len(self._bodies)

    @property
    def is_ready(self) -> bool:
        """Whether all values have their versions."""
        return len(self.versions) == len(self._bodies)

    def set_versions(self, names: Iterable[str], versions: Iterator[str]) -> None:
        """Give some of the values their versions."""
        for name in names:
            self.versions[name] = None if self._bodies[name] is None else next(versions)
            if (made := self._made.get(name)) is not None:
                made.version = self.versions[name]

    def patch(self, name: str) -> dict[str, Any] | None:
        """Return the change of a key that a commit records, as `PendingValue.patch`, for what only encodes it."""
        body = self._bodies[name]
        if body is None:
            return None
        return {"value": orjson.Fragment(body), "size": len(body), "version": self.versions[name]}


class OwnNames(Mapping[str, str]):
    """The labels of keys that are labelled as they are named."""

    def __init__(self, names: Mapping[str, object]) -> None:
        self._names = names

    def __getitem__(self, name: str) -> str:
        if name not in self._names:
            raise KeyError(name)
        return name

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


class OwnPlaces(Mapping[str, tuple[str, str]]):
    """The places of keys that are named as they are stored, in one bucket."""

    def __init__(self, bucket: str, names: Mapping[str, object]) -> None:
        self._bucket = bucket
        self._names = names

    def __getitem__(self, name: str) -> tuple[str, str]:
        if name not in self._names:
            raise KeyError(name)
        return self._bucket, name

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)
