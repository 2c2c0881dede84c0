"""Create-if-absent on Google Cloud Storage, against a server that does what is known of Google's."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import socket
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from aiobotocore.config import AioConfig
from aiohttp import web
from aiohttp.abc import AbstractResolver
from botocore import UNSIGNED
from helpers import client, soon
from in_memory_s3 import InMemoryS3, error
from storage.s3_storage import opened

from mps3 import ConfigurationError, ConflictError
from mps3.storage import Head
from mps3.storage.s3.google import GoogleV4Auth
from mps3.storage.s3.storage import S3Storage
from mps3.testing import check_storage

HOST = "storage.googleapis.com"
KEY, SECRET = "GOOG1EXAMPLE", "secret"


class FakeGoogle(InMemoryS3):
    """Knows Google's condition and no other, and verifies the signature of its own algorithm.

    Attributes:
        puts: The headers of each PUT, with lower-case names.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.puts: list[dict[str, str]] = []

    def _put(self, request: web.BaseRequest, key: str, body: bytes) -> web.Response:
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.puts.append(headers)
        if any(name.startswith("x-amz-") for name in headers) and any(name.startswith("x-goog-") for name in headers):
            return error(400, "ExcessHeaderValues")
        if "GOOG4" in headers.get("authorization", "") and not is_signed(request, headers, body):
            return error(403, "SignatureDoesNotMatch")
        if "content-md5" in headers and base64.b64decode(headers["content-md5"]) != hashlib.md5(body).digest():
            return error(400, "BadDigest")
        if headers.get("x-goog-if-generation-match") == "0" and self._newest(key) is not None:
            return error(412, "PreconditionFailed")
        kinds = ("x-goog-meta-", "x-amz-meta-")
        meta = {name.replace("goog", "amz"): value for name, value in headers.items() if name.startswith(kinds)}
        row = self.add(key, body, meta)
        return web.Response(headers={"ETag": row.etag, "x-goog-generation": "1"})


def is_signed(request: web.BaseRequest, headers: dict[str, str], body: bytes) -> bool:
    """As Google's pages describe it: all headers x-goog-… have to be signed."""
    algorithm, _, fields = headers["authorization"].partition(" ")
    given = dict(field.split("=", 1) for field in fields.split(", "))
    access_key, *scope = given["Credential"].split("/")
    names = given["SignedHeaders"].split(";")
    payload = headers["x-goog-content-sha256"]
    assert (algorithm, access_key, scope[2:]) == ("GOOG4-HMAC-SHA256", KEY, ["storage", "goog4_request"])
    assert scope[0] == headers["x-goog-date"][:8]
    assert payload == hashlib.sha256(body).hexdigest()
    assert {"host", *(name for name in headers if name.startswith("x-goog-"))} <= {*names}
    lines = [request.method, request.raw_path, "", *(f"{name}:{headers[name]}" for name in names), ""]
    canonical = hashlib.sha256("\n".join([*lines, ";".join(names), payload]).encode()).hexdigest()
    key = b"GOOG4" + SECRET.encode()
    for part in scope:
        key = hmac.new(key, part.encode(), "sha256").digest()
    text = "\n".join([algorithm, headers["x-goog-date"], "/".join(scope), canonical])
    return hmac.new(key, text.encode(), "sha256").hexdigest() == given["Signature"]


class Here(AbstractResolver):
    """Every host is this machine."""

    async def resolve(self, host: str, port: int = 0, family: int = socket.AF_INET) -> Any:
        return [{"hostname": host, "host": "127.0.0.1", "port": port, "family": family, "proto": 0, "flags": 0}]

    async def close(self) -> None:
        pass


def config(server: InMemoryS3, **options: Any) -> dict[str, Any]:
    return {
        "endpoint_url": f"http://{HOST}:{server.url.rpartition(':')[2]}",
        "region_name": "auto",
        "aws_access_key_id": KEY,
        "aws_secret_access_key": SECRET,
        "config": AioConfig(connector_args={"resolver": Here()}, **options),
    }


@asynccontextmanager
async def google(versioning: str = "Off", **options: Any) -> Any:
    async with FakeGoogle(versioning=versioning) as server, opened(config(server), **options) as storage:
        yield server, storage


@pytest.mark.parametrize("key", ["key", "a b/ü+%.json", "a/../b"])
@pytest.mark.parametrize("size", [2, 700_000])
async def test_an_object_is_created_once(key, size):
    async with google() as (server, storage):
        await storage.put("bucket", key, b"1" * size, sha256=hashlib.sha256(b"1" * size).digest(), if_none_match=True)
        with pytest.raises(ConflictError) as caught:
            await storage.put("bucket", key, b"2", if_none_match=True)
        assert not caught.value.maybe_written
        assert (await storage.get("bucket", key)).body == b"1" * size
        await storage.put("bucket", key, b"3")
        assert (await storage.get("bucket", key)).body == b"3"
    assert len(server.puts) == 3


