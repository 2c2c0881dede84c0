"""Making a client: arguments and URLs."""

from __future__ import annotations

import json

import pytest
from helpers import memory_client, soon

from mps3 import MPS3, ConfigurationError, LocalStorage, MemoryStorage, MPS3Error, Ref

SECRET = "wJalrXUtnFEMIsecretEXAMPLEKEY"


async def test_memory_urls_are_one_store_in_this_process():
    async with MPS3.from_url("memory:", poll_interval=0.05) as one, MPS3.from_url("memory:") as two:
        await one.put("k", 1)
        assert await two.get("k") == 1


async def test_memory_urls_with_names_are_stores_of_their_own():
    async with (
        MPS3.from_url("memory:a", poll_interval=0.05) as one,
        MPS3.from_url("memory:a?manifest=m.json") as two,
        MPS3.from_url("memory:b") as three,
    ):
        await one.put("k", 1)
        assert await two.get("k", manifest="manifest.json") == 1
        assert await two.get("k", "absent") == "absent"
        assert await three.get("k", "absent") == "absent"
        assert two.status().manifests[0] == Ref("m.json", "default")


async def test_memory_urls_with_slashes_are_told_apart_or_refused():
    try:
        one, two = MPS3.from_url("memory://a", poll_interval=0.05), MPS3.from_url("memory://b")
    except ConfigurationError:
        return
    async with one, two:
        await one.put("k", 1)
        assert await two.get("k", "absent") == "absent"


async def test_a_memory_store_is_gone_with_its_last_client():
    """At once, though it is held: what one test leaves behind is not what the next one finds."""
    async with MPS3.from_url("memory:gone") as one:
        async with MPS3.from_url("memory:gone") as two:
            await two.put("k", 1)
        assert await one.get("k") == 1
    async with MPS3.from_url("memory:gone", journal="log") as three:
        assert await three.get("k", "absent") == "absent"


@pytest.mark.parametrize("name", ["plain", "with space", "per%cent", "ques?tion", "ha#sh", "\u00e9"])
async def test_file_urls_name_a_directory(tmp_path, name):
    directory = tmp_path / name
    async with MPS3.from_url(directory.as_uri(), poll_interval=0.05) as one:
        await one.put("k", 1)
    assert list(directory.iterdir())
    async with MPS3.from_url(directory.as_uri() + "?bucket=default&manifest=manifest.json") as one:
        assert await one.get("k") == 1
    async with MPS3("default", storage=LocalStorage(directory)) as one:
        assert await one.get("k") == 1


@pytest.mark.server
async def test_s3_urls(bucket, s3_config):
    query = "&".join(f"{name}={value}" for name, value in s3_config.items())
    async with MPS3.from_url(f"s3://{bucket}/dir/m%20%23.json?{query}", poll_interval=0.05) as one:
        assert one.status().manifests == (Ref("dir/m #.json", bucket),)
        await soon(one.put("k", 1))
    async with MPS3.from_url(f"s3://{bucket}", s3_config=s3_config) as one:
        assert one.status().manifests == (Ref("manifest.json", bucket),)
        assert await one.get("k", manifest="dir/m #.json") == 1


@pytest.mark.parametrize(
    "url",
    [
        "",
        "bucket",
        "/some/dir",
        "s3:",
        "s3://",
        "s3:///manifest.json",
        "s3:bucket/manifest.json",
        "http://bucket/manifest.json",
        "s3://bucket/m.json?unknown=1",
        "s3://bucket/m.json?endpoint=http://localhost",
        "s3://user:password@bucket/m.json",
        "s3://bucket/a#b.json?endpoint_url=http://localhost",
        "s3://[bucket/m.json",
        "file:",
        "file:///",
        "file://",
        "file://host/dir",
        "file:///dir?versioning=0",
        "memory:?x=1",
        "file:///dir?bucket=a/b",
    ],
)
def test_other_urls_are_refused(url):
    with pytest.raises((ConfigurationError, ValueError)) as caught:
        MPS3.from_url(url)
    if "a/b" not in url:
        assert caught.type is ConfigurationError


@pytest.mark.parametrize(
    "url",
    [
        f"s3://AKIA:{SECRET}@bucket/m.json",
        f"s3://{SECRET}@bucket/m.json",
        f"s3://bucket/m.json?aws_secret_access_key={SECRET}&unknown=1",
        f"s3://?aws_secret_access_key={SECRET}",
        f"http://bucket?aws_secret_access_key={SECRET}",
        f"s3://[bucket?aws_secret_access_key={SECRET}",
        f"s3://bucket/m.json#?aws_secret_access_key={SECRET}",
    ],
)
def test_secrets_in_urls_are_in_no_error(url):
    with pytest.raises((MPS3Error, ValueError)) as caught:
        MPS3.from_url(url)
    error = caught.value
    while error is not None:
        assert SECRET not in repr(error) + str(error)
        error = error.__cause__ or error.__context__


def test_secrets_are_not_shown():
    config = {"aws_access_key_id": "AKIA", "aws_secret_access_key": SECRET, "aws_session_token": SECRET}
    for one in (
        MPS3("bucket", s3_config=config),
        MPS3.from_url(f"s3://bucket?aws_access_key_id=a&aws_secret_access_key={SECRET}"),
    ):
        assert SECRET not in f"{one!r} {one} {one.status()} {one._storage!r}"


def repr_of(argument):
    """The same in each process of the tests."""
    return repr(argument).split(" object at")[0]


@pytest.mark.parametrize(
    ("arguments", "kind"),
    [
        ({"default_bucket": ""}, ValueError),
        ({"default_bucket": "a/b"}, ValueError),
        ({"default_bucket": None}, TypeError),
        ({"default_bucket": "b", "default_manifest": ""}, ValueError),
        ({"default_bucket": "b", "default_manifest": 1}, TypeError),
        ({"default_bucket": "b", "default_manifest": "k" * 1025}, ValueError),
        ({"default_bucket": "b", "default_manifest": Ref("m", "a/b")}, ValueError),
        ({"default_bucket": "b", "poll_interval": 0}, ValueError),
        ({"default_bucket": "b", "poll_interval": -1}, ValueError),
        ({"default_bucket": "b", "poll_interval": float("nan")}, ValueError),
        ({"default_bucket": "b", "poll_interval": float("inf")}, ValueError),
        ({"default_bucket": "b", "journal": "other"}, ValueError),
        ({"default_bucket": "b", "s3_config": {}, "storage": MemoryStorage()}, ConfigurationError),
        ({"default_bucket": "b", "unknown": 1}, TypeError),
        ({}, TypeError),
    ],
    ids=repr_of,
)
def test_impossible_arguments_are_refused(arguments, kind):
    with pytest.raises(kind):
        MPS3(**arguments)


async def test_the_manifest_by_default():
    async with memory_client(MemoryStorage()) as one:
        assert one.status().manifests == (Ref("manifest.json", "bucket"),)
        assert "bucket/manifest.json in memory:" in repr(one)


async def test_any_longest_manifest_has_room_for_its_runs_or_is_refused():
    """Runs are named after the manifest, and keys have at most 1,024 bytes."""
    storage = MemoryStorage()
    name = "m" * 1024
    try:
        one = memory_client(storage, name)
    except ValueError:
        return
    files = {f"k{number:05}": {"version": "v" * 30} for number in range(3000)}
    entry = {"mps3": 2, "journal": "merge", "window": 0.001, "session": "s", "sequence": 0, "previous": None}
    await storage.put("bucket", name, json.dumps(entry | {"update": {"files": {}}, "files": files}).encode())
    async with one:
        for number in range(2):
            await soon(one.put("k", number))
