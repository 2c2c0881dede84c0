"""S3, as servers answer it and as they fail to."""

from __future__ import annotations

import asyncio
import base64
import gc
import hashlib
import os
import random
import time
import warnings
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from aiobotocore.config import AioConfig
from aiohttp.abc import AbstractResolver
from blockbuster import blockbuster_ctx
from helpers import eventually
from scripted_s3 import HANG, HELLO, SLOW_DOWN, Answer, ScriptedS3, answer, error

from mps3.errors import (
    AccessError,
    ClosedError,
    ConfigurationError,
    ConflictError,
    CorruptionError,
    MPS3Error,
    UnavailableError,
)
from mps3.storage import ABSENT, UNCHANGED, Object, Version
from mps3.storage.s3.storage import S3Storage
from mps3.support.environment import Environment
from mps3.testing.conformance import check_storage

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

# Moto answers listings without the encoding that was asked for, and XML makes a line feed of a carriage return.
MOTO = "MPS3_TEST_ENDPOINT" not in os.environ


@pytest.fixture
async def storage(s3_config: dict[str, Any]) -> AsyncIterator[S3Storage]:
    async with opened(s3_config) as storage:
        yield storage


@asynccontextmanager
async def opened(s3_config: dict[str, Any], **options: Any) -> AsyncIterator[S3Storage]:
    storage = S3Storage(s3_config, **options)
    await storage.open()
    try:
        yield storage
    finally:
        await storage.aclose()


@pytest.fixture
async def fake() -> AsyncIterator[ScriptedS3]:
    async with ScriptedS3() as fake:
        yield fake


class Impatient(Environment):
    """Does not wait between attempts, but counts them."""

    def __init__(self) -> None:
        super().__init__(random.Random(0))
        self.waits = 0

    def backoff(self, attempt: int, *, first: float, most: float) -> float:
        assert first > 0 and most >= first
        self.waits += 1
        return 0.0


@asynccontextmanager
async def talking_to(fake: ScriptedS3, *answers: Answer, **options: Any) -> AsyncIterator[S3Storage]:
    if answers:
        fake.answers = [*answers]
    async with opened(fake.s3_config, **({"environment": Impatient()} | options)) as storage:
        yield storage


Call = "Callable[[S3Storage], Awaitable[Any]]"
READS = {
    "get": lambda storage: storage.get("bucket", "key"),
    "versions": lambda storage: storage.versions("bucket", "key"),
    "list": lambda storage: storage.list("bucket", "prefix"),
    "capabilities": lambda storage: storage.capabilities("bucket"),
    "delete": lambda storage: storage.delete("bucket", "key"),
}
CALLS = READS | {"put": lambda storage: storage.put("bucket", "key", b"{}", sha256=hashlib.sha256(b"{}").digest())}


# What the protocol of storages asks -----------------------------------------------------------------------------------


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


async def test_keys_are_literal(storage, bucket):
    assert all(len(key.encode()) <= 1024 for key in KEYS)
    stored = {key: [await storage.put(bucket, key, b"%d" % number) for number in range(2)] for key in KEYS}
    for key in KEYS:
        assert (await storage.get(bucket, key)).body == b"1"
        assert (await storage.get(bucket, key, version=stored[key][0].version)).body == b"0"
        if not (MOTO and key == "\r"):
            listed = await all_versions(storage, bucket, key, limit=1)
            assert [one.version for one in listed] == [one.version for one in reversed(stored[key])]
        assert key in {entry.key for entry in (await storage.list(bucket, key)).entries}
    assert {entry.key for entry in (await storage.list(bucket)).entries} == set(KEYS)
    for key in KEYS:
        await storage.delete(bucket, key)
        assert await storage.get(bucket, key) is ABSENT
    assert (await storage.list(bucket)).entries == ()


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


