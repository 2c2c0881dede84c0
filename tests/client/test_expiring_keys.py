"""Keys that expire, for clients that write and read them."""

from __future__ import annotations

import asyncio
import random
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any
from unittest.mock import patch

import orjson
import pytest
from client.watch_reader import present
from commits import read, settled_document
from helpers import (
    BUCKET,
    COMMIT,
    MANIFEST,
    StoreWithClock,
    Unreliable,
    client,
    eventually,
    memory_client,
    soon,
)
from simulation.loop import run
from simulation.stored_runs import files_in
from storage.clockless import ClocklessStorage

from mps3 import DELETE, MPS3, ConfigurationError, ConflictError, CorruptionError, UnavailableError
from mps3.collect.options import GRACE
from mps3.format.document import CommitEntry
from mps3.format.schema import format_time
from mps3.format.slot import slot_key
from mps3.journal import levels
from mps3.journal.log import checkpoints, tail
from mps3.journal.merge.validation import evaluate
from mps3.storage import Object
from mps3.support.environment import Environment

HOUR = 3600.0


@pytest.fixture(params=["merge", "log"])
def storage(request):
    return StoreWithClock(versioning=request.param == "merge")


def file(version: str, expires: float | None = None) -> dict[str, Any]:
    return {"version": version, "size": 1, **({} if expires is None else {"expires": format_time(expires)})}


# Reading --------------------------------------------------------------------------------------------------------------


async def test_an_expired_key_is_absent_for_everyone(storage):
    async with memory_client(storage) as ann, memory_client(storage) as bob:
        await ann.put_all({"k": 1, "s": 2}, expires_in=timedelta(seconds=30))
        await ann.put("stays", 3)
        assert await bob.get_all() == {"k": 1, "s": 2, "stays": 3}
        storage.later(29)
        assert await bob.keys() == ["k", "s", "stays"]
        storage.later(1.1)
        for one in (ann, bob):
            assert await one.get("k", "absent") == "absent"
            assert await one.keys() == ["stays"]
            assert await one.get_all() == {"stays": 3}
            assert await one.get_all(["k", "stays"]) == {"stays": 3}
            assert await (await one.snapshot()).keys() == ["stays"]
        async with memory_client(storage) as late:
            assert await late.keys() == ["stays"]
            assert await soon(anext(late.subscribe("k", "absent"))) == "absent"


async def test_without_any_writer_alive(storage):
    async with memory_client(storage) as ann:
        await ann.put("k", 1, expires_in=30)
    async with memory_client(storage) as bob:
        values, batches = bob.subscribe("k", "absent"), bob.watch()
        assert await soon(anext(values)) == 1
        assert (await soon(anext(batches))).changes[0].value == 1
        storage.later(31)
        assert await soon(anext(values)) == "absent"
        batch = await soon(anext(batches))
        assert (batch.id, [(change.key, change.value, change.version) for change in batch.changes]) == (
            None,
            [("k", DELETE, None)],
        )


async def test_renewal_is_no_change_but_of_the_version(storage):
    async with memory_client(storage) as ann, memory_client(storage) as bob:
        await ann.put("k", 1, expires_in=30)
        values, batches = bob.subscribe("k", "absent"), bob.watch()
        seen, told = [await soon(anext(values))], [await soon(anext(batches))]
        for _ in range(5):
            storage.later(25)
            await ann.put("k", 1, expires_in=30)
            seen.append(await soon(anext(values)))
            told.append(await soon(anext(batches)))
        assert seen == [1] * 6
        assert [change.value for batch in told for change in batch.changes] == [1] * 6
        await ann.put("k", 2)  # and now it stays
        assert await soon(anext(values)) == 2
        assert [change.value for change in (await soon(anext(batches))).changes] == [2]
        storage.later(HOUR)
        assert await bob.get("k") == 2


