"""Runs as clients make and read them: small documents, whatever there is."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from typing import Any
from unittest.mock import patch

import pytest
from commits import is_commit, names_of, read, settled_document
from helpers import BUCKET, MANIFEST, PATIENCE, eventually, memory_client, soon

from mps3 import DELETE, AccessError, CorruptionError, MemoryStorage, UnavailableError
from mps3.format.commit_age import Moment
from mps3.journal import levels
from mps3.journal.compactor import Compactor
from mps3.journal.log import checkpoints, tail
from mps3.journal.runs import Runs
from mps3.support.environment import Environment

RUNS = f"{MANIFEST}.runs/"


class Watched(MemoryStorage):
    """Counts what is asked about runs, and can refuse to store them.

    Attributes:
        asked: How often each call was made of each run.
        refusing: What storing a run raises.
        before_a_run_is_read: Done once, before the next run is read.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.asked: Counter[str] = Counter()
        self.bytes: Counter[str] = Counter()
        self.refusing: Exception | None = None
        self.before_a_run_is_read: Callable[[], Awaitable[None]] | None = None

    async def put(self, bucket: str, key: str, body: bytes, **options: Any) -> Any:
        self.bytes["run" if key.startswith(RUNS) else "commit" if is_commit(key) else "other"] += len(body)
        if key.startswith(RUNS):
            self.asked["put"] += 1
            await asyncio.sleep(0.001)
            if self.refusing is not None:
                raise self.refusing
        return await super().put(bucket, key, body, **options)

    async def get(self, bucket: str, key: str, **options: Any) -> Any:
        if key.startswith(RUNS):
            self.asked[f"get {key}"] += 1
            if (first := self.before_a_run_is_read) is not None:
                self.before_a_run_is_read = None
                await first()
        return await super().get(bucket, key, **options)

    async def document(self) -> dict[str, Any]:
        return await settled_document(self)


@contextmanager
def tiny(**sizes: int):
    """Sizes at which a few commits spill and merge, of which the log keeps few."""
    with (
        patch.multiple(
            levels,
            **{
                "SPILL": 400,
                "CHECKPOINT": 400,
                "CHECKPOINT_OVER_RUNS": 400,
                "FANOUT": 2,
                "PART": 900,
                "LARGE": 1500,
                **sizes,
            },
        ),
        patch.object(tail, "EVERY", 4),
        patch.multiple(checkpoints, KEPT=3, MOST=12),
    ):
        yield


@pytest.fixture(params=[True, False], ids=["merge", "log"])
def storage(request):
    return Watched(versioning=request.param)


@asynccontextmanager
async def quick(storage):
    """The first client of a manifest whose commits settle as soon as the clock shows another second."""
    async with memory_client(storage) as one:
        one._manifests[one._default]._state.journal._window = 0.05
        yield one


async def random_writes(client, dice, number, state):
    for index in range(number):
        name = f"key {dice.randrange(40)}"
        if dice.random() < 0.2:
            await client.delete(name)
            state.pop(name, None)
        elif dice.random() < 0.1:
            values = {f"key {dice.randrange(40)}": index for _ in range(20)}
            await client.put_all(values)
            state.update(values)
        else:
            await client.put(name, index)
            state[name] = index


async def write_until_there_are_runs(client, storage, state):
    dice = random.Random(4)
    async with asyncio.timeout(PATIENCE):
        while True:
            await random_writes(client, dice, 10, state)
            if (document := await storage.document()).get("runs"):
                return document


async def a_run_that_is_needed(storage):
    """A run without which nobody knows the state: a log has forgotten its slots and older checkpoints."""
    names = await names_of(storage)
    newest = max((name for name, _ in names if name.is_checkpoint), default=None)
    for name, key in names:
        if name != newest:
            await storage.delete(BUCKET, key)
    return (await storage.document())["runs"][0]


async def everything(client, names):
    return {name: value for name in names if (value := await client.get(name, DELETE)) is not DELETE}


