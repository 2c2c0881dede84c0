"""Small values are part of the commit, and no objects of their own; with each journal, over S3."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from typing import Any

import pytest
from commits import is_slot
from helpers import (
    BUCKET,
    COMMIT,
    MANIFEST,
    Clock,
    Unreliable,
    client,
    eventually,
    memory_client,
    settle,
    soon,
    stored_manifest,
)

from mps3 import DELETE, MPS3, ConflictError, FormatError, MemoryStorage, Ref, UnavailableError
from mps3.format import limits
from mps3.format.names import LOG_SUFFIX
from mps3.journal import levels

VALUES: list[Any] = [
    None,
    True,
    0,
    -1.5,
    "",
    "x" * 1022,
    [],
    {},
    {"value": None},
    {"expires": "never", "a": {"b": [None]}},
]
DEEP: Any = json.loads("[" * 65 + "]" * 65)


@pytest.fixture(params=["merge", "log"])
def storage(request):
    return Unreliable(versioning=request.param == "merge")


@pytest.fixture(params=["merge", "log"])
def place(request, usable_bucket):
    return usable_bucket("Enabled" if request.param == "merge" else None)


def keys_in(s3: Any, bucket: str) -> list[str]:
    """The keys in a bucket, but for those of slots and checkpoints."""
    keys = [one["Key"] for one in s3.list_objects_v2(Bucket=bucket).get("Contents", ())]
    return [key for key in keys if not key.startswith(MANIFEST + LOG_SUFFIX)]


def asked(storage: Unreliable) -> Counter[str]:
    """How often which operation was asked for which object; a slot is called as the manifest is."""
    return Counter(f"{operation} {named(key)}" for operation, key in storage.calls)


def named(key: str) -> str:
    return MANIFEST if is_slot(key) else key.partition("@")[0]


@pytest.mark.server
async def test_there_is_nothing_but_the_manifest(place, s3, s3_config):
    async with client(place, s3_config) as one, client(place, s3_config) as two:
        for value in VALUES:
            commit = await one.put("k", value)
            assert await two.get("k", "absent") == value
            (revision,) = await two.history("k", limit=1)
            assert (revision.version, await revision.value()) == (commit.versions["k"], value)
            (info,) = await (await two.snapshot()).files()
            assert (info.version, info.size) == (commit.versions["k"], len(json.dumps(value, separators=(",", ":"))))
        assert await two.get_all() == {"k": VALUES[-1]}
        assert keys_in(s3, place) == [MANIFEST]
        await one.delete("k")
        assert await two.get("k", "absent") == "absent"


@pytest.mark.server
async def test_with_zero_every_value_is_an_object(place, s3, s3_config):
    async with client(place, s3_config, inline=0) as one, client(place, s3_config) as two:
        await one.put("k", 1)
        assert await two.get("k") == 1
        assert sorted(key.partition("@")[0] for key in keys_in(s3, place)) == ["k", MANIFEST]


async def test_what_is_an_object_all_the_same(storage):
    async with memory_client(storage) as one:
        storage.calls.clear()
        await one.put("small", "x" * 1022)
        await one.put("large", "x" * 1023)
        await one.put("deep", DEEP)
        await one.put("named", 1, bucket=BUCKET)
        await one.put(Ref("by ref", BUCKET), 1)
        await one.put(Ref("no bucket"), 1)
        async with one.transaction() as transaction:
            transaction.put("in a transaction", 1)
            transaction.put("named in one", 1, bucket=BUCKET)
        files = {info.key: info for info in await (await one.snapshot()).files()}
        puts = {named(key) for operation, key in storage.calls if operation == "put"}
        assert puts == {MANIFEST, "large", "deep", "named", "by ref", "named in one"}
        assert await one.get_all() == {
            "small": "x" * 1022, "large": "x" * 1023, "deep": DEEP, "named": 1, "by ref": 1, "no bucket": 1,
            "in a transaction": 1, "named in one": 1,
        }  # fmt: skip
        assert all(info.sha256 for info in files.values())


@pytest.mark.parametrize(
    ("inline", "error"), [(-1, ValueError), (65_537, ValueError), (1.0, TypeError), (True, TypeError), ("1", TypeError)]
)
def test_it_is_a_number_of_bytes(inline, error):
    with pytest.raises(error, match="inline"):
        MPS3(BUCKET, storage=MemoryStorage(), inline=inline)


async def test_it_can_be_given_with_a_url(tmp_path):
    async with MPS3.from_url(f"file://{tmp_path}/store", inline=65_536) as one:
        await one.put("first", 0)
        before = one.statistics().requests["PutObject"]
        await one.put("k", "x" * 60_000)
        assert await one.get("k") == "x" * 60_000
        assert one.statistics().requests["PutObject"] == before + 1


async def test_an_awaited_put_is_one_request_more_than_the_manifest_needs(storage):
    async with memory_client(storage, poll_interval=30) as one:
        await one.put("k", 0)
        storage.calls.clear()
        await one.put("k", 1)
        merge = storage._versioning
        assert asked(storage) == {f"put {MANIFEST}": 1, **({f"versions {MANIFEST}": 1} if merge else {})}


async def test_reading_makes_no_requests_for_values(storage):
    async with memory_client(storage) as one, memory_client(storage, poll_interval=30) as two:
        values = {f"k/{number:03}": {"number": number} for number in range(400)}
        await one.put_all(values)
        storage.calls.clear()
        assert await two.get_all() == values
        assert not [key for _, key in storage.calls if not key.startswith(MANIFEST)]
        assert len(storage.calls) <= 3
        async with two.watch() as changes:
            assert {change.key: change.value async for change in _first(changes, 400)} == values


async def _first(changes: Any, number: int) -> Any:
    seen = 0
    async for batch in changes:
        for change in batch.changes:
            yield change
            seen += 1
        if seen >= number:
            return


async def test_a_value_that_is_read_may_be_changed_in_place(storage):
    async with memory_client(storage) as one:
        await one.put("k", {"list": [1]})
        found: Any = await one.get("k")
        found["list"].append(2)
        assert await one.get("k") == {"list": [1]}
        given: Any = {"list": [3]}
        write = one.put("k", given)
        given["list"].append(4)
        await write
        assert await one.get("k") == {"list": [3]}


async def test_an_object_replaces_the_one_before_and_does_not_merge(storage):
    async with memory_client(storage) as one, memory_client(storage) as two:
        await one.put("k", {"a": 1, "b": {"c": 2}})
        await two.put("k", {"b": {"d": 3}})
        await one.put("other", None)
        assert await one.get("k") == {"b": {"d": 3}}
        async with memory_client(storage) as three:
            assert await three.get("k") == {"b": {"d": 3}} and await three.get("other", "absent") is None


async def test_a_key_may_change_between_inline_and_stored(storage):
    large = "x" * 2000
    async with memory_client(storage) as one, memory_client(storage) as two:
        for value in (1, large, 2, large, None, large, DELETE, 3):
            await one.put("k", value)
            expected = "absent" if value is DELETE else value
            assert await one.get("k", "absent") == await two.get("k", "absent") == expected
            for info in await (await two.snapshot()).files():
                assert info.size == len(json.dumps(value))
        history = [await revision.value() for revision in await one.history("k")]
        assert history[:8] == [3, DELETE, large, None, large, 2, large, 1]


@pytest.mark.usefixtures("mps3_clock")
async def test_a_version_is_that_of_its_commit_and_can_be_expected(storage):
    async with memory_client(storage) as one, memory_client(storage) as two:
        first = (await one.put("k", 1)).versions["k"]
        assert await two.get("k") == 1
        second = (await two.put("k", 1, if_version=first)).versions["k"]
        assert first != second and first is not None
        with pytest.raises(ConflictError):
            await one.put("k", 3, if_version=first)
        assert await one.get("k") == 1
        assert (await one.put("k", 4, if_version=second)).versions["k"] not in (first, second)
        async with two.watch("k") as changes:
            (change,) = (await anext(changes)).changes
            assert change.value == 4 and change.version == (await two.history("k"))[0].version
        await asyncio.gather(*(side.update("n", lambda n: n + 1, 0) for side in (one, two) for _ in range(3)))
        assert await one.get("n") == 6


async def test_many_versions_are_all_different(storage):
    async with memory_client(storage) as one, memory_client(storage) as two:
        made = await asyncio.gather(*(side.put(f"k{number}", 0) for side in (one, two) for number in range(200)))
        versions = [version for commit in made for version in commit.versions.values()]
        assert len(set(versions)) == 400 and max(map(len, versions)) <= 20


async def test_a_lost_answer_makes_it_count_once_with_its_version(storage):
    put = storage.put
    lost = 1

    async def lose(bucket: str, key: str, body: bytes, **options: Any) -> Any:
        nonlocal lost
        stored = await put(bucket, key, body, **options)
        if storage.is_meant(COMMIT, key) and lost:
            lost -= 1
            raise UnavailableError("lost", maybe_written=True)
        return stored

    async with memory_client(storage) as one:
        await one.put("k", 0)
        storage.put = lose  # type: ignore[method-assign]
        commit = await soon(one.put("k", 1))
        (revision, *_) = await one.history("k")
        assert revision.version == commit.versions["k"] and await one.get("k") == 1


# Bounds


@pytest.mark.parametrize("value", ["x" * 1000, [0] * 500], ids=["text", "parts"])
async def test_many_values_of_one_commit_are_a_run(storage, value):
    """More than 64 KiB of them, or so many parts that some dozens of commits could not be read together."""
    async with memory_client(storage) as one, memory_client(storage) as two:
        await one.put("before", 0)
        storage.calls.clear()
        values = {f"k{number}": value for number in range(100)}
        await one.put_all(values)
        puts = Counter(named(key).rpartition("/")[0] for operation, key in storage.calls if operation == "put")
        assert puts == {"manifest.json.runs": 1, "": 1}
        assert await two.get_all(prefix="k") == values
        await one.put("k1", None)
        assert await two.get("k1", "absent") is None


async def test_the_log_stays_small_however_much_is_written(storage):
    """It is sent with each commit."""
    async with memory_client(storage) as one, memory_client(storage) as two:
        for number in range(60):
            await one.put_all({f"k{number}/{other}": "x" * 1000 for other in range(20)})
        assert len(json.dumps(await stored_manifest(storage))) < 64 * 2**10 + 32 * 2**10 + levels.OVERDUE * levels.SPILL
        assert len(await two.get_all()) == 1200


@pytest.mark.usefixtures("mps3_clock")
async def test_settled_values_become_runs(storage, monkeypatch):
    monkeypatch.setattr(levels, "SPILL", 2000)
    monkeypatch.setattr(levels, "CHECKPOINT", 2000)
    monkeypatch.setattr(levels, "CHECKPOINT_OVER_RUNS", 2000)
    monkeypatch.setattr("mps3.journal.merge.journal.MergeJournal.__init__.__kwdefaults__", {"window": 0.05})
    monkeypatch.setattr("mps3.journal.log.tail.EVERY", 4)
    monkeypatch.setattr("mps3.journal.log.checkpoints.KEPT", 4)
    expected: dict[str, Any] = {}
    async with memory_client(storage) as one:
        number = 0
        while number < 60 or not any(key.startswith("manifest.json.runs/") for _, key in storage.calls):
            value = VALUES[number % len(VALUES)]
            await soon(one.put(f"k{number % 23}", value))
            expected[f"k{number % 23}"] = value
            number += 1
            await asyncio.sleep(0.01)
        async with memory_client(storage) as two:
            assert await two.get_all() == expected
            assert {info.size for info in await (await two.snapshot()).files()} <= {
                len(json.dumps(one, separators=(",", ":"))) for one in VALUES
            }


async def test_concurrent_writers_of_many_parts_can_all_go_on():
    """What each of them may write alone can be read together."""
    storage = Unreliable()
    clients = [memory_client(storage, poll_interval=30) for _ in range(24)]
    for one in clients:
        await one.__aenter__()
    storage.hold("put", COMMIT)
    writes = [one.put_all({f"{place}/{number}": [0] * 400 for number in range(9)}) for place, one in enumerate(clients)]
    await settle()
    storage.release()
    await soon(asyncio.gather(*(_done(write) for write in writes)))
    async with memory_client(storage) as reader:
        assert len(await reader.get_all()) == 24 * 9
        await reader.put("after", 1)
    await asyncio.gather(*(one.aclose() for one in clients))


async def _done(write: Any) -> Any:
    return await write


# What else there is


async def test_the_time_of_an_inline_value_begins_when_its_commit_leaves():
    clock = Clock()
    storage = Unreliable(clock=clock)
    async with memory_client(storage) as one, memory_client(storage) as two:
        await one.put("first", 0)
        storage.down()
        write = one.put("k", 1, expires_in=60)
        await asyncio.sleep(0.2)
        clock.later(300)
        storage.up()
        commit = await soon(write)
        await eventually(lambda: two.get("k"))
        (info,) = await (await two.snapshot()).files("k")
        assert info.version == commit.versions["k"]
        assert 40 < info.expires.timestamp() - time.time() - 300 <= 61
        clock.later(62)
        await two.put("other", 0)
        assert await two.get("k", "gone") == "gone"


async def test_offline_from_the_start_the_store_is_asked_for_the_time(tmp_path):
    storage = Unreliable()
    async with memory_client(storage, offline=tmp_path) as one:
        await one.put("first", 0)
    async with memory_client(storage, offline=tmp_path, online=False) as one:
        write = one.put("k", 1, expires_in=60)
        one.go_online()
        await soon(write)
        (info,) = await (await one.snapshot()).files("k")
        assert info.expires is not None and await one.get("k") == 1


async def test_offline_values_are_there_after_a_restart_and_sent_inline(tmp_path):
    storage = Unreliable()
    async with memory_client(storage, offline=tmp_path) as one:
        await one.put_all({"a": None, "b": {"c": 1}})
    async with memory_client(storage, offline=tmp_path, online=False) as one:
        assert await one.get_all() == {"a": None, "b": {"c": 1}}
        one.put("b", {"d": 2})
        await one.put("named", 3, bucket=BUCKET).kept()
    storage.calls.clear()
    async with memory_client(storage, offline=tmp_path) as one:
        await eventually(lambda: one.status().pending == 0)
        assert {named(key) for operation, key in storage.calls if operation == "put"} == {"named", MANIFEST}
        assert await one.get_all() == {"a": None, "b": {"d": 2}, "named": 3}


async def test_restoring_and_the_past(storage):
    async with memory_client(storage) as one:
        first = await one.put_all({"a": {"x": 1}, "b": None})
        await one.put_all({"a": {"y": 2}, "b": DELETE, "c": "x" * 2000})
        assert await one.get("a", at=first.id) == {"x": 1}
        storage.calls.clear()
        assert await one.restore_all(first.id) is not None
        assert {named(key) for operation, key in storage.calls if operation == "put"} == {MANIFEST}
        assert await one.get_all() == {"a": {"x": 1}, "b": None}
        assert await one.restore_all(first.id) is None


async def test_collecting_finds_nothing_of_inline_values():
    clock = Clock()
    storage = Unreliable(clock=clock)
    async with memory_client(storage) as one:
        for number in range(3):
            await one.put("k", number)
        await one.put("l", "x" * 2000)
        await one.put("l", 1)
        clock.later(20 * 86_400)
        await one.put("m", 1)
        found = await one.collect(retention=0)
        assert (found.values.deleted, found.values.kept) == (1, 0)
        assert await one.get_all() == {"k": 2, "l": 1, "m": 1}


async def test_a_manifest_of_the_first_format_is_refused(storage):
    async with memory_client(storage) as one:
        await one.put("k", 1)
    document = await stored_manifest(storage)
    await storage.put(BUCKET, MANIFEST, json.dumps({**document, "mps3": 1}).encode())
    with pytest.raises(FormatError, match="format 1, this client reads format 2"):
        await memory_client(storage).__aenter__()


def test_the_default_is_below_the_limit():
    assert limits.INLINE > 1024
