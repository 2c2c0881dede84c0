"""Manifests that are not what they should be: refused with the version named, and never written over.

With the merge journal each commit is a version of the manifest; with the log journal that is written once.
"""

from __future__ import annotations

import asyncio
import json
import time

import pytest
from helpers import client, eventually, soon

from mps3 import ConfigurationError, CorruptionError, FormatError

pytestmark = [pytest.mark.server, pytest.mark.usefixtures("complete_listings")]

GOOD = {
    "mps3": 2,
    "journal": "merge",
    "window": 3,
    "session": "s",
    "sequence": 0,
    "previous": None,
    "update": {"files": {}},
}
RUN = {"sha256": "0" * 64, "entries": 1, "bytes": 9, "index": 5, "first": "a", "last": "b"}
BAD = {
    "garbage": (b"garbage", CorruptionError),
    "empty": (b"", CorruptionError),
    "null": (b"null", CorruptionError),
    "binary": (bytes(range(256)), CorruptionError),
    "an array": (b"[]", CorruptionError),
    "another's": (b'{"name": "some other JSON"}', CorruptionError),
    "half": (json.dumps(GOOD).encode()[:-5], CorruptionError),
    "wrong shape": (json.dumps(GOOD | {"update": {"files": {"k": 1}}}).encode(), CorruptionError),
    "newer": (json.dumps({"mps3": 3, "anything": "else"}).encode(), FormatError),
    "older": (json.dumps(GOOD | {"mps3": 1}).encode(), FormatError),
    "nested brackets": (b"[" * 50_000_000, CorruptionError),
    "nested closed brackets": (b"[" * 15_000_000 + b"]" * 15_000_000, CorruptionError),
    "a run that is missing": (
        json.dumps(GOOD | {"runs": [RUN | {"key": "manifest.json.runs/x"}]}).encode(),
        CorruptionError,
    ),
    "a run elsewhere": (
        json.dumps(GOOD | {"runs": [RUN | {"key": "elsewhere"}]}).encode(),
        CorruptionError,
    ),
    "a circle": (
        json.dumps(
            GOOD
            | {
                "log": [
                    {"session": "t", "sequence": 0, "version": "x", "modified": "2026-01-01T00:00:00Z", "previous": "x", "update": {}}
                ]
            }
        ).encode(),
        CorruptionError,
    ),
}  # fmt: skip


@pytest.fixture
def connect(bucket, s3_config):
    return lambda *args, **options: client(bucket, s3_config, *args, **{"journal": "merge", **options})


@pytest.fixture
def put_raw(s3, bucket):
    """Write a version of the manifest past the library, without holding up the event loop."""

    async def put(body: bytes) -> str:
        answer = await asyncio.to_thread(s3.put_object, Bucket=bucket, Key="manifest.json", Body=body)
        return answer["VersionId"]

    return put


@pytest.fixture
def newest(s3, bucket):
    async def find() -> str:
        listing = await asyncio.to_thread(s3.list_object_versions, Bucket=bucket, Prefix="manifest.json")
        found = [*listing.get("Versions", ()), *listing.get("DeleteMarkers", ())]
        return next(item["VersionId"] for item in found if item["IsLatest"])

    return find


@pytest.mark.parametrize(("body", "kind"), BAD.values(), ids=BAD)
async def test_it_is_refused_at_opening(s3_config, put_raw, newest, bucket, body, kind):
    version = await put_raw(body)
    started = time.perf_counter()
    with pytest.raises(kind, match=version if "run" not in str(body[:1000]) else "run") as caught:
        async with client(bucket, s3_config):
            pass
    assert time.perf_counter() - started < 8
    assert caught.value.bucket == bucket
    assert len(str(caught.value)) < 1000
    assert await newest() == version


@pytest.mark.parametrize("name", ["garbage", "wrong shape", "newer", "nested brackets"])
async def test_an_open_client_refuses_it_and_recovers(connect, put_raw, newest, s3, bucket, name):
    body, kind = BAD[name]
    body = body[:1_000_000]  # it is polled again and again
    async with connect() as one:
        await one.put("k", "good")
        subscription = one.subscribe("k")
        assert await anext(subscription) == "good"
        version = await put_raw(body)
        with pytest.raises(kind, match=version):
            await one.get("k")
        with pytest.raises(kind, match=version):
            await soon(anext(subscription))
        write = one.put("k", "never")
        with pytest.raises(kind, match=version):
            await soon(write)
        assert await newest() == version
        assert isinstance(one.status().last_error, kind)
        await asyncio.to_thread(s3.delete_object, Bucket=bucket, Key="manifest.json", VersionId=version)
        await eventually(lambda: one.status().online)
        assert await one.get("k") == "good"
        await one.put("k", "again")
        assert await anext(one.subscribe("k")) == "again"
    async with connect() as later:
        assert await later.get("k") == "again"


