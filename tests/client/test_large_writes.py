"""`put_all` of very many keys does what it does with few."""

from __future__ import annotations

import asyncio
import gc
import json
from typing import Any

import pytest
from client.watch_reader import WatchReader
from helpers import BUCKET, COMMIT, Unreliable, eventually, memory_client, settle, soon

from mps3 import DELETE, MPS3, AccessError, MPS3Error, Ref, UnavailableError
from mps3.content.many import ManyValues, OwnNames, OwnPlaces
from mps3.content.value import PendingValue
from mps3.format.limits import MANY

COUNT = MANY + 100
VALUES: dict[str, Any] = {f"key/{number:04}": {"n": number} for number in range(COUNT)}


@pytest.fixture(params=["merge", "log"])
def storage(request):
    return Unreliable(versioning=request.param == "merge")


def shown(client: MPS3) -> dict[str, Any]:
    """What a client shows, without a request."""
    view, overlay = client._manifests[client._default].present()
    found = {name: file["value"] for name, file in view.items()}
    for name in overlay:
        content = overlay[name]
        found.pop(name, None)
        if content is not None:
            found[name] = json.loads(content.body)
    return found


def pending_of(client: MPS3) -> list[Any]:
    """The changes of the pending writes of a client."""
    return [pending.changes for pending in client._manifests[client._default]._outbox.all()]


async def test_all_keys_show_at_once_and_are_durable_together(storage):
    async with memory_client(storage) as ann, memory_client(storage) as bob:
        storage.hold("put")
        write = ann.put_all(VALUES)
        assert isinstance(pending_of(ann)[0], ManyValues)
        assert repr(write) == "<put_all 'key/0000', 'key/0001', 'key/0002' and 597 more, pending>"
        assert shown(ann) == VALUES
        await settle()
        assert shown(ann) == VALUES
        assert client_pending(ann) == 1
        assert shown(bob) == {}
        storage.release()
        commit = await write
        assert commit.versions.keys() == VALUES.keys() and len({*commit.versions.values()}) == COUNT
        assert client_pending(ann) == 0
        for client in (ann, bob):
            assert await client.get_all(prefix="key/") == VALUES
            assert (await client.history("key/0007"))[0].version == commit.versions["key/0007"]


def client_pending(client: MPS3) -> int:
    return client.status().pending


async def test_the_last_write_of_a_key_wins(storage):
    async with memory_client(storage) as ann, memory_client(storage) as bob:
        storage.hold("put")
        before = ann.put("key/0001", "before")
        first = ann.put_all(VALUES)
        between = ann.put_all({"key/0002": "between", "key/0003": DELETE, "other": 1})
        more = {f"more/{number}": number for number in range(COUNT)}
        second = ann.put_all({**{key: None for key in VALUES if key >= "key/0300"}, **more})
        after = ann.put("key/0400", "after")
        wanted = {
            **{key: value if key < "key/0300" else None for key, value in VALUES.items()},
            "key/0002": "between",
            "key/0400": "after",
            "other": 1,
            **more,
        }
        del wanted["key/0003"]
        assert shown(ann) == wanted
        await settle()
        assert shown(ann) == wanted
        storage.release()
        commits = [await write for write in (before, first, between, second, after)]
        assert len({commit.id for commit in commits}) == 5  # a large write is a commit of its own
        for client in (ann, bob):
            assert await client.get_all(prefix="") == wanted


async def test_keys_are_deleted_among_others(storage):
    async with memory_client(storage) as ann, memory_client(storage) as bob:
        await ann.put_all(VALUES)
        commit = await ann.put_all({**VALUES, "key/0001": DELETE, "new": 1})
        assert commit.versions["key/0001"] is None and commit.versions["new"]
        wanted = {**VALUES, "new": 1}
        del wanted["key/0001"]
        assert await bob.get_all(prefix="") == wanted == await ann.get_all(prefix="")
        await ann.put_all(dict.fromkeys(VALUES, DELETE))
        assert await bob.get_all(prefix="") == {"new": 1}


async def test_a_large_write_can_be_withdrawn(storage):
    async with memory_client(storage) as client:
        await client.put("key/0001", "before")
        storage.hold("put")
        first = client.put("slow", 1)
        await settle()
        write = client.put_all(VALUES)
        assert shown(client)["key/0001"] == {"n": 1}
        assert write.withdraw()
        assert shown(client)["key/0001"] == "before" and "key/0002" not in shown(client)
        storage.release()
        await first
        assert await client.keys() == ["key/0001", "slow"]


async def test_a_refused_one_is_taken_back(storage):
    async with memory_client(storage) as client:
        await client.put("key/0001", "before")
        storage.refuse(AccessError("access denied", bucket=BUCKET, operation="PutObject"))
        with pytest.raises(AccessError):
            await client.put_all(VALUES)
        assert shown(client) == {"key/0001": "before"}


async def test_it_is_sent_again_while_the_store_does_not_answer(storage):
    async with memory_client(storage) as client:
        await client.put("warm", 1)
        storage.refuse(UnavailableError("no answer", bucket=BUCKET, operation="PutObject"))
        write = client.put_all(VALUES)
        await eventually(lambda: client.statistics().retries)
        assert shown(client).keys() == {"warm", *VALUES}
        storage.up()
        commit = await soon(write)
        assert await client.get_all(prefix="key/") == VALUES
        assert len({*commit.versions.values()}) == COUNT


