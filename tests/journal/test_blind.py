"""Among many writers, a commit is acknowledged before those of others were read (L12)."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from commits import is_slot, names_of, newest_checkpoint
from helpers import (
    MANIFEST,
    Unreliable,
    deaf_client,
    eventually,
    memory_client,
    no_task_left,
    settle,
    soon,
)

from mps3 import MPS3, ClosedError, ConflictError, Ref, UnavailableError
from mps3.format.slot import slot_key
from mps3.journal.log import blind, checkpoints, tail
from mps3.journal.log.contention import Crowd
from mps3.journal.log.survey import Survey
from mps3.storage.protocol import Page

NEVER = {"poll_interval": 60.0, "journal": "log"}


class Listed(Unreliable):
    """Counts listings, too, and may change them.

    Attributes:
        change: Changes the entries of a page.
    """

    def __init__(self) -> None:
        super().__init__(versioning=False)
        self.change: Any = lambda entries: entries

    async def list(self, bucket: str, prefix: str = "", **options: Any) -> Page:
        await self._pass("list", prefix)
        page = await super().list(bucket, prefix, **options)
        return Page(tuple(self.change(list(page.entries))), page.next)

    def slots_read(self) -> list[str]:
        return [key for operation, key in self.calls if operation == "get" and is_slot(key)]


@pytest.fixture
def storage() -> Listed:
    return Listed()


@pytest.fixture(autouse=True)
def crowd(monkeypatch):
    """Everyone takes themselves for one of very many writers."""
    monkeypatch.setattr(Crowd, "is_dense", True)
    monkeypatch.setattr(Crowd, "others", 1)


def state_of(client: MPS3) -> set[str]:
    """The keys of the state that a client knows, without what it shows above it."""
    return {key for key, _ in manifest_of(client)._state.view.items()}


def manifest_of(client: MPS3) -> Any:
    return client._manifests[Ref(MANIFEST, "bucket")]


async def slots_in(storage: Listed) -> list[int]:
    return [name.number for name, key in await names_of(storage) if is_slot(key)]


async def test_a_put_is_acknowledged_before_others_are_read(storage):
    async with deaf_client(storage, **NEVER) as ann, deaf_client(storage, **NEVER) as bob:
        await bob.put("bob", 0)
        for number in range(20):
            await ann.put(f"ann/{number}", number)
        storage.calls.clear()
        await bob.put("bob", 1)
        own = [key for operation, key in storage.calls if operation == "put"]
        assert set(storage.slots_read()) == set(own), "only whether that slot is its own is asked"
        assert state_of(bob) == {"bob"}
        assert await bob.get("ann/19") == 19, "who asks hears the newest"
        assert await bob.keys() == sorted([*(f"ann/{number}" for number in range(20)), "bob"])
        assert await bob.get("bob") == 1


async def test_own_writes_are_shown_while_others_cannot_be_read(storage):
    async with deaf_client(storage, **NEVER) as ann, deaf_client(storage, **NEVER) as bob:
        await bob.put_all({"mine": 0, "gone": 0})
        await ann.put("hers", 1)
        await bob.put("mine", 1)
        await bob.put("mine", 2)
        await bob.delete("gone")
        assert state_of(bob) == {"mine", "gone"}
        storage.down()
        assert await bob.get("mine") == 2
        assert await bob.get("gone") is None
        assert await bob.keys() == ["mine"]
        assert bob.status().pending == 0
        storage.up()
        await eventually(lambda: state_of(bob) == {"mine", "hers"})


async def test_what_others_wrote_later_is_shown_once_it_is_read(storage):
    async with deaf_client(storage, **NEVER) as ann, deaf_client(storage, **NEVER) as bob:
        await ann.put("shared", 1)
        await bob.put("shared", 2)
        await ann.put("shared", 3)
        assert await bob.get("shared") == 3
        assert await ann.get("shared") == 3


async def test_a_commit_counts_once_the_holes_below_it_are_filled(storage, monkeypatch):
    monkeypatch.setattr(Survey, "choose", lambda self, chance: self.floor + 3)
    async with deaf_client(storage, **NEVER) as ann:
        storage.hold("put", slot_key(MANIFEST, 2))
        pending = asyncio.ensure_future(ann.put("a", 1))
        await eventually(lambda: storage.count("put", slot_key(MANIFEST, 3)))
        await eventually(lambda: storage.count("put", slot_key(MANIFEST, 2)))
        assert not pending.done()
        storage.release()
        await pending
        assert sorted(await slots_in(storage)) == [1, 2, 3]
    async with deaf_client(storage, **NEVER) as bob:
        assert await bob.get("a") == 1


async def test_writers_without_pause_lose_nothing(storage):
    clients = [deaf_client(storage, **NEVER) for _ in range(8)]
    await asyncio.gather(*(one.open() for one in clients))

    async def write(number: int) -> None:
        for count in range(20):
            await clients[number].put(f"{number}/{count}", count)

    await asyncio.gather(*map(write, range(8)))
    assert max(await slots_in(storage)) == len(await slots_in(storage)), "no hole is left"
    for one in clients:
        assert len(await one.keys()) == 160
    await asyncio.gather(*(one.aclose() for one in clients))


async def test_one_makes_the_checkpoint_and_the_others_go_on_from_it(storage, monkeypatch):
    for module in (blind, tail):
        monkeypatch.setattr(module, "EVERY", 8)
    async with deaf_client(storage, **NEVER) as ann, deaf_client(storage, **NEVER) as bob:
        await bob.put("bob", 0)
        for number in range(2, 17):
            await ann.put(f"ann/{number}", number)
        await eventually(lambda: storage.count("put", slot_key(MANIFEST, 16) + ".checkpoint"))
        await bob.put("bob", 1)  # 17
        storage.calls.clear()
        for number in range(2, 10):
            await bob.put("bob", number)
        assert any(key.endswith(".checkpoint") for operation, key in storage.calls if operation == "get")
        assert "ann/16" in state_of(bob)
        others = {slot_key(MANIFEST, number) for number in range(1, 17)}
        assert others.isdisjoint(storage.slots_read())


async def test_a_checkpoint_follows_when_things_are_quiet(storage, monkeypatch):
    monkeypatch.setattr(checkpoints, "QUIET", ((0.05, 8), (0.1, 2)))
    async with deaf_client(storage, journal="log") as ann, deaf_client(storage, **NEVER) as bob:
        await ann.put("a", 1)
        await bob.put("b", 1)
        await ann.put("a", 2)  # the last
        await eventually(lambda: newest_checkpoint(storage))


async def test_who_listens_reads_each_commit(storage):
    async with deaf_client(storage, **NEVER) as ann, deaf_client(storage, **NEVER) as bob:
        await bob.put("b", 0)
        async with bob.watch("") as changes:
            await anext(changes)
            await ann.put("a", 1)
            await ann.put("a", 2)
            await bob.put("b", 1)
            assert state_of(bob) == {"a", "b"}
            heard = []
            async for batch in changes:
                heard += [(change.key, change.value) for change in batch.changes if not change.pending]
                if ("b", 1) in heard:
                    break
        assert heard == [("a", 1), ("a", 2), ("b", 1)]


async def test_what_survives_the_client_is_not_ahead_of_what_it_keeps(storage, tmp_path):
    async with deaf_client(storage, **NEVER) as ann:
        await ann.put("a", 1)
        async with deaf_client(storage, **NEVER, offline=tmp_path) as bob:
            await ann.put("a", 2)
            await bob.put("b", 1)
            assert state_of(bob) == {"a", "b"}


async def test_a_transaction_and_a_patch_build_upon_what_was_acknowledged(storage):
    async with deaf_client(storage, **NEVER) as ann, deaf_client(storage, **NEVER) as bob:
        await bob.put("count", 1)
        await ann.put("a", 1)
        await bob.put("count", 5)
        assert await bob.update("count", lambda count: count + 1) == 6
        await ann.put("a", 2)
        await bob.put("count", 10)
        await bob.increment("count")
        assert await bob.get("count") == 11
        await ann.put("a", 3)
        written = await bob.put("count", 20)
        await bob.put("count", 21, if_version=written.versions["count"])
        assert await ann.get("count") == 21


async def test_a_read_that_waits_is_answered_with_the_newest(storage):
    async with deaf_client(storage, **NEVER) as ann, deaf_client(storage, **NEVER) as bob:
        await bob.put("b", 0)
        for number in range(5):
            await ann.put("a", number)
            _, found = await asyncio.gather(bob.put("b", number), bob.get("a"))
            assert found == number


async def test_a_transaction_sees_what_was_put_before_it_and_not_awaited(storage):
    async with deaf_client(storage, **NEVER) as ann, deaf_client(storage, **NEVER) as bob:
        await bob.put("k", 1)
        await ann.put("a", 1)
        storage.hang = lambda operation, key: operation == "put" and key.startswith("big")
        bob.put("big", "x" * 5000)
        bob.put("k", 5)
        await eventually(lambda: any(key.startswith("big") for operation, key in storage.calls))
        reading = asyncio.ensure_future(bob.update("k", lambda k: k + 1))
        await settle()
        storage.release()
        assert await reading == 6


async def test_what_was_committed_is_not_told_without_own_commits(storage):
    async with deaf_client(storage, **NEVER) as ann, deaf_client(storage, **NEVER) as bob:
        await bob.put("k", 0)
        await ann.put("a", 1)
        commit = await bob.put("k", 1)
        storage.down()
        assert await bob.get("k") == 1
        for ask in (bob.snapshot, lambda: bob.history("k"), bob.log, lambda: bob.get("k", at=commit.id)):
            with pytest.raises(UnavailableError):
                await ask()
        storage.up()
        await eventually(lambda: "a" in state_of(bob))
        assert [await revision.value() for revision in await bob.history("k")] == [1, 0]


async def test_a_pending_value_over_an_acknowledged_one_is_shown_at_once(storage):
    async with deaf_client(storage, **NEVER) as ann, deaf_client(storage, **NEVER) as bob:
        await bob.put("k", 0)
        await ann.put("a", 1)
        await bob.put("k", 1)
        storage.hold("put")
        bob.put("k", 2)
        assert await soon(bob.get("k")) == 2
        storage.release()


async def test_what_expires_is_not_ahead(storage):
    async with deaf_client(storage, **NEVER) as ann, deaf_client(storage, **NEVER) as bob:
        await bob.put("k", 0)
        await ann.put("a", 1)
        await bob.put("k", 1, expires_in=60)
        assert state_of(bob) == {"a", "k"}


async def test_an_own_commit_is_no_news(storage):
    """A client hears of its own commits, too, and does not poll because of it."""
    async with deaf_client(storage, **NEVER) as ann, memory_client(storage, **NEVER) as bob:
        await bob.put("b", 0)
        await ann.put("a", 1)
        await eventually(lambda: state_of(bob) == {"a", "b"})
        await bob.put("b", 1)
        await ann.put("c", 1)
        await eventually(lambda: "c" in state_of(bob))
        storage.calls.clear()
        written = await bob.put("d", 1)
        await settle()
        assert written.versions["d"]
        assert len(storage.slots_read()) <= 1


async def test_a_lost_answer_is_looked_for(storage):
    async with deaf_client(storage, **NEVER) as ann, deaf_client(storage, **NEVER) as bob:
        await bob.put("b", 0)
        await ann.put("a", 1)
        put, lost = storage.put, []

        async def losing(bucket: str, key: str, body: bytes, **options: Any) -> Any:
            answer = await put(bucket, key, body, **options)
            if is_slot(key) and not lost:
                lost.append(key)
                raise UnavailableError("lost", operation="PutObject", maybe_written=True)
            return answer

        storage.put = losing
        await bob.put("b", 1)
        assert len(lost) == 1
        assert [list(commit.versions) for commit in await bob.log()].count(["b"]) == 2, "it is there once"


async def test_what_somebody_has_made_void_in_its_name_is_made_again(storage):
    """Somebody with write access has used the session of a client, for a commit that it has not read."""
    async with deaf_client(storage, journal="log") as ann, deaf_client(storage, **NEVER) as bob:
        await ann.put("k", 0)
        await bob.put("b", 0)
        forged = json.loads((await storage.get("bucket", slot_key(MANIFEST, 1))).body)
        forged["sequence"] = 50
        await storage.put("bucket", slot_key(MANIFEST, 3), json.dumps(forged).encode(), if_none_match=True)
        for number in range(1, 6):
            await ann.put("k", number)
        assert await ann.get("k") == 5
        await eventually(lambda: ann.status().pending == 0 and not manifest_of(ann)._outbox._durable)
        assert await bob.get("k") == 5
        await ann.put("k", 6)
        assert await bob.get("k") == 6


async def test_a_slot_that_is_neither_created_nor_shown_is_tried_at_intervals(storage, monkeypatch):
    monkeypatch.setattr(Survey, "choose", lambda self, chance: self.floor + 2)
    async with deaf_client(storage, **NEVER) as ann:
        await ann.put("a", 0)
        hole = slot_key(MANIFEST, 3)
        storage.fail = lambda operation, key: ConflictError("409") if (operation, key) == ("put", hole) else None
        pending = asyncio.ensure_future(ann.put("a", 1))
        await eventually(lambda: storage.count("put", hole) == 2)
        assert storage.count("get", hole) <= 6
        storage.up()
        await pending
    async with deaf_client(storage, **NEVER) as bob:
        assert await bob.get("a") == 1


async def test_what_was_put_far_above_by_somebody_is_left_alone(storage):
    async with deaf_client(storage, **NEVER) as ann, deaf_client(storage, **NEVER) as bob:
        await ann.put("a", 0)
        for number in range(20):
            await storage.put("bucket", slot_key(MANIFEST, 100_000 + number), b"junk")
        for number in range(5):
            await ann.put("a", number)
            await bob.put("b", number)
        assert await bob.get("a") == 4
    assert len(await slots_in(storage)) < 60


async def test_without_a_listing_holes_are_found_one_by_one(storage):
    async with deaf_client(storage, **NEVER) as ann, deaf_client(storage, **NEVER) as bob:
        await bob.put("b", 0)
        for number in range(5):
            await ann.put("a", number)
        storage.refuse(UnavailableError("no listings now"), operation="list")
        await bob.put("b", 1)
        storage.up()
        assert await ann.get("b") == 1


@pytest.mark.parametrize(
    "change",
    [
        lambda entries: entries[::-1],
        lambda entries: [entry for entry in entries if entry.key > slot_key(MANIFEST, 12)],
        lambda entries: [],
    ],
    ids=["in another order", "an old one", "empty"],
)
async def test_a_listing_that_does_not_help_is_done_without(storage, change):
    async with deaf_client(storage, **NEVER) as ann, deaf_client(storage, **NEVER) as bob:
        await bob.put("b", 0)
        for number in range(40):
            await ann.put("a", number)
        storage.change = change
        await bob.put("b", 1)
        await bob.put("b", 2)
        storage.change = lambda entries: entries
        storage.calls.clear()
        await ann.put("a", -1)
        await bob.put("b", 3)
        assert await ann.get("b") == 3
        assert max(await slots_in(storage)) == len(await slots_in(storage))


@pytest.mark.parametrize("awaited", ["list", "put"])
async def test_nothing_is_left_of_one_that_is_given_up(storage, monkeypatch, awaited):
    monkeypatch.setattr("mps3.client.lifecycle.FLUSH_TIMEOUT", 0.0)
    async with no_task_left():
        ann = deaf_client(storage, **NEVER)
        await ann.open()
        await ann.put("a", 0)
        storage.hang = lambda operation, key: operation == awaited
        storage.calls.clear()
        pending = ann.put("a", 1)
        await eventually(lambda: storage.count(awaited))
        await ann.aclose()
        with pytest.raises(ClosedError):
            await pending
