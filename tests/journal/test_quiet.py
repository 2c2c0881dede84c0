"""When nobody commits any more, runs become few, so that one key is found with few requests (R29, L6)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest
from commits import is_commit, refuse_commits, settled_document
from helpers import BUCKET, Unreliable
from simulation.histories import Pieces, tiny

from mps3 import MPS3, UnavailableError
from mps3.format.run_reference import RunReference, read_references
from mps3.journal import levels
from mps3.manifest.reachability import SILENCE
from mps3.storage import Page, VersionPage
from mps3.testing import VirtualClock, VirtualEnvironment, VirtualLoop

QUIET = 120.0
"""Seconds within which all that is to be done is done."""
CHUNKS = [{f"item/{number * 31 % 200:03}": {"n": number} for number in range(k * 20, k * 20 + 20)} for k in range(10)]
VALUES = {name: value for chunk in CHUNKS for name, value in chunk.items()}


class Store(Unreliable):
    """Counts the commits that it is asked for, and the versions and objects that it lists.

    Attributes:
        lost: How many commits are stored next, and not answered.
        slow: Whether commits fail, each after a time in which a client takes the store for unreachable.
    """

    def __init__(self, *, versioning: bool) -> None:
        super().__init__(versioning=versioning, clock=VirtualClock().time)
        self.journal = "merge" if versioning else "log"
        self.seeds = iter(range(100))
        self.listed = 0
        self.lost = 0
        self.slow = False

    def client(self, **options: Any) -> MPS3:
        environment = VirtualEnvironment(seed=next(self.seeds))
        return MPS3(BUCKET, storage=self, journal=self.journal, poll_interval=1000, environment=environment, **options)

    async def runs(self) -> tuple[RunReference, ...]:
        document = await settled_document(self)
        return read_references(document.get("runs", []), "runs")

    async def logged_runs(self) -> list[Any]:
        document = await settled_document(self)
        return [run for entry in document.get("log", []) for run in entry["update"].get("runs", [])]

    async def put(self, bucket: str, key: str, body: bytes, **options: Any) -> Any:
        if self.slow and is_commit(key):
            await asyncio.sleep(SILENCE + 1)
            raise UnavailableError("no commits today")
        stored = await super().put(bucket, key, body, **options)
        if self.lost and is_commit(key):
            self.lost -= 1
            raise UnavailableError("the answer is lost")
        return stored

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


def test_runs_become_few_with_a_window_that_is_long(run):
    async def scenario(store: Store) -> None:
        async with store.client() as ann:
            ann._manifests[ann._default]._state.journal._window = 20.0
            await fill(ann)
            await asyncio.sleep(5 * QUIET)
            runs = await store.runs()
            assert runs and not levels.to_consolidate(runs) and not await store.logged_runs()

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


def test_only_one_of_many_that_wrote_at_once_goes_on(run):
    async def scenario(store: Store) -> None:
        async with AsyncExitStack() as stack:
            clients = [await stack.enter_async_context(store.client()) for _ in range(20)]
            await fill(clients[0])
            await asyncio.gather(*(client.put(f"last/{number}", 1) for number, client in enumerate(clients)))
            store.calls.clear()
            await asyncio.sleep(QUIET)
            assert store.commits() <= 5

    run(scenario)


def test_no_write_is_said_to_wait_when_there_is_none(run):
    async def scenario(store: Store) -> None:
        async with store.client() as ann:
            await fill(ann)
            refuse_commits(store, UnavailableError("no commits today"))
            await asyncio.sleep(QUIET)
            assert ann.status().online and ann.status().last_error is None

    run(scenario)


def test_runs_become_few_although_an_answer_is_lost(run):
    async def scenario(store: Store) -> None:
        async with store.client() as ann:
            await fill(ann)
            store.lost = 1
            await asyncio.sleep(QUIET)
            assert not levels.to_consolidate(await store.runs()) and not await store.logged_runs()

    run(scenario)


def test_a_client_is_not_offline_for_long_after_a_commit_that_is_not_made_again(run, tmp_path):
    async def scenario(store: Store) -> None:
        async with store.client(offline=tmp_path) as ann:
            await fill(ann)
            store.slow = True
            await asyncio.sleep(QUIET / 2)
            assert ann.status().online

    run(scenario)
