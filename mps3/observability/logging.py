"""Events as log records of the standard library."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import fields
from types import MappingProxyType
from typing import Any, Final

from ..text import one_line
from ..types import Ref
from .events import (
    Acknowledged,
    CameOnline,
    CommitSent,
    Conflicted,
    Event,
    Merged,
    Polled,
    Problem,
    RequestMade,
    Retried,
    WentOffline,
    WriteFailed,
    WriteMade,
)

LEVELS: Final[Mapping[type, int]] = MappingProxyType(
    {
        RequestMade: logging.DEBUG,
        Polled: logging.DEBUG,
        WriteMade: logging.DEBUG,
        CommitSent: logging.DEBUG,
        Merged: logging.DEBUG,
        Acknowledged: logging.INFO,
        Conflicted: logging.INFO,
        Retried: logging.INFO,
        CameOnline: logging.INFO,
        WentOffline: logging.WARNING,
        WriteFailed: logging.WARNING,
    }
)
"""At which level each kind of event is logged, unless one says otherwise."""


class LoggingHook:
    """A hook that logs each event.

    A record's message is for people. Programs find the event's attributes in the record, with ``mps3_`` before their
    names: ``mps3_event`` is its kind, ``mps3_error`` the kind of an error and ``mps3_message`` what it says.

    Args:
        logger: Where to; a name or a logger.
        levels: Levels for some kinds of events, instead of those in `LEVELS`; ``None`` for not at all.
    """

    def __init__(
        self, logger: str | logging.Logger = "mps3.events", levels: Mapping[type, int | None] | None = None
    ) -> None:
        self._logger = logging.getLogger(logger) if isinstance(logger, str) else logger
        unknown = [kind for kind in levels or () if kind not in LEVELS]
        if unknown:
            raise ValueError(
                f"not kinds of events: {', '.join(map(str, unknown))}; those are in mps3.observability.events"
            )
        self._levels: dict[type, int | None] = {**LEVELS, **(levels or {})}

    def __call__(self, event: Event) -> None:
        """Log an event."""
        level = self._levels.get(type(event))
        if level is not None and self._logger.isEnabledFor(level):
            self._logger.log(level, "%s", one_line(_words(event)), extra=_attributes(event))


def _attributes(event: Event) -> dict[str, Any]:
    found: dict[str, Any] = {"mps3_event": type(event).__name__}
    for field in fields(event):
        value = getattr(event, field.name)
        if isinstance(value, Problem):
            found |= {"mps3_error": value.kind, "mps3_message": value.message}
        elif value is not None:
            found[f"mps3_{field.name}"] = str(value) if isinstance(value, Ref) else value
    return found


def _words(event: Event) -> str:
    match event:
        case RequestMade():
            said = f"{event.operation} of {_place(event.bucket, event.key)}: {event.outcome} in {event.seconds:.3f} s"
            return said + _because(event.error)
        case Retried():
            what = f"{event.what} ({event.operation} of {_place(event.bucket, event.key)})"
            return f"try {event.attempt + 1} of a {what} in {event.wait:.3f} s{_because(event.error)}"
        case Polled():
            found = "failed" if event.error else "news" if event.news else "no news"
            return f"looked at {event.manifest}: {found} in {event.seconds:.3f} s{_because(event.error)}"
        case Merged():
            return f"{event.manifest} has {_number(event.commits, 'commit')} of others"
        case WriteMade():
            again = ", of an earlier client" if event.recovered else ""
            return f"write {event.write} to {_some(event.keys)} of {event.manifest}{again}"
        case WriteFailed():
            return f"{_number(event.writes, 'write')} to {event.manifest} failed{_because(event.error)}"
        case CommitSent():
            return f"commit {event.commit} to {event.manifest} sent, try {event.attempt}: {_some(event.keys)}"
        case Conflicted():
            again = "" if event.wait is None else f", again in {event.wait:.3f} s"
            return f"commit {event.commit} to {event.manifest} met conflict {event.conflicts}{again}"
        case Acknowledged():
            took = "" if event.seconds is None else f" in {event.seconds:.3f} s"
            return f"commit {event.commit} to {event.manifest} acknowledged{took}: {_some(event.keys)}"
        case WentOffline():
            return "offline" + (_because(event.error) if event.error else ", as it was told")
        case CameOnline():
            return "online" + ("" if event.away is None else f" again, after {event.away:.3f} s")


def _place(bucket: str, key: str | None) -> str:
    # A key may hold line breaks, and whatever else could forge a log.
    return f"bucket {bucket}" if key is None else f"{key!r} in {bucket}"


def _some(keys: tuple[str, ...]) -> str:
    shown = ", ".join(map(repr, keys[:3]))
    return shown if len(keys) <= 3 else f"{shown} and {len(keys) - 3} more"


def _number(things: tuple[object, ...], name: str) -> str:
    return f"{len(things)} {name}" + "s" * (len(things) != 1)


def _because(error: Problem | None) -> str:
    return "" if error is None else f" ({error.kind}: {error.message})" if error.message else f" ({error.kind})"