async def test_absences(storage, bucket):
    first = await storage.put(bucket, "key", b"x")
    assert await storage.get(bucket, "other") is ABSENT
    assert await storage.get(bucket, "other", version=first.version) is ABSENT
    assert await storage.get(bucket, "key", if_none_match=first.etag) is UNCHANGED
    await storage.delete(bucket, "key")
    marker = (await storage.versions(bucket, "key")).versions[0]
    assert marker.deleted and marker.etag is None
    assert await storage.get(bucket, "key") is ABSENT
    assert await storage.get(bucket, "key", version=marker.version) is ABSENT
    assert await storage.get(bucket, "key", if_none_match=first.etag) is ABSENT
    await storage.delete(bucket, "key", version=first.version)
    await storage.delete(bucket, "key", version=first.version)
    assert await storage.get(bucket, "key", version=first.version) is ABSENT


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


@pytest.mark.parametrize("version", ["null", "v1"])
async def test_null_is_no_version(fake, version):
    async with talking_to(fake, answer(200, b"x", ETag='"1"', x_amz_version_id=version)) as storage:
        expected = None if version == "null" else version
        assert (await storage.get("bucket", "key")).version == expected
        assert (await storage.put("bucket", "key", b"x")).version == expected


async def test_suspended_and_plain_buckets(storage, make_bucket):
    for versioning, expected in (("Enabled", "enabled"), ("Suspended", "suspended"), (None, "off")):
        bucket = make_bucket(versioning)
        assert (await storage.capabilities(bucket)).versioning == expected
        stored = await storage.put(bucket, "key", b"x")
        assert (stored.version is None) == (versioning != "Enabled")
        assert (await storage.get(bucket, "key")).version == stored.version


@pytest.mark.parametrize("status", [501, 405])
async def test_stores_that_know_no_versions(fake, status):
    async with talking_to(fake, error(status, "NotImplemented")) as storage:
        assert (await storage.capabilities("bucket")).versioning == "off"


async def test_limit(storage, bucket):
    stored = await storage.put(bucket, "key", b"12345")
    assert (await storage.get(bucket, "key", limit=5)).body == b"12345"
    with pytest.raises(CorruptionError, match="more than 4 bytes") as caught:
        await storage.get(bucket, "key", version=stored.version, limit=4)
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
        await storage.put("bucket", "key", body, if_match='"5d4"')
    first, second = fake.received
    assert first.body == body
    assert first.headers["content-type"] == "application/json"
    assert first.headers["x-amz-checksum-sha256"] == base64.b64encode(hashlib.sha256(body).digest()).decode()
    assert first.headers["x-amz-content-sha256"] == hashlib.sha256(body).hexdigest()
    assert first.headers["if-none-match"] == "*"
    assert second.headers["if-match"] == '"5d4"'
    assert not {"expect", "transfer-encoding", "x-amz-sdk-checksum-algorithm"} & {*first.headers, *second.headers}
    assert second.headers["x-amz-checksum-sha256"] == first.headers["x-amz-checksum-sha256"]


async def test_conditions(storage, plain_bucket):
    first = await storage.put(plain_bucket, "key", b"1", if_none_match=True)
    with pytest.raises(ConflictError) as caught:
        await storage.put(plain_bucket, "key", b"2", if_none_match=True)
    assert (caught.value.bucket, caught.value.key, caught.value.operation) == (plain_bucket, "key", "PutObject")
    assert caught.value.__cause__ is not None
    second = await storage.put(plain_bucket, "key", b"2", if_match=first.etag)
    assert second.etag != first.etag
    with pytest.raises(ConflictError):
        await storage.put(plain_bucket, "key", b"3", if_match=first.etag)
    assert (await storage.get(plain_bucket, "key")).body == b"2"
    with pytest.raises(ConflictError):
        await storage.put(plain_bucket, "absent", b"3", if_match=first.etag)


@pytest.mark.parametrize(
    "reply",
    [
        error(412, "PreconditionFailed"),
        error(409, "ConditionalRequestConflict"),
        error(409, "OperationAborted"),
        error(404, "NoSuchKey"),
    ],
)
async def test_conflicts(fake, reply):
    async with talking_to(fake, reply) as storage:
        with pytest.raises(ConflictError):
            await storage.put("bucket", "key", b"", if_match="5d4")
    assert len(fake.received) == 1


