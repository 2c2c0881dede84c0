"""How a document names a run. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from . import limits
from .schema import LATEST, NOTHING, MalformedError, as_list, as_object, as_sha256, as_text, as_whole, unknown_members

_KNOWN: Final = frozenset(("key", "sha256", "entries", "bytes", "index", "first", "last", "expires", "continues"))


def _nothing() -> Mapping[str, Any]:
    return NOTHING


@dataclass(frozen=True, slots=True)
class RunReference:
    """A sorted segment of files, stored as an object of its own and named by its content.

    Attributes:
        key: Where it is.
        sha256: Of its index, which has those of its blocks, in hexadecimal.
        entries: How many keys it speaks of.
        size: In bytes, index included.
        index: The bytes of its index, at its end.
        first: Its first key.
        last: Its last key.
        expires: When the first of its keys expires, in seconds since 1970; ``None`` if none does.
        continues: Whether it is a further part of the run before it, with keys behind all of that one's.
        extra: Members this version does not know.
    """

    key: str
    sha256: str
    entries: int
    size: int
    index: int
    first: str
    last: str
    expires: float | None = None
    continues: bool = False
    extra: Mapping[str, Any] = field(default_factory=_nothing)


def update_runs(update: Mapping[str, Any]) -> tuple[RunReference, ...]:
    """The runs of a commit's change, which was checked before."""
    raw = update.get("runs")
    return tuple(_read_reference(run, "update.runs") for run in raw) if raw else ()


def encode_reference(run: RunReference) -> dict[str, Any]:
    """What a document says of a run."""
    return {
        "key": run.key,
        "sha256": run.sha256,
        "entries": run.entries,
        "bytes": run.size,
        "index": run.index,
        "first": run.first,
        "last": run.last,
        **({} if run.expires is None else {"expires": run.expires}),
        **({"continues": True} if run.continues else {}),
        **run.extra,
    }


def read_references(raw: object, where: str) -> tuple[RunReference, ...]:
    """Read an array of references.

    Args:
        raw: The array.
        where: Where it stands, for the error.

    Raises:
        MalformedError: It is not one.
    """
    return tuple(
        _read_reference(run, f"{where}[{index}]") for index, run in enumerate(as_list(raw, where, limits.RUNS))
    )


def _read_reference(raw: object, where: str) -> RunReference:
    raw = as_object(raw, where)
    if not isinstance(raw.get("continues", False), bool):
        raise MalformedError(f"{where}.continues is neither true nor false")
    size, index = as_whole(raw.get("bytes"), f"{where}.bytes"), as_whole(raw.get("index"), f"{where}.index")
    first, last = as_text(raw.get("first"), f"{where}.first"), as_text(raw.get("last"), f"{where}.last")
    if not 0 < index < size:
        raise MalformedError(f"{where}.index is not a part of it")
    if first > last:
        raise MalformedError(f"{where}.last comes before its first key")
    expires = raw.get("expires")
    return RunReference(
        key=as_text(raw.get("key"), f"{where}.key"),
        sha256=as_sha256(raw.get("sha256"), f"{where}.sha256"),
        entries=as_whole(raw.get("entries"), f"{where}.entries"),
        size=size,
        index=index,
        first=first,
        last=last,
        expires=None if expires is None else as_moment(expires, f"{where}.expires"),
        continues=raw.get("continues", False),
        extra=unknown_members(raw, _KNOWN, where),
    )


def as_moment(raw: object, where: str) -> float:
    """A moment as a number: seconds since 1970."""
    if isinstance(raw, bool) or not isinstance(raw, int | float) or not 0 <= raw <= LATEST + 1:
        raise MalformedError(f"{where} is not a moment in seconds since 1970")
    return float(raw)
