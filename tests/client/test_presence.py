"""Who is here."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest
from client.presence_stories import Room, follow, told
from helpers import BUCKET, Unreliable, memory_client, soon

from mps3 import DELETE, ClosedError


@pytest.mark.parametrize("versioning", [True, False], ids=["merge", "log"])
def test_who_comes_stays_and_goes(versioning):
    async def story(room: Room) -> None:
        seen: list[dict[str, Any]] = []
        async with room.client("ann") as ann, room.client("bob") as bob:
            async with ann.presence("room/1", "ann", {"color": "red"}) as here:
                following = asyncio.create_task(follow(here, seen))
                await asyncio.sleep(100)
                async with bob.presence("room/1/", "bob", expires_in=30) as there:
                    await asyncio.sleep(300)
                    assert dict(await anext(there)) == {"ann": {"color": "red"}, "bob": None}
                    assert await ann.keys("room/") == ["room/1/ann", "room/1/bob"]
                await asyncio.sleep(5)
                assert seen == [
                    {"ann": {"color": "red"}},
                    {"ann": {"color": "red"}, "bob": None},
                    {"ann": {"color": "red"}},
                ]
                assert here.members == seen[-1]
            await soon(following)
            await asyncio.sleep(5)
            assert await bob.keys("room/") == []
        assert 405 / 20 <= room.renewals("room/1/ann") <= 405 / 16 + 2
        assert 300 / 10 <= room.renewals("room/1/bob") <= 300 / 8 + 2

    told(story, versioning=versioning)


def test_who_dies_is_gone_when_its_time_is_over():
    async def story(room: Room) -> None:
        seen: list[tuple[float, dict[str, Any]]] = []
        loop = asyncio.get_running_loop()
        async with room.client("ann") as ann:
            here = ann.presence("room")  # only looks

            async def look() -> None:
                async for members in here:
                    seen.append((loop.time(), dict(members)))

            looking = asyncio.create_task(look())
            bob = room.client("bob")
            await bob.__aenter__()
            there = bob.presence("room", "bob", expires_in=30)
            await there.__aenter__()
            await asyncio.sleep(100)
            last = max(row.modified for row in room.storage._buckets[BUCKET]["room/bob"].values()) - 1_700_000_000.0
            there._renewing.cancel()  # and nothing else: no delete, no word
            await asyncio.sleep(100)
            assert [members for _, members in seen] == [{}, {"bob": None}, {}]
            assert last + 29.99 <= seen[-1][0] <= last + 30.1  # at that time, and not at the next poll
            await bob.aclose()
            await here.aclose()
            await soon(looking)

    told(story)


def test_nobody_is_gone_who_lost_the_network_for_a_while():
    async def story(room: Room) -> None:
        seen: list[dict[str, Any]] = []
        async with room.client("ann") as ann, room.client("bob") as bob:
            here = bob.presence("room")
            following = asyncio.create_task(follow(here, seen))
            async with ann.presence("room", "ann", expires_in=60):
                await asyncio.sleep(100)
                room.storage.down()
                await asyncio.sleep(35)
                room.storage.up()
                await asyncio.sleep(100)
                assert seen == [{}, {"ann": None}]
                room.storage.down()
                await asyncio.sleep(1000)
                assert ann.status().pending == 1  # one renewal waits, not fifty
                assert seen == [{}, {"ann": None}, {}]
                room.storage.up()
                await asyncio.sleep(30)
                assert seen == [{}, {"ann": None}, {}, {"ann": None}]
            await here.aclose()
            await soon(following)

    told(story)


def test_another_info_is_told_at_once():
    async def story(room: Room) -> None:
        async with room.client("ann") as ann, room.client("bob") as bob, ann.presence("room", "ann", 1) as here:
            there = bob.presence("room")
            assert dict(await anext(there)) in ({}, {"ann": 1})
            await here.update(True)
            while (await anext(there)) != {"ann": True} or there.members["ann"] is not True:
                pass
            await here.update(["typing"])
            assert dict(await anext(there)) == {"ann": ["typing"]}
            await asyncio.sleep(100)
            assert await bob.get("room/ann") == ["typing"]
            with pytest.raises(TypeError):
                here.update(object())
            await asyncio.sleep(100)
            assert await bob.get("room/ann") == ["typing"]

    told(story)


async def test_what_cannot_be_a_presence():
    async with memory_client(Unreliable()) as client:
        for arguments, options in (
            (("",), {}),
            (("room", ""), {}),
            (("r" * 1020, "member"), {}),
            (("room", "ann"), {"expires_in": 0}),
            (("room", "ann"), {"expires_in": 10, "every": 10}),
            (("room", "ann"), {"every": 0}),
        ):
            with pytest.raises(ValueError, match=r"cannot be empty|at most|expires_in|every"):
                client.presence(*arguments, **options)
        with pytest.raises(TypeError):
            client.presence(1)
        with pytest.raises(TypeError):
            client.presence("room", 1)
        with pytest.raises(TypeError, match="not JSON"):
            async with client.presence("room", "ann", object()):
                pass
        with pytest.raises(TypeError, match="name a member"):
            client.presence("room").update(1)
        here = client.presence("room", "ann")
        async with here:
            assert "ann" in repr(here)
        await here.aclose()
        with pytest.raises(ClosedError, match="used before"):
            async with here:
                pass
        with pytest.raises(StopAsyncIteration):
            await anext(here)
    with pytest.raises(ClosedError):
        client.presence("room", "ann")


async def test_it_ends_with_its_client(caplog):
    client = memory_client(Unreliable())
    with caplog.at_level(logging.ERROR):
        async with client:
            here = client.presence("room", "ann", expires_in=0.3)
            await here.__aenter__()
            assert dict(await soon(anext(here))) == {"ann": None}
            waiting = asyncio.create_task(follow(here, []))
            await asyncio.sleep(0)
        await soon(waiting)
        await soon(asyncio.wait({here._renewing}))
        assert here._renewing.exception() is None
        await here.aclose()
    assert not caplog.records


async def test_another_manifest():
    async with memory_client(Unreliable()) as client, client.presence("room", "ann", manifest="other.json") as here:
        assert dict(await soon(anext(here))) == {"ann": None}
        assert await client.get("room/ann", DELETE, manifest="other.json") is None
        assert await client.get("room/ann", DELETE) is DELETE