NAMES = [f"key {number}" for number in range(40)]


async def test_whatever_is_spilled_and_merged_is_still_there(storage):
    state: dict[str, Any] = {}
    with tiny():
        async with quick(storage) as one:
            await random_writes(one, random.Random(1), 100, state)
            document = await write_until_there_are_runs(one, storage, state)
            assert await everything(one, NAMES) == state
            async with memory_client(storage) as two:
                assert await everything(two, NAMES) == state
            # All that came in one second settles at once, and is merged step by step.
            # A busy machine settles more at once than it has spilled by then.
            async with asyncio.timeout(PATIENCE):
                while (
                    sum(not run.get("continues") for run in document["runs"]) >= 20
                    or len(json.dumps(document.get("files", {}))) >= 4 * 400 + 200
                ):
                    await random_writes(one, random.Random(2), 5, state)
                    document = await storage.document()
            assert await everything(one, NAMES) == state


async def test_a_reader_fetches_each_run_once(storage):
    state: dict[str, Any] = {}
    with tiny():
        async with quick(storage) as one:
            await one.put("key 0", 0)
            async with memory_client(storage) as two:
                subscription = two.subscribe("key 0")
                await anext(subscription)
                await random_writes(one, random.Random(2), 100, state)
                assert await everything(two, NAMES) == {"key 0": 0} | state
    read = [number for call, number in storage.asked.items() if call.startswith("get ")]
    # The writer of a log may read one, too, when it builds upon its own checkpoint.
    assert max(read) <= (1 if storage._versioning else 2)


async def test_clients_that_all_compact_at_once_agree(storage):
    with tiny():
        async with quick(storage) as first:
            await first.put("key 0", 0)
            clients = [memory_client(storage, inline=0) for _ in range(4)]
            await asyncio.gather(*(client.__aenter__() for client in clients))
            try:
                wrote: list[dict[str, Any]] = [{} for _ in clients]

                async def work(number):
                    for index in range(25):
                        name = f"{number}/{index % 15}"
                        await clients[number].put(name, index)
                        wrote[number][name] = index

                await soon(asyncio.gather(*map(work, range(4))), 60)
                expected = {name: value for one in wrote for name, value in one.items()}
                for client in clients:
                    assert await everything(client, expected) == expected
            finally:
                await asyncio.gather(*(client.aclose() for client in clients))
    assert storage.asked["put"] > 5


async def test_a_large_change_is_stored_once_however_long_the_log_names_it(storage):
    values = {f"key/{number:04}": number for number in range(2000)}
    async with memory_client(storage, inline=0) as one:
        await one.put("small", 0)
        storage.bytes.clear()
        write = one.put_all(values | {"small": DELETE})
        await soon(write, 60)
        large = storage.bytes["run"]
        for number in range(20):
            await one.put("small", number)
        assert large > 100_000
        assert storage.bytes["run"] == large
        assert storage.bytes["commit"] < large
        async with memory_client(storage, inline=0) as two:
            assert await two.get("key/0000") == 0 and await two.get("key/1999") == 1999
            assert await two.get("small") == 19


async def test_deleting_many_keys_at_once(storage):
    with tiny():
        async with memory_client(storage) as one, memory_client(storage) as two:
            await one.put_all(dict.fromkeys(NAMES, 1))
            await one.put_all(dict.fromkeys(NAMES[1:], DELETE))
            assert await everything(two, NAMES) == {NAMES[0]: 1}
            await one.put(NAMES[5], 5)
            assert await everything(two, NAMES) == {NAMES[0]: 1, NAMES[5]: 5}


async def test_commits_go_on_while_runs_cannot_be_stored(storage):
    state: dict[str, Any] = {}
    with tiny(SPILL=1000, LARGE=10**6):
        async with quick(storage) as one:
            storage.refusing = UnavailableError("not now")
            for number in range(12):
                await soon(one.put(f"key {number}", number))
                state[f"key {number}"] = number
            assert (await storage.document()).get("runs", []) == []
            storage.refusing = None
            await write_until_there_are_runs(one, storage, state)
            assert await everything(one, NAMES) == state