async def test_a_store_that_takes_etags_without_quotes(fake):
    conflict = error(412, "PreconditionFailed")
    async with talking_to(fake, conflict, conflict, conflict, HELLO) as storage:
        with pytest.raises(ConflictError):
            await storage.put("bucket", "key", b"", if_match='"5d4"')
        for _ in range(2):
            await storage.put("bucket", "key", b"", if_match='"5d4"')
    assert [one.headers["if-match"] for one in fake.received] == ['"5d4"', "5d4", '"5d4"', "5d4", "5d4"]


async def test_a_store_that_takes_etags_with_quotes(fake):
    async with talking_to(fake, HELLO, error(412, "PreconditionFailed")) as storage:
        await storage.put("bucket", "key", b"", if_match='"5d4"')
        with pytest.raises(ConflictError):
            await storage.put("bucket", "key", b"", if_match='"5d4"')
    assert len(fake.received) == 2


@pytest.mark.parametrize(
    "refusal",
    [error(501, "NotImplemented"), error(400, "InvalidArgument", "unsupported header x-amz-checksum-sha256")],
)
async def test_a_store_that_takes_no_checksums(fake, refusal):
    async with talking_to(fake, refusal, HELLO) as storage:
        for _ in range(2):
            await CALLS["put"](storage)
    assert ["x-amz-checksum-sha256" in one.headers for one in fake.received] == [True, False, False]


async def test_checksums_can_be_switched_off(fake):
    async with talking_to(fake, checksums=False) as storage:
        await CALLS["put"](storage)
    assert "x-amz-checksum-sha256" not in fake.received[0].headers


# Listings -------------------------------------------------------------------------------------------------------------


async def all_versions(storage: S3Storage, bucket: str, key: str, limit: int | None = None) -> list[Version]:
    found: list[Version] = []
    start = None
    while True:
        page = await storage.versions(bucket, key, start=start, limit=limit)
        assert limit is None or len(page.versions) <= limit
        found += page.versions
        if (start := page.next) is None:
            return found


@pytest.mark.parametrize("limit", [1, 2, 3, None])
async def test_versions_newest_first(storage, bucket, limit):
    stored = []
    for number in range(5):
        stored.append(await storage.put(bucket, "key", b"x" * number))
        await storage.put(bucket, "key2", b"")
        await storage.put(bucket, "key/a", b"")
    listed = await all_versions(storage, bucket, "key", limit)
    assert [one.version for one in listed] == [one.version for one in reversed(stored)]
    assert [one.size for one in listed] == [4, 3, 2, 1, 0]
    assert [one.etag for one in listed] == [one.etag for one in reversed(stored)]
    assert all(abs(one.modified - time.time()) < 3600 for one in listed)
    assert await all_versions(storage, bucket, "ke", limit) == []


async def test_a_marker_is_the_newest(storage, bucket):
    stored = await storage.put(bucket, "key", b"")
    await storage.delete(bucket, "key")
    listed = await all_versions(storage, bucket, "key")
    assert [one.deleted for one in listed] == [True, False]
    assert listed[1].version == stored.version
    if not MOTO:  # which lists all versions before all markers
        last = await storage.put(bucket, "key", b"")
        await storage.delete(bucket, "key")
        listed = await all_versions(storage, bucket, "key", limit=1)
        assert [one.deleted for one in listed] == [True, False, True, False]
        assert [listed[1].version, listed[3].version] == [last.version, stored.version]


def versions_xml(items: str, more: str = "<IsTruncated>false</IsTruncated>") -> bytes:
    return answer(200, f"<ListVersionsResult xmlns='http://s3'>{more}{items}</ListVersionsResult>".encode())


def item(version: str, second: int, *, key: str = "key", kind: str = "Version", latest: bool = False) -> str:
    return (
        f"<{kind}><Key>{key}</Key><VersionId>{version}</VersionId><IsLatest>{str(latest).lower()}</IsLatest>"
        f"<LastModified>2026-01-01T00:00:{second:02}.500Z</LastModified></{kind}>"
    )


async def test_the_order_is_that_of_the_document(fake):
    items = item("4", 7) + item("3", 9, kind="DeleteMarker") + item("2", 8) + item("1", 1, kind="DeleteMarker")
    async with talking_to(fake, versions_xml(items)) as storage:
        page = await storage.versions("bucket", "key")
    assert [one.version for one in page.versions] == ["4", "3", "2", "1"]
    assert [one.deleted for one in page.versions] == [False, True, False, True]
    assert page.versions[3].modified == 1767225601.5


