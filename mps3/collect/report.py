"""The result of a collection, and its progress."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, TypeAlias

Part: TypeAlias = Literal["manifest", "runs", "values"]


@dataclass(frozen=True, slots=True)
class Tally:
    """How many object versions of one kind were deleted and kept.

    Attributes:
        deleted: How many object versions were deleted, or would be.
        bytes: Their bytes.
        kept: How many were kept.
        kept_bytes: Their bytes.
    """

    deleted: int = 0
    bytes: int = 0
    kept: int = 0
    kept_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Collected:
    """What a collection did, or with ``dry_run`` would do.

    Attributes:
        dry_run: Whether nothing was deleted.
        since: Everything was kept that a state from this time on refers to; ``None`` if there is no manifest.
        manifest: Versions of the manifest, or slots and checkpoints of its log.
        runs: Its runs.
        values: Values.
        foreign: How many of the kept values are not known to be this manifest's: other objects in the
            bucket, values of other manifests, and those of manifests that cannot be read.
        skipped: Other buckets with keys of the manifest, in which nothing was deleted because the caller has not listed
            them.
    """

    dry_run: bool
    since: datetime | None
    manifest: Tally
    runs: Tally
    values: Tally
    foreign: int
    skipped: tuple[str, ...] = ()

    @property
    def deleted(self) -> int:
        """How many object versions were deleted, or would be."""
        return self.manifest.deleted + self.runs.deleted + self.values.deleted

    @property
    def bytes(self) -> int:
        """Their bytes."""
        return self.manifest.bytes + self.runs.bytes + self.values.bytes


@dataclass(frozen=True, slots=True)
class Collecting:
    """The progress of a collection.

    Attributes:
        part: The current part: what the manifest itself consists of, then its runs, then values.
        looked_at: How many object versions of that part it has checked.
        deleted: How many object versions it has deleted in all, or would have deleted.
        bytes: Their bytes.
    """

    part: Part
    looked_at: int
    deleted: int
    bytes: int


Progress: TypeAlias = Callable[[Collecting], None]


class Count:
    """Counts object versions for a `Tally`."""

    def __init__(self) -> None:
        self._deleted = self._bytes = self._kept = self._kept_bytes = 0

    def deleted(self, size: int) -> None:
        """Count one that was deleted."""
        self._deleted += 1
        self._bytes += size

    def kept(self, size: int) -> None:
        """Count one that was kept."""
        self._kept += 1
        self._kept_bytes += size

    @property
    def looked_at(self) -> int:
        """How many were counted."""
        return self._deleted + self._kept

    @property
    def tally(self) -> Tally:
        """The counts so far."""
        return Tally(self._deleted, self._bytes, self._kept, self._kept_bytes)