async def test_who_may_not_store_runs_is_told_when_it_cannot_wait_any_longer(storage):
    with tiny(LARGE=10**6):
        async with quick(storage) as one:
            storage.refusing = AccessError("no s3:PutObject for the runs")
            with pytest.raises(AccessError, match="for the runs"):
                for number in range(200):
                    await soon(one.put(f"key {number}", number))
            assert storage.asked["put"] > 1


async def test_a_missing_run_is_named(storage):
    with tiny():
        async with quick(storage) as one:
            await write_until_there_are_runs(one, storage, {})
        first = await a_run_that_is_needed(storage)
        found = await storage.get(BUCKET, first["key"])
        await storage.delete(BUCKET, first["key"], version=found.version)
        with pytest.raises(CorruptionError, match=first["sha256"]):
            await memory_client(storage).__aenter__()


async def test_a_run_that_was_changed_is_refused(storage):
    with tiny():
        async with quick(storage) as one:
            await write_until_there_are_runs(one, storage, {})
        first = await a_run_that_is_needed(storage)
        found = await storage.get(BUCKET, first["key"])
        await storage.put(BUCKET, first["key"], found.body.replace(b"key", b"KEY"))
        with pytest.raises(CorruptionError, match="SHA-256"):
            await memory_client(storage).__aenter__()


@pytest.mark.usefixtures("mps3_clock")
async def test_closing_stops_what_is_done_in_the_background(storage):
    started = asyncio.Event()

    async def never(self, files):
        started.set()
        await asyncio.Event().wait()

    with tiny(LARGE=10**6, SPILL=1000, OVERDUE=1000), patch.object(Runs, "save", never):
        async with quick(storage) as one:
            for number in range(500):
                if started.is_set():
                    break
                await soon(one.put(f"key {number}", number))
            assert started.is_set()
    assert [task for task in asyncio.all_tasks() if "Compactor._background" in str(task.get_coro())] == []


async def test_who_seldom_commits_names_what_it_stored(storage):
    """Between two commits of such a client, what it has stored gets so old that a collector might take it."""
    ahead = 0.0
    storage._clock = lambda: time.time() + ahead
    with tiny(SPILL=2000, FANOUT=1000, PART=10_000):
        async with memory_client(storage) as one:
            for number in range(40):
                await one.put(f"key {number}", number)
                await eventually(lambda: one._manifests[one._default]._state.journal._compactor._task is None)
                ahead += 1800
        # Three times what makes a run, each stored once and once more just before it is named.
        assert storage.asked["put"] <= 6
    async with memory_client(storage) as two:
        assert [await two.get(f"key {number}") for number in range(40)] == list(range(40))


async def test_subscriptions_hear_of_what_was_spilled_before_they_looked(storage):
    with tiny():
        async with quick(storage) as one:
            await one.put("key 0", "old")
            async with memory_client(storage, poll_interval=30) as two:
                values = two.subscribe("key 0")
                assert await anext(values) == "old"
                await one.put("key 0", "new")
                await random_writes(one, random.Random(5), 80, {"key 0": "new"})
                await one.delete("key 0")
                state: dict[str, Any] = {}
                await random_writes(one, random.Random(6), 20, state)
                await two.get("key 1")  # which looks at the manifest
                expected = await one.get("key 0")
                await eventually(lambda: two._manifests[two._default]._state.view.look_up("key 0") is None or expected)
                assert await soon(anext(values)) == expected


async def test_who_slept_until_the_runs_were_collected_looks_again(storage):
    state: dict[str, Any] = {}
    with tiny():
        async with quick(storage) as one:

            async def go_on_and_collect() -> None:
                old = {run["key"] for run in document["runs"]}
                while old & {run["key"] for run in (await storage.document())["runs"]}:
                    await random_writes(one, dice, 20, state)
                for key in old:
                    await storage.delete(BUCKET, key)

            document = await write_until_there_are_runs(one, storage, state)
            dice = random.Random(5)
            storage.before_a_run_is_read = go_on_and_collect
            async with asyncio.timeout(PATIENCE), memory_client(storage) as other:
                assert storage.before_a_run_is_read is None
                assert await everything(other, NAMES) == state


