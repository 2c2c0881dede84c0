"""Reading a manifest document, writing it, refusing it. Pure: bytes in, bytes out.

Whatever is read here may have been written by anybody. A document that breaks the shape, or a limit of
`mps3.format.limits`, is refused whole; members that this version does not know are kept and written again. Keys that no
client can have written are left out. What is written is checked by the same rules before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, cast

import orjson

from ..errors import ConfigurationError, CorruptionError, FormatError, MPS3Error
from ..types import Ref
from . import limits
from .document import FORMAT, LIMIT, CommitEntry, Document, Kind
from .file_entry import check_files
from .json_text import is_richer, parse
from .names import Names
from .run_reference import encode_reference, read_references
from .schema import (
    NOTHING,
    MalformedError,
    as_list,
    as_object,
    as_optional_text,
    as_text,
    as_time,
    as_whole,
    check_number,
    check_unknown,
    format_time,
    unknown_members,
)

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
        "recent",
    )
)
_OMITTED: Final = frozenset(("previous", "log", "files", "sessions", "runs"))
"""Members that a log journal leaves out where they are empty."""
_KNOWN_ENTRY: Final = frozenset(("session", "sequence", "version", "modified", "previous", "update"))


def encode(document: Document, *, bucket: str, key: str, trusted: bool = False) -> bytes:
    """The bytes of a document.

    Args:
        document: The document.
        bucket: Where it is to be written.
        key: Where it is to be written.
        trusted: Whether it was read, or written, as it is.

    Raises:
        ConfigurationError: It has grown beyond what any client would read, or no client could read it.
    """
    members = {
        "mps3": FORMAT,
        "journal": document.journal,
        "window": document.window,
        "session": document.session,
        "sequence": document.sequence,
        "previous": document.previous,
        "update": document.update,
        "log": encode_entries(document.log),
        "files": document.files,
        "sessions": document.sessions,
        "runs": [encode_reference(run) for run in document.runs],
        **({"attempt": document.attempt} if document.attempt > 1 else {}),
        **({"until": format_time(document.until)} if document.until is not None else {}),
        **({"collected": document.collected} if document.collected is not None else {}),
        **({"expired": format_time(document.expired)} if document.expired is not None else {}),
        **({"recent": [[format_time(at), number] for at, number in document.recent]} if document.recent else {}),
        **document.extra,
    }
    if document.journal == "log":  # a slot is nearly all that a commit sends
        members = {member: value for member, value in members.items() if value or member not in _OMITTED}
    body = orjson.dumps(members, default=dict)
    if len(body) > LIMIT:
        raise _unwritable(
            f"the manifest s3://{bucket}/{key} would grow to {len(body)} bytes, more than the {LIMIT} that clients "
            "read: write fewer keys at once",
            bucket,
            key,
        )
    if not trusted:
        _check_readable(document, members, body, bucket, key)
    return body


def _check_readable(document: Document, members: Mapping[str, Any], body: bytes, bucket: str, key: str) -> None:
    """Refuse to write what no client could read, or build upon.

    The commits of its log were read before, or checked when they were written. So only their number is checked.
    """
    try:
        _check_size(body)
        if document.log:
            _check_log(document.log)
            body = orjson.dumps({**members, "log": []}, default=dict)
        read = decode(body, bucket=bucket, key=key, version=None)
    except (MPS3Error, MalformedError) as error:
        why = error.__context__ or error
        raise _unwritable(
            f"no client could read the manifest s3://{bucket}/{key} with this commit ({why}), so nothing is written",
            bucket,
            key,
        ) from error
    if read.skipped:
        raise _unwritable(f"no manifest can name {read.skipped[0]!r:.80}, so nothing is written", bucket, key)


def _unwritable(message: str, bucket: str, key: str) -> ConfigurationError:
    return ConfigurationError(message, bucket=bucket, key=key, operation="PutObject")


def decode(
    body: bytes,
    *,
    bucket: str,
    key: str,
    version: str | None,
    known: Mapping[str, CommitEntry] = NOTHING,
    pause: Callable[[], object] = lambda: None,
) -> Document:
    """Read a document.

    Args:
        body: Its bytes.
        bucket: Where it was read, for errors.
        key: Where it was read, for errors.
        version: Where it was read, for errors.
        known: Commits by version that were read before: versions never change, so they are not read again.
        pause: Called now and then, to let others work.

    Raises:
        FormatError: An mps3 of another format wrote it.
        CorruptionError: It is not a manifest. The error names the object version.
    """
    place = f"s3://{bucket}/{key}" + (f" (version {version})" if version else "")
    try:
        _check_size(body, pause)
        try:
            raw = parse(body)
        except orjson.JSONDecodeError as error:
            raise MalformedError(f"it is not JSON: {error}") from None
        return _Reading(Names(Ref(key, bucket)), known, pause, large=len(body) > limits.UPDATE_PARTS).document(raw)
    except _OtherFormat as error:
        raise FormatError(
            f"the manifest {place} has format {error.number}, this client reads format {FORMAT}: "
            + (
                "a newer mps3 wrote it, upgrade this one"
                if error.number > FORMAT
                else "an mps3 from before the first release wrote it, and nothing converts it; use another manifest"
            ),
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


def _check_size(body: bytes, pause: Callable[[], object] = lambda: None) -> None:
    if len(body) > LIMIT:
        raise MalformedError(f"it has {len(body)} bytes, more than {LIMIT}")
    if is_richer(body, limits.PARTS, pause):
        raise MalformedError(f"it has more than {limits.PARTS} arrays, objects and commas")
    if len(body) > limits.ESCAPES and body.count(b"\\") > limits.ESCAPES:
        raise MalformedError(f"it has more than {limits.ESCAPES} backslashes")


def _check_log(log: Sequence[CommitEntry]) -> None:
    if len(log) > limits.LOG:
        raise MalformedError(f"its log has more than {limits.LOG} commits")
    if sum([len(entry.update.get("files", NOTHING)) for entry in log]) > limits.LOGGED:
        raise MalformedError(f"the commits in its log change more than {limits.LOGGED} keys")


class _OtherFormat(Exception):  # noqa: N818 - never leaves this module
    """The document has another format.

    Args:
        number: Which.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