async def test_a_plain_put_takes_the_time_away_whoever_came_first(storage):
    async with memory_client(storage) as ann, memory_client(storage) as bob:
        await asyncio.gather(ann.put("k", 1, expires_in=30), bob.put("k", 2))
        winner = await ann.get("k")
        storage.later(31)
        assert await bob.get("k", "absent") == (2 if winner == 2 else "absent")


async def test_the_past_is_judged_by_its_own_time(storage):
    async with memory_client(storage) as one:
        first = await one.put("k", 1, expires_in=30)
        between = datetime.fromtimestamp(storage.clock() + 5, timezone.utc)
        storage.later(10)
        second = await one.put("other", 2)
        storage.later(30)
        third = await one.put("other", 3)
        assert await one.get("k", "absent", at=first.id) == 1
        assert await one.get("k", "absent", at=second.id) == 1
        assert await one.get("k", "absent", at=between) == 1
        assert await one.get("k", "absent", at=third.id) == "absent"
        assert await (await one.snapshot(third.id)).keys() == ["other"]
        assert await (await one.snapshot(second.id)).keys() == ["k", "other"]
        (revision,) = await one.history("k")
        assert await revision.value() == 1
        assert revision.expires is not None and revision.time is not None
        assert timedelta(seconds=29) < revision.expires - revision.time < timedelta(seconds=31)
        (*_, other) = await one.history("other")
        assert other.expires is None
        await one.restore("k", revision)
        assert await one.get("k", "absent") == "absent"


async def test_deleting_needs_no_time(storage):
    async with memory_client(storage) as one:
        await one.put("k", 1, expires_in=30)
        await one.put("k", DELETE, expires_in=30)
        await one.put_all({"k": DELETE, "l": 1}, expires_in=30)
        assert await one.keys() == ["l"]


# Writing --------------------------------------------------------------------------------------------------------------


async def test_the_time_counts_from_when_a_value_was_stored_last_before_its_commit(storage):
    async with memory_client(storage) as one:
        await one.put("other", 1)
        storage.refuse(UnavailableError("not now"), key=COMMIT)
        write = one.put("k", 1, expires_in=30)
        await eventually(lambda: storage.count("put", COMMIT) > 1)
        storage.later(HOUR)
        storage.up()
        await soon(write)
        assert await one.get("k") == 1
        storage.later(31)
        assert await one.get("k", "absent") == "absent"


async def test_a_store_that_tells_no_time_keeps_nothing_that_expires():
    class Timeless(ClocklessStorage):
        def __init__(self) -> None:
            super().__init__()
            self._storage._versioning = False
            put = self._storage.put

            async def put_without_stamp(*arguments, **options):
                stored = await put(*arguments, **options)
                return type(stored)(stored.version, stored.etag, None)

            get = self._storage.get

            async def get_without_stamp(*arguments, **options):
                found = await get(*arguments, **options)
                return replace(found, modified=None) if isinstance(found, Object) else found

            self.put, self.get = put_without_stamp, get_without_stamp

    async with MPS3(BUCKET, storage=Timeless()) as one:
        with pytest.raises(ConfigurationError, match="does not tell the time"):
            await one.put("k", 1, expires_in=30)
        await one.put("k", 1)


async def test_a_store_without_a_clock_is_judged_by_its_stamps():
    storage = ClocklessStorage()
    now = [1000.0]
    storage._storage._clock = lambda: now[0]
    async with MPS3(BUCKET, storage=storage, poll_interval=0.05) as one:
        await one.put("k", 1, expires_in=30)
        now[0] += 31
        assert await one.get("k") == 1  # nobody has said so
        await one.put("other", 1)
        assert await one.get("k", "absent") == "absent"


async def test_what_expired_long_ago_is_left_out_and_collected(storage):
    with patch.object(tail, "EVERY", 3), patch.object(checkpoints, "KEPT", 3):
        async with memory_client(storage) as one:
            await one.put("k", 1, expires_in=30)
            await one.put("stays", 1, expires_in=10 * 24 * HOUR)
            storage.later(31)
            for number in range(8):
                storage.later(10)
                await one.put("other", number)

            async def left_out() -> bool:
                return set((await settled_document(storage)).get("files", ())) == {"stays", "other"}

            await eventually(left_out)
            assert await one.keys() == ["other", "stays"]
            storage.later(2 * GRACE.total_seconds() + HOUR)
            await one.put("other", 9)
            await one.collect(retention=0)
            assert not [name for name in storage._buckets[BUCKET] if name.partition("@")[0] == "k"]
            assert await one.get("stays") == 1


