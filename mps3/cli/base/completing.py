"""What is offered to whoever presses TAB."""

from __future__ import annotations

import asyncio
from typing import Final

import click
from click.shell_completion import CompletionItem

from .store import Call, call_of
from .words import Words, rejoined

_PATIENCE: Final = 3.0
"""Seconds that somebody may have to wait."""
_MOST: Final = 200
"""Keys that are offered."""


def offered(takes: Words, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
    """Keys, where a key or a prefix stands; nothing at all if anything goes wrong."""
    given = ctx.params
    try:
        url, named = takes.split(rejoined([*(given.get("words") or ()), incomplete]), given.get("url"))
        last = next(reversed([name for name, value in named.items() if value]), None)
        if last not in ("key", "prefix") and not (last is None and not incomplete):
            return []
        return [CompletionItem(key) for key in asyncio.run(_keys(call_of(url, given), incomplete))]
    except Exception:  # noqa: BLE001 - whoever presses TAB wants no lecture
        return []


async def _keys(call: Call, prefix: str) -> list[str]:
    async with asyncio.timeout(_PATIENCE), call.client() as client:
        return (await client.keys(prefix))[:_MOST]
