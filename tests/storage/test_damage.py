"""Damage on the way is not damage in the store: what arrives damaged is asked for again before anything is said."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import hashlib
import itertools
import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import helpers
import pytest
from helpers import BUCKET, MANIFEST, Unreliable, eventually, soon
from proxy import FaultyProxy, Request, Response, _header, _with, _without

from mps3 import CorruptionError, UnavailableError
from mps3.format.slot import slot_key
from mps3.journal import levels
from mps3.storage import Object
from mps3.storage.bypass import BYPASS
from mps3.storage.s3.storage import S3Storage

client = partial(helpers.client, inline=0)
memory_client = partial(helpers.memory_client, inline=0)

PAGE = b"<!DOCTYPE html><html><head><title>Welcome</title></head><body>Please sign in<br></body></html>"
XHTML = b'<html xmlns="http://www.w3.org/1999/xhtml"><body>Please sign in</body></html>'


def with_body(response: Response, body: bytes, *headers: tuple[bytes, bytes]) -> Response:
    head = _without(response.head, b"transfer-encoding")
    for header in ((b"Content-Length", str(len(body)).encode()), *headers):
        head = _with(head, *header)
    return Response(head, body)


def portal(response: Response) -> Response:
    """A page of somebody else."""
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: %d\r\n\r\n" % len(PAGE)
    return Response(head, PAGE)


def neat_portal(response: Response) -> Response:
    """One whose page is a file, and well-formed."""
    head = (
        b'HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nETag: "5f2a-1b"\r\nLast-Modified: Tue, 01 Oct 2024 08:00:00 GMT'
    )
    return Response(head + b"\r\nContent-Length: %d\r\n\r\n" % len(XHTML), XHTML)


def lost(response: Response) -> Response:
    """The page of somebody who knows nothing of the store."""
    return Response(
        b"HTTP/1.1 404 Not Found\r\nContent-Type: text/html\r\nContent-Length: %d\r\n\r\n" % len(PAGE), PAGE
    )


def page_inside(response: Response) -> Response:
    """Something that leaves the head as it is."""
    return with_body(response, PAGE)


def zipped(response: Response) -> Response:
    return with_body(response, gzip.compress(response.body), (b"Content-Encoding", b"gzip"))


def zipped_in_secret(response: Response) -> Response:
    return with_body(response, gzip.compress(response.body))


def flipped(response: Response) -> Response:
    middle = len(response.body) // 2
    return with_body(response, response.body[:middle] + b"\0" + response.body[middle + 1 :])


def shorter(response: Response) -> Response:
    return with_body(response, response.body[:-1])


def longer(response: Response) -> Response:
    return with_body(response, response.body + b"}")


DAMAGES = [portal, neat_portal, page_inside, zipped, zipped_in_secret, flipped, shorter, longer]


class Way(FaultyProxy):
    """The way to a server, on which answers to some requests are changed.

    Attributes:
        damage: What becomes of them.
        times: How often yet.
        what: Part of the request's path.
        damaged: How many were.
    """

    damage: Callable[[Response], Response] = staticmethod(portal)
    times = 0
    what = b""
    damaged = 0

    async def _forward(self, request: Request, upstream: object) -> Response:
        response = await super()._forward(request, upstream)
        if request.method == "GET" and self.times and self.what in request.target and response.status in {200, 206}:
            self.times -= 1
            self.damaged += 1
            assert _header(response.head, b"transfer-encoding") is None
            return self.damage(response)
        return response


@pytest.fixture
async def way(server):
    async with Way(server.url) as way:
        yield way


@pytest.fixture(params=["Enabled", None], ids=["merge", "log"])
def bucket(request, make_bucket):
    return make_bucket(request.param)


def through(way, server, bucket, **options):
    return client(bucket, {**server.s3_config, "endpoint_url": way.url}, **options)


@pytest.mark.parametrize(
    ("damage", "checksums"),
    [
        *((damage, True) for damage in DAMAGES),
        *((damage, False) for damage in (page_inside, zipped_in_secret, shorter)),
    ],
    ids=lambda one: getattr(one, "__name__", f"checksums={one}"),
)
async def test_a_passing_damage_ends_no_subscription(way, server, bucket, damage, checksums, caplog):
    key = "a key"
    async with (
        client(bucket, server.s3_config, checksums=checksums) as writer,
        through(way, server, bucket, checksums=checksums) as reader,
    ):
        await writer.put(key, {"turn": 0})
        async with reader.subscribe(key) as values:
            assert await soon(anext(values)) == {"turn": 0}
            way.damage = damage
            for turn, what in enumerate((MANIFEST.encode(), b"a%20key"), 1):
                way.what, way.times = what, 2
                await writer.put(key, {"turn": turn})
                assert await soon(anext(values)) == {"turn": turn}
                await eventually(lambda: not way.times)
            assert await reader.get(key) == {"turn": 2}
        way.times = 0
    assert way.damaged == 4
    assert "delete that object version" not in caplog.text


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
async def test_a_passing_damage_of_a_run_is_not_said(way, server, bucket, damage, monkeypatch):
    monkeypatch.setattr(levels, "LARGE", 100)
    async with client(bucket, server.s3_config) as writer, through(way, server, bucket) as reader:
        await writer.put_all({f"k/{number}": number for number in range(20)})
        way.damage, way.what, way.times = damage, b".runs/", 2
        assert await reader.get_all(prefix="k/") == {f"k/{number}": number for number in range(20)}
    assert way.damaged == 2


async def test_a_portal_for_everything_is_not_the_store(way, server, bucket):
    async with client(bucket, server.s3_config) as writer, through(way, server, bucket) as reader:
        await writer.put("k", 1)
        async with reader.subscribe("k") as values:
            assert await soon(anext(values)) == 1
            way.damage, way.times = neat_portal, 1000
            await writer.put("k", 2)
            await eventually(lambda: not reader.status().online)
            assert isinstance(reader.status().last_error, UnavailableError)
            assert "delete" not in str(reader.status().last_error)
            way.times = 0
            assert await soon(anext(values)) == 2


async def test_a_page_that_is_not_found_is_not_a_manifest_that_was_deleted(way, server, bucket):
    async with client(bucket, server.s3_config) as writer, through(way, server, bucket) as reader:
        await writer.put("k", 1)
        async with reader.subscribe("k") as values:
            assert await soon(anext(values)) == 1
            for turn in range(2, 5):
                way.damage, way.times = lost, 1
                await writer.put("k", turn)
                assert await soon(anext(values)) == turn
            assert await reader.get("k") == 4


async def test_a_page_is_not_taken_for_a_bucket_without_versions(way, server, make_bucket):
    storage = S3Storage({**server.s3_config, "endpoint_url": way.url})
    await storage.open()
    way.damage, way.times = neat_portal, 2
    assert (await storage.capabilities(make_bucket())).versioning == "enabled"
    await storage.aclose()


async def test_another_try_takes_another_connection():
    answers = []  # for each request, the number of its connection
    wrong = [b"", b"Content-Encoding: gzip\r\n"]
    numbers = itertools.count(1)

    async def serve(reader, writer):
        number = next(numbers)
        with contextlib.suppress(asyncio.IncompleteReadError):
            while True:
                await reader.readuntil(b"\r\n\r\n")
                answers.append(number)
                more = wrong[len(answers) == 7]
                writer.write(b'HTTP/1.1 200 OK\r\nETag: "e"\r\n' + more + b"Content-Length: 2\r\n\r\n{}")
        writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    keys = {"aws_access_key_id": "a", "aws_secret_access_key": "b", "region_name": "us-east-1"}
    storage = S3Storage({**keys, "endpoint_url": f"http://127.0.0.1:{port}"})
    await storage.open()
    try:
        for _ in range(3):
            await storage.get("bucket", "k")
        for _ in range(2):
            token = BYPASS.set(True)
            await storage.get("bucket", "k")
            BYPASS.reset(token)
        await storage.get("bucket", "k")
        await storage.get("bucket", "k")  # the first answer is damaged
    finally:
        await storage.aclose()
        listening.close()
        await listening.wait_closed()
    assert answers == [1, 1, 1, 2, 3, 1, 1, 4]


@pytest.mark.parametrize("what", ["manifest", "value"])
async def test_damage_in_the_store_is_still_said_soon(server, bucket, s3, what):
    async with client(bucket, server.s3_config) as writer, client(bucket, server.s3_config) as reader:
        commit = await writer.put("k", 1)
        version = commit.versions["k"]
        is_log = isinstance(await writer._storage.get(bucket, slot_key(MANIFEST, 1)), Object)
        commit_key = slot_key(MANIFEST, 2) if is_log else MANIFEST
        key = commit_key if what == "manifest" else f"k@{version}" if version.startswith("mps3-") else "k"
        if what == "value" and key == "k":
            pytest.skip("a version never changes")
        s3.put_object(Bucket=bucket, Key=key, Body=PAGE)
        async with asyncio.timeout(20):
            with pytest.raises(CorruptionError):
                async with reader.subscribe("k") as values:
                    async for _ in values:
                        pass


class Damaging(Unreliable):
    """A storage of somebody else, whose answers arrive damaged."""

    def __init__(self, **options):
        super().__init__(**options)
        self.times = 0
        self.match = lambda key: True

    async def get(self, bucket, key, **options):
        found = await super().get(bucket, key, **options)
        if self.times and isinstance(found, Object) and self.match(key):
            self.times -= 1
            return replace(found, body=found.body[:-1] + b"\0")
        return found


@pytest.mark.parametrize("versioning", [True, False], ids=["merge", "log"])
async def test_what_arrived_damaged_is_not_kept_for_later_lives(tmp_path, versioning, monkeypatch):
    monkeypatch.setattr(levels, "LARGE", 100)
    storage = Damaging(versioning=versioning)
    values = {f"k/{number}": f"value {number}" for number in range(20)}
    async with memory_client(storage) as writer:
        await writer.put_all(values)
    storage.times = 2
    async with memory_client(storage, offline=tmp_path) as reader:
        for _ in range(5):
            storage.times += 1
            assert await reader.get_all(prefix="k/") == values
    assert storage.times < 7
    storage.times = 0
    async with memory_client(storage, offline=tmp_path, online=False) as later:
        assert await later.get_all(prefix="k/") == values


@pytest.mark.parametrize("checksums", [True, False])
async def test_what_stays_damaged_is_not_kept_either(tmp_path, checksums):
    storage = Damaging()
    async with memory_client(storage, checksums=checksums) as writer:
        await writer.put("k", {"a": 1})
    storage.match = lambda key: key == "k"
    async with memory_client(storage, offline=tmp_path, checksums=checksums) as reader:
        storage.times = 10
        with pytest.raises((CorruptionError, UnavailableError)):
            await reader.get("k")
        storage.times = 0
    async with memory_client(storage, offline=tmp_path, checksums=checksums) as later:
        assert await later.get("k") == {"a": 1}


class Miswriting(Unreliable):
    """A storage whose answers arrive with other values in them, each time with another one."""

    def __init__(self, **options):
        super().__init__(**options)
        self.times = 0

    async def get(self, bucket, key, **options):
        found = await super().get(bucket, key, **options)
        if self.times and isinstance(found, Object) and b"crimson" in found.body:
            body = found.body.replace(b"crimson", b"crims%02d" % self.times)
            self.times -= 1
            return replace(found, body=body)
        return found


@pytest.mark.parametrize("versioning", [True, False], ids=["merge", "log"])
async def test_an_inline_value_that_was_changed_on_the_way_is_neither_shown_nor_kept(tmp_path, versioning):
    """The document that it is in can be decoded, and is not the one that was stored."""
    storage = Miswriting(versioning=versioning)
    async with helpers.memory_client(storage) as writer:
        await writer.put("color", "crimson")
    storage.times = 4
    async with helpers.memory_client(storage, offline=tmp_path) as reader:
        assert await reader.get("color") == "crimson"
        for number in range(4):
            await reader.put("other", number)  # in the end it writes a checkpoint
    assert not storage.times
    async with helpers.memory_client(storage, offline=tmp_path, online=False) as later:
        assert await later.get("color") == "crimson"
    storage.times = 4
    async with helpers.memory_client(storage) as other:
        assert await other.get("color") == "crimson"
        assert [await one.value() for one in await other.history("color")] == ["crimson"]


@pytest.mark.parametrize("versioning", [True, False], ids=["merge", "log"])
async def test_a_subscription_is_told_no_inline_value_that_was_changed_on_the_way(versioning):
    storage = Miswriting(versioning=versioning)
    async with helpers.memory_client(storage) as writer, helpers.memory_client(storage) as reader:
        await writer.put("color", "red")
        async with reader.subscribe("color") as values:
            assert await soon(anext(values)) == "red"
            storage.times = 2
            await writer.put("color", "crimson")
            assert await soon(anext(values)) == "crimson"
    assert not storage.times


@pytest.mark.parametrize("versioning", [True, False], ids=["merge", "log"])
async def test_damage_that_lasts_for_a_while_ends_no_subscription(versioning):
    """All tries bring the same bytes, and the ETag says that they are not those of the store."""

    class Shortening(Unreliable):
        short = 0

        async def get(self, bucket, key, **options):
            found = await super().get(bucket, key, **options)
            if self.short and isinstance(found, Object):
                self.short += 1
                return replace(found, body=found.body[: len(found.body) // 2])
            return found

    storage = Shortening(versioning=versioning)
    async with helpers.memory_client(storage) as writer, helpers.memory_client(storage) as reader:
        await writer.put("color", "red")
        async with reader.subscribe("color") as values:
            assert await soon(anext(values)) == "red"
            await writer.put("color", "green")
            assert await soon(anext(values)) == "green"
            storage.short = 1
            await writer.put("color", "blue")
            await eventually(lambda: not reader.status().online)
            assert isinstance(reader.status().last_error, UnavailableError)
            assert "delete" not in str(reader.status().last_error)
            assert storage.short > 5
            storage.short = 0
            assert await soon(anext(values)) == "blue"


class Encrypting(Unreliable):
    """A storage whose ETags look like the MD5 of its objects, and are not, as with keys of KMS."""

    async def get(self, bucket, key, **options):
        found = await super().get(bucket, key, **options)
        if not isinstance(found, Object):
            return found
        return replace(found, etag=f'"{hashlib.sha256(found.body).hexdigest()[:32]}"')


@pytest.mark.parametrize("versioning", [True, False], ids=["merge", "log"])
async def test_where_etags_are_no_md5_documents_are_read_twice_once(versioning):
    async def gets(storage):
        async with helpers.memory_client(storage, poll_interval=60) as writer:
            await writer.put_all({"color": "crimson"})
        async with helpers.memory_client(storage, poll_interval=60) as reader:
            assert await reader.get("color") == "crimson"
            first = storage.count("get")
            for number in range(5):
                async with helpers.memory_client(storage, poll_interval=60) as writer:
                    await writer.put("color", number)
                before = storage.count("get")
                assert await reader.get("color") == number
                first += storage.count("get") - before
        return first

    ordinary = await gets(Unreliable(versioning=versioning))
    assert ordinary < await gets(Encrypting(versioning=versioning)) <= ordinary + 2 + 2 * versioning


@pytest.mark.parametrize("kind", ["value", "run"])
async def test_a_cache_that_is_wrong_is_put_right_by_the_store(tmp_path, kind, monkeypatch):
    """Such as the cache of an older version, which kept what had arrived."""
    monkeypatch.setattr(levels, "LARGE", 100)
    storage = Unreliable()
    values = {f"k/{number}": f"value {number}" for number in range(20)}
    async with memory_client(storage, offline=tmp_path) as first:
        await first.put_all(values)
        cache = first._directory.cache
        await cache._flush()
        for key, version, body in await cache._read("SELECT key, version, body FROM objects", ()):
            if (".runs/" in key) == (kind == "run"):
                cache.add(BUCKET, key, version, body.replace(b"e", b"E"))
    async with memory_client(storage, offline=tmp_path) as later:
        assert await later.get_all(prefix="k/") == values
    async with memory_client(storage, offline=tmp_path, online=False) as last:
        assert await last.get_all(prefix="k/") == values


async def test_a_format_number_that_was_changed_on_the_way_is_not_a_newer_client(tmp_path):
    class Newer(Damaging):
        async def get(self, bucket, key, **options):
            found = await Unreliable.get(self, bucket, key, **options)
            if self.times and isinstance(found, Object) and key == MANIFEST:
                self.times -= 1
                body = json.dumps({**json.loads(found.body), "mps3": 9}).encode()
                return replace(found, body=body)
            return found

    storage = Newer()
    async with memory_client(storage) as writer:
        await writer.put("k", 1)
    storage.times = 2
    async with memory_client(storage) as reader:
        assert await reader.get("k") == 1
