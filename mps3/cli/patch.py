"""``mps3 patch``."""

from __future__ import annotations

from typing import Final

import click

from ..text import printable
from .base.changes import changes_of
from .base.command import store_command
from .base.conditions import expected_version, if_absent_option, if_version_option, kept_expiry_option
from .base.context import CommandContext
from .base.values import read_json
from .base.waiting import wait_committed

_HELP: Final = """Change parts of a value, and keep what others change in other parts.

CHANGES is a JSON object of members and their new values, null included; an object changes its members in turn. These
objects say instead what becomes of a member:

\b
  {"$delete": true}       remove it
  {"$increment": 1}       add to a number
  {"$maximum": 7}         keep the larger number; also $minimum
  {"$append": ["red"]}    add items to a list; also $prepend
  {"$union": ["red"]}     add those that it does not have
  {"$remove": ["red"]}    remove items from a list

One of these in the place of CHANGES is for the whole value. A member whose name begins with $ is written with $$.
Without CHANGES, or with - for it, it is read from standard input.
"""


@store_command("KEY [CHANGES]", help_text=_HELP)
@if_version_option
@if_absent_option
@kept_expiry_option
async def command(
    context: CommandContext,
    key: str,
    changes: str | None,
    *,
    if_version: str | None,
    if_absent: bool,
    expires_in: float | None,
) -> None:
    """Change parts of a value, and keep what others change in other parts."""
    condition = expected_version(if_version, if_absent=if_absent)
    raw = await read_json(changes, "CHANGES", example='they are an object of members: \'{"title": "x"}\'')
    try:
        wanted = changes_of(raw)
    except ValueError as error:
        raise click.UsageError(f"the changes are wrong: {error}") from None
    async with context.client(create=True) as client:
        commit = await wait_committed(client.patch(key, wanted, expires_in=expires_in, if_version=condition))
    context.out.commit("patched", printable(key), commit)