async def test_markers_listed_last_though_one_is_the_latest(fake):
    items = item("3", 5) + item("1", 1) + item("4", 9, kind="DeleteMarker", latest=True)
    items += item("2", 3, kind="DeleteMarker")
    async with talking_to(fake, versions_xml(items)) as storage:
        page = await storage.versions("bucket", "key")
    assert [one.version for one in page.versions] == ["4", "3", "2", "1"]


@pytest.mark.parametrize("marker", ["a%252F%0A%01", "a%2F&#x0A;&#x01;", "a%2F&#10;\x01"])
async def test_markers_encoded_or_not(fake, marker):
    """Some stores encode the keys of the items only, though XML has no control characters."""
    key = "a%2F\n\x01"
    more = f"<EncodingType>url</EncodingType><IsTruncated>true</IsTruncated><NextKeyMarker>{marker}</NextKeyMarker>"
    more += "<NextVersionIdMarker>2</NextVersionIdMarker><Prefix>&#x1;</Prefix>"
    async with talking_to(fake, versions_xml(item("2", 1, key="a%252F%0A%01"), more)) as storage:
        page = await storage.versions("bucket", key)
        assert [one.version for one in page.versions] == ["2"]
        assert page.next is not None
        fake.answers = [versions_xml(item("1", 1, key="a%252F%0A%01"))]
        page = await storage.versions("bucket", key, start=page.next)
    assert page.next is None
    assert "key-marker=a%252F%0A%01" in fake.received[1].target
    assert "version-id-marker=2" in fake.received[1].target


async def test_short_and_empty_pages(fake):
    more = (
        "<IsTruncated>true</IsTruncated><NextKeyMarker>key</NextKeyMarker><NextVersionIdMarker>{}</NextVersionIdMarker>"
    )
    pages = [
        versions_xml(item("3", 3), more.format(3)),
        versions_xml("", more.format("2a")),
        versions_xml(item("2", 2) + item("9", 9, key="key2"), "<IsTruncated>true</IsTruncated>"),
    ]
    async with talking_to(fake, *pages) as storage:
        assert [one.version for one in await all_versions(storage, "bucket", "key")] == ["3", "2"]
    assert len(fake.received) == 3


async def test_markers_that_the_store_forgot(fake):
    pages = [versions_xml(item("2", 2), "<IsTruncated>true</IsTruncated>"), versions_xml(item("1", 1))]
    async with talking_to(fake, *pages) as storage:
        assert [one.version for one in await all_versions(storage, "bucket", "key")] == ["2", "1"]
    assert "version-id-marker=2" in fake.received[1].target


async def test_listings_that_do_not_move_forward_end(fake):
    more = (
        "<IsTruncated>true</IsTruncated><NextKeyMarker>key</NextKeyMarker><NextVersionIdMarker>1</NextVersionIdMarker>"
    )
    async with talking_to(fake, versions_xml(item("1", 1), more)) as storage:
        with pytest.raises(UnavailableError):
            await all_versions(storage, "bucket", "key")


@pytest.mark.parametrize("name", ["versions", "list"])
@pytest.mark.parametrize(
    "body", [b"", b"<html/>", b"<ListVersionsResult><Vers", b"<Error><Code>InternalError</Code></Error>"]
)
async def test_what_is_not_a_listing(fake, name, body):
    async with talking_to(fake, answer(200, body)) as storage:
        with pytest.raises(UnavailableError):
            await READS[name](storage)
    assert len(fake.received) == 4