async def test_watches_and_subscriptions_show_it_once(storage):
    async with memory_client(storage) as client:
        await client.put("key/0001", "before")
        subscription = client.subscribe("key/0001")
        assert await anext(subscription) == "before"
        async with client.watch("key/000") as watch:
            reader = WatchReader(watch)
            assert (await reader.next()).end_of_initial
            storage.hold("put", COMMIT)
            write = client.put_all(VALUES)
            assert await soon(anext(subscription)) == {"n": 1}
            shown = await reader.next()
            assert [change.key for change in shown.changes] == [f"key/{number:04}" for number in range(10)]
            assert all(change.pending and change.value == VALUES[change.key] for change in shown.changes)
            storage.release()
            commit = await write
            batch = await reader.next()
            assert batch.id == commit.id and len(batch.changes) == 10
            assert all(not change.pending for change in batch.changes)


@pytest.mark.parametrize("bad", [object(), float("nan"), {1: 2}, 2**64, "\ud800", json.loads("[" * 300 + "]" * 300)])
async def test_what_is_not_json_is_named(storage, bad):
    async with memory_client(storage) as client:
        with pytest.raises((TypeError, ValueError), match="'key/0300'"):
            client.put_all({**VALUES, "key/0300": bad})
        assert client_pending(client) == 0
        assert await client.keys() == []


async def test_what_looks_like_the_mark_between_two_values_is_a_value():
    texts = {f"{number}": ["\n", ",\n,", '",\n,"', "é", "\0", number] for number in range(COUNT)}
    async with memory_client(Unreliable(versioning=False)) as client:
        await client.put_all(texts)
        assert await client.get_all(prefix="") == texts


@pytest.mark.parametrize(
    "special",
    [
        {"x" * 1024: 1},
        {"é" * 500: 1},
        {"\0s3://": 1},
        {"s3://a/b": 1},
        {Ref("k", "elsewhere"): 1},
        {"large": "x" * 5000},
        {"deep": json.loads("[" * 65 + "]" * 65)},
        {"tuple": (1, 2)},
    ],
)
async def test_keys_and_values_that_are_not_plain(special):
    storage = Unreliable(versioning=False)
    async with memory_client(storage) as ann, memory_client(storage) as bob:
        await ann.put_all({**VALUES, **special})
        ((key, value),) = special.items()
        for client in (ann, bob):
            assert await client.get(key) == (list(value) if isinstance(value, tuple) else value)
            assert await client.get_all(prefix="key/") == VALUES


@pytest.mark.parametrize(
    "key", ["", "\ud800", "x" * 1025, "manifest.json", "manifest.json.log/1", "manifest.json.runs/1"]
)
async def test_invalid_keys_are_refused(key):
    async with memory_client(Unreliable(versioning=False), "manifest.json") as client:
        with pytest.raises((ValueError, MPS3Error), match="key"):
            client.put_all({**VALUES, key: 1})
        with pytest.raises(TypeError):
            client.put_all({**VALUES, 7: 1})
        assert client_pending(client) == 0


async def test_what_is_kept_or_expires_is_written_as_before(tmp_path):
    storage = Unreliable(versioning=False)
    async with memory_client(storage, offline=tmp_path) as client:
        write = client.put_all(VALUES)
        assert not isinstance(pending_of(client)[0], ManyValues)
        await write
        assert await client.get_all(prefix="key/") == VALUES
    async with memory_client(storage) as client:
        await client.put_all(dict.fromkeys(VALUES, 1), expires_in=3600)
        assert await client.get_all(prefix="key/") == dict.fromkeys(VALUES, 1)


async def test_there_is_no_object_for_each_key():
    async with memory_client(Unreliable(versioning=False)) as client:
        gc.collect()
        before = objects()
        write = client.put_all(VALUES)
        assert objects() < before + 100
        await write
        gc.collect()
        assert objects() < before + 100


def objects() -> int:
    """How many values are objects."""
    return sum(isinstance(one, PendingValue) for one in gc.get_objects())


def test_a_value_is_always_the_same_object():
    values = ManyValues(BUCKET, {"a": b"1", "b": None}, ())
    a = values["a"]
    assert a is not None and values["a"] is a and values["b"] is None and "c" not in values
    assert a.version is None and not values.is_ready
    values.set_versions(["a", "b"], iter(["1"]))
    assert a.version == "1" and values.versions == {"a": "1", "b": None} and values.is_ready
    assert values.patch("b") is None
    with pytest.raises(KeyError):
        values["c"]
    for mapping in (OwnNames(values), OwnPlaces(BUCKET, values)):
        assert list(mapping) == ["a", "b"] and len(mapping) == 2
        with pytest.raises(KeyError):
            mapping["c"]
    assert OwnNames(values)["a"] == "a" and OwnPlaces(BUCKET, values)["a"] == (BUCKET, "a")


async def test_the_loop_goes_on_meanwhile():
    many = {f"key/{number:06}": number for number in range(30_000)}
    async with memory_client(Unreliable(versioning=False)) as client:
        write = asyncio.ensure_future(_awaited(client.put_all(many)))
        turns = 0
        while not write.done():
            await asyncio.sleep(0)
            turns += 1
        assert turns > 30
        assert (await client.get_all(prefix="key/")) == many


async def _awaited(write: Any) -> Any:
    return await write
