"""Objects in S3: keys on the wire, absences, versions, conditions, checksums."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

import httpx
import pytest
from aiobotocore.config import AioConfig
from aiohttp.abc import AbstractResolver
from scripted_s3 import HELLO, answer, error
from servers import MOTO
from storage.s3_storage import OPERATIONS, all_versions, opened, talking_to

from mps3.errors import ConflictError, CorruptionError, MPS3Error, UnavailableError
from mps3.storage import ABSENT, UNCHANGED, Capabilities, Head, Object
from mps3.storage.s3.storage import S3Storage
from mps3.testing.conformance import check_storage

# What the protocol of storages asks -----------------------------------------------------------------------------------


@pytest.mark.thorough  # test_conformance.py tries one check after the other
@pytest.mark.parametrize("versioning", ["Enabled", None])
async def test_conforms(s3_config, make_bucket, versioning):
    report = await check_storage(S3Storage(s3_config), make_bucket(versioning))
    failed = {result.check for result in report.results if result.outcome == "failed"}
    assert failed <= ({"control_characters"} if MOTO else set()), str(report)


# Keys -----------------------------------------------------------------------------------------------------------------


KEYS = [
    *("..", ".", "../x", "a/./b", "a/../b", "/lead", "//", "a//b", "trail/", "/", "./", "a/..", "a/."),
    *(" ", "a b", "a+b", "?", "a?b=c", "#", "a#b", "%2F", "a%2Fb", "%", "%%", "&", "a=b&c=d", "\\", ":", ";", "@", "*"),
    *('"', "'", "<>", "&amp;", "~", "|", "^", "`", "{}", "[]"),
    *(chr(code) for code in range(1, 0x20)),
    *("\x7f", "\x85", "é", "e\u0301", "日本", "🦊", "\U0010ffff", "\ufeff", "\u2028"),
    *("k" * 1024, "é" * 512, "/".join(["🦊"] * 205)),
]


@pytest.mark.thorough
async def test_keys_are_literal(s3_storage, bucket):
    assert all(len(key.encode()) <= 1024 for key in KEYS)
    stored = {key: [await s3_storage.put(bucket, key, b"%d" % number) for number in range(2)] for key in KEYS}
    for key in KEYS:
        assert (await s3_storage.get(bucket, key)).body == b"1"
        assert (await s3_storage.get(bucket, key, version=stored[key][0].version)).body == b"0"
        # Moto lists what XML makes of a carriage return: a line feed.
        if not (MOTO and key == "\r"):
            listed = await all_versions(s3_storage, bucket, key, limit=1)
            assert [one.version for one in listed] == [one.version for one in reversed(stored[key])]
        assert key in {entry.key for entry in (await s3_storage.list(bucket, key)).entries}
    assert {entry.key for entry in (await s3_storage.list(bucket)).entries} == set(KEYS)
    for key in KEYS:
        await s3_storage.delete(bucket, key)
        assert await s3_storage.get(bucket, key) is ABSENT
    assert (await s3_storage.list(bucket)).entries == ()


@pytest.mark.parametrize(
    ("key", "path"),
    [
        ("..", "/bucket/.."),
        ("../x", "/bucket/../x"),
        ("a/./b", "/bucket/a/./b"),
        ("/lead", "/bucket//lead"),
        ("//", "/bucket///"),
        ("%2F", "/bucket/%252F"),
        ("a b+c", "/bucket/a%20b%2Bc"),
        ("?#", "/bucket/%3F%23"),
        ("\x01é", "/bucket/%01%C3%A9"),
    ],
)
async def test_paths_on_the_wire(fake, key, path):
    async with talking_to(fake) as storage:
        await storage.get("bucket", key)
        await storage.put("bucket", key, b"")
        await storage.delete("bucket", key)
    assert [one.target.partition("?")[0] for one in fake.received] == [path] * 3


class Here(AbstractResolver):
    async def resolve(self, host: str, port: int = 0, family: Any = 0) -> list[Any]:
        return [{"hostname": host, "host": "127.0.0.1", "port": port, "family": family, "proto": 0, "flags": 0}]

    async def close(self) -> None: ...


@pytest.mark.parametrize(("key", "path"), [("..", "/.."), ("/lead", "//lead"), ("//", "///"), ("a/./b", "/a/./b")])
async def test_paths_when_the_bucket_is_in_the_host(fake, key, path):
    config = AioConfig(s3={"addressing_style": "virtual"}, connector_args={"resolver": Here()})
    s3_config = fake.s3_config | {"endpoint_url": f"http://s3.test:{fake.port}", "config": config}
    async with opened(s3_config) as storage:
        await storage.get("bucket", key)
    assert fake.received[0].headers["host"] == f"bucket.s3.test:{fake.port}"
    assert fake.received[0].target == path


# Objects --------------------------------------------------------------------------------------------------------------


async def test_absences(s3_storage, bucket):
    first = await s3_storage.put(bucket, "key", b"x")
    assert await s3_storage.get(bucket, "other") is ABSENT
    assert await s3_storage.get(bucket, "other", version=first.version) is ABSENT
    assert await s3_storage.get(bucket, "key", if_none_match=first.etag) is UNCHANGED
    await s3_storage.delete(bucket, "key")
    marker = (await s3_storage.versions(bucket, "key")).versions[0]
    assert marker.deleted and marker.etag is None
    assert await s3_storage.get(bucket, "key") is ABSENT
    assert await s3_storage.get(bucket, "key", version=marker.version) is ABSENT
    assert await s3_storage.get(bucket, "key", if_none_match=first.etag) is ABSENT
    await s3_storage.delete(bucket, "key", version=first.version)
    await s3_storage.delete(bucket, "key", version=first.version)
    assert await s3_storage.get(bucket, "key", version=first.version) is ABSENT


@pytest.mark.parametrize(
    ("reply", "version"),
    [
        (error(404, "NoSuchKey"), None),
        (error(404, "NoSuchVersion"), "v"),
        (error(405, "MethodNotAllowed"), "v"),
        (error(400, "InvalidArgument", extra="<ArgumentName>versionId</ArgumentName>"), "v"),
        (answer(404), None),
    ],
)
async def test_what_counts_as_absent(fake, reply, version):
    async with talking_to(fake, reply) as storage:
        assert await storage.get("bucket", "key", version=version) is ABSENT
        await storage.delete("bucket", "key", version=version)
        # A 404 without an error code may be anybody's, so it is asked for again.
        assert len(fake.received) == (3 if reply == answer(404) else 2)


async def test_etags_are_given_back_as_they_came(fake):
    async with talking_to(fake, HELLO, answer(304)) as storage:
        found = await storage.get("bucket", "key")
        assert found == Object(b"hello", None, '"5d4"')
        assert await storage.get("bucket", "key", if_none_match=found.etag) is UNCHANGED
    assert fake.received[1].headers["if-none-match"] == '"5d4"'


async def test_unchanged_by_the_status_of_a_write(fake):
    """S3Proxy before Azure."""
    async with talking_to(fake, error(412, "PreconditionFailed")) as storage:
        assert await storage.get("bucket", "key", if_none_match='"5d4"') is UNCHANGED
        with pytest.raises(MPS3Error):
            await storage.get("bucket", "key")


@pytest.mark.parametrize("version", ["null", "v1"])
async def test_null_is_no_version(fake, version):
    async with talking_to(fake, answer(200, b"x", ETag='"1"', x_amz_version_id=version)) as storage:
        expected = None if version == "null" else version
        assert (await storage.get("bucket", "key")).version == expected
        assert (await storage.put("bucket", "key", b"x")).version == expected


async def test_suspended_and_plain_buckets(s3_storage, make_bucket):
    for versioning, expected in (("Enabled", "enabled"), ("Suspended", "suspended"), (None, "off")):
        bucket = make_bucket(versioning)
        assert (await s3_storage.capabilities(bucket)).versioning == expected
        stored = await s3_storage.put(bucket, "key", b"x")
        assert (stored.version is None) == (versioning != "Enabled")
        assert (await s3_storage.get(bucket, "key")).version == stored.version


@pytest.mark.parametrize("status", [501, 405])
async def test_stores_that_know_no_versions(fake, status):
    async with talking_to(fake, error(status, "NotImplemented")) as storage:
        assert (await storage.capabilities("bucket")).versioning == "off"


async def test_a_store_that_lists_the_bucket_instead_of_its_versioning(fake):
    """s3rver does not know the parameter of the request."""
    listed = b"<?xml version='1.0'?><ListBucketResult xmlns='x'><Name>bucket</Name></ListBucketResult>"
    async with talking_to(fake, answer(200, listed)) as storage:
        assert await storage.capabilities("bucket") == Capabilities("off", versionable=False)


async def test_a_store_that_sends_a_page_beside_the_version_that_it_has_stored(fake):
    """Swift does so where a later PUT has overtaken this one."""
    page = b"<html><h1>Accepted</h1><p>The request is accepted for processing.</p></html>"
    async with talking_to(fake, answer(200, page, etag='"1"', x_amz_version_id="v1")) as storage:
        assert (await storage.put("bucket", "key", b"x")).version == "v1"
    async with talking_to(fake, answer(200, page, etag='"1"')) as storage:
        with pytest.raises(UnavailableError, match="a web page came"):
            await storage.put("bucket", "key", b"x")


ABSENT_CHUNKED = b"HTTP/1.1 404 X\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"


@pytest.mark.parametrize("auth", [None, httpx.BasicAuth("a", "b")])
async def test_a_store_that_sends_a_body_after_a_head(fake, auth):
    """Swift ends the body that a 404 to a HEAD does not have: the SDK cannot read that, and asks with a GET."""
    fake.body_after_head = True
    async with talking_to(fake, ABSENT_CHUNKED, error(404, "NoSuchKey"), auth=auth) as storage:
        assert await storage.head("bucket", "key", version="v") is ABSENT
        methods = [(received.method, "versionId=v" in received.target) for received in fake.received]
        assert methods in ([("HEAD", True), ("GET", True)], [("HEAD", True)])  # or the rest came too late to disturb
    found = answer(200, b"12345", ETag='"1"', x_amz_meta_mps3_place="p")
    async with talking_to(fake, b"HTTP/0 what?\r\n\r\n", found, auth=auth) as storage:
        assert await storage.head("bucket", "key") == Head({"mps3-place": "p"}, 5, None)


async def test_limit(s3_storage, bucket):
    stored = await s3_storage.put(bucket, "key", b"12345")
    assert (await s3_storage.get(bucket, "key", limit=5)).body == b"12345"
    with pytest.raises(CorruptionError, match="more than 4 bytes") as caught:
        await s3_storage.get(bucket, "key", version=stored.version, limit=4)
    assert caught.value.version == stored.version


async def test_a_large_object_is_not_read(fake):
    endless = answer(200, b"x" * 1000, length=10**12, ETag='"1"')
    async with talking_to(fake, endless) as storage:
        with pytest.raises(CorruptionError):
            await storage.get("bucket", "key", limit=10**6)
    assert len(fake.received) == 1


async def test_an_object_of_unknown_length_is_read_to_the_limit(fake):
    chunks = b'HTTP/1.1 200 OK\r\nETag: "1"\r\nTransfer-Encoding: chunked\r\n\r\n' + b"4\r\nabcd\r\n" * 1000
    async with talking_to(fake, chunks) as storage:
        with pytest.raises(CorruptionError):
            await storage.get("bucket", "key", limit=100)
    assert len(fake.received) == 1


async def test_one_connection_serves_calls_in_turn(fake):
    async with talking_to(fake, answer(200, b"x" * 200_000, ETag='"1"')) as storage:
        for _ in range(5):
            assert len((await storage.get("bucket", "key")).body) == 200_000
            await storage.put("bucket", "key", b"x")
    assert fake.connections == 1


# Writing --------------------------------------------------------------------------------------------------------------


async def test_a_put_as_it_is_sent(fake):
    body = b'{"a":1}'
    async with talking_to(fake) as storage:
        await storage.put("bucket", "key", body, sha256=hashlib.sha256(body).digest(), if_none_match=True)
        await storage.put("bucket", "key", body)
    first, second = fake.received
    assert first.body == body
    assert first.headers["content-type"] == "application/json"
    assert first.headers["x-amz-checksum-sha256"] == base64.b64encode(hashlib.sha256(body).digest()).decode()
    assert first.headers["x-amz-content-sha256"] == hashlib.sha256(body).hexdigest()
    assert first.headers["if-none-match"] == "*"
    assert "if-none-match" not in second.headers
    assert not {"expect", "transfer-encoding", "x-amz-sdk-checksum-algorithm"} & {*first.headers, *second.headers}
    assert second.headers["x-amz-checksum-sha256"] == first.headers["x-amz-checksum-sha256"]


async def test_a_large_body_is_sent_without_waiting_for_a_go_ahead(fake):
    body = b"x" * 700_000
    async with talking_to(fake) as storage:
        await storage.put("bucket", "key", body)
    assert "expect" not in fake.received[0].headers
    assert fake.received[0].body == body


async def test_an_object_is_created_once(s3_storage, plain_bucket):
    await s3_storage.put(plain_bucket, "key", b"1", if_none_match=True)
    with pytest.raises(ConflictError) as caught:
        await s3_storage.put(plain_bucket, "key", b"2", if_none_match=True)
    assert (caught.value.bucket, caught.value.key, caught.value.operation) == (plain_bucket, "key", "PutObject")
    assert caught.value.__cause__ is not None
    assert (await s3_storage.get(plain_bucket, "key")).body == b"1"
    await s3_storage.delete(plain_bucket, "key")
    await s3_storage.put(plain_bucket, "key", b"3", if_none_match=True)


@pytest.mark.parametrize(
    "reply",
    [
        error(412, "PreconditionFailed"),
        error(409, "ConditionalRequestConflict"),
        error(409, "OperationAborted"),
    ],
)
async def test_conflicts(fake, reply):
    async with talking_to(fake, reply) as storage:
        with pytest.raises(ConflictError):
            await storage.put("bucket", "key", b"", if_none_match=True)
    assert len(fake.received) == 1


@pytest.mark.parametrize(
    "refusal",
    [error(501, "NotImplemented"), error(400, "InvalidArgument", "unsupported header x-amz-checksum-sha256")],
)
async def test_a_store_that_takes_no_checksums(fake, refusal):
    async with talking_to(fake, refusal, HELLO) as storage:
        for _ in range(2):
            await OPERATIONS["put"](storage)
    assert ["x-amz-checksum-sha256" in one.headers for one in fake.received] == [True, False, False]


async def test_checksums_can_be_switched_off(fake):
    async with talking_to(fake, checksums=False) as storage:
        await OPERATIONS["put"](storage)
    assert "x-amz-checksum-sha256" not in fake.received[0].headers
