"""A bucket in which somebody else has written, who means ill: clients go on, and nothing is lost."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import orjson
import pytest
from commits import last_slot, names_of, read, settled_document
from helpers import AWKWARD_KEYS, BUCKET, MANIFEST, Clock, eventually, memory_client, soon

from mps3 import MPS3, AccessError, ConfigurationError, CorruptionError, MemoryStorage, Ref, UnavailableError
from mps3.content.owner_metadata import owner_metadata
from mps3.format.names import Names, name_in
from mps3.format.run_reference import encode_reference
from mps3.format.run_writer import encode_runs
from mps3.format.slot import LAST, checkpoint_key, slot_key
from mps3.storage import ABSENT

SHA256 = hashlib.sha256(b"1").hexdigest()
versioning = pytest.mark.parametrize("versioning", [True, False])


async def forge(storage: MemoryStorage, change: Callable[[dict[str, Any]], object], manifest: str = MANIFEST) -> None:
    """Write the head, or the last slot of a log, once more with a change, as anybody can who may write to the bucket."""
    number = await last_slot(storage, manifest)
    document = await read(storage, slot_key(manifest, number) if number else manifest)
    change(document)
    key = slot_key(manifest, number + 1) if number else manifest
    await MemoryStorage.put(storage, BUCKET, key, orjson.dumps(document))


async def forge_checkpoint(one: MPS3, storage: MemoryStorage, change: Callable[[dict[str, Any]], object]) -> None:
    """Let a client of a log write a checkpoint, and change it."""
    await one._manifests[one._default]._state.journal._checkpoints.write()
    key = [key for name, key in await names_of(storage) if name.is_checkpoint][-1]
    document = await read(storage, key)
    change(document)
    await MemoryStorage.put(storage, BUCKET, key, orjson.dumps(document))


async def everything(storage: MemoryStorage) -> dict[str, Any]:
    """What a new client reads."""
    async with memory_client(storage) as fresh:
        return await soon(fresh.get_all())


# Commits in the name of somebody else ----------------------------------------------------------------------------------


@versioning
@pytest.mark.parametrize("far", [1, 10**6, 2**53 - 1])
@pytest.mark.parametrize("seen", [True, False])
async def test_a_forged_commit_of_a_live_session_makes_nothing_unreadable(versioning, far, seen):
    storage = MemoryStorage(versioning=versioning)
    async with memory_client(storage, poll_interval=0.05 if seen else 3600) as one:
        await soon(one.put("a", 1))

        def usurp(document: dict[str, Any]) -> None:
            document["sequence"] = min(document["sequence"] + far, 2**53 - 1)
            document["update"] = {"files": {"forged": {"version": "none", "sha256": SHA256, "size": 1}}}

        await forge(storage, usurp)
        if seen:
            await eventually(lambda: _names(one, "forged"))
        for number in range(3):
            await soon(one.put(f"after{number}", number))
            assert await soon(one.get(f"after{number}")) == number
        await soon(one.delete("forged"))
        assert {**await everything(storage), "a": 1} == {"a": 1, "after0": 0, "after1": 1, "after2": 2}


async def _names(one: MPS3, name: str) -> bool:
    return name in await one.keys()


async def test_a_forged_checkpoint_at_the_last_number_is_named_when_nothing_can_follow_it():
    storage = MemoryStorage(versioning=False)
    async with memory_client(storage) as one:
        await soon(one.put("a", 1))
        await one._manifests[one._default]._state.journal._checkpoints.write()
        (key,) = [key for name, key in await names_of(storage) if name.is_checkpoint]
        document = await read(storage, key)
    await MemoryStorage.put(
        storage, BUCKET, checkpoint_key(MANIFEST, LAST), orjson.dumps({**document, "sequence": LAST})
    )
    async with memory_client(storage) as fresh:
        assert await soon(fresh.get("a")) == 1
        with pytest.raises(ConfigurationError, match="a checkpoint there that no client writes") as caught:
            await soon(fresh.put("a", 2))
        assert not caught.value.maybe_written
    assert not [key for key in storage._buckets[BUCKET] if "-" in key]


async def test_a_root_that_was_deleted_beside_its_log_is_made_again():
    storage = MemoryStorage(versioning=False)
    async with memory_client(storage) as one:
        await soon(one.put("a", 1))
    await storage.delete(BUCKET, MANIFEST)
    async with memory_client(storage) as two:
        assert await soon(two.get("a")) == 1
        assert await storage.get(BUCKET, MANIFEST) is ABSENT  # who only reads writes nothing
        await soon(two.put("b", 2))
        assert (await read(storage, MANIFEST))["journal"] == "log"
    assert await everything(storage) == {"a": 1, "b": 2}


async def test_commits_that_follow_each_other_in_a_circle_have_an_order():
    storage = MemoryStorage()
    async with memory_client(storage) as one:
        await soon(one.put("a", 1))
        first = (await storage.versions(BUCKET, MANIFEST)).versions[0].version

        def usurp(document: dict[str, Any]) -> None:
            document["session"] = "somebody"
            document["previous"] = first
            document["log"] = [
                {
                    "session": "t",
                    "sequence": sequence,
                    "version": version,
                    "modified": "2026-01-01T00:00:00Z",
                    "previous": previous,
                    "update": {},
                }
                for sequence, version, previous in ((1, "x", "y"), (2, "y", "x"), (3, first, "x"))
            ]

        await forge(storage, usurp)
        await soon(one.put("b", 2))
    assert (await everything(storage))["b"] == 2


# Names that are none --------------------------------------------------------------------------------------------------

FILE = {"version": "1", "sha256": SHA256, "size": 1}
NO_NAMES = [
    "s3://x",
    "s3://",
    "s3:///key",
    "s3://bucket/",
    f"s3://{BUCKET}/plain",
    "k" * 2000,
    "s3://other/" + "k" * 2000,
    "s3://" + "b" * 2000 + "/key",
    "s3://../key",
    MANIFEST,
    f"{MANIFEST}.runs/x",
    "\U0001f600" * 257,
]


def name_in_files(document: dict[str, Any], names: list[str]) -> None:
    document["files"] = {**document["files"], **dict.fromkeys(names, FILE)}


def name_in_update(document: dict[str, Any], names: list[str]) -> None:
    document["session"], document["sequence"] = "somebody", 1
    document["update"] = {"files": dict.fromkeys(names, FILE)}


def name_in_log(document: dict[str, Any], names: list[str]) -> None:
    for entry in document["log"]:
        entry["update"].setdefault("files", {}).update(dict.fromkeys(names, FILE))


@versioning
@pytest.mark.parametrize("place", [name_in_files, name_in_update, name_in_log])
async def test_names_that_no_key_can_have_break_nothing(versioning, place, caplog):
    storage = MemoryStorage(versioning=versioning)
    async with memory_client(storage) as one, one.watch() as batches:
        await soon(one.put("a", 1))
        await soon(one.put("b", 2))
        if versioning or place is name_in_update:
            await forge(storage, lambda document: place(document, NO_NAMES))
        else:
            await forge_checkpoint(one, storage, lambda document: place(document, NO_NAMES))
        async with memory_client(storage) as fresh, fresh.watch() as others:
            kept = await soon(fresh.keys())
            assert "a" in kept
            assert await soon(fresh.get_all()) == {name: ord(name) - 96 for name in kept}
            assert await soon(fresh.get_all(prefix="s3://")) == {}
            assert [change.key for change in (await soon(anext(others))).changes] == kept
            assert {key for entry in await soon(fresh.log()) for key in entry.versions} <= {"a", "b"}
            assert len(await soon(fresh.history("a"))) >= 1
            assert await (await soon(fresh.snapshot())).keys() == kept
            await soon(fresh.put("c", 3))
            await soon(fresh.restore_all((await fresh.log())[-1].id))
            await soon(fresh.put("d", 4))
            if not versioning:
                await fresh._manifests[fresh._default]._state.journal._checkpoints.write()
        seen: dict[str, Any] = {}
        while "d" not in seen:
            seen.update({change.key: change.value for change in (await soon(anext(batches))).changes})
        assert set(seen) <= {"a", "b", "c", "d"}
    written = json.dumps(await settled_document(storage))
    assert "s3://x" not in written and "k" * 1000 not in written
    assert "s3://x" in caplog.text and "left out" in caplog.text


async def test_names_that_no_key_can_have_in_a_run_break_nothing(caplog):
    storage = MemoryStorage()
    async with memory_client(storage) as one:
        await soon(one.put("a", 1))
        names = sorted({*NO_NAMES, "ok", "zz", "s3://other/key", "t" * 1024})
        (part,) = encode_runs({name: {**FILE, "expires": "2999-01-01T00:00:00.000Z"} for name in names}, 2**20)
        key = f"{MANIFEST}.runs/{part.reference.sha256}"
        await MemoryStorage.put(storage, BUCKET, key, part.body)
        run = encode_reference(replace(part.reference, key=key))
        await forge(storage, lambda document: document.update(runs=[run]))
        expected = ["a", "ok", "s3://other/key", "t" * 1024, "zz"]
        async with memory_client(storage) as fresh:
            assert await soon(fresh.keys()) == expected
            assert await soon(fresh.keys("s3://")) == ["s3://other/key"]
            for name in NO_NAMES:
                if 0 < len(name.encode()) <= 1024:
                    assert await soon(fresh.get(name)) is None
            await soon(fresh.put("b", 2))
        assert sorted(await soon(one.keys())) == sorted([*expected, "b"])
    assert "left out" in caplog.text


def test_every_name_that_a_client_can_write_is_one():
    manifest = Ref(MANIFEST, BUCKET)
    for key in AWKWARD_KEYS.values():
        for bucket in (BUCKET, "other"):
            assert name_in(manifest, bucket, key) in Names(manifest)


# What a manifest or an object says is no consent ----------------------------------------------------------------------


@versioning
async def test_restoring_all_writes_into_no_bucket_that_only_the_manifest_names(versioning, caplog):
    storage = MemoryStorage(versioning=versioning)
    async with memory_client(storage) as one:
        await soon(one.put_all({"a": 1, Ref("k", "mine"): "old"}))
        then = (await one.log())[0].id
        await soon(one.put_all({"a": 2, Ref("k", "mine"): "new", Ref("new", "mine"): "new"}))
        before = await storage.scan("mine")
        await soon(one.restore_all(then))
        assert await one.get_all() == {"a": 1, "s3://mine/k": "new"}
        assert await storage.scan("mine") == before
        assert "s3://mine/k" in caplog.text
        await soon(one.restore_all(then, buckets=["mine"]))
        assert await one.get("k", bucket="mine") == "old"
        for wrong in ("mine", 5, ["a/b"]):
            with pytest.raises((TypeError, ValueError)):
                await one.restore_all(then, buckets=wrong)  # type: ignore[arg-type]


class Forbidding(MemoryStorage):
    """A store that has one bucket which may not be used, and notes what is written."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.written: list[tuple[str, str]] = []

    async def put(self, bucket: str, key: str, body: bytes, **options: Any) -> Any:
        self.written.append((bucket, key))
        return await super().put(bucket, key, body, **options)

    async def scan(self, bucket: str, prefix: str = "", **options: Any) -> Any:
        _forbid(bucket)
        return await super().scan(bucket, prefix, **options)

    async def list(self, bucket: str, prefix: str = "", **options: Any) -> Any:
        _forbid(bucket)
        return await super().list(bucket, prefix, **options)

    async def head(self, bucket: str, key: str, **options: Any) -> Any:
        _forbid(bucket)
        return await super().head(bucket, key, **options)


