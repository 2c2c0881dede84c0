"""What the log journal asks of a store: opening, committing, and where many commit at once."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from commits import is_slot, names_of, newest_checkpoint
from helpers import BUCKET, MANIFEST, Unreliable, deaf_client, memory_client

from mps3 import MPS3, Ref
from mps3.journal.log import checkpoints, tail
from mps3.storage.protocol import Page
from mps3.testing import VirtualEnvironment, VirtualLoop

NEVER = {"poll_interval": 60.0, "journal": "log"}


class Counted(Unreliable):
    """Counts listings, too, and lets requests that are sent at once wait for each other.

    Attributes:
        rounds: How many times requests were answered, all that waited together.
    """

    def __init__(self) -> None:
        super().__init__(versioning=False)
        self.rounds = 0
        self._together: asyncio.Future[None] | None = None

    async def _pass(self, operation: str, key: str) -> None:
        await super()._pass(operation, key)
        if self._together is None:
            self._together = asyncio.get_running_loop().create_future()
            asyncio.get_running_loop().call_later(0.02, self._answer, self._together)
        await self._together

    def _answer(self, together: asyncio.Future[None]) -> None:
        self.rounds += 1
        self._together = None
        together.set_result(None)

    async def list(self, bucket: str, prefix: str = "", **options: Any) -> Page:
        await self._pass("list", prefix)
        return await super().list(bucket, prefix, **options)

    def start(self) -> None:
        self.rounds = 0
        self.calls.clear()


@pytest.fixture
def storage() -> Counted:
    return Counted()


async def test_a_small_store_is_opened_with_one_checkpoint(storage):
    async with memory_client(storage, **NEVER) as one:
        await one.put_all({f"key/{number:04}": "x" * 98 for number in range(1000)})
        for number in range(5):
            await one.put(f"later/{number}", number)
    checkpoint = await newest_checkpoint(storage)
    assert len(checkpoint["files"]) == 1005
    assert "runs" not in checkpoint, "what is small is not read in two steps"
    storage.start()
    async with memory_client(storage, **NEVER) as two:
        opened, rounds = len(storage.calls), storage.rounds
        await two.put("mine", 1)
        assert len(storage.calls) == opened + 1
        assert storage.rounds == rounds + 1
        assert (await two.get("key/0999"), await two.get("later/4")) == ("x" * 98, 4)
    assert opened <= 5, storage.calls


async def test_a_large_store_keeps_its_runs(storage, monkeypatch):
    monkeypatch.setattr("mps3.journal.levels.CHECKPOINT", 2000)
    async with memory_client(storage, **NEVER) as one:
        for number in range(70):
            await one.put(f"key/{number:04}", "x" * 98)
    checkpoint = await newest_checkpoint(storage)
    assert checkpoint["runs"]
    async with memory_client(storage, **NEVER) as two:
        assert await two.keys() == [f"key/{number:04}" for number in range(70)]


async def test_a_client_that_is_closed_leaves_a_checkpoint(storage):
    async with memory_client(storage, **NEVER) as one:
        for number in range(checkpoints.LEFT - 1):
            await one.put("a", number)
    assert await newest_checkpoint(storage) is None
    async with memory_client(storage, **NEVER) as two:
        await two.get("a")
    assert await newest_checkpoint(storage) is None, "it has made no commit"
    async with memory_client(storage, **NEVER) as three:
        await three.put("a", "last")
    assert (await newest_checkpoint(storage))["sequence"] == checkpoints.LEFT


async def test_a_client_is_closed_though_its_checkpoint_is_not_answered(storage, monkeypatch):
    monkeypatch.setattr(checkpoints, "CLOSING", 0.05)
    async with memory_client(storage, **NEVER) as one:
        for number in range(5):
            await one.put("a", number)
        storage.hang = lambda operation, key: operation == "put" and key.endswith(".checkpoint")
    assert await newest_checkpoint(storage) is None
    storage.release()


async def test_a_checkpoint_follows_when_things_are_quiet(storage, monkeypatch):
    monkeypatch.setattr(checkpoints, "QUIET", ((0.05, 8), (0.1, 2)))
    storage.hang = lambda operation, key: operation == "put" and key.endswith(".checkpoint")
    async with memory_client(storage, **NEVER) as one:
        await one.put("a", 1)
        await one.put("a", 2)
        while not any(key.endswith(".checkpoint") for _, key in storage.calls):
            await asyncio.sleep(0.01)
        storage.release()
    assert (await newest_checkpoint(storage))["sequence"] == 2


async def test_who_fills_a_slot_at_which_a_checkpoint_is_due_writes_it(storage, monkeypatch):
    monkeypatch.setattr(tail, "EVERY", 3)
    monkeypatch.setattr(checkpoints, "LEFT", 100)
    monkeypatch.setattr("mps3.journal.log.contention.Crowd.jump", lambda self, chance: 1)
    async with memory_client(storage, **NEVER) as one, deaf_client(storage, **NEVER) as two:
        await one.put("a", 1)
        await two.put("b", 1)  # after slot 1, which it lost, it goes on behind a hole
        assert [name.number for name, key in await names_of(storage) if is_slot(key)] == [1, 2, 3]
        await one.put("a", 2)
        await one.put("a", 3)
        while await newest_checkpoint(storage) is None:
            await asyncio.sleep(0.01)
    assert (await newest_checkpoint(storage))["sequence"] >= 3


async def test_a_lost_slot_costs_two_round_trips(storage):
    async with memory_client(storage, **NEVER) as one, deaf_client(storage, **NEVER) as two:
        await one.put("a", 1)
        assert await two.get("a") == 1
        await one.put("a", 2)
        storage.start()
        await two.put("b", 1)
        puts = [key for operation, key in storage.calls if operation == "put" and is_slot(key)]
        assert len(puts) == 2
        assert storage.rounds == 3, "the lost slot, what it and the next ones are, the next slot"


async def test_writers_without_pause_lose_nothing(storage):
    clients = [memory_client(storage, **NEVER) for _ in range(8)]
    await asyncio.gather(*(one.open() for one in clients))

    async def write(number: int) -> None:
        for count in range(5):
            await clients[number].put(f"{number}/{count}", count)

    await asyncio.gather(*map(write, range(8)))
    for one in clients:
        assert len(await one.keys()) == 40
    slots = [name.number for name, key in await names_of(storage) if is_slot(key)]
    assert slots == list(range(1, len(slots) + 1)), "no hole is left"
    await asyncio.gather(*(one.aclose() for one in clients))


def test_a_state_is_built_upon_newer_checkpoints_however_often_they_are_written():
    """A put every few seconds, each eighth followed by a checkpoint: the commits that are held stay few."""

    async def go() -> tuple[int, list[str]]:
        storage = Unreliable(versioning=False)
        async with MPS3(BUCKET, storage=storage, environment=VirtualEnvironment(seed=1), **NEVER) as one:
            for number in range(700):
                await one.put("a", number)
                await asyncio.sleep(checkpoints.QUIET[0][0] + 1)
            held = len(one._manifests[Ref(MANIFEST, BUCKET)]._state.view.commits)
        return held, [key for operation, key in storage.calls if operation == "put" and ".runs/" in key]

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        held, runs = runner.run(go())
    assert held <= 3 * checkpoints.KEPT
    assert not runs, "a small commit stays small"
