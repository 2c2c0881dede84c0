"""Completion of keys and prefixes in a shell."""

from __future__ import annotations

import asyncio
import re
from typing import Final

import click
from click.shell_completion import CompletionItem

from .context import CommandContext, command_context
from .positionals import Positionals, looks_like_url, rejoin_urls

_TIMEOUT: Final = 3.0
"""Seconds until completion gives up."""
_MAX_KEYS: Final = 200
SHELL_SAFE: Final = re.compile(r"[\w/.@+][\w/.@%+:=-]*")
"""Letters and digits of all languages, and the characters that have no meaning in bash, zsh and fish."""


def complete_keys(takes: Positionals, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
    """Return keys where the command takes a key or a prefix, and nothing after any error.

    Names of keys are untrusted, and the shell puts them on the command line that runs next. Only names are offered
    that every shell takes for a word, quoted or not, and that a command takes neither for an option nor for a URL.
    """
    given = ctx.params
    try:
        url, named = takes.split(rejoin_urls([*(given.get("words") or ()), incomplete]), given.get("url"))
        last = next(reversed([name for name, value in named.items() if value]), None)
        if last not in ("key", "prefix") and not (last is None and not incomplete):
            return []
        first = last is None or not any(named[name] for name in named if name != last)
        keys = asyncio.run(_keys(command_context(url, given), incomplete))
        return [CompletionItem(key) for key in keys if not (first and looks_like_url(key))]
    except Exception:  # noqa: BLE001 - an error would be printed into the command line
        return []


async def _keys(context: CommandContext, prefix: str) -> list[str]:
    async with asyncio.timeout(_TIMEOUT), context.client() as client:
        return [key for key in await client.keys(prefix, limit=_MAX_KEYS) if SHELL_SAFE.fullmatch(key)]
