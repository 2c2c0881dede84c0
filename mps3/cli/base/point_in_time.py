"""Options that name a point in time (a commit, a time, or an age) or a duration."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, time, timedelta, timezone
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import click

if TYPE_CHECKING:
    from ... import MPS3

_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_DURATION: Final = re.compile(r"(\d+(?:\.\d+)?)([smhdw]?)\Z")
_COMMIT: Final = re.compile(r"([0-9a-f]{4,})\.(\d+)\Z")
_SESSION_LENGTH: Final = 32
_MAX_COMMITS: Final = 1000
"""Commits among which an abbreviated id is looked for."""


@dataclass(frozen=True, slots=True)
class AbbreviatedId:
    """The id of a commit with the first digits of its session."""

    session: str
    sequence: int


Point: TypeAlias = datetime | str | AbbreviatedId
"""A time, the id of a commit or a cursor, or an abbreviated id."""


class ParsedType(click.ParamType):  # type: ignore[type-arg, unused-ignore]  # generic since click 8.4
    """The type of an option that a function parses.

    Args:
        name: What help calls a value.
        parse: Parses a value, or raises a `ValueError`.
        wrong: What is wrong with a value that cannot be parsed.
    """

    def __init__(self, name: str, parse: Callable[[str], Any], wrong: str) -> None:
        self.name = name
        self._parse = parse
        self._wrong = wrong

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Parse a value that is a text."""
        try:
            return self._parse(value) if isinstance(value, str) else value
        except ValueError:
            self.fail(f"{value!r} is {self._wrong}", param, ctx)


def parse_duration(text: str) -> timedelta:
    """Parse ``7d``, ``12h``, ``30m``, ``1w`` or a number of seconds.

    Raises:
        ValueError: It is none of these.
    """
    found = _DURATION.match(text)
    if found is None:
        raise ValueError(text)
    try:
        return timedelta(**{_UNITS[found[2] or "s"]: float(found[1])})
    except OverflowError as error:
        raise ValueError(text) from error


def _parse_seconds(text: str) -> float:
    number = float(text)
    if not 0 < number < math.inf:
        raise ValueError(text)
    return number


def _parse_point(text: str) -> Point:
    if (found := _COMMIT.match(text)) is not None:
        return text if len(found[1]) >= _SESSION_LENGTH else AbbreviatedId(found[1], int(found[2]))
    if text.startswith("["):
        return text  # a cursor
    now = datetime.now(timezone.utc)
    try:
        if text[-1:] in _UNITS:
            return now - parse_duration(text)
        if re.match(r"\d\d:\d\d", text):
            moment = datetime.combine(now.astimezone().date(), time.fromisoformat(text))
        else:
            moment = datetime.fromisoformat(text)
        return moment.astimezone() if moment.tzinfo is None else moment
    except OverflowError as error:
        raise ValueError(text) from error


DURATION: Final = ParsedType("span", parse_duration, "no span of time such as 30m, 12h, 7d or 1w")
SECONDS: Final = ParsedType("seconds", _parse_seconds, "not a positive number of seconds")
POINT: Final = ParsedType(
    "when",
    _parse_point,
    "neither a commit (mps3 log shows them), nor a time such as 2026-01-31T12:00, nor an age such as 10m",
)

at_option: Final = click.option(
    "--at", type=POINT, metavar="WHEN", help="As it was: at a commit, at a time, or 10m ago."
)


async def resolve_point(client: MPS3, when: Point) -> datetime | str:
    """Return the commit or the time that a point in time stands for.

    Raises:
        click.UsageError: There is no such commit, or more than one.
    """
    if not isinstance(when, AbbreviatedId):
        return when
    found = [
        entry.id
        for entry in await client.log(limit=_MAX_COMMITS)
        if entry.session.startswith(when.session) and entry.id.endswith(f".{when.sequence}")
    ]
    if len(found) == 1:
        return found[0]
    what = "more than one commit" if found else f"no commit among the last {_MAX_COMMITS:,}"
    raise click.UsageError(f"there is {what} {when.session}….{when.sequence}: give the whole id (mps3 log --json)")
