"""The manifest document: its shape, reading it, writing it, refusing it. Pure: bytes in, bytes out.

Whatever is read here may have been written by anybody. A document that breaks the shape is refused
whole; members that this version does not know are kept and written again.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypeAlias, cast

import orjson

from .errors import ConfigurationError, CorruptionError, FormatError
from .files import Files, check_files
from .shape import (
    NOTHING,
    MalformedError,
    as_list,
    as_object,
    as_optional_text,
    as_sha256,
    as_text,
    as_time,
    as_whole,
    check_depth,
    format_time,
    unknown_members,
)

FORMAT: Final = 1
LIMIT: Final = 32 * 2**20
"""The largest manifest, in bytes, that is written or read."""
Kind: TypeAlias = Literal["merge", "conditional"]


def _nothing() -> Mapping[str, Any]:
    return NOTHING


_KNOWN: Final = frozenset(
    (
        "mps3",
        "journal",
        "window",
        "session",
        "sequence",
        "previous",
        "update",
        "log",
        "files",
        "sessions",
        "runs",
        "attempt",
        "until",
        "collected",
        "expired",
    )
)
_KNOWN_ENTRY: Final = frozenset(("session", "sequence", "version", "modified", "previous", "update"))
_KNOWN_RUN: Final = frozenset(("key", "sha256", "entries", "bytes", "continues"))


@dataclass(frozen=True, slots=True)
class Entry:
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
    # A log is written again with each commit, its entries never change.
    _written: list[bytes] = field(default_factory=list, compare=False, repr=False)

    @property
    def id(self) -> str:
        """Identifies the commit, however often it was written."""
        return commit_id(self.session, self.sequence)

    @property
    def files(self) -> Files:
        """What it changes, beside what its `runs` say."""
        return cast("Files", self.update.get("files", NOTHING))

    @property
    def runs(self) -> tuple[RunReference, ...]:
        """Where a large change is stored."""
        return update_runs(self.update)

    @property
    def expect(self) -> Mapping[str, str | None]:
        """The versions that keys must have at its place in the order for it to count (R20); ``None``: absent."""
        return cast("Mapping[str, str | None]", self.update.get("expect", NOTHING))

    @property
    def closes(self) -> bool:
        """Whether it ends the transaction before it in its session, unless that has come before it (R20)."""
        return self.update.get("closes") is True

    @property
    def is_transaction(self) -> bool:
        """Whether it depends on its place in the order whether it counts (R20)."""
        return bool(self.expect) or self.closes

    def encoded(self) -> orjson.Fragment:
        """As it stands in a log."""
        if not self._written:
            members = {
                "session": self.session,
                "sequence": self.sequence,
                "version": self.version,
                "modified": format_time(self.modified),
                "previous": self.previous,
                "update": self.update,
                **self.extra,
            }
            self._written.append(orjson.dumps(members, default=dict))
        return orjson.Fragment(self._written[0])


@dataclass(frozen=True, slots=True)
class RunReference:
    """A sorted segment of files, stored as an object of its own and named by its content.

    Attributes:
        key: Where it is.
        sha256: Of its content.
        entries: How many keys it speaks of.
        size: In bytes.
        continues: Whether it is a further part of the run before it, with keys behind all of that one's.
        extra: Members this version does not know.
    """

    key: str
    sha256: str
    entries: int
    size: int
    continues: bool = False
    extra: Mapping[str, Any] = field(default_factory=_nothing)


@dataclass(frozen=True, slots=True)
class Document:
    """One manifest version: a commit, and the state it was made upon.

    Attributes:
        until: If the store's stamp on the version is later, in seconds since 1970, it does not count (R16).
        collected: The commit before which values were stored that may be collected by now (R17).
        expired: Files that expired up to this moment may have been left out, in seconds since 1970 (R19).
    """

    journal: Kind
    window: float
    session: str
    sequence: int
    previous: str | None
    update: Mapping[str, Any]
    log: tuple[Entry, ...] = ()
    files: Files = field(default_factory=_nothing)
    sessions: Mapping[str, int] = field(default_factory=_nothing)
    runs: tuple[RunReference, ...] = ()
    attempt: int = 1
    until: float | None = None
    collected: str | None = None
    expired: float | None = None
    extra: Mapping[str, Any] = field(default_factory=_nothing)

    def counts(self, modified: float) -> bool:
        """Whether it landed in time (R16).

        Args:
            modified: The store's time stamp of its version, in seconds since 1970.
        """
        return self.until is None or modified <= self.until

    def entry(self, version: str, modified: float) -> Entry:
        """This document's own commit, as a log would remember it."""
        return Entry(self.session, self.sequence, version, modified, self.previous, self.update)

    def bound(self) -> float:
        """Which commits may still join those of its log: whose time stamp, in seconds since 1970, is not less (R3)."""
        for entry in reversed(self.log):
            if entry.version == self.previous:
                return float(max(0, math.floor(entry.modified - self.window)))
        return 0.0

    def references(self) -> tuple[RunReference, ...]:
        """All runs that it needs: those of the settled files, of its log, and of its own change."""
        logged = (reference for entry in self.log for reference in entry.runs)
        return (*self.runs, *logged, *update_runs(self.update))