async def test_list_pages(fake):
    def page(key: str, more: str) -> bytes:
        contents = (
            f"<Contents><Key>{key}</Key><LastModified>2026-01-01T00:00:00Z</LastModified><Size>7</Size></Contents>"
        )
        return answer(200, f"<ListBucketResult>{more}{contents}</ListBucketResult>".encode())

    more = "<EncodingType>url</EncodingType><IsTruncated>true</IsTruncated>"
    pages = [
        page("a+b", more + "<NextContinuationToken>t+o=</NextContinuationToken>"),
        page("b%2Bc", more),
        page("c", "<IsTruncated>false</IsTruncated>"),
    ]
    async with talking_to(fake, *pages) as storage:
        first = await storage.list("bucket")
        second = await storage.list("bucket", start=first.next)
        third = await storage.list("bucket", start=second.next)
    assert [one.entries[0].key for one in (first, second, third)] == ["a b", "b+c", "c"]
    assert first.entries[0].size == 7
    assert third.next is None
    assert "continuation-token=t%2Bo%3D" in fake.received[1].target
    assert "start-after=b%2Bc" in fake.received[2].target


# Failures -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reply", "kind", "words"),
    [
        (error(404, "NoSuchBucket"), ConfigurationError, 'no bucket "bucket"'),
        (error(403, "AccessDenied"), AccessError, "arn:aws:s3:::bucket"),
        (answer(403), AccessError, "Allow s3:"),
        (error(403, "SignatureDoesNotMatch"), AccessError, "credentials"),
        (error(403, "InvalidAccessKeyId"), AccessError, "credentials"),
        (error(400, "ExpiredToken"), AccessError, "renew"),
        (error(403, "RequestTimeTooSkewed"), AccessError, "Set this machine's clock"),
        (error(400, "KeyTooLongError"), ConfigurationError, "KeyTooLongError"),
        (error(400, "EntityTooLarge"), ConfigurationError, "EntityTooLarge"),
        (error(400, "InvalidRequest", "what?"), ConfigurationError, "what?"),
        (error(400, "AuthorizationHeaderMalformed"), ConfigurationError, "region_name"),
        (answer(418), ConfigurationError, "418"),
    ],
)
async def test_failures_for_good(fake, reply, kind, words):
    async with talking_to(fake, reply) as storage:
        for name, call in CALLS.items():
            fake.received.clear()
            with pytest.raises(MPS3Error) as caught:
                await call(storage)
            assert type(caught.value) is kind
            assert words in str(caught.value)
            assert caught.value.bucket == "bucket"
            assert caught.value.key == (None if name in {"list", "capabilities"} else "key")
            assert caught.value.operation in str(caught.value)
            assert caught.value.__cause__ is not None
            assert len(fake.received) == 1


@pytest.mark.parametrize(
    ("call", "action", "resource"),
    [
        (lambda s: s.get("b-1", "k"), "s3:GetObject", "arn:aws:s3:::b-1/k"),
        (lambda s: s.get("b-1", "k", version="v"), "s3:GetObjectVersion", "arn:aws:s3:::b-1/k"),
        (lambda s: s.put("b-1", "k", b""), "s3:PutObject", "arn:aws:s3:::b-1/k"),
        (lambda s: s.delete("b-1", "k"), "s3:DeleteObject", "arn:aws:s3:::b-1/k"),
        (lambda s: s.delete("b-1", "k", version="v"), "s3:DeleteObjectVersion", "arn:aws:s3:::b-1/k"),
        (lambda s: s.versions("b-1", "k"), "s3:ListBucketVersions", "arn:aws:s3:::b-1"),
        (lambda s: s.list("b-1", "k"), "s3:ListBucket", "arn:aws:s3:::b-1"),
        (lambda s: s.capabilities("b-1"), "s3:GetBucketVersioning", "arn:aws:s3:::b-1"),
    ],
)
async def test_permissions_are_named(fake, call, action, resource):
    async with talking_to(fake, error(403, "AccessDenied")) as storage:
        with pytest.raises(AccessError) as caught:
            await call(storage)
    assert f"Allow {action} on {resource}" in str(caught.value).replace(";", " ")
    assert f"Allow {action} on {resource}/" not in str(caught.value)


PASSING = {
    "slow down": SLOW_DOWN,
    "throttled": error(400, "ThrottlingException"),
    "429": answer(429),
    "500": error(500, "InternalError"),
    "502": answer(502),
    "503": answer(503),
    "504": answer(504),
    "timeout": error(400, "RequestTimeout"),
    "reset": None,
    "error inside": error(200, "InternalError"),
}
HARMLESS = {"slow down", "throttled", "429"}


