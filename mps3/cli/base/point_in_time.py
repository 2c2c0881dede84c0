"""Options that name a point in time (a commit, a time, or an age) or a duration."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from datetime import datetime, time, timedelta, timezone
from typing import TYPE_CHECKING, Any, Final

import click

if TYPE_CHECKING:
    from ... import MPS3

_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_SPAN: Final = re.compile(r"(\d+(?:\.\d+)?)([smhdw]?)\Z")
_COMMIT: Final = re.compile(r"([0-9a-f]{4,})\.(\d+)\Z")
_WHOLE: Final = 32
"""Digits of a session that nobody shortened."""
_FAR: Final = 1000
"""Commits among which a short id is looked for."""


def parse_duration(text: str) -> timedelta:
    """Read ``7d``, ``12h``, ``30m``, ``1w`` or a number of seconds.

    Raises:
        ValueError: It is none of these.
    """
    found = _SPAN.match(text)
    if found is None:
        raise ValueError(text)
    try:
        return timedelta(**{_UNITS[found[2] or "s"]: float(found[1])})
    except OverflowError as error:
        raise ValueError(text) from error


class Duration(click.ParamType):  # type: ignore[type-arg, unused-ignore]  # generic since click 8.4
    """An option that is a span of time."""

    name = "span"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        """Read it."""
        if isinstance(value, timedelta):
            return value
        try:
            return parse_duration(value)
        except ValueError:
            self.fail(f"{value!r} is no span of time such as 30m, 12h, 7d or 1w", param, ctx)


class Seconds(click.ParamType):  # type: ignore[type-arg, unused-ignore]
    """An option that is a positive number of seconds."""

    name = "seconds"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Read it."""
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if not 0 < number < math.inf:
            self.fail(f"{value!r} is not a positive number of seconds", param, ctx)
        return number


@dataclass(frozen=True, slots=True)
class AbbreviatedId:
    """The id of a commit, shortened."""

    session: str
    sequence: int


class PointInTime(click.ParamType):  # type: ignore[type-arg, unused-ignore]
    """An option that is a moment of the past."""

    name = "when"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> datetime | str | AbbreviatedId:
        """Read it."""
        if not isinstance(value, str):
            return value  # type: ignore[no-any-return]
        if (found := _COMMIT.match(value)) is not None:
            return value if len(found[1]) >= _WHOLE else AbbreviatedId(found[1], int(found[2]))
        if value.startswith("["):
            return value  # a cursor
        moment = _time(value)
        if moment is None:
            self.fail(
                f"{value!r} is neither a commit (mps3 log shows them), nor a time such as 2026-01-31T12:00, "
                "nor an age such as 10m",
                param,
                ctx,
            )
        return moment


def _time(text: str) -> datetime | None:
    now = datetime.now(timezone.utc)
    try:
        if text[-1:] in _UNITS:
            return now - parse_duration(text)
        if re.match(r"\d\d:\d\d", text):
            moment = datetime.combine(now.astimezone().date(), time.fromisoformat(text))
        else:
            moment = datetime.fromisoformat(text)
        return moment.astimezone() if moment.tzinfo is None else moment
    except (ValueError, OverflowError):
        return None


async def resolve_point(client: MPS3, when: datetime | str | AbbreviatedId) -> datetime | str:
    """Return the commit or the time that a point in time stands for.

    Raises:
        click.UsageError: There is no such commit, or more than one.
    """
    if not isinstance(when, AbbreviatedId):
        return when
    found = [
        entry.id
        for entry in await client.log(limit=_FAR)
        if entry.session.startswith(when.session) and entry.id.endswith(f".{when.sequence}")
    ]
    if len(found) == 1:
        return found[0]
    what = "more than one commit" if found else f"no commit among the last {_FAR:,}"
    raise click.UsageError(f"there is {what} {when.session}….{when.sequence}: give the whole id (mps3 log --json)")