async def test_what_expired_in_runs_is_left_out_when_they_are_merged(storage):
    with (
        patch.multiple(levels, SPILL=300, CHECKPOINT=300, CHECKPOINT_OVER_RUNS=300, FANOUT=2, PART=2**20, LARGE=2**20),
        patch.object(tail, "EVERY", 3),
        patch.object(checkpoints, "KEPT", 3),
    ):
        async with memory_client(storage) as one:
            for number in range(12):
                await one.put(f"k/{number}", number, expires_in=30)
                await one.put(f"stays/{number}", number)
                storage.later(8)

            kept = [row for key, rows in storage._buckets[BUCKET].items() if ".runs/" in key for row in rows.values()]
            assert any(file and "expires" in file for row in kept for file in files_in(row.body).values())

            async def left_out() -> bool:
                storage.later(10)
                for _ in range(4):
                    await one.put(f"other/{storage.clock()}", 1)
                runs = (await settled_document(storage)).get("runs", ())
                found = [files_in((await storage.get(BUCKET, run["key"])).body) for run in runs]
                said = [file for files in found for file in files.values()]
                return len(said) > 0 and not any(file and "expires" in file for file in said)

            await eventually(left_out)
            assert [key for key in await one.keys() if key[0] != "o"] == sorted(f"stays/{n}" for n in range(12))
            assert (await settled_document(storage))["expired"]


async def test_other_manifests_and_buckets(storage):
    async with memory_client(storage) as one:
        await one.put("k", 1, expires_in=30, bucket="media", manifests=["a.json", "b.json"])
        storage.later(31)
        for manifest in ("a.json", "b.json"):
            assert await one.get("k", "absent", bucket="media", manifest=manifest) == "absent"


@pytest.mark.parametrize("versioning", ["Enabled", None], ids=["merge", "log"])
@pytest.mark.server
async def test_on_a_server(s3_config, usable_bucket, versioning):
    bucket = usable_bucket(versioning)
    async with client(bucket, s3_config) as ann, client(bucket, s3_config) as bob:
        values, watch = bob.subscribe("k", "absent"), bob.watch()
        assert await soon(anext(values)) == "absent"
        await present(watch)
        await ann.put("k", 1, expires_in=2)
        assert await soon(anext(values)) == 1
        assert (await soon(anext(watch))).changes[0].value == 1
        assert await soon(anext(values)) == "absent"
        assert (await soon(anext(watch))).changes[0].value is DELETE
        assert await bob.keys() == []

        async def gone() -> bool:
            return await ann.get("k", "absent") == "absent"

        await eventually(gone)  # two clients know the server's clock to a second, not better


@pytest.mark.parametrize("versioning", [True, False], ids=["merge", "log"])
def test_a_lease_passes_on_when_it_has_expired(versioning):
    async def main() -> None:
        loop = asyncio.get_running_loop()
        storage = Unreliable(versioning=versioning, clock=lambda: 1_700_000_000.0 + loop.time())
        clients = [
            MPS3(BUCKET, storage=storage, environment=Environment(random.Random(name))) for name in ("ann", "bob")
        ]
        async with clients[0] as ann, clients[1] as bob:
            lease = await ann.put("leader", "ann", expires_in=30, if_version=None)
            with pytest.raises(ConflictError):
                await bob.put("leader", "bob", expires_in=30, if_version=None)
            await asyncio.sleep(15)
            version = lease.versions["leader"]
            renewed = await ann.put("leader", "ann", expires_in=30, if_version=version)
            await asyncio.sleep(20)
            with pytest.raises(ConflictError):
                await bob.put("leader", "bob", expires_in=30, if_version=None)
            await asyncio.sleep(20)
            await bob.put("leader", "bob", expires_in=30, if_version=None)
            with pytest.raises(ConflictError):
                await ann.put("leader", "ann", expires_in=30, if_version=renewed.versions["leader"])
            assert await ann.get("leader") == "bob"

            async with ann.transaction() as transaction:
                assert await transaction.get("leader") == "bob"
                transaction.put("seen", 1, expires_in=10)
            await asyncio.sleep(40)
            assert await ann.update("leader", lambda value: [value], "nobody") == ["nobody"]
            assert await bob.get_all() == {"leader": ["nobody"]}

    outcome = run(main)
    if outcome.error is not None:
        raise outcome.error
    assert not outcome.complaints