def _forbid(bucket: str) -> None:
    if bucket == "forbidden":
        raise AccessError("no", bucket=bucket)
    if bucket == "unreachable":
        raise UnavailableError("no answer", bucket=bucket)


@pytest.mark.parametrize("bucket", ["forbidden", "unreachable", "other"])
async def test_one_name_in_another_bucket_ends_no_collection(bucket):
    clock = Clock()
    storage = Forbidding(clock=clock)
    async with memory_client(storage, inline=0) as one:
        for number in range(3):
            await soon(one.put("a", number))
        await forge(storage, lambda document: document["files"].update({f"s3://{bucket}/k": FILE}))
        await MemoryStorage.put(
            storage, BUCKET, "shared", b"1", metadata=owner_metadata([one._default, Ref("m", bucket)], BUCKET, "shared")
        )
        clock.later(20 * 86_400)
        await soon(one.put("a", 3))
        found = await soon(one.collect(retention=0, grace=1200))
        assert found.values.deleted == 2 and found.skipped == (bucket,)
        if bucket != "other":
            with pytest.raises((AccessError, UnavailableError)):
                await soon(one.collect(retention=0, grace=1200, buckets=[bucket]))


async def test_collecting_commits_to_no_manifest_of_another_bucket():
    clock = Clock()
    storage = Forbidding(versioning=False, clock=clock)
    async with memory_client(storage) as one, MPS3("other", "m", storage=storage) as two:
        await soon(two.put("b", 1))
        key = "shared@mps3-" + "0" * 32
        metadata = owner_metadata([one._default, Ref("m", "other")], BUCKET, key)
        await MemoryStorage.put(storage, BUCKET, key, b"1", metadata=metadata)
        await soon(one.put("a", 1))
        clock.later(20 * 86_400)
        storage.written.clear()
        found = await soon(one.collect(retention=0, grace=1200))
        assert found.values.deleted == 0 and {bucket for bucket, _ in storage.written} == {BUCKET}
        found = await soon(one.collect(retention=0, grace=1200, buckets=["other"]))
        assert ("other", slot_key("m", 2)) in storage.written


