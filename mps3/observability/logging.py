"""The hook that logs events with the standard library's logging."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import fields
from types import MappingProxyType
from typing import Any, Final

from ..text import first_few, one_line
from ..types import Ref
from . import events

LEVELS: Final[Mapping[type, int]] = MappingProxyType(
    {
        events.RequestMade: logging.DEBUG,
        events.Polled: logging.DEBUG,
        events.WriteMade: logging.DEBUG,
        events.CommitSent: logging.DEBUG,
        events.Merged: logging.DEBUG,
        events.Acknowledged: logging.INFO,
        events.Conflicted: logging.INFO,
        events.Retried: logging.INFO,
        events.CameOnline: logging.INFO,
        events.WentOffline: logging.WARNING,
        events.WriteFailed: logging.WARNING,
    }
)
"""The default level of each kind of event."""


class LoggingHook:
    """A hook that logs each event.

    The message of a record is for people. Programs read the attributes of the event from the record, where their names
    begin with ``mps3_``. ``mps3_event`` is the kind of the event, ``mps3_error`` the kind of its error, and
    ``mps3_message`` the message of that error.

    Args:
        logger: A logger, or its name.
        levels: Levels for some kinds of events, which override `LEVELS`; ``None``: such events are not logged.
    """

    def __init__(
        self, logger: str | logging.Logger = "mps3.events", levels: Mapping[type, int | None] | None = None
    ) -> None:
        self._logger = logging.getLogger(logger) if isinstance(logger, str) else logger
        unknown = [kind for kind in levels or () if kind not in LEVELS]
        if unknown:
            raise ValueError(f"{', '.join(map(str, unknown))}: not an event of mps3.observability.events")
        self._levels: dict[type, int | None] = {**LEVELS, **(levels or {})}

    def __call__(self, event: events.Event) -> None:
        """Log an event."""
        level = self._levels.get(type(event))
        if level is not None and self._logger.isEnabledFor(level):
            self._logger.log(level, "%s", one_line(_message(event)), extra=_attributes(event))


def _attributes(event: events.Event) -> dict[str, Any]:
    attributes: dict[str, Any] = {"mps3_event": type(event).__name__}
    for field in fields(event):
        value = getattr(event, field.name)
        if isinstance(value, events.Problem):
            attributes |= {"mps3_error": value.kind, "mps3_message": value.message}
        elif value is not None:
            attributes[f"mps3_{field.name}"] = str(value) if isinstance(value, Ref) else value
    return attributes


def _message(event: events.Event) -> str:
    match event:
        case events.RequestMade():
            place = _place(event.bucket, event.key)
            return f"{event.operation} of {place}: {event.outcome} in {event.seconds:.3f} s{_because(event.error)}"
        case events.Retried():
            what = f"{event.what} ({event.operation} of {_place(event.bucket, event.key)})"
            return f"try {event.attempt + 1} of a {what} in {event.wait:.3f} s{_because(event.error)}"
        case events.Polled():
            found = "failed" if event.error else "news" if event.news else "no news"
            return f"polled {event.manifest}: {found} in {event.seconds:.3f} s{_because(event.error)}"
        case events.Merged():
            after = f", heard after {max(event.seconds):.3f} s" if event.seconds else ""
            return f"{event.manifest} has {_number(event.commits, 'commit')} of other clients{after}"
        case events.WriteMade():
            again = ", of an earlier client" if event.recovered else ""
            return f"write {event.write} to {first_few(event.keys)} of {event.manifest}{again}"
        case events.WriteFailed():
            return f"{_number(event.writes, 'write')} to {event.manifest} failed{_because(event.error)}"
        case events.CommitSent():
            return f"commit {event.commit} to {event.manifest} sent, try {event.attempt}: {first_few(event.keys)}"
        case events.Conflicted():
            again = "" if event.wait is None else f", again in {event.wait:.3f} s"
            return f"commit {event.commit} to {event.manifest} met conflict {event.conflicts}{again}"
        case events.Acknowledged():
            took = "" if event.seconds is None else f" in {event.seconds:.3f} s"
            return f"commit {event.commit} to {event.manifest} acknowledged{took}: {first_few(event.keys)}"
        case events.WentOffline():
            return "offline" + (_because(event.error) if event.error else " by request")
        case events.CameOnline():
            return "online" + ("" if event.away is None else f" again, after {event.away:.3f} s")


def _place(bucket: str, key: str | None) -> str:
    # A key may contain line breaks, which could forge a record.
    return f"bucket {bucket}" if key is None else f"{key!r} in {bucket}"


def _number(things: tuple[object, ...], name: str) -> str:
    return f"{len(things)} {name}" + "s" * (len(things) != 1)


def _because(error: events.Problem | None) -> str:
    return "" if error is None else f" ({error.kind}: {error.message})" if error.message else f" ({error.kind})"