class _Reading:
    """One document that is read.

    Args:
        names: Which names it may have for keys; ``None``: all.
        known: Commits by version that were read before.
        pause: Called now and then.
        large: Whether it is so large that a commit in it may be too large.
    """

    def __init__(
        self, names: Names | None, known: Mapping[str, CommitEntry], pause: Callable[[], object], *, large: bool
    ) -> None:
        self._names = names
        self._known = known
        self._pause = pause
        self._large = large
        self._skipped: dict[str, None] = {}
        self._logged = 0

    def document(self, raw: object) -> Document:
        """The document."""
        raw = as_object(raw, "the document")
        number = raw.get("mps3")
        if type(number) is not int or number < 1:
            raise MalformedError("it has no format number in `mps3`")
        if number != FORMAT:
            raise _OtherFormat(number)
        journal = raw.get("journal")
        if journal not in ("log", "merge"):
            raise MalformedError("`journal` is neither log nor merge")
        window = raw.get("window")
        if isinstance(window, bool) or not isinstance(window, int | float) or not 0 < window <= 86_400:
            raise MalformedError("`window` is not a number of seconds up to a day")
        return Document(
            journal=cast("Kind", journal),
            window=window,
            session=_session(raw.get("session"), "session"),
            sequence=as_whole(raw.get("sequence"), "sequence"),
            previous=as_optional_text(raw.get("previous"), "previous"),
            update=self._update(raw.get("update"), "update"),
            # A slot has few of the members, and each commit is one, which its writer reads, too.
            log=self.log(raw["log"]) if "log" in raw else (),
            files=self._files(raw["files"], "files", limits.FILES, patch=False) if "files" in raw else {},
            sessions=_sessions(raw["sessions"]) if "sessions" in raw else {},
            runs=read_references(raw["runs"], "runs") if "runs" in raw else (),
            attempt=as_whole(raw.get("attempt", 1), "attempt"),
            until=None if raw.get("until") is None else as_time(raw["until"], "until"),
            collected=as_optional_text(raw.get("collected"), "collected"),
            expired=None if raw.get("expired") is None else as_time(raw["expired"], "expired"),
            recent=_recent(raw["recent"]) if "recent" in raw else (),
            extra=unknown_members(raw, _KNOWN, "the document"),
            skipped=tuple(self._skipped),
        )

    def log(self, raw: object) -> tuple[CommitEntry, ...]:
        """Its log."""
        entries: list[CommitEntry] = []
        for index, entry in enumerate(as_list(raw, "log", limits.LOG)):
            entries.append(self._entry(entry, index, entries[-1] if entries else None))
        return tuple(entries)

    def _entry(self, raw: object, index: int, before: CommitEntry | None) -> CommitEntry:
        """One commit of its log, given the one before it."""
        where = f"log[{index}]"
        raw = as_object(raw, where)
        version = raw.get("version")
        if isinstance(version, str) and version in self._known:
            return self._known[version]
        self._pause()
        update = self._update(raw.get("update"), f"{where}.update")
        self._logged += len(update.get("files", NOTHING))
        if self._logged > limits.LOGGED:
            raise MalformedError(f"the commits in its log change more than {limits.LOGGED} keys")
        session = before.session if before and "session" not in raw else raw.get("session")
        previous = before.version if before and "previous" not in raw else raw.get("previous")
        return CommitEntry(
            session=_session(session, f"{where}.session"),
            sequence=as_whole(raw.get("sequence"), f"{where}.sequence"),
            version=as_text(raw.get("version"), f"{where}.version"),
            modified=as_time(raw.get("modified"), f"{where}.modified"),
            previous=as_optional_text(previous, f"{where}.previous"),
            update=update,
            extra=unknown_members(raw, _KNOWN_ENTRY, where),
        )

    def _update(self, raw: object, where: str) -> dict[str, Any]:
        raw = as_object(raw, where)
        if "files" in raw:
            raw["files"] = self._files(raw["files"], f"{where}.files", limits.CHANGES, patch=True)
        if "runs" in raw:
            read_references(raw["runs"], f"{where}.runs")
        if "expect" in raw:
            expect = as_object(raw["expect"], f"{where}.expect")
            check_number(expect, f"{where}.expect", limits.READS)
            for name, version in expect.items():
                as_optional_text(version, f"{where}.expect[{name!r:.80}]")
        for member, value in raw.items():
            if member not in ("files", "runs", "expect"):
                check_unknown(value, f"{where}.{member}")
        if self._large and is_richer(orjson.dumps(raw), limits.UPDATE_PARTS):
            raise MalformedError(f"{where} has more than {limits.UPDATE_PARTS} arrays, objects and commas")
        return raw

    def _files(self, raw: object, where: str, most: int, *, patch: bool) -> dict[str, Any]:
        found = check_files(raw, where, most, patch=patch)
        if self._names is None or not (skipped := self._names.invalid(found)):
            return found
        self._skipped.update(dict.fromkeys(skipped))
        return {name: file for name, file in found.items() if name in self._names}