# Listings that are cut ------------------------------------------------------------------------------------------------


class Cutting(MemoryStorage):
    """A store whose listing of versions ends too early, and says that it is complete."""

    most = 1000

    async def versions(self, bucket: str, key: str, **options: Any) -> Any:
        page = await super().versions(bucket, key, **options)
        return replace(page, versions=page.versions[: self.most], next=None if self.most < 1000 else page.next)


@pytest.mark.parametrize("most", [2, 5, 9])
async def test_nothing_is_deleted_by_a_listing_that_is_cut(most):
    clock = Clock()
    storage = Cutting(clock=clock)
    async with memory_client(storage) as one:
        for number in range(12):
            await soon(one.put("a", number))
            clock.later(6 * 3600)
        before = (await storage.scan(BUCKET)).found
        storage.most = most
        with pytest.raises(CorruptionError, match="listing"):
            await soon(one.collect(retention=timedelta(days=2), grace=1200))
        assert (await storage.scan(BUCKET)).found == before
        storage.most = 1000
        assert (await soon(one.collect(retention=timedelta(days=2), grace=1200))).deleted > 0
        assert (await soon(one.collect(retention=timedelta(days=2), grace=1200))).deleted == 0


async def test_a_log_without_its_beginning_is_refused():
    storage = MemoryStorage(versioning=False)
    async with memory_client(storage, journal="log") as one:
        await one.put("a", 1)
    body = (await storage.get(BUCKET, slot_key(MANIFEST, 1))).body
    await storage.delete(BUCKET, slot_key(MANIFEST, 1))
    await storage.put(BUCKET, slot_key(MANIFEST, 5000), body)
    with pytest.raises(CorruptionError, match="begins with slot 5000, and there is no checkpoint"):
        await memory_client(storage).open()
