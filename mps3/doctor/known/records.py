"""The records of known stores, read from the JSON files beside this module and validated. Pure, except for the reading.

Each file is an object with these members; unknown members, and values of other types, are refused:

- ``name``, and ``order``, its place in the table;
- ``recognised``: ``{"vendor": NAME}`` for a vendor of `mps3.storage.s3.vendors`, or ``{"headers": {NAME: PATTERN}}``,
  regular expressions that headers of its responses match as a whole; empty if it cannot be recognised;
- ``endpoint``, in words;
- ``versioning``: whether its buckets can keep versions; ``null`` if that is unknown;
- ``create_if_absent``: whether it enforces this in ``plain`` buckets and in ``versioned`` ones; ``null`` if unknown;
- ``words``: other words for a column of the table;
- ``source``: where all this is known from, if not from a trial;
- ``notes``: sentences for users;
- ``tried``: the results of a trial, or ``null``.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Final, Literal, TypeAlias

import orjson

BucketKind: TypeAlias = Literal["plain", "versioned"]
BUCKET_KINDS: Final[tuple[BucketKind, ...]] = ("plain", "versioned")
COLUMNS: Final = ("versioning", "create_if_absent", "journal")
"""The columns of the table for which a record may have words of its own."""


@dataclass(frozen=True, slots=True)
class TriedBucket:
    """What a trial found in one kind of bucket.

    Attributes:
        ready: Whether the doctor said that the bucket is ready.
        journal: The journal that a client used; ``None`` if it was refused.
        findings: Which checks of the doctor went well; ``None`` if the result was neither good nor bad.
        results: All results, as in the file.
    """

    ready: bool
    journal: str | None
    findings: Mapping[str, bool | None]
    results: Mapping[str, Any]

    @property
    def creates(self) -> bool:
        """Whether the store enforced create-if-absent."""
        return self.findings.get("conditions") is True


@dataclass(frozen=True, slots=True)
class Trial:
    """A trial of a store.

    Attributes:
        version: The version of the store; ``None`` for what is a part of mps3.
        date: The day, as ``YYYY-MM-DD``.
        command: The command that repeats it.
        source: The package that the store came from.
        buckets: What it found in each kind of bucket.
        results: All results, as in the file.
    """

    version: str | None
    date: str
    command: str
    source: str
    buckets: Mapping[str, TriedBucket]
    results: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class KnownStore:
    """What is known of a store. The module's description explains the fields; ``headers`` has the patterns."""

    name: str
    order: int
    vendor: str | None
    headers: Mapping[str, re.Pattern[str]]
    endpoint: str
    words: Mapping[str, str]
    source: str
    notes: tuple[str, ...]
    tried: Trial | None
    documented_versioning: bool | None
    documented_creation: Mapping[str, bool | None]

    @property
    def versioning(self) -> bool | None:
        """Whether its buckets can keep versions; ``None`` if that is unknown."""
        if self.tried is not None and "versioned" in self.tried.buckets:
            return True
        return self.documented_versioning

    def creates(self, kind: BucketKind) -> bool | None:
        """Return whether it enforces create-if-absent in this kind of bucket; ``None`` if that is unknown."""
        tried = None if self.tried is None else self.tried.buckets.get(kind)
        return self.documented_creation.get(kind) if tried is None else tried.creates

    def recognised_by(self, headers: Mapping[str, str]) -> int:
        """Return how many headers of a response show that it is this store; 0 if one of them is missing."""
        matching = [pattern.fullmatch(headers.get(name, "")) for name, pattern in self.headers.items()]
        return len(matching) if all(matching) else 0


@functools.cache
def known_stores() -> tuple[KnownStore, ...]:
    """Return all records, in the order of the table. Reads files: call it in a thread.

    Raises:
        ValueError: A file is not a valid record.
    """
    found = []
    for file in files(__package__).iterdir():
        if file.name.endswith(".json"):
            try:
                found.append(parse_record(orjson.loads(file.read_bytes())))
            except (TypeError, ValueError, re.error) as error:
                raise ValueError(f"{file.name}: {error}") from error
    return tuple(sorted(found, key=lambda store: (store.order, store.name)))