def encode_entries(entries: Iterable[CommitEntry]) -> list[Any]:
    """Commits as a log holds them, before they become JSON."""
    written, before = [], None
    for entry in entries:
        written.append(orjson.Fragment(entry.encoded(before)))
        before = entry
    return written


def decode_entries(raw: object) -> tuple[CommitEntry, ...]:
    """What `encode_entries` made.

    Raises:
        ValueError: It is not that.
    """
    return _Reading(None, NOTHING, lambda: None, large=False).log(raw)


def _recent(raw: object) -> tuple[tuple[float, int], ...]:
    marks = as_list(raw, "recent", limits.SESSIONS)
    return tuple(_mark(mark, f"recent[{index}]") for index, mark in enumerate(marks))


def _mark(raw: object, where: str) -> tuple[float, int]:
    raw = as_list(raw, where, 2)
    if len(raw) != 2:
        raise MalformedError(f"{where} is not a moment and a number")
    return as_time(raw[0], where), as_whole(raw[1], where)


def _sessions(raw: object) -> dict[str, int]:
    raw = as_object(raw, "sessions")
    check_number(raw, "sessions", limits.SESSIONS)
    for session, sequence in raw.items():
        _session(session, "sessions")
        as_whole(sequence, f"sessions[{session!r:.80}]")
    return raw


def _session(raw: object, where: str) -> str:
    name = as_text(raw, where)
    if len(name) > limits.SESSION:
        raise MalformedError(f"{where} has a session whose name has {len(name)} characters, more than {limits.SESSION}")
    return name
