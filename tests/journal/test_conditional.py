"""What the conditional journal promises (R9, R10), on stores of every kind."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from typing import Any
from unittest.mock import patch

import pytest
from helpers import BUCKET, MANIFEST, client, eventually, memory_client, soon
from stores import keys_of, manifest_of, place

from mps3 import MemoryStorage, UnavailableError
from mps3.errors import ConfigurationError, ConflictError, MPS3Error
from mps3.journal import levels

__all__ = ["place"]  # a fixture


async def everything(one: Any, keys: list[str]) -> dict[str, Any]:
    return {key: await one.get(key) for key in keys}


async def test_ten_at_once(place):
    bucket, options, storage = await place(False)
    commits = 8 if "storage" in options else 2
    async with contextlib.AsyncExitStack() as stack:
        players = [await stack.enter_async_context(client(bucket, **options)) for _ in range(10)]

        async def play(number: int) -> None:
            for turn in range(commits):
                await players[number].put(f"{number}/{turn}", turn)
                await players[number].put("shared", [number, turn])

        await soon(asyncio.gather(*map(play, range(10))), 120)
        keys = [f"{number}/{turn}" for number in range(10) for turn in range(commits)] + ["shared"]
        views = [await everything(one, keys) for one in players]
        assert all(view == views[0] for view in views)
        assert all(views[0][f"{number}/{turn}"] == turn for number in range(10) for turn in range(commits))
    document = await manifest_of(storage, bucket)
    assert document["journal"] == "conditional"
    seen = Counter((entry["session"], entry["sequence"]) for entry in document["log"])
    assert set(seen.values()) == {1}


class Counting(MemoryStorage):
    """Counts what is asked of it, and can lose the answers of PUTs of the manifest.

    Attributes:
        asked: How often each call was made of each kind of object.
        lost: How many answers are yet to be lost.
        reply: The error that takes the place of a conflict, if it is not to be one.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(versioning=False, **options)
        self.asked: Counter[str] = Counter()
        self.lost = 0
        self.reply: type[MPS3Error] | None = None

    def count(self, call: str, key: str) -> None:
        kind = "manifest" if key == MANIFEST else "run" if key.startswith(f"{MANIFEST}.runs/") else "value"
        self.asked[f"{call} {kind}"] += 1

    async def get(self, bucket: str, key: str, **options: Any) -> Any:
        self.count("get", key)
        return await super().get(bucket, key, **options)

    async def versions(self, bucket: str, key: str, **options: Any) -> Any:
        self.count("versions", key)
        return await super().versions(bucket, key, **options)

    async def put(self, bucket: str, key: str, body: bytes, **options: Any) -> Any:
        self.count("put", key)
        try:
            stored = await super().put(bucket, key, body, **options)
        except ConflictError as error:
            if self.reply is not None and ".probe/" not in key:
                raise self.reply("500 InternalError", bucket=bucket, key=key, operation="PutObject") from error
            raise
        if self.lost and key == MANIFEST:
            self.lost -= 1
            raise UnavailableError("the connection broke", bucket=bucket, key=key, operation="PutObject")
        return stored


async def test_uncontended_it_is_one_put_for_a_commit_and_one_get_for_a_change():
    storage = Counting()
    async with memory_client(storage, poll_interval=30, inline=0) as one:
        await one.put("key", 0)
        storage.asked.clear()
        for number in range(5):
            await one.put("key", number)
        assert storage.asked == {"put manifest": 5, "put value": 5}
        async with memory_client(storage, poll_interval=0.05, inline=0) as two, two.subscribe("key") as values:
            assert await soon(anext(values)) == 4
            await asyncio.sleep(0.3)
            storage.asked.clear()
            await one.put("key", "changed")
            assert await soon(anext(values)) == "changed"
            assert storage.asked["get value"] == 1 and storage.asked["versions manifest"] == 0
            assert storage.asked["put manifest"] == storage.asked["put value"] == 1


async def test_a_thousand_puts_are_not_a_thousand_commits():
    storage = Counting()
    async with memory_client(storage, inline=0) as one:
        await one.put("key", 0)
        storage.asked.clear()
        await soon(asyncio.gather(*(one.put(f"key {number}", number) for number in range(1000))), 60)
        assert storage.asked["put value"] == 1000 and storage.asked["put manifest"] < 50
        assert storage.asked["put run"] <= storage.asked["put manifest"]