async def test_parts_that_were_stored_are_not_stored_again_when_another_failed():
    class Failing(MemoryStorage):
        def __init__(self) -> None:
            super().__init__()
            self.put_of = Counter[str]()

        async def put(self, bucket: str, key: str, body: bytes, **options: Any) -> Any:
            self.put_of[key] += 1
            if len(self.put_of) == 3 and self.put_of[key] == 1:
                raise UnavailableError("not this one")
            return await super().put(bucket, key, body, **options)

    storage = Failing()
    runs = Runs(storage, BUCKET, MANIFEST, lambda: Moment(time.monotonic()))
    files = {f"key {number:02}": {"version": "v", "sha256": "0" * 64} for number in range(40)}
    with tiny(), pytest.raises(UnavailableError, match="not this one"):
        await runs.save(files)
    begun = len(storage.put_of)
    with tiny():
        saved = await runs.save(files)
    assert 3 <= begun < len(saved.references) == len(storage.put_of)  # no more were begun after the failure
    assert sorted(storage.put_of.values(), reverse=True)[:2] == [2, 1]


async def test_what_is_overdue_is_done_without_forgetting_what_was_done_already():
    runs = Runs(MemoryStorage(), BUCKET, MANIFEST, lambda: Moment(time.monotonic()))
    compactor = Compactor(runs, Environment())
    entry = {"version": "v", "sha256": "0" * 64}
    with tiny(SPILL=100):
        old = await runs.save({"a": {**entry, "expires": "1970-01-01T00:00:05Z"}, "b": entry})
        new = await runs.save({"c": entry})
        stack = (*old.references, *new.references)
        merged = await compactor._merge(stack, 10.0, stack)
        compactor._results.append(merged)
        files, left, expired = await compactor.apply({f"key {number}": entry for number in range(9)}, stack)
    assert files == {} and left[0] == merged[0].runs[0] and len(left) > 1
    assert expired == 10.0  # a was left out, and the document has to say so
    assert merged in compactor._results  # or its runs would be forgotten, and fetched when the commit is read


async def test_a_log_does_without_a_run_that_older_checkpoints_and_slots_do_not_need():
    storage, state = Watched(versioning=False), dict[str, Any]()
    with tiny():
        async with quick(storage) as one:
            await write_until_there_are_runs(one, storage, state)
        known = {key async for key in keys_before_the_newest(storage)}
        for run in (await storage.document())["runs"]:
            if run["key"] not in known:
                await storage.delete(BUCKET, run["key"])
        async with memory_client(storage) as fresh:
            assert await everything(fresh, NAMES) == state


async def keys_before_the_newest(storage):
    """The runs that older checkpoints name, and slots."""
    for name, key in await names_of(storage):
        document = await read(storage, key)
        if not name.is_checkpoint or document != await storage.document():
            for run in (*document.get("runs", ()), *document["update"].get("runs", ())):
                yield run["key"]


async def test_what_is_stored_again_is_verified_before():
    class Damaging(MemoryStorage):
        async def get(self, bucket, key, **options):
            found = await super().get(bucket, key, **options)
            return replace(found, body=bytes([found.body[0] ^ 1]) + found.body[1:])

    storage = Damaging()
    runs = Runs(storage, BUCKET, MANIFEST, lambda: Moment(time.monotonic()))
    saved = await runs.save({"a": {"version": "v", "sha256": "0" * 64}})
    runs.named()
    (reference,) = saved.references
    before = await MemoryStorage.get(storage, BUCKET, reference.key)
    with pytest.raises(CorruptionError):
        await runs.renew(saved)
    assert (await MemoryStorage.get(storage, BUCKET, reference.key)).body == before.body
