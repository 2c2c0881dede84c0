"""How a document names a run. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from . import limits
from .schema import NOTHING, MalformedError, as_list, as_object, as_sha256, as_text, as_whole, unknown_members

_KNOWN: Final = frozenset(("key", "sha256", "entries", "bytes", "continues"))


def _nothing() -> Mapping[str, Any]:
    return NOTHING


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
    return RunReference(
        key=as_text(raw.get("key"), f"{where}.key"),
        sha256=as_sha256(raw.get("sha256"), f"{where}.sha256"),
        entries=as_whole(raw.get("entries"), f"{where}.entries"),
        size=as_whole(raw.get("bytes"), f"{where}.bytes"),
        continues=raw.get("continues", False),
        extra=unknown_members(raw, _KNOWN, where),
    )