@pytest.mark.parametrize("failure", PASSING)
async def test_failures_that_pass(fake, failure):
    async with talking_to(fake, PASSING[failure]) as storage:
        for name, call in CALLS.items():
            fake.received.clear()
            with pytest.raises(UnavailableError) as caught:
                await call(storage)
            assert caught.value.__cause__ is not None
            # A put may have taken effect unless the store said that it was too busy.
            assert len(fake.received) == (4 if name != "put" or failure in HARMLESS else 1)


async def test_throttling_passes(fake):
    async with talking_to(fake, SLOW_DOWN, SLOW_DOWN, SLOW_DOWN, HELLO) as storage:
        assert (await storage.get("bucket", "key")).body == b"hello"
        fake.answers = [SLOW_DOWN, SLOW_DOWN, HELLO]
        await storage.put("bucket", "key", b"")
    assert len(fake.received) == 7


@pytest.mark.parametrize("name", ["put", "delete", "get"])
async def test_nothing_below_repeats(fake, name):
    """aiohttp would send a request again when a connection that it kept breaks."""
    repeated = 4 if name != "put" else 1
    async with talking_to(fake, HELLO, None) as storage:
        await storage.get("bucket", "key")
        with pytest.raises(UnavailableError):
            await CALLS[name](storage)
    assert len(fake.received) == 1 + repeated


async def test_truncated_bodies(fake):
    cut = answer(200, b"hel", length=5, ETag='"5d4"')
    async with talking_to(fake, cut, cut, HELLO) as storage:
        assert (await storage.get("bucket", "key")).body == b"hello"
        fake.answers = [cut]
        with pytest.raises(UnavailableError):
            await storage.get("bucket", "key")
    assert len(fake.received) == 3 + 4


async def test_no_connection(fake):
    await fake.__aexit__()
    environment = Impatient()
    async with opened(fake.s3_config, environment=environment) as storage:
        for number, call in enumerate(CALLS.values(), 1):
            with pytest.raises(UnavailableError):
                await call(storage)
            assert environment.waits == 3 * number


async def test_no_such_host():
    s3_config = {"endpoint_url": "http://nowhere.invalid", "aws_access_key_id": "a", "aws_secret_access_key": "b"}
    async with opened(s3_config, environment=Impatient()) as storage:
        with pytest.raises(UnavailableError, match=r"nowhere\.invalid"):
            await storage.get("bucket", "key")


@pytest.mark.parametrize("name", CALLS)
async def test_deadline(fake, name):
    async with talking_to(fake, HANG, timeout=0.2) as storage:
        started = time.monotonic()
        with pytest.raises(UnavailableError, match=r"no answer in 0\.2 s") as caught:
            await CALLS[name](storage)
        assert time.monotonic() - started < 1
    assert caught.value.__cause__ is not None


async def test_the_deadline_is_for_all_attempts(fake):
    async with talking_to(fake, SLOW_DOWN, timeout=0.2, environment=Environment(random.Random(1))) as storage:
        started = time.monotonic()
        with pytest.raises(UnavailableError):
            await storage.get("bucket", "key")
        assert time.monotonic() - started < 1


async def test_read_timeout(fake):
    fake.s3_config["config"] = AioConfig(read_timeout=0.1)
    async with talking_to(fake, HANG, HELLO) as storage:
        assert (await storage.get("bucket", "key")).body == b"hello"
        fake.answers = [HANG, HELLO]
        with pytest.raises(UnavailableError):
            await storage.put("bucket", "key", b"")
    assert len(fake.received) == 3


@pytest.mark.parametrize(
    "call",
    [
        lambda s: s.get("no such bucket!", "key"),
        lambda s: s.get("", "key"),
        lambda s: s.get("bucket", ""),
        lambda s: s.put("bucket", "", b""),
        lambda s: s.capabilities("x" * 300),
    ],
)
async def test_names_that_cannot_be(fake, call):
    async with talking_to(fake) as storage:
        with pytest.raises(ConfigurationError):
            await call(storage)
    assert fake.received == []


