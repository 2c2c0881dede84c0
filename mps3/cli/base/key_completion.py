"""What is offered to whoever presses TAB."""

from __future__ import annotations

import asyncio
import re
from typing import Final

import click
from click.shell_completion import CompletionItem

from .context import CommandContext, command_context
from .positionals import Positionals, looks_like_url, rejoin_urls

_PATIENCE: Final = 3.0
"""Seconds that somebody may have to wait."""
_MOST: Final = 200
"""Keys that are offered."""
SHELL_SAFE: Final = re.compile(r"[\w/.@+][\w/.@%+:=-]*")
"""Letters and digits of all languages, and what neither bash nor zsh nor fish gives a meaning in a word."""


def complete_keys(takes: Positionals, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
    """Keys, where a key or a prefix stands; nothing at all if anything goes wrong.

    Anybody may have named a key, and the shell puts it on a command line that is run next. Only names are offered that
    no shell takes for anything but a word, with quotes around it or without, and no command for an option or a URL.
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
    except Exception:  # noqa: BLE001 - whoever presses TAB wants no lecture
        return []


async def _keys(context: CommandContext, prefix: str) -> list[str]:
    async with asyncio.timeout(_PATIENCE), context.client() as client:
        return [key for key in await client.keys(prefix) if SHELL_SAFE.fullmatch(key)][:_MOST]
