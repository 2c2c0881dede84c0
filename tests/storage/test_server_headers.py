"""What a storage remembers of the headers in which a server says what it is: little, and nothing that forges a line."""

from __future__ import annotations

import asyncio
import contextlib

import httpx
import pytest
from scripted_s3 import ScriptedS3, answer, error

from mps3 import AccessError, UnavailableError
from mps3.storage.lazy import LazyStorage
from mps3.storage.s3.server_headers import MAX_LENGTH, NAMES
from mps3.storage.s3.storage import S3Storage


async def said(*answers: bytes, calls: int = 1, auth: httpx.Auth | None = None) -> dict[str, str]:
    async with ScriptedS3(list(answers)) as server:
        storage = S3Storage(server.s3_config, auth=auth, timeout=3)
        assert storage.server_headers == {}
        await storage.open()
        try:
            assert storage.server_headers == {}  # what warms up the SDK is no response
            for _ in range(calls):
                with contextlib.suppress(AccessError, UnavailableError):
                    await storage.get("bucket", "key")
            return dict(storage.server_headers)
        finally:
            await storage.aclose()
            assert storage.server_headers == {}


@pytest.mark.parametrize("auth", [None, httpx.BasicAuth("a", "b")])
async def test_of_an_object(auth):
    found = await said(answer(200, b"x", ETag='"1"', Server="Store 1.2", X_Amz_Request_Id="tx1", Date="now"), auth=auth)
    assert found == {"server": "Store 1.2", "x-amz-request-id": "tx1"}


async def test_of_an_error_that_the_server_means():
    assert await said(answer(403, b"<Error><Code>AccessDenied</Code></Error>", Server="S")) == {"server": "S"}


async def test_not_of_one_that_a_proxy_may_have_made():
    good = answer(200, b"x", ETag='"1"', Server="Store")
    assert await said(good, answer(502, b"<html>", Server="Proxy"), calls=2) == {"server": "Store"}


async def test_a_server_that_says_nothing():
    assert await said(error(404, "NoSuchKey")) == {}


async def test_hostile_values_are_short_and_on_one_line():
    wild = "\x1b[31mready\x9b2J \u202e" + "https://user:secret@host/?token=secret " + "x" * 7000
    ((_, found),) = (await said(answer(200, b"x", ETag='"1"', Server=wild))).items()
    assert len(found) <= MAX_LENGTH and found.isprintable() and "secret" not in found


async def test_only_headers_that_are_asked_for():
    names = {name.replace("-", "_"): "v" for name in NAMES}
    found = await said(answer(200, b"x", ETag='"1"', **names, X_Other="v", Set_Cookie="v"))
    assert found == dict.fromkeys(NAMES, "v")


async def test_through_a_client_whose_storage_is_made_when_it_opens():
    async with ScriptedS3([answer(200, b"x", ETag='"1"', Server="S")]) as server:
        storage = LazyStorage(lambda: S3Storage(server.s3_config), lambda: "s3")
        assert storage.server_headers == {}
        await storage.open()
        await asyncio.wait_for(storage.get("bucket", "key"), 10)
        assert storage.server_headers == {"server": "S"}
        await storage.aclose()