async def test_the_headers_of_a_put():
    async with google() as (server, storage):
        await storage.put("bucket", "key", b"{}", if_none_match=True, metadata={"a": "b"})
        assert await storage.head("bucket", "key") == Head({"a": "b"}, 2, server.rows["key"][0].modified // 1)
        await storage.put("bucket", "key", b"{}", metadata={"a": "c"})
    first, second = server.puts
    assert first["x-goog-if-generation-match"] == "0"
    assert "if-none-match" not in first
    assert not any(name.startswith("x-amz-") for name in first)
    assert base64.b64decode(first["content-md5"]) == hashlib.md5(b"{}").digest()
    assert not any(name.startswith("x-goog-") for name in second)
    assert "AWS4-HMAC-SHA256" in second["authorization"]
    assert "x-amz-checksum-sha256" in second
    assert "content-md5" not in second


async def test_checksums_of_the_sdk_are_left_out():
    async with FakeGoogle(versioning="Off") as server:
        own = config(server, request_checksum_calculation="when_supported")
        async with opened(own, checksums=False) as storage:
            await storage.put("bucket", "key", b"{}", if_none_match=True)
            await storage.put("bucket", "other", b"{}")
    assert not any(name.startswith("x-amz-") for name in server.puts[0])
    assert any("crc" in name for name in server.puts[1])


async def test_who_does_not_sign_does_not_sign():
    async with FakeGoogle(versioning="Off") as server:
        unsigned = {key: value for key, value in config(server, signature_version=UNSIGNED).items() if "aws" not in key}
        async with opened(unsigned) as storage:
            await storage.put("bucket", "key", b"{}", if_none_match=True)
            with pytest.raises(ConflictError):
                await storage.put("bucket", "key", b"{}", if_none_match=True)
    assert not any("authorization" in one for one in server.puts)


async def test_a_token_takes_the_place_of_the_signature(monkeypatch):
    """Of OAuth: Google advises it for its own API."""

    class Token(httpx.Auth):
        def auth_flow(self, request: Any) -> Any:
            request.headers["Authorization"] = "Bearer token"
            yield request

    resolve = socket.getaddrinfo
    monkeypatch.setattr(socket, "getaddrinfo", lambda host, *args, **options: resolve(*("127.0.0.1", *args), **options))
    async with FakeGoogle(versioning="Off") as server:
        options = {name: value for name, value in config(server).items() if name in {"endpoint_url", "region_name"}}
        async with opened(options, auth=Token()) as storage:
            await storage.put("bucket", "key", b"{}", if_none_match=True)
            with pytest.raises(ConflictError):
                await storage.put("bucket", "key", b"{}", if_none_match=True)
    assert [one["authorization"] for one in server.puts] == ["Bearer token"] * 2
    assert not any(name.startswith("x-amz-") for one in server.puts for name in one)


async def test_one_of_many_creates():
    async with google() as (server, storage):
        puts = [storage.put("bucket", "key", b"%d" % number, if_none_match=True) for number in range(20)]
        results = await asyncio.gather(*puts, return_exceptions=True)
    assert sum(isinstance(one, ConflictError) for one in results) == 19
    assert len(server.puts) == 20


async def test_a_refusal_to_mix_headers_is_told():
    async with google() as (_, storage):
        events = storage._session.connection.client.meta.events
        events.register("before-sign.s3.PutObject", lambda request, **_: request.headers.add_header("x-amz-a", "b"))
        with pytest.raises(ConfigurationError, match="ExcessHeaderValues"):
            await storage.put("bucket", "key", b"{}", if_none_match=True)


async def test_no_key():
    with pytest.raises(Exception, match="credentials"):
        GoogleV4Auth(None, "s3", "auto").add_auth(None)


async def test_elsewhere_the_header_is_the_standard_one():
    async with FakeGoogle(versioning="Off") as server, opened(server.s3_config) as storage:
        await storage.put("bucket", "key", b"{}", if_none_match=True)
    assert server.puts[0]["if-none-match"] == "*"
    assert not any(name.startswith("x-goog-") for name in server.puts[0])


async def test_it_is_a_storage():
    async with FakeGoogle(versioning="Off") as server:
        report = await check_storage(S3Storage(config(server)), "bucket")
    assert report.passed, report
    assert {one.check: one.outcome for one in report.results}["conditional_create"] == "passed"


async def test_a_manifest_takes_the_log_journal():
    async with (
        FakeGoogle(versioning="Off") as server,
        client("bucket", config(server)) as one,
        client("bucket", config(server)) as other,
    ):
        await asyncio.gather(*(soon(one.put("one", number)) for number in range(5)))
        await soon(other.put("other", 2))
        assert await soon(one.get("other")) == 2
    created = [headers for headers in server.puts if "x-goog-if-generation-match" in headers]
    assert len(created) >= 3
