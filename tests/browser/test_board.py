"""The board in a browser: tabs on several servers, which come and go."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import pytest
import pytest_asyncio
from proxy import FaultyProxy

from mps3 import DELETE, MPS3

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

pytestmark = pytest.mark.server


def column(tab: Any, name: str) -> Any:
    return tab.get_by_role("region", name=name, exact=True)


def card(tab: Any, title: str) -> Any:
    return tab.locator(".card", has=tab.get_by_role("heading", name=title, exact=True))


async def add(tab: Any, where: str, *titles: str) -> None:
    await column(tab, where).get_by_label("Add a card").click()
    for title in titles:
        await tab.keyboard.type(title)
        await tab.keyboard.press("Enter")


async def drag(tab: Any, title: str, to: Any, *, y: float = 0) -> None:
    """Drag a card as a hand would, to somewhere over an element."""
    start, end = await card(tab, title).bounding_box(), await to.bounding_box()
    await tab.mouse.move(start["x"] + 60, start["y"] + 12)
    await tab.mouse.down()
    await tab.mouse.move(end["x"] + end["width"] / 2, end["y"] + y, steps=8)
    await tab.mouse.up()


FIRST = {f"column/{name.lower().replace(' ', '')}": name for name in ("To do", "Doing", "Done")}


@pytest_asyncio.fixture(loop_scope="session")
async def two(pair: tuple[Any, Any], open_tab: Callable[..., Awaitable[Any]], expect: Any) -> tuple[Any, Any]:
    """Ann's and Bob's tabs, each on a server of its own, with an empty board."""
    async with MPS3.from_url(pair[0].url) as client:
        clean: dict[str, Any] = dict.fromkeys(await client.keys(), DELETE)
        for rank, (key, title) in enumerate(FIRST.items()):
            clean[key] = {"title": title, "rank": rank}
        await client.put_all(clean)
    ann = await open_tab(pair[0], "Ann Lee", 1)
    bob = await open_tab(pair[1], "Bob", 2)
    for tab in (ann, bob):
        await expect(tab.locator("#status")).to_have_text("Live")
        await expect(tab.locator(".column")).to_have_count(3)
        await expect(tab.locator(".card")).to_have_count(0)
    return ann, bob


async def test_edits_cross_between_servers(two: tuple[Any, Any], expect: Any) -> None:
    ann, bob = two
    await add(ann, "To do", "Buy milk", "<b>Bold</b> & co")
    await expect(card(bob, "Buy milk")).to_be_visible()
    await expect(card(bob, "<b>Bold</b> & co")).to_be_visible()  # as text, not as markup

    await card(bob, "Buy milk").click()
    await bob.get_by_label("Title").fill("Buy oat milk")
    await bob.get_by_label("Text").fill("two of them")
    await bob.get_by_label("Colour 5").check()
    await bob.get_by_role("button", name="Save").click()
    await expect(card(ann, "Buy oat milk").locator("p")).to_have_text("two of them")
    await expect(card(ann, "Buy oat milk")).to_have_attribute("data-colour", "4")

    await column(ann, "Doing").locator(".name").fill("In work")
    await ann.keyboard.press("Enter")
    await expect(column(bob, "In work")).to_be_visible()

    await card(bob, "<b>Bold</b> & co").click()
    await bob.get_by_role("button", name="Delete", exact=True).click()
    await expect(card(ann, "<b>Bold</b> & co")).to_have_count(0)
    await bob.get_by_role("button", name="Undo").click()
    await expect(card(ann, "<b>Bold</b> & co")).to_be_visible()
    for tab in two:
        await expect(tab.locator("#status")).to_have_text("Live")


async def test_cards_are_dragged_between_columns_and_within(two: tuple[Any, Any], expect: Any) -> None:
    ann, bob = two
    await add(ann, "To do", "one", "two", "three")
    await expect(bob.locator(".card")).to_have_count(3)

    await drag(ann, "two", column(ann, "Doing"), y=50)
    await expect(column(bob, "Doing").get_by_role("heading")).to_have_text(["two"])
    await expect(column(bob, "To do").get_by_role("heading")).to_have_text(["one", "three"])

    await drag(bob, "three", card(bob, "one"), y=2)
    await expect(column(ann, "To do").get_by_role("heading")).to_have_text(["three", "one"])
    await drag(bob, "one", card(bob, "two"), y=2)
    await expect(column(ann, "Doing").get_by_role("heading")).to_have_text(["one", "two"])

    await card(ann, "one").focus()
    await ann.keyboard.press("Alt+ArrowDown")
    await expect(column(bob, "Doing").get_by_role("heading")).to_have_text(["two", "one"])
    await ann.keyboard.press("Alt+ArrowRight")
    await expect(column(bob, "Done").get_by_role("heading")).to_have_text(["one"])


async def test_there_is_always_room_between_two_cards(two: tuple[Any, Any], expect: Any) -> None:
    ann, bob = two
    near = {f"card/{name}": {"title": name, "column": "todo", "rank": 1 + n * 1e-12} for n, name in enumerate("abc")}
    assert (await ann.request.patch("/board", data=near)).ok
    await expect(column(bob, "To do").get_by_role("heading")).to_have_text(["a", "b", "c"])
    for title, order in (("c", "acb"), ("b", "abc"), ("c", "acb")):
        await drag(ann, title, card(ann, order[2]), y=2)
        await expect(column(bob, "To do").get_by_role("heading")).to_have_text(list(order))


async def test_what_others_do_meanwhile(two: tuple[Any, Any], expect: Any) -> None:
    ann, bob = two
    await add(ann, "Doing", "shared")
    await add(ann, "To do", "other")
    await expect(bob.locator(".card")).to_have_count(2)

    # Two change different things of one card, while one of them has it open.
    await card(bob, "shared").click()
    await bob.get_by_label("Text").fill("by Bob")
    await drag(ann, "shared", column(ann, "Done"), y=50)
    await expect(column(bob, "Done").get_by_role("heading")).to_have_text(["shared"])
    await bob.get_by_role("button", name="Save").click()
    await expect(column(ann, "Done").locator(".card p")).to_have_text(["by Bob"])

    # A drag that is given up, and one of a card that is deleted under the hand.
    for how in ("Escape", "delete"):
        box = await card(ann, "other").bounding_box()
        await ann.mouse.move(box["x"] + 60, box["y"] + 12)
        await ann.mouse.down()
        await ann.mouse.move(800, 200, steps=4)
        await expect(ann.locator(".dragged")).to_have_count(1)
        if how == "Escape":
            await ann.keyboard.press("Escape")
            await expect(column(ann, "To do").get_by_role("heading")).to_have_text(["other"])
        else:
            await card(bob, "other").click()
            await bob.get_by_role("button", name="Delete", exact=True).click()
            await expect(card(ann, "other")).to_have_count(0)
        await expect(ann.locator(".hole")).to_have_count(0)
        await ann.mouse.up()

    # A card that comes into a column that is gone.
    assert (await ann.request.patch("/board", data={"column/done": None})).ok
    for tab in two:
        await expect(column(tab, "To do").get_by_role("heading")).to_have_text(["shared"])
    await column(bob, "To do").hover()
    await column(bob, "To do").get_by_role("button", name="Delete the column").click()
    await expect(ann.locator(".card")).to_have_count(0)
    await bob.get_by_role("button", name="Undo").last.click()
    await expect(column(ann, "To do").get_by_role("heading")).to_have_text(["shared"])


async def test_who_is_here_and_where_they_point(two: tuple[Any, Any], expect: Any) -> None:
    ann, bob = two
    for tab in two:
        await expect(tab.locator("#people .avatar")).to_have_count(2)
    await expect(bob.get_by_title("Ann Lee")).to_have_text("AL")
    await add(ann, "To do", "Look here")
    await card(bob, "Look here").hover()
    await expect(card(ann, "Look here").get_by_title("Bob")).to_be_visible()
    await expect(ann.locator(".cursor span")).to_have_text("Bob")

    await card(ann, "Look here").click()
    await card(bob, "Look here").click()
    await expect(bob.locator("#editor .others")).to_have_text("Ann Lee looks at this card, too.")
    await bob.keyboard.press("Escape")
    await ann.keyboard.press("Escape")

    await ann.get_by_title("Ann Lee (you)").click()
    await ann.get_by_label("Your name").fill("Anna")
    await ann.get_by_role("button", name="Save").click()
    await expect(bob.get_by_title("Anna")).to_have_text("A")
    await ann.close()
    await expect(bob.locator("#people .avatar")).to_have_count(1)


async def test_tabs_go_on_when_their_server_was_killed(
    start: Callable[..., Awaitable[Any]], open_tab: Callable[..., Awaitable[Any]], expect: Any
) -> None:
    first, second = await asyncio.gather(start(), start())
    ann, bob = await open_tab(first, "Ann"), await open_tab(second, "Bob")
    asked: list[Any] = []
    ann.on("request", lambda request: asked.append(request) if "/events" in request.url else None)
    await add(ann, "To do", "from Ann", "to be deleted")
    await expect(bob.locator(".card")).to_have_count(2)
    await expect(ann.locator("#status")).to_have_text("Live")

    await first.kill()
    await expect(ann.locator("#status")).to_have_text("Reconnecting…")
    await add(bob, "Doing", "from Bob")
    await card(bob, "to be deleted").click()
    await bob.get_by_role("button", name="Delete", exact=True).click()
    await expect(bob.locator("#status")).to_have_text("Live")
    await add(ann, "To do", "from Ann, meanwhile")
    await drag(ann, "from Ann", column(ann, "Done"), y=50)
    await expect(ann.locator("#status")).to_have_text("Reconnecting… 2 changes wait.")
    await expect(card(ann, "from Bob")).to_have_count(0)

    await first.start()
    await expect(ann.locator("#status")).to_have_text("Live")
    for tab in (ann, bob):
        await expect(column(tab, "To do").get_by_role("heading")).to_have_text(["from Ann, meanwhile"])
        await expect(column(tab, "Doing").get_by_role("heading")).to_have_text(["from Bob"])
        await expect(column(tab, "Done").get_by_role("heading")).to_have_text(["from Ann"])
    # It went on after the last event, and did not begin anew.
    assert "last-event-id" in await asked[-1].all_headers()
    assert await ann.evaluate("performance.getEntriesByType('navigation').length") == 1


async def test_those_whose_server_was_killed_are_gone_after_a_while(
    start: Callable[..., Awaitable[Any]], open_tab: Callable[..., Awaitable[Any]], expect: Any
) -> None:
    first, second = await asyncio.gather(start(), start())
    _, bob = await open_tab(first, "Ann"), await open_tab(second, "Bob")
    await expect(bob.get_by_title("Ann")).to_be_visible()
    await first.kill()
    await expect(bob.locator("#people .avatar")).to_have_count(1)


async def test_servers_stop_while_tabs_are_open(
    start: Callable[..., Awaitable[Any]], open_tab: Callable[..., Awaitable[Any]], expect: Any
) -> None:
    first, second = await asyncio.gather(start(), start())
    ann, bob = await open_tab(first, "Ann"), await open_tab(second, "Bob")
    await expect(bob.locator("#people .avatar")).to_have_count(2)
    await first.stop()
    await expect(bob.locator("#people .avatar")).to_have_count(1)
    await expect(ann.locator("#status")).to_have_text("Reconnecting…")
    await first.start()
    await expect(bob.locator("#people .avatar")).to_have_count(2)
    await first.stop()
    await second.stop()


async def test_edits_survive_a_reload_while_the_store_is_away(
    start: Callable[..., Awaitable[Any]],
    open_tab: Callable[..., Awaitable[Any]],
    expect: Any,
    server: Any,
    s3_config: dict[str, Any],
    bucket: str,
) -> None:
    async with FaultyProxy(server.url) as proxy:
        url = f"s3://{bucket}/board.json?{urlencode({**s3_config, 'endpoint_url': proxy.url})}"
        ann = await open_tab(await start(url=url), "Ann")
        await add(ann, "To do", "before")
        await expect(ann.locator("#status")).to_have_text("Live")
        proxy.go_offline()
        await expect(ann.locator("#status")).to_have_text("The store does not answer.")
        await add(ann, "To do", "meanwhile")
        await expect(ann.locator("#status")).to_have_text("The store does not answer. 1 change waits.")
        ann.on("dialog", lambda dialog: dialog.accept())
        await ann.reload()
        await expect(column(ann, "To do").get_by_role("heading")).to_have_text(["before", "meanwhile"])
        proxy.go_online()
        await expect(ann.locator("#status")).to_have_text("Live")
        bob = await open_tab(await start(), "Bob")
        await expect(column(bob, "To do").get_by_role("heading")).to_have_text(["before", "meanwhile"])