def parse_record(document: Any) -> KnownStore:
    """Validate the content of a file.

    Raises:
        ValueError: It is not a valid record; the message says what is wrong.
    """
    record = _Members(document, "the record")
    recognised = _Members(record.take("recognised", dict), "recognised")
    vendor = recognised.take("vendor", str, None)
    headers = recognised.take("headers", dict, {})
    recognised.end()
    creation = _Members(record.take("create_if_absent", dict), "create_if_absent")
    words = _Members(record.take("words", dict, {}), "words")
    tried = record.take("tried", dict, None)
    store = KnownStore(
        name=record.take("name", str),
        order=record.take("order", int),
        vendor=vendor,
        headers={name: re.compile(_Members(headers, "headers").take(name, str)) for name in headers},
        endpoint=record.take("endpoint", str),
        words={column: words.take(column, str) for column in COLUMNS if column in words},
        source=record.take("source", str, "" if tried is not None else _MISSING),
        notes=tuple(_strings(record.take("notes", list, []), "notes")),
        tried=None if tried is None else _parse_trial(tried),
        documented_versioning=record.take("versioning", bool, None),
        documented_creation={kind: creation.take(kind, bool, None) for kind in BUCKET_KINDS},
    )
    for members in (words, creation, record):
        members.end()
    return store


def _parse_trial(document: Mapping[str, Any]) -> Trial:
    trial = _Members(document, "tried")
    date = trial.take("date", str)
    if not re.fullmatch(r"\d{4}-\d\d-\d\d", date):
        raise ValueError(f"tried: {date!r} is not a date")
    buckets = trial.take("buckets", dict)
    if unknown := {*buckets} - {*BUCKET_KINDS}:
        raise ValueError(f"tried: {', '.join(sorted(unknown))} is no kind of bucket")
    return Trial(
        version=trial.take("version", str, None),
        date=date,
        command=trial.take("command", str),
        source=trial.take("source", str, ""),
        buckets={
            kind: _parse_bucket(buckets[kind], kind) for kind in BUCKET_KINDS if "doctor" in buckets.get(kind, ())
        },
        results=document,
    )


def _was_tried(document: Any) -> bool:
    """Whether there are results: of a kind of bucket that the store does not have, there are only problems."""
    return isinstance(document, dict) and "doctor" in document


def _parse_bucket(document: Any, kind: str) -> TriedBucket:
    doctor = _Members(_Members(document, kind).take("doctor", dict), f"{kind}: doctor")
    findings = doctor.take("findings", dict)
    return TriedBucket(
        ready=doctor.take("ready", bool),
        journal=doctor.take("journal", str, None),
        findings={what: _Members(found, what).take("good", bool, None) for what, found in findings.items()},
        results=document,
    )


def _strings(found: list[Any], of: str) -> list[str]:
    if not all(isinstance(one, str) for one in found):
        raise ValueError(f"{of}: not only strings")
    return found


_MISSING: Final[Any] = object()


class _Members:
    """The members of a JSON object that are not taken yet."""

    def __init__(self, document: Any, of: str) -> None:
        if not isinstance(document, dict):
            raise ValueError(f"{of}: not an object")  # noqa: TRY004 - of a file, not of an argument
        self._left = dict(document)
        self._of = of

    def __contains__(self, name: str) -> bool:
        return name in self._left

    def take(self, name: str, kind: type[Any], default: Any = _MISSING) -> Any:
        """Return a member of this type, or of the default's value."""
        found = self._left.pop(name, default)
        if found is _MISSING:
            raise ValueError(f"{self._of}: {name} is missing")
        if found is not default and (not isinstance(found, kind) or (kind is int and isinstance(found, bool))):
            raise ValueError(f"{self._of}: {name} is no {kind.__name__}")
        return found

    def end(self) -> None:
        """Refuse members that nobody has taken."""
        if self._left:
            raise ValueError(f"{self._of}: nothing is known of {', '.join(sorted(self._left))}")
