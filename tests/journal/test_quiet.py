"""When nobody commits any more, runs become few, so that one key is found with few requests (R29, L6)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from commits import is_commit, settled_document
from helpers import BUCKET, Unreliable
from simulation.histories import Pieces, tiny

from mps3 import MPS3, UnavailableError
from mps3.format.run_reference import RunReference, read_references
from mps3.journal import levels
from mps3.storage import Page, VersionPage
from mps3.testing import VirtualClock, VirtualEnvironment, VirtualLoop

QUIET = 120.0
"""Seconds within which all that is to be done is done."""
CHUNKS = [{f"item/{number * 31 % 200:03}": {"n": number} for number in range(k * 20, k * 20 + 20)} for k in range(10)]
VALUES = {name: value for chunk in CHUNKS for name, value in chunk.items()}


class Store(Unreliable):
    """Counts the commits that it is asked for, and the versions and objects that it lists."""

    def __init__(self, *, versioning: bool) -> None:
        super().__init__(versioning=versioning, clock=VirtualClock().time)
        self.journal = "merge" if versioning else "log"
        self.seeds = iter(range(100))
        self.listed = 0

    def client(self, **options: Any) -> MPS3:
        environment = VirtualEnvironment(seed=next(self.seeds))
        return MPS3(BUCKET, storage=self, journal=self.journal, poll_interval=1000, environment=environment, **options)

    async def runs(self) -> tuple[RunReference, ...]:
        document = await settled_document(self)
        return read_references(document.get("runs", []), "runs")

    async def versions(self, bucket: str, key: str, **options: Any) -> VersionPage:
        page = await super().versions(bucket, key, **options)
        self.listed += len(page.versions)
        return page

    async def list(self, bucket: str, prefix: str, **options: Any) -> Page:
        page = await super().list(bucket, prefix, **options)
        self.listed += len(page.entries)
        return page

    def commits(self) -> int:
        return sum(operation == "put" and is_commit(key) for operation, key in self.calls)


@pytest.fixture(params=[True, False], ids=["merge", "log"])
def run(request):
    def run(scenario: Callable[[Store], Awaitable[None]]) -> None:
        async def go() -> None:
            await scenario(Store(versioning=request.param))

        with tiny(Pieces(block=200)), asyncio.Runner(loop_factory=VirtualLoop) as runner:
            runner.run(go())

    return run


async def fill(client: MPS3) -> None:
    for chunk in CHUNKS:
        await client.put_all(chunk)


def test_runs_become_few_when_nobody_commits(run):
    async def scenario(store: Store) -> None:
        async with store.client() as ann:
            await fill(ann)
            await asyncio.sleep(QUIET)
            runs = await store.runs()
            assert runs and not levels.to_consolidate(runs)
            assert await ann.get_all(prefix="item/") == VALUES
        async with store.client(prefetch=0, memory_bytes=0) as bob:
            assert await bob.get_all(prefix="item/") == VALUES

    run(scenario)


def test_nothing_is_done_again_and_again(run):
    async def scenario(store: Store) -> None:
        async with store.client() as ann:
            await fill(ann)
            store.calls.clear()
            await asyncio.sleep(QUIET)
            assert store.commits() <= 5
            store.calls.clear()
            await asyncio.sleep(100 * QUIET)
            assert not any(operation == "put" for operation, _ in store.calls)

    run(scenario)


def test_opening_a_store_at_rest_lists_little_of_what_was_there(run):
    async def scenario(store: Store) -> None:
        async with store.client() as ann:
            for _ in range(60):
                await fill(ann)
            await asyncio.sleep(QUIET)
        store.listed = 0
        async with store.client(prefetch=0, memory_bytes=0) as bob:
            assert await bob.get("item/007") == VALUES["item/007"]
        assert store.listed <= {"merge": 400, "log": 200}[store.journal]

    run(scenario)


def test_only_who_committed_last_tidies(run):
    async def scenario(store: Store) -> None:
        async with store.client() as ann, store.client() as bob:
            await fill(ann)
            await bob.put("last", 1)
            await ann.get("last")
            store.calls.clear()
            await asyncio.sleep(QUIET)
            assert store.commits() <= 5
            assert not levels.to_consolidate(await store.runs())

    run(scenario)


def test_a_small_store_is_left_alone(run):
    async def scenario(store: Store) -> None:
        async with store.client() as ann:
            await ann.put("a", 1)
            store.calls.clear()
            await asyncio.sleep(QUIET)
            assert store.commits() == 0

    run(scenario)


def test_a_store_that_refuses_runs_is_not_asked_for_ever(run):
    async def scenario(store: Store) -> None:
        async with store.client() as ann:
            await fill(ann)
            gone = UnavailableError("no runs today")
            store.fail = lambda operation, key: gone if operation == "put" and ".runs/" in key else None
            await asyncio.sleep(QUIET)
            store.calls.clear()
            await asyncio.sleep(100 * QUIET)
            assert sum(operation == "put" for operation, _ in store.calls) <= 5
            store.fail = lambda operation, key: None
            await ann.put("a", 1)
            assert await ann.get_all(prefix="item/") == VALUES

    run(scenario)


def test_writes_go_on_while_runs_become_few(run):
    async def scenario(store: Store) -> None:
        async with store.client() as ann, store.client() as bob:
            await fill(ann)
            for number in range(40):
                await asyncio.sleep(number % 7 + 0.3)
                await (ann, bob)[number % 2].put(f"item/{number * 5:03}", number)
            expected = VALUES | {f"item/{number * 5:03}": number for number in range(40)}
            assert await ann.get_all(prefix="item/") == expected
            assert await bob.get_all(prefix="item/") == expected

    run(scenario)