@pytest.mark.parametrize("lost", [1, 3])
async def test_a_lost_answer_is_recognised(lost):
    storage = Counting()
    async with memory_client(storage) as one, memory_client(storage) as two:
        await one.put("key", 0)
        storage.lost = lost
        puts = storage.asked["put manifest"]
        await soon(one.put("key", 1))
        assert storage.asked["put manifest"] - puts <= 2  # its own commit is no conflict
        storage.lost = lost
        await asyncio.gather(one.put("a", 1), two.put("b", 2))
        assert await everything(one, ["key", "a", "b"]) == await everything(two, ["key", "a", "b"])
        assert await one.get("a") == 1 and await one.get("b") == 2
    document = await manifest_of(storage, BUCKET)
    commits = Counter((entry["session"], entry["sequence"]) for entry in document["log"])
    commits[document["session"], document["sequence"]] += 1
    assert set(commits.values()) == {1}


async def test_a_lost_answer_does_not_undo_a_later_value():
    """Applied once: repeated, the older value would come back."""
    storage = Counting()
    async with memory_client(storage, poll_interval=0.05) as one, memory_client(storage) as two:
        await one.put("key", 0)
        await two.get("key")
        storage.lost = 1
        older = one.put("key", "older")
        await eventually(lambda: storage.lost == 0)
        await two.put("key", "newer")
        await soon(older)
        assert await one.get("key") == await two.get("key") == "newer"


async def test_losers_of_a_race_that_hear_500():
    storage = Counting()
    storage.reply = UnavailableError
    async with contextlib.AsyncExitStack() as stack:
        players = [await stack.enter_async_context(memory_client(storage)) for _ in range(6)]
        began = time.monotonic()

        async def play(number: int) -> None:
            for turn in range(5):
                await players[number].put(f"{number}/{turn}", turn)

        await soon(asyncio.gather(*map(play, range(6))), 60)
        assert time.monotonic() - began < 15
        keys = [f"{number}/{turn}" for number in range(6) for turn in range(5)]
        for one in players:
            assert None not in (await everything(one, keys)).values()
        assert all(one.status().last_error is None for one in players)


async def test_a_log_long_enough_to_recognise_oneself():
    """R10: at least 128 commits stay in the log."""
    storage = Counting()
    async with memory_client(storage) as one:
        for number in range(140):
            await one.put("key", number)
    document = await manifest_of(storage, BUCKET)
    assert len(document["log"]) >= 128


async def test_the_log_holds_few_large_changes():
    """R10: each is an object of its own, and who opens fetches them all."""
    seconds = 1.0

    def clock() -> float:
        return seconds

    storage = Counting(clock=clock)
    with patch.object(levels, "LARGE", 100):
        async with memory_client(storage) as one:
            for number in range(40):
                seconds += 4.0  # more than the window
                await one.put_all({f"{number}/{name}": number for name in range(3)})
            expected = await one.get_all()
        document = await manifest_of(storage, BUCKET)
        assert len(document["log"]) == 16
        async with memory_client(storage) as other:
            assert await other.get_all() == expected
            assert len(expected) == 120


async def test_deleting_and_null(place):
    bucket, options, _ = await place(False)
    async with client(bucket, **options) as one, client(bucket, **options) as two:
        await soon(one.put_all({"null": None, "gone": 1, "kept": 2}))
        await soon(one.delete("gone"))
        assert await two.get("null", "default") is None
        assert await two.get("gone", "default") == "default"
        assert await two.get("kept") == 2


async def test_a_key_that_leaves_no_room_for_a_version(place):
    """Whatever is said, it is said of this write alone, and clearly."""
    bucket, options, _ = await place(False)
    async with client(bucket, **options, inline=0) as one:
        await soon(one.put("k" * 986, 1))
        with pytest.raises((ValueError, ConfigurationError)) as caught:
            await soon(one.put("k" * 1024, 1))
        assert "1024 bytes" in str(caught.value) and "at most 986" in str(caught.value)
        assert await one.get("k" * 1024) is None
        await soon(one.put("key", 2))
        assert await one.get("key") == 2 and await one.get("k" * 986) == 1


async def test_a_manifest_that_was_deleted_is_not_made_again(place):
    bucket, options, storage = await place(False)
    async with client(bucket, **options) as one:
        await soon(one.put("key", 1))
        await storage.delete(bucket, MANIFEST)
        with pytest.raises(MPS3Error, match="deleted"):
            await soon(one.put("key", 2))
        assert MANIFEST not in await keys_of(storage, bucket)