@pytest.mark.parametrize(
    ("wrong", "kind"),
    [
        ({"endpoint_url": "not a url"}, ConfigurationError),
        ({"region_name": "not a region!"}, ConfigurationError),
        ({"no_such_argument": 1}, ConfigurationError),
        ({"profile_name": "no such profile"}, ConfigurationError),
        ({"aws_secret_access_key": None}, AccessError),
    ],
)
async def test_wrong_configuration_shows_at_open(fake, wrong, kind):
    storage = S3Storage(fake.s3_config | wrong)
    with pytest.raises(kind) as caught:
        await storage.open()
    assert caught.value.__cause__ is not None
    with pytest.raises(ClosedError):
        await storage.get("bucket", "key")
    await storage.aclose()


async def test_no_credentials(fake, monkeypatch, tmp_path):
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    storage = S3Storage({"endpoint_url": fake.s3_config["endpoint_url"]})
    with pytest.raises(AccessError, match="credentials"):
        await storage.open()


async def test_messages_hold_no_secrets(fake):
    message = "Credential=AKIAACCESSKEY/2026 Signature=cafe0123 see http://u:wJalrSecret@h/p?X-Amz-Signature=cafe0123"
    extra = "<AWSAccessKeyId>AKIAACCESSKEY</AWSAccessKeyId><StringToSign>wJalrSecret</StringToSign>"
    async with talking_to(fake, error(403, "SignatureDoesNotMatch", message, extra)) as storage:
        with pytest.raises(AccessError) as caught:
            await storage.get("bucket", "key")
        assert "wJalr" not in repr(storage)
    for secret in ("AKIA", "wJalr", "cafe0123"):
        assert secret not in str(caught.value)
    storage = S3Storage(fake.s3_config | {"endpoint_url": "foo://user:wJalrSecret@host name/"})
    with pytest.raises(ConfigurationError) as caught_too:
        await storage.open()
    assert "wJalr" not in str(caught_too.value)


# Life -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CALLS)
async def test_closed(fake, name):
    storage = S3Storage(fake.s3_config)
    await storage.aclose()
    with pytest.raises(ClosedError):
        await CALLS[name](storage)
    await storage.open()
    await storage.aclose()
    await storage.aclose()
    with pytest.raises(ClosedError) as caught:
        await CALLS[name](storage)
    assert caught.value.operation is not None
    assert fake.received == []


async def test_shared(fake):
    storage = S3Storage(fake.s3_config)
    await asyncio.gather(*(storage.open() for _ in range(3)))
    for _ in range(2):
        await storage.aclose()
        await storage.get("bucket", "key")
    await storage.aclose()
    with pytest.raises(ClosedError):
        await storage.get("bucket", "key")
    await storage.open()
    await storage.get("bucket", "key")
    await storage.aclose()


async def test_closing_ends_calls(fake):
    async with talking_to(fake, HANG) as storage:
        calls = [asyncio.ensure_future(call(storage)) for call in CALLS.values()]
        await eventually(lambda: len(fake.received) == len(calls))
    for result in await asyncio.gather(*calls, return_exceptions=True):
        assert isinstance(result, (ClosedError, UnavailableError))


async def test_unclosed(fake):
    storage = S3Storage(fake.s3_config)
    await storage.open()
    connection = storage._session.connection
    with pytest.warns(ResourceWarning, match="unclosed <S3Storage open>"):
        del storage
    await connection.aclose()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        del connection
        S3Storage(fake.s3_config)
        gc.collect()


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("reply", [HANG, answer(200, b"hel", length=5, ETag='"1"') + b"", SLOW_DOWN], ids=range(3))
async def test_cancelled(fake, name, reply):
    environment = Environment(random.Random(3))
    environment.backoff = lambda *_, **__: 60.0
    async with talking_to(fake, reply, environment=environment) as storage:
        call = asyncio.ensure_future(CALLS[name](storage))
        await eventually(lambda: fake.received)
        await asyncio.sleep(0.02)
        if not call.done():
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
            if reply is not SLOW_DOWN:
                await eventually(lambda: fake.open_connections == 0)
        else:
            call.exception()
        fake.answers = [HELLO]
        assert (await storage.get("bucket", "key")).body == b"hello"
    gc.collect()