@pytest.mark.parametrize("versioning", [True, False], ids=["merge", "log"])
def test_who_listens_is_woken_at_that_time_and_not_at_the_next_poll(versioning):
    async def main() -> None:
        loop = asyncio.get_running_loop()
        storage = Unreliable(versioning=versioning, clock=lambda: 1_700_000_000.0 + loop.time())
        options = {"storage": storage, "poll_interval": 1000.0}
        async with MPS3(BUCKET, **options, environment=Environment(random.Random("ann"))) as ann:
            await ann.put("k", 1, expires_in=500)
        ended = loop.time() + 500
        async with MPS3(BUCKET, **options, environment=Environment(random.Random("bob"))) as bob:
            values, watch = bob.subscribe("k", "absent"), bob.watch()
            assert await anext(values) == 1
            await present(watch)
            asked = len(storage.calls)
            assert await anext(values) == "absent"
            assert (await anext(watch)).changes[0].value is DELETE
            assert ended - 0.1 < loop.time() < ended + 0.1
            assert len(storage.calls) - asked < 10  # while nothing happens, ever fewer polls; and nothing for this
        async with MPS3(BUCKET, **options, environment=Environment(random.Random("cid"))) as cid:
            assert await cid.keys() == []

    outcome = run(main)
    if outcome.error is not None:
        raise outcome.error
    assert not outcome.complaints


def test_a_transaction_is_judged_by_its_own_time():
    def transaction(version: str, modified: float, expected: str | None) -> CommitEntry:
        return CommitEntry(
            version, 1, version, modified, None, {"files": {"seen": {"version": version}}, "expect": {"k": expected}}
        )

    def counting(*entries: CommitEntry, below=lambda name: file("v", 1000.0)) -> list[str]:
        return [entry.version for entry in evaluate(entries, {}, below, {})[1]]

    before, after = 999.999, 1000.0
    assert counting(transaction("a", before, "v"), transaction("b", before, None)) == ["a"]
    assert counting(transaction("a", after, "v"), transaction("b", after, None)) == ["b"]
    # What was left out since is the same.
    assert counting(transaction("a", after, "v"), transaction("b", after, None), below=lambda name: None) == ["b"]
    renewal = CommitEntry("r", 1, "r", before, None, {"files": {"k": file("w", 2000.0)}})
    assert counting(renewal, transaction("a", after, "w"), transaction("b", after, None)) == ["r", "a"]


@pytest.mark.parametrize("expires", [5, "soon", "2026-01-31T12:00:00", "", {}, "9999-12-31T23:59:59.999-23:59", None])
async def test_a_time_that_is_none_is_refused(storage, expires):
    async with memory_client(storage) as one:
        await one.put("k", 1, expires_in=60)
        key = MANIFEST if storage._versioning else slot_key(MANIFEST, 1)
        found = await read(storage, key)
        found["update"]["files"]["k"]["expires"] = expires
        if expires is None:  # in settled files there is nothing to take away
            found["files"] = {"j": {"version": "1", "expires": None}}
        await storage.put(BUCKET, key, orjson.dumps(found))
    with pytest.raises(CorruptionError, match="expires"):
        async with memory_client(storage) as one:
            await one.get("k")
