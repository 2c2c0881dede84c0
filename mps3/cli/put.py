"""``mps3 put``."""

from __future__ import annotations

import re
from typing import Any

import click
import orjson

from .. import UNCHECKED
from ..text import printable
from .base.command import store_command
from .base.context import CommandContext
from .base.exact_json import loads
from .base.inline import inline_option
from .base.input import read_all, run_blocking, standard_input
from .base.point_in_time import SECONDS
from .base.waiting import wait_committed


class _CommandWithNumber(click.Command):
    """A command whose last argument may be a negative number, which looks like an option."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Move negative numbers behind ``--``."""
        if "--" not in args and (numbers := [one for one in args if re.match(r"-\.?\d", one)]):
            args = [*(one for one in args if one not in numbers), "--", *numbers]
        return super().parse_args(ctx, args)


@store_command("KEY [VALUE]", _CommandWithNumber)
@click.option("-t", "--text", is_flag=True, help="VALUE is a text, and not JSON.")
@click.option("--if-version", metavar="VERSION", help="Only if this is the version now; mps3 ls -l shows them.")
@click.option("--if-absent", is_flag=True, help="Only if there is no such key.")
@click.option("--expires-in", type=SECONDS, metavar="SECONDS", help="The time after which the key expires.")
@inline_option
async def command(
    context: CommandContext,
    key: str,
    value: str | None,
    *,
    text: bool,
    if_version: str | None,
    if_absent: bool,
    expires_in: float | None,
    inline: int,
) -> None:
    """Set a key.

    VALUE is JSON: 7, '"red"', '{"x": 1}'. Without it, or with - for it, it is read from standard input.
    """
    if if_absent and if_version is not None:
        raise click.UsageError("--if-version and --if-absent exclude each other")
    condition = None if if_absent else UNCHECKED if if_version is None else if_version
    content = await _value(value, text=text)
    async with context.client(inline=inline, create=True) as client:
        commit = await wait_committed(client.put(key, content, expires_in=expires_in, if_version=condition))
    context.out.commit("put", printable(key), commit)


async def _value(given: str | None, *, text: bool) -> Any:
    if given is None or given == "-":
        stream = standard_input("a text" if text else "a JSON value")
        body = await run_blocking(lambda: read_all(stream, "standard input"))
        if text:
            try:
                return body.decode().removesuffix("\n")
            except UnicodeDecodeError as error:
                raise click.UsageError(f"standard input is not a text in UTF-8: {error.reason}") from None
        return _parse(body, "standard input")
    return given if text else _parse(given, "VALUE")


def _parse(body: str | bytes, what: str) -> Any:
    try:
        return loads(body)
    except orjson.JSONDecodeError as error:
        if not body.strip():
            raise click.UsageError(f"{what} is empty; a text without JSON's quotes takes --text") from None
        raise click.UsageError(
            f"{what} is not JSON (line {error.lineno}, column {error.colno}: {error.msg.partition(':')[0]}); "
            "for a text take --text, or JSON's quotes: '\"red\"'"
        ) from None
    except ValueError as error:
        raise click.UsageError(f"{what} cannot be stored: {error}") from None