async def test_cancelled_while_opening(fake):
    storage = S3Storage(fake.s3_config)
    opening = asyncio.ensure_future(storage.open())
    await asyncio.sleep(0.01)
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    with pytest.raises(ClosedError):
        await storage.get("bucket", "key")
    await storage.open()
    await storage.get("bucket", "key")
    await storage.aclose()


# The event loop -------------------------------------------------------------------------------------------------------


async def longest_block(work: Callable[[], Awaitable[Any]]) -> float:
    """How long the event loop stood still during some work, in seconds."""
    longest = 0.0

    async def beat() -> None:
        nonlocal longest
        last = time.perf_counter()
        while True:
            await asyncio.sleep(0.001)
            now = time.perf_counter()
            longest, last = max(longest, now - last - 0.001), now

    beating = asyncio.ensure_future(beat())
    await asyncio.sleep(0.005)
    await work()
    await asyncio.sleep(0.005)
    beating.cancel()
    return longest


async def test_the_loop_is_not_held_up(fake):
    opens, firsts = [], []
    for _ in range(3):
        storage = S3Storage(fake.s3_config)
        opens.append(await longest_block(storage.open))

        async def first(storage: S3Storage = storage) -> None:
            await CALLS["put"](storage)
            await READS["get"](storage)

        firsts.append(await longest_block(first))
        await storage.aclose()
    # The best of three, because a busy machine holds everybody up.
    assert min(opens) < 0.05
    assert min(firsts) < 0.05


async def test_nothing_blocks(fake):
    with blockbuster_ctx():
        async with talking_to(fake, versions_xml(item("1", 1)), HELLO) as storage:
            await storage.versions("bucket", "key")
            await storage.put("bucket", "key", b"x" * 100_000)
            await storage.get("bucket", "key")


# Settings -------------------------------------------------------------------------------------------------------------


def settings(storage: S3Storage) -> Any:
    assert storage._session.connection is not None
    return storage._session.connection.client.meta.config


async def test_defaults_for_other_vendors(fake):
    async with talking_to(fake) as storage:
        config = settings(storage)
    assert config.s3["addressing_style"] == "path"
    assert config.request_checksum_calculation == config.response_checksum_validation == "when_required"
    assert (config.max_pool_connections, config.connect_timeout, config.read_timeout) == (64, 5, 15)
    assert config.retries["total_max_attempts"] == 1


async def test_defaults_for_aws():
    async with opened({"region_name": "eu-west-1", "aws_access_key_id": "a", "aws_secret_access_key": "b"}) as storage:
        config = settings(storage)
    assert (config.s3 or {}).get("addressing_style") != "path"
    assert config.request_checksum_calculation == "when_supported"


@pytest.mark.parametrize("variable", ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"])
async def test_an_endpoint_in_the_environment(fake, monkeypatch, variable):
    monkeypatch.setenv(variable, fake.s3_config.pop("endpoint_url"))
    async with talking_to(fake) as storage:
        assert settings(storage).s3["addressing_style"] == "path"
        assert (await storage.get("bucket", "key")).body == b"hello"
    assert fake.received[0].target == "/bucket/key"


async def test_a_profile(fake, monkeypatch, tmp_path):
    (tmp_path / "config").write_text(
        "[profile here]\naws_access_key_id = a\naws_secret_access_key = b\nregion = eu-west-1\n"
        f"endpoint_url = {fake.s3_config['endpoint_url']}\n"
    )
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    async with opened({"profile_name": "here"}) as storage:
        await storage.get("bucket", "key")
    assert fake.received[0].target == "/bucket/key"
    assert "/eu-west-1/s3/" in fake.received[0].headers["authorization"]


async def test_own_settings_win(fake, monkeypatch):
    fake.s3_config["config"] = AioConfig(
        max_pool_connections=3, read_timeout=2, s3={"payload_signing_enabled": True}, request_checksum_calculation=None
    )
    monkeypatch.setenv("AWS_RESPONSE_CHECKSUM_VALIDATION", "when_supported")
    async with talking_to(fake) as storage:
        config = settings(storage)
    assert (config.max_pool_connections, config.connect_timeout, config.read_timeout) == (3, 5, 2)
    assert config.s3["addressing_style"] == "path" and config.s3["payload_signing_enabled"]
    assert config.response_checksum_validation == "when_supported"
