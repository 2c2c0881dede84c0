"""One member who is here by several clients, and what becomes of it when one of them leaves."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest
from client.presence_stories import Room, follow, told

from mps3 import AccessError

both = pytest.mark.parametrize("versioning", [True, False], ids=["merge", "log"])


@both
@pytest.mark.parametrize("first", ["tablet", "phone"])
@pytest.mark.parametrize("stay", [3.0, 100.0])
def test_one_member_in_two_clients_stays_when_one_leaves(versioning, first, stay):
    async def story(room: Room) -> None:
        seen: list[dict[str, Any]] = []
        async with room.client("tablet") as tablet, room.client("phone") as phone, room.client("bob") as bob:
            watching = bob.presence("room")
            following = asyncio.create_task(follow(watching, seen))
            here = {"tablet": tablet.presence("room", "ann", 1), "phone": phone.presence("room", "ann", 1)}
            await here["tablet"].__aenter__()
            await asyncio.sleep(50)
            await here["phone"].__aenter__()
            await asyncio.sleep(stay)
            await here.pop(first).aclose()
            await asyncio.sleep(200)
            assert seen == [{}, {"ann": 1}]
            (last,) = here.values()
            await last.aclose()
            await asyncio.sleep(15)
            assert seen == [{}, {"ann": 1}, {}]
            await watching.aclose()
            await following

    told(story, versioning=versioning)


def test_who_comes_back_at_once_after_another_client_left_alone_is_seen_again():
    """The one that leaves cannot have known of the other."""

    async def story(room: Room) -> None:
        async with room.client("tablet") as tablet, room.client("phone") as phone, room.client("bob") as bob:
            one, two = tablet.presence("room", "ann"), phone.presence("room", "ann")
            await one.__aenter__()
            await asyncio.sleep(10)
            tablet._switch.shut = True  # the tablet does not hear of the phone, but is heard
            await two.__aenter__()
            await asyncio.sleep(3)
            tablet._switch.shut = False
            await one.aclose()
            await asyncio.sleep(5)
            assert await bob.keys("room/") == ["room/ann"]
            await two.aclose()

    told(story)


def test_a_member_whose_key_somebody_deletes_is_not_put_without_end():
    async def story(room: Room) -> None:
        async with room.client("ann") as ann, room.client("bob") as bob, ann.presence("room", "ann"):
            for _ in range(100):
                await bob.delete("room/ann")
            await asyncio.sleep(2)
            assert await bob.keys("room/") == ["room/ann"]
        assert room.renewals("room/ann") < 60

    told(story)


def test_who_cannot_be_put_does_not_try_without_end():
    async def story(room: Room) -> None:
        async with room.client("ann") as ann, ann.presence("room", "ann"):
            await asyncio.sleep(10)
            room.storage.refuse(AccessError("no"))
            await asyncio.sleep(200)
            room.storage.up()
        assert room.renewals("room/ann") < 20

    logging.getLogger("mps3").setLevel(logging.CRITICAL)
    try:
        told(story)
    finally:
        logging.getLogger("mps3").setLevel(logging.NOTSET)