def update_runs(update: Mapping[str, Any]) -> tuple[RunReference, ...]:
    """The runs of a commit's change, which was checked before."""
    raw = update.get("runs")
    return tuple(_run(run, "update.runs") for run in raw) if raw else ()


def encode_reference(run: RunReference) -> dict[str, Any]:
    """What a document says of a run."""
    return {
        "key": run.key,
        "sha256": run.sha256,
        "entries": run.entries,
        "bytes": run.size,
        **({"continues": True} if run.continues else {}),
        **run.extra,
    }


def commit_id(session: str, sequence: int) -> str:
    """The identity of a commit as users see it."""
    return f"{session}.{sequence}"


def read_commit_id(identity: str) -> tuple[str, int] | None:
    """The session and the sequence of such an identity; ``None`` if it is none."""
    session, dot, sequence = identity.rpartition(".")
    if dot and session and sequence.isascii() and sequence.isdigit() and len(sequence) < 20:
        return session, int(sequence)
    return None


def encode(document: Document, *, bucket: str, key: str) -> bytes:
    """The bytes of a document.

    Raises:
        ConfigurationError: It has grown beyond what any client would read.
    """
    body = orjson.dumps(
        {
            "mps3": FORMAT,
            "journal": document.journal,
            "window": document.window,
            "session": document.session,
            "sequence": document.sequence,
            "previous": document.previous,
            "update": document.update,
            "log": [entry.encoded() for entry in document.log],
            "files": document.files,
            "sessions": document.sessions,
            "runs": [encode_reference(run) for run in document.runs],
            **({"attempt": document.attempt} if document.attempt > 1 else {}),
            **({"until": format_time(document.until)} if document.until is not None else {}),
            **({"collected": document.collected} if document.collected is not None else {}),
            **({"expired": format_time(document.expired)} if document.expired is not None else {}),
            **document.extra,
        },
        default=dict,
    )
    if len(body) > LIMIT:
        raise ConfigurationError(
            f"the manifest s3://{bucket}/{key} would grow to {len(body)} bytes, more than the {LIMIT} that clients "
            "read: write fewer keys at once",
            bucket=bucket,
            key=key,
            operation="PutObject",
        )
    return body


def decode(
    body: bytes, *, bucket: str, key: str, version: str | None, known: Mapping[str, Entry] = NOTHING
) -> Document:
    """Read a document.

    Args:
        body: Its bytes.
        bucket: Where it was read, for errors.
        key: Where it was read, for errors.
        version: Where it was read, for errors.
        known: Commits by version that were read before: versions never change, so they are not read again.

    Raises:
        FormatError: A newer mps3 wrote it.
        CorruptionError: It is not a manifest. The error names the object version.
    """
    place = f"s3://{bucket}/{key}" + (f" (version {version})" if version else "")
    try:
        if len(body) > LIMIT:
            raise MalformedError(f"it has {len(body)} bytes, more than {LIMIT}")
        try:
            raw = orjson.loads(body)
        except orjson.JSONDecodeError as error:
            raise MalformedError(f"it is not JSON: {error}") from None
        return _document(raw, known)
    except _Newer as error:
        raise FormatError(
            f"the manifest {place} has format {error}, this client reads format {FORMAT}: "
            "a newer mps3 wrote it, upgrade this one",
            bucket=bucket,
            key=key,
            operation="GetObject",
            version=version,
        ) from None
    except MalformedError as error:
        raise CorruptionError(
            f"{place} is not a manifest: {error}. It is left as it is; if it does not belong there, "
            "delete that object version, or use another manifest",
            bucket=bucket,
            key=key,
            operation="GetObject",
            version=version,
        ) from None


