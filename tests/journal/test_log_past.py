"""The past of a log: it is found near its moment, whatever came later, and is the same as by reading everything."""

from __future__ import annotations

import asyncio
import math
from typing import Any

import pytest
from helpers import BUCKET

from mps3 import MPS3, MemoryStorage
from mps3.errors import ConflictError
from mps3.journal import settle
from mps3.journal.log import past
from mps3.testing import FaultyStorage, VirtualClock, VirtualEnvironment, VirtualLoop


class Log:
    """A log in virtual time: every state that it has had, by the commit that made it."""

    def __init__(self) -> None:
        self.storage = FaultyStorage(MemoryStorage(versioning=False, clock=VirtualClock().time))
        self.states: dict[str, Any] = {}
        self.seeds = iter(range(100_000))

    def client(self) -> MPS3:
        environment = VirtualEnvironment(seed=next(self.seeds))
        return MPS3(BUCKET, storage=self.storage, journal="log", poll_interval=10_000, environment=environment)

    async def write(self, client: MPS3, number: int) -> None:
        commit = await client.put(f"key {number % 3}", number)
        before = self.states[next(reversed(self.states))] if self.states else {}
        self.states[commit.id] = {**before, f"key {number % 3}": number}

    async def compare(self, most: float = math.inf, every: int = 7) -> None:
        """Ask for states by their commits and by their times, without reading more than some of the log for each."""
        async with self.client() as reader:
            times = {entry.id: entry.time for entry in await reader.log()}
            for moment in list(self.states)[::every]:
                for at in (moment, times[moment]):
                    async with self.client() as fresh:
                        before = self.storage.count("GetObject")
                        then = await fresh.snapshot(at)
                        assert await then.get_all(prefix="") == self.states[moment]
                        asked = self.storage.count("GetObject") - before
                        assert asked <= most, (moment, at, asked)


def run(scenario: Any) -> None:
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(scenario)


@pytest.mark.parametrize("pause", [1.0, 5.0, 40.0])
def test_a_moment_of_a_log_is_found_without_reading_what_came_later(pause):
    """Also where the newest checkpoint has all commits, as of each store at rest."""

    async def go() -> None:
        log = Log()
        async with log.client() as one, log.client() as two:
            for number in range(250):
                await log.write((one, two)[number % 2], number)
                await asyncio.sleep(pause)
            await asyncio.sleep(100)
        await log.compare(most=200, every=23)

    run(go())


def test_sessions_that_checkpoints_have_forgotten_are_found_all_the_same(monkeypatch):
    monkeypatch.setattr(settle, "SESSIONS", 3)

    async def go() -> None:
        log = Log()
        async with log.client() as steady:
            for number in range(0, 120, 2):
                await log.write(steady, number)
                await asyncio.sleep(1)
                async with log.client() as passing:
                    await log.write(passing, number + 1)
                await asyncio.sleep(5)
        await log.compare(every=5)

    run(go())


def test_a_transaction_that_did_not_count_is_no_moment():
    async def go() -> None:
        log = Log()
        async with log.client() as one, log.client() as two:
            for number in range(60):
                await log.write(one, number)
                if not number:
                    await asyncio.sleep(1)
                    await two.put("key 9", number, if_version=None)
                with pytest.raises(ConflictError):
                    await two.put("key 9", number, if_version=None)
                await asyncio.sleep(5)
        for state in list(log.states.values()):
            state["key 9"] = 0
        first = next(iter(log.states))
        log.states[first].pop("key 9")
        await log.compare()

    run(go())


def test_few_checkpoints_are_tried_to_begin_at(monkeypatch):
    """A checkpoint may have been written long after its last commit."""
    begun: list[int] = []
    begin_at = past.LogWalk.begin_at

    async def counted(walk: past.LogWalk, number: int, moment: float) -> bool:
        begun.append(number)
        return await begin_at(walk, number, moment)

    monkeypatch.setattr(past.LogWalk, "begin_at", counted)

    async def go() -> None:
        log = Log()
        async with log.client() as one:
            for number in range(100):
                await log.write(one, number)
                await asyncio.sleep(5)
        await log.compare(most=40, every=3)

    run(go())
    assert begun
