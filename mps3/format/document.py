"""The manifest document: a commit, the log of those before it, and the state that they were made upon. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeAlias

import orjson

from . import limits
from .file_entry import Files
from .run_reference import RunReference, update_runs
from .schema import NOTHING, format_time

FORMAT: Final = 2
LIMIT: Final = limits.DOCUMENT
"""The largest manifest, in bytes, that is written or read."""
Kind: TypeAlias = Literal["log", "merge"]


def _nothing() -> Mapping[str, Any]:
    return NOTHING


@dataclass(frozen=True, slots=True)
class CommitEntry:
    """A commit as a log remembers it.

    Attributes:
        session: One life of one client.
        sequence: Its place in the session.
        version: The manifest version that carried it.
        modified: The store's time stamp of that version, in seconds since 1970.
        previous: The manifest version it was based on.
        update: Its change: a JSON merge patch whose ``files`` are what this version understands. A large one
            is stored as ``runs`` of its own, whose lines replace what was there.
        extra: Members this version does not know.
    """

    session: str
    sequence: int
    version: str
    modified: float
    previous: str | None
    update: Mapping[str, Any]
    extra: Mapping[str, Any] = field(default_factory=_nothing)
    # A log is written again with each commit, its entries never change, and seldom what they come after.
    _written: dict[tuple[bool, bool], bytes] = field(default_factory=dict, compare=False, repr=False)
    _runs: list[tuple[RunReference, ...]] = field(default_factory=list, compare=False, repr=False)

    @property
    def id(self) -> str:
        """Identifies the commit, however often it was written."""
        return commit_id(self.session, self.sequence)

    @property
    def files(self) -> Files:
        """What it changes, beside what its `runs` say."""
        files: Files = self.update.get("files", NOTHING)
        return files

    @property
    def runs(self) -> tuple[RunReference, ...]:
        """Where a large change is stored."""
        if "runs" not in self.update:
            return ()
        if not self._runs:
            self._runs.append(update_runs(self.update))  # asked for again and again
        return self._runs[0]

    @property
    def expect(self) -> Mapping[str, str | None]:
        """The versions that keys must have at its place in the order for it to count (R20); ``None``: absent."""
        expect: Mapping[str, str | None] = self.update.get("expect", NOTHING)
        return expect

    @property
    def closes(self) -> bool:
        """Whether it ends the transaction before it in its session, unless that has come before it (R20)."""
        return self.update.get("closes") is True

    @property
    def is_transaction(self) -> bool:
        """Whether it depends on its place in the order whether it counts (R20)."""
        return ("expect" in self.update and bool(self.update["expect"])) or self.update.get("closes") is True

    def encoded(self, before: CommitEntry | None = None) -> bytes:
        """Return the entry as it stands in a log.

        Args:
            before: The entry before it there. What follows from that is left out: the same session, and that it is
                based on that.
        """
        same = before is not None and before.session == self.session
        based = before is not None and before.version == self.previous
        written = self._written.get((same, based))
        if written is None:
            members = {
                **({} if same else {"session": self.session}),
                "sequence": self.sequence,
                "version": self.version,
                "modified": format_time(self.modified),
                **({} if based else {"previous": self.previous}),
                "update": self.update,
                **self.extra,
            }
            self._written[same, based] = written = orjson.dumps(members, default=dict)
        return written


@dataclass(frozen=True, slots=True)
class Document:
    """One manifest version: a commit, and the state it was made upon.

    Attributes:
        until: If the store's stamp on the version is later, in seconds since 1970, it does not count (R16).
        collected: The commit before which values were stored that may be collected by now (R17).
        recent: Moments since which that many of the last sessions were settled, in seconds since 1970: all others were
            before (R7).
        expired: Files that expired up to this moment may have been left out, in seconds since 1970 (R19).
        skipped: Names in it, as it was read, that are none, and were left out.
    """

    journal: Kind
    window: float
    session: str
    sequence: int
    previous: str | None
    update: Mapping[str, Any]
    log: tuple[CommitEntry, ...] = ()
    files: Files = field(default_factory=_nothing)
    sessions: Mapping[str, int] = field(default_factory=_nothing)
    runs: tuple[RunReference, ...] = ()
    attempt: int = 1
    until: float | None = None
    collected: str | None = None
    expired: float | None = None
    recent: tuple[tuple[float, int], ...] = ()
    extra: Mapping[str, Any] = field(default_factory=_nothing)
    skipped: tuple[str, ...] = field(default=(), compare=False)

    def counts(self, modified: float) -> bool:
        """Whether it landed in time (R16).

        Args:
            modified: The store's time stamp of its version, in seconds since 1970.
        """
        return self.until is None or modified <= self.until

    def entry(self, version: str, modified: float) -> CommitEntry:
        """This document's own commit, as a log would remember it."""
        previous = None if self.previous == version else self.previous  # no writer knows its own
        return CommitEntry(self.session, self.sequence, version, modified, previous, self.update)

    def bound(self) -> float:
        """Which commits may still join those of its log: whose time stamp, in seconds since 1970, is not less (R3)."""
        for entry in reversed(self.log):
            if entry.version == self.previous:
                return max(0.0, visible_before(entry.modified, self.window))
        return 0.0

    def references(self) -> tuple[RunReference, ...]:
        """All runs that it needs: those of the settled files, of its log, and of its own change."""
        logged = (reference for entry in self.log for reference in entry.runs)
        return (*self.runs, *logged, *update_runs(self.update))


def visible_before(stamp: float, window: float) -> float:
    """Return a time before which no version can become visible any more, once one with this time stamp is visible.

    Some stores round their stamps down to whole seconds. The time is then rounded down, too.

    Args:
        stamp: The store's time stamp, in seconds since 1970.
        window: The window, in seconds.
    """
    before = stamp - window
    return float(math.floor(before)) if stamp == math.floor(stamp) else before


def commit_id(session: str, sequence: int) -> str:
    """The identity of a commit as users see it."""
    return f"{session}.{sequence}"


def read_commit_id(identity: str) -> tuple[str, int] | None:
    """The session and the sequence of such an identity; ``None`` if it is none."""
    session, dot, sequence = identity.rpartition(".")
    if dot and session and sequence.isascii() and sequence.isdigit() and len(sequence) < 20:
        return session, int(sequence)
    return None