class _Newer(Exception):  # noqa: N818 - never leaves this module
    """The format number of a newer client."""


def _document(raw: object, known: Mapping[str, Entry]) -> Document:
    raw = as_object(raw, "the document")
    number = raw.get("mps3")
    if type(number) is not int or number < 1:
        raise MalformedError("it has no format number in `mps3`")
    if number > FORMAT:
        raise _Newer(number)
    journal = raw.get("journal")
    if journal not in ("merge", "conditional"):
        raise MalformedError("`journal` is neither merge nor conditional")
    window = raw.get("window")
    if isinstance(window, bool) or not isinstance(window, int | float) or not 0 < window <= 86_400:
        raise MalformedError("`window` is not a number of seconds up to a day")
    log = tuple(_entry(entry, index, known) for index, entry in enumerate(as_list(raw.get("log", []), "log")))
    return Document(
        journal=cast("Kind", journal),
        window=window,
        session=as_text(raw.get("session"), "session"),
        sequence=as_whole(raw.get("sequence"), "sequence"),
        previous=as_optional_text(raw.get("previous"), "previous"),
        update=_update(raw.get("update"), "update"),
        log=log,
        files=check_files(raw.get("files", {}), "files", patch=False),
        sessions=_sessions(raw.get("sessions", {})),
        runs=_runs(raw.get("runs", []), "runs"),
        attempt=as_whole(raw.get("attempt", 1), "attempt"),
        until=None if raw.get("until") is None else as_time(raw["until"], "until"),
        collected=as_optional_text(raw.get("collected"), "collected"),
        expired=None if raw.get("expired") is None else as_time(raw["expired"], "expired"),
        extra=unknown_members(raw, _KNOWN, "the document"),
    )


def _entry(raw: object, index: int, known: Mapping[str, Entry]) -> Entry:
    where = f"log[{index}]"
    raw = as_object(raw, where)
    version = raw.get("version")
    if isinstance(version, str) and version in known:
        return known[version]
    return Entry(
        session=as_text(raw.get("session"), f"{where}.session"),
        sequence=as_whole(raw.get("sequence"), f"{where}.sequence"),
        version=as_text(raw.get("version"), f"{where}.version"),
        modified=as_time(raw.get("modified"), f"{where}.modified"),
        previous=as_optional_text(raw.get("previous"), f"{where}.previous"),
        update=_update(raw.get("update"), f"{where}.update"),
        extra=unknown_members(raw, _KNOWN_ENTRY, where),
    )


def encode_entries(entries: Iterable[Entry]) -> list[Any]:
    """Commits as a log holds them, before they become JSON."""
    return [entry.encoded() for entry in entries]


def decode_entries(raw: object) -> tuple[Entry, ...]:
    """What `encode_entries` made.

    Raises:
        ValueError: It is not that.
    """
    return tuple(_entry(entry, index, NOTHING) for index, entry in enumerate(as_list(raw, "log")))


def _runs(raw: object, where: str) -> tuple[RunReference, ...]:
    return tuple(_run(run, f"{where}[{index}]") for index, run in enumerate(as_list(raw, where)))


def _run(raw: object, where: str) -> RunReference:
    raw = as_object(raw, where)
    if not isinstance(raw.get("continues", False), bool):
        raise MalformedError(f"{where}.continues is neither true nor false")
    return RunReference(
        key=as_text(raw.get("key"), f"{where}.key"),
        sha256=as_sha256(raw.get("sha256"), f"{where}.sha256"),
        entries=as_whole(raw.get("entries"), f"{where}.entries"),
        size=as_whole(raw.get("bytes"), f"{where}.bytes"),
        continues=raw.get("continues", False),
        extra=unknown_members(raw, _KNOWN_RUN, where),
    )


def _update(raw: object, where: str) -> dict[str, Any]:
    raw = as_object(raw, where)
    check_files(raw.get("files", {}), f"{where}.files", patch=True)
    _runs(raw.get("runs", []), f"{where}.runs")
    for name, version in as_object(raw.get("expect", {}), f"{where}.expect").items():
        as_optional_text(version, f"{where}.expect[{name!r:.80}]")
    for member, value in raw.items():
        if member not in ("files", "runs", "expect"):
            check_depth(value, f"{where}.{member}")
    return raw


def _sessions(raw: object) -> dict[str, int]:
    raw = as_object(raw, "sessions")
    for session, sequence in raw.items():
        as_whole(sequence, f"sessions[{session!r:.80}]")
    return raw
