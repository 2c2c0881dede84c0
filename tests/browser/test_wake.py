"""The board with wake-ups: a change in one tab shows in the tab of another server at once, measured in the browser."""

from __future__ import annotations

import asyncio
import statistics
from typing import TYPE_CHECKING, Any

import pytest
from helpers import eventually
from wake.servers import SECRET, Redis

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.server

CHANGES = 20
WITHIN = 100.0
"""Milliseconds from the key stroke of one to the picture of the other."""
LISTEN = """() => {
    window.shown = {};
    new MutationObserver(() => {
        for (const title of document.querySelectorAll(".card h3"))
            window.shown[title.textContent] ??= performance.timeOrigin + performance.now();
    }).observe(document.body, {childList: true, subtree: true, characterData: true});
}"""
STROKE = """() => document.addEventListener("keydown", (event) => {
    if (event.key === "Enter") window.struck = performance.timeOrigin + performance.now();
}, true)"""


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[str]:
    server = Redis(tmp_path / "redis")
    try:
        server.start()
        yield f"redis://:{SECRET}@127.0.0.1:{server.port}"
    finally:
        server.remove()


async def test_a_change_shows_on_another_server_within_a_tenth_of_a_second(
    start: Callable[..., Awaitable[Any]], open_tab: Callable[..., Awaitable[Any]], redis: str, expect: Any
) -> None:
    servers = [await start(wake=redis) for _ in range(2)]
    ann = await open_tab(servers[0], "Ann Lee", 1)
    bob = await open_tab(servers[1], "Bob", 2)
    for tab in (ann, bob):
        await expect(tab.locator("#status")).to_have_text("Live")
        await expect(tab.locator(".column")).to_have_count(3)
    await bob.evaluate(LISTEN)
    await ann.evaluate(STROKE)
    await ann.get_by_role("region", name="To do", exact=True).get_by_label("Add a card").click()
    spans = []
    for number in range(CHANGES + 2):
        await asyncio.sleep(0.3)  # as fast as a hand, so that the changes do not share a commit
        await ann.keyboard.type(f"card {number}")
        await ann.keyboard.press("Enter")

        async def shown(title: str = f"card {number}") -> float | None:
            return await bob.evaluate("(title) => window.shown[title] ?? null", title)

        at = await eventually(shown)
        spans.append(at - await ann.evaluate("() => window.struck"))
    # The first ones may come before both servers are connected to Redis.
    assert statistics.median(spans[2:]) <= WITHIN, spans
