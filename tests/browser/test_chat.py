"""The chat room on aiohttp, in a browser."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

pytestmark = pytest.mark.server

CHAT = "aiohttp_chat/aiohttp_chat.py"


async def enter(tab: Any, text: str) -> None:
    await tab.get_by_role("textbox").fill(text)
    await tab.keyboard.press("Enter")


async def test_talk_goes_on_when_a_server_was_killed(
    start: Callable[..., Awaitable[Any]], open_tab: Callable[..., Awaitable[Any]], expect: Any
) -> None:
    first, second = await asyncio.gather(start(CHAT), start(CHAT))
    ann, bob = await open_tab(first, "-"), await open_tab(second, "-")
    for tab, name, others in ((ann, "ann", "ann"), (bob, "bob", "ann, bob")):
        await enter(tab, name)
        await expect(tab.locator("#status")).to_have_text("Live")
        await expect(tab.locator("#here")).to_have_text(others)

    await enter(ann, "<i>hello</i>")
    await expect(bob.get_by_role("listitem")).to_have_text(["ann <i>hello</i>"])
    await expect(ann.locator(".pending")).to_have_count(0)
    await bob.get_by_role("textbox").press_sequentially("hi")
    await expect(ann.locator("#typing")).to_have_text("bob is typing…")
    await bob.keyboard.press("Enter")
    await expect(ann.get_by_role("listitem")).to_have_text(["ann <i>hello</i>", "bob hi"])
    await expect(ann.locator("#typing")).to_have_text("")

    await first.kill()
    await expect(ann.locator("#status")).to_have_text("Reconnecting…")
    await enter(ann, "are you there?")
    await expect(ann.locator(".pending")).to_have_text(["ann are you there?"])
    await enter(bob, "where are you?")
    await first.start()
    await expect(ann.locator("#status")).to_have_text("Live")
    talk = ["ann <i>hello</i>", "bob hi", "bob where are you?", "ann are you there?"]
    for tab in (ann, bob):
        await expect(tab.get_by_role("listitem")).to_have_text(talk)
        await expect(tab.locator(".pending")).to_have_count(0)
    await first.stop()
    await second.stop()
