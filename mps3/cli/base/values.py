"""A JSON value on the command line, or from standard input."""

from __future__ import annotations

from typing import Any

import click
import orjson

from .exact_json import loads
from .input import read_all, run_blocking, standard_input

_FOR_TEXTS = "for a text take --text, or JSON's quotes: '\"red\"'"


async def read_json(given: str | None, name: str, *, example: str) -> Any:
    """Return a JSON value: an argument, or what standard input has if that is missing or ``-``.

    Args:
        given: The argument.
        name: The name of the argument, for errors.
        example: What to say of JSON to who has written something else.

    Raises:
        click.UsageError: It is not JSON, or cannot be stored.
    """
    if given is None or given == "-":
        return parse_json(await read_input("a JSON value"), "standard input", example=example)
    return parse_json(given, name, example=example)


async def read_value(given: str | None, *, text: bool) -> Any:
    """Return the value of ``mps3 put``.

    Args:
        given: The argument.
        text: Whether it is a text, and not JSON.

    Raises:
        click.UsageError: It is not JSON, or not UTF-8, or cannot be stored.
    """
    if not text:
        return await read_json(given, "VALUE", example=_FOR_TEXTS)
    if given is not None and given != "-":
        return given
    body = await read_input("a text")
    try:
        return body.decode().removesuffix("\n")
    except UnicodeDecodeError as error:
        raise click.UsageError(f"standard input is not a text in UTF-8: {error.reason}") from None


async def read_input(what: str) -> bytes:
    """Return what standard input has, without stopping the event loop. On a terminal, say that ``what`` is read."""
    stream = standard_input(what)
    return await run_blocking(lambda: read_all(stream, "standard input"))


def parse_json(body: str | bytes, what: str, *, example: str) -> Any:
    """Parse JSON.

    Args:
        body: The JSON.
        what: What it is, for errors.
        example: What to say of JSON to who has written something else.

    Raises:
        click.UsageError: It is not JSON, or cannot be stored.
    """
    try:
        return loads(body)
    except orjson.JSONDecodeError as error:
        if not body.strip():
            more = "; a text without JSON's quotes takes --text" if example is _FOR_TEXTS else f"; {example}"
            raise click.UsageError(f"{what} is empty{more}") from None
        raise click.UsageError(
            f"{what} is not JSON (line {error.lineno}, column {error.colno}: {error.msg.partition(':')[0]}); {example}"
        ) from None
    except ValueError as error:
        raise click.UsageError(f"{what} cannot be stored: {error}") from None