async def test_a_put_at_once_is_not_acknowledged_over_it(connect, put_raw, s3, bucket):
    """Before anyone could have noticed."""
    async with connect(poll_interval=30) as one:
        await one.put("k", "good")
        version = await put_raw(b"garbage")
        with pytest.raises(CorruptionError, match=version):
            await soon(one.put("k", "never"))
        versions = await asyncio.to_thread(s3.list_object_versions, Bucket=bucket, Prefix="manifest.json")
        assert version in [item["VersionId"] for item in versions["Versions"]]


async def test_a_deleted_manifest_is_refused_until_it_is_restored(connect, s3, bucket, newest):
    async with connect() as one:
        await one.put("k", "good")
        answer = await asyncio.to_thread(s3.delete_object, Bucket=bucket, Key="manifest.json")
        marker = answer["VersionId"]
        with pytest.raises(CorruptionError, match=marker):
            await one.get("k")
        with pytest.raises(CorruptionError, match="delete"):
            await soon(one.put("k", "never"))
        assert await newest() == marker
        for journal in ("merge", "auto", "log"):
            with pytest.raises(CorruptionError, match=marker):
                await connect(journal=journal).__aenter__()
        await asyncio.to_thread(s3.delete_object, Bucket=bucket, Key="manifest.json", VersionId=marker)
        await eventually(lambda: one.status().online)
        assert await one.get("k") == "good"
        await one.put("k", "again")


async def test_a_deleted_manifest_of_a_log_is_refused_until_it_is_restored(creation_in_versions, connect, s3, bucket):
    async with connect(journal="auto") as one:
        await one.put("k", "good")
        s3.delete_object(Bucket=bucket, Key="manifest.json")
        marker = s3.delete_object(Bucket=bucket, Key="manifest.json")["VersionId"]
        for journal in ("auto", "log", "merge"):
            with pytest.raises(CorruptionError, match=marker):
                await connect(journal=journal).__aenter__()
        await one.put("k", "better")  # whoever has it open goes on
        for found in s3.list_object_versions(Bucket=bucket, Prefix="manifest.json")["DeleteMarkers"]:
            s3.delete_object(Bucket=bucket, Key="manifest.json", VersionId=found["VersionId"])
        async with connect(journal="auto") as two:
            assert await two.get("k") == "better"


async def test_where_only_delete_markers_are_left_a_manifest_begins_anew(creation_in_versions, connect, s3, bucket):
    version = s3.put_object(Bucket=bucket, Key="manifest.json", Body=b"something else")["VersionId"]
    s3.delete_object(Bucket=bucket, Key="manifest.json")
    s3.delete_object(Bucket=bucket, Key="manifest.json", VersionId=version)
    async with connect(journal="auto") as one:
        await one.put("k", 1)
    async with connect(journal="log") as two:
        assert await two.get("k") == 1


@pytest.mark.parametrize(("written", "wanted"), [("log", "merge"), ("merge", "log")])
async def test_a_manifest_of_the_other_journal_is_not_written_to(connect, put_raw, newest, written, wanted):
    version = await put_raw(json.dumps(GOOD | {"journal": written}).encode())
    with pytest.raises(ConfigurationError, match=f'journal="{written}"'):
        await connect(journal=wanted).__aenter__()
    assert await newest() == version


async def test_members_of_a_future_version_stay(connect, put_raw, s3, bucket):
    await put_raw(json.dumps(GOOD | {"future": {"x": [1]}}).encode())
    async with connect() as one:
        await one.put("k", 1)
    body = await asyncio.to_thread(lambda: s3.get_object(Bucket=bucket, Key="manifest.json")["Body"].read())
    assert json.loads(body)["future"] == {"x": [1]}


async def test_the_first_manifest_is_written_by_the_first_write(connect, s3, bucket):
    async with connect(inline=0) as one:
        assert await one.get("k") is None
        assert "Versions" not in await asyncio.to_thread(s3.list_object_versions, Bucket=bucket)
        await one.put("k", 1)
        assert len((await asyncio.to_thread(s3.list_object_versions, Bucket=bucket))["Versions"]) == 2
