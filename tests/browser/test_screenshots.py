"""The pictures of the board in the documentation: ``nox -s browser -- -k screenshots --screenshots docs/img``."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

pytestmark = pytest.mark.server

LARGEST = 200_000
SIZE = {"width": 1246, "height": 400}
SCENE = {
    "column/ideas": {"title": "Ideas", "rank": 0},
    "card/1": {"column": "ideas", "rank": 1, "title": "A map of who is where", "text": "", "colour": 5},
    "card/2": {
        "column": "ideas",
        "rank": 2,
        "title": "Vote on cards",
        "text": "One vote each, seen at once.",
        "colour": 0,
    },
    "card/3": {"column": "todo", "rank": 1, "title": "Book the room for Thursday", "text": "", "colour": 1},
    "card/4": {
        "column": "todo",
        "rank": 2,
        "title": "Invite everybody",
        "text": "Those of the last time, and whoever asked since.",
        "colour": 6,
    },
    "card/5": {"column": "todo", "rank": 3, "title": "Find somebody for the lights", "text": "", "colour": 3},
    "card/6": {
        "column": "doing",
        "rank": 1,
        "title": "Programme",
        "text": "19:00 doors\n19:30 first talk\n20:30 music",
        "colour": 4,
    },
    "card/7": {"column": "doing", "rank": 2, "title": "Poster", "text": "Second draft is with Chloé.", "colour": 7},
    "card/8": {"column": "done", "rank": 1, "title": "Pick a date", "text": "", "colour": 4},
    "card/9": {"column": "done", "rank": 2, "title": "Ask for a grant", "text": "Granted!", "colour": 2},
}


async def picture(tab: Any, path: Path) -> None:
    await tab.screenshot(path=path)
    assert 10_000 < path.stat().st_size < LARGEST


async def test_screenshots(
    start: Callable[..., Awaitable[Any]],
    open_tab: Callable[..., Awaitable[Any]],
    expect: Any,
    tmp_path: Path,
    pytestconfig: pytest.Config,
) -> None:
    directory = Path(pytestconfig.getoption("--screenshots", None) or tmp_path)
    first, second = await asyncio.gather(start(), start())
    ann = await open_tab(first, "Ann Lee", 6, color_scheme="light", reduced_motion="reduce")
    assert (await ann.request.patch("/board", data=SCENE)).ok
    bob = await open_tab(second, "Bob", 2)
    chloe = await open_tab(second, "Chloé Roux", 7)
    for tab in (ann, bob, chloe):
        await tab.set_viewport_size(SIZE)
        await expect(tab.locator(".card")).to_have_count(9)
        await expect(tab.locator("#people .avatar")).to_have_count(3)

    async def point(tab: Any, title: str, x: int, y: int) -> None:
        box = await tab.locator(".card", has=tab.get_by_role("heading", name=title)).bounding_box()
        await tab.mouse.move(box["x"] + x, box["y"] + y)

    await point(chloe, "Poster", 120, 40)
    await point(bob, "Invite everybody", 210, 60)
    await expect(ann.locator(".cursor")).to_have_count(2)
    await expect(ann.locator(".looking .avatar")).to_have_count(2)
    await point(ann, "Find somebody", 100, 12)
    await ann.mouse.down()
    await ann.mouse.move(1015, 250, steps=10)
    await picture(ann, directory / "board.png")
    await ann.mouse.up()
    await expect(ann.locator("#status")).to_have_text("Live")

    await first.kill()
    await expect(ann.locator("#status")).to_have_text("Reconnecting…")
    await ann.emulate_media(color_scheme="dark")
    await ann.get_by_label("Add a card").nth(1).fill("Order drinks")
    await ann.keyboard.press("Enter")
    await expect(ann.locator("#status")).to_have_text("Reconnecting… 1 change waits.")
    await expect(ann.locator(".unsent")).to_have_css("opacity", "0.6")
    await picture(ann, directory / "board-reconnecting.png")
