"""Checksums: every PUT has one, for buckets with object lock take none without."""

from __future__ import annotations

import asyncio
import base64
import hashlib

import pytest
from aiohttp import web
from helpers import client, soon
from scripted_s3 import HELLO, Received, ScriptedS3, answer, error
from servers import CountingProxy
from storage.s3_storage import talking_to

from mps3 import ConfigurationError
from mps3.storage.s3.storage import S3Storage

SHA256, MD5 = "x-amz-checksum-sha256", "content-md5"
LOCKED = "Content-MD5 OR x-amz-checksum- HTTP header is required for Put Object requests with Object Lock parameters"
OLD_LOCKED = "Content-MD5 HTTP header is required for Put Object requests with Object Lock parameters"


class Choosy(ScriptedS3):
    """A store that wants certain checksums, and verifies those that it understands."""

    def __init__(self, *, wants: set[str], takes: set[str], says: str = LOCKED, refusal: bytes | None = None) -> None:
        super().__init__()
        self.wants, self.takes, self.says = wants, takes, says
        self.refusal = refusal or error(400, "InvalidArgument", "unsupported header with a checksum")

    def reply(self, received: Received) -> bytes:
        if received.method != "PUT":
            return HELLO
        sent = {SHA256, MD5} & received.headers.keys()
        if sent - self.takes:
            return self.refusal
        if self.wants and not sent & self.wants:
            return error(400, "InvalidRequest", self.says)
        for name in sent:
            digest = hashlib.new("md5" if name == MD5 else "sha256", received.body).digest()
            if received.headers[name] != base64.b64encode(digest).decode():
                return error(400, "BadDigest")
        return answer(200, ETag='"1"')


async def put_all_kinds(storage: S3Storage) -> None:
    await storage.put("bucket", "key", b"{}", sha256=hashlib.sha256(b"{}").digest(), metadata={"a": "b"})
    await storage.put("bucket", "key", b"{}")
    await storage.put("bucket", "key", b"{}", if_none_match=True)
    await storage.put("bucket", "key", b"x" * 300_000)


@pytest.mark.parametrize(
    ("store", "requests", "last"),
    [
        ({"wants": {SHA256, MD5}, "takes": {SHA256, MD5}}, 4, {SHA256}),
        ({"wants": set(), "takes": {SHA256, MD5}}, 4, {SHA256}),
        ({"wants": {MD5}, "takes": {SHA256, MD5}, "says": OLD_LOCKED}, 5, {SHA256, MD5}),
        ({"wants": {MD5}, "takes": {MD5}}, 5, {MD5}),
        ({"wants": {MD5}, "takes": {MD5}, "refusal": error(501, "NotImplemented")}, 5, {MD5}),
        ({"wants": set(), "takes": set()}, 6, set()),
        ({"wants": {SHA256}, "takes": {SHA256}}, 4, {SHA256}),
    ],
    ids=["either", "none needed", "md5 besides", "md5 instead", "md5 after 501", "takes none", "sha256 only"],
)
async def test_every_put_has_the_checksum_that_the_store_takes(store, requests, last):
    async with Choosy(**store) as fake, talking_to(fake) as storage:
        await put_all_kinds(storage)
    assert len(fake.received) == requests
    assert {SHA256, MD5} & fake.received[-1].headers.keys() == last


@pytest.mark.parametrize("says", [LOCKED, OLD_LOCKED])
async def test_a_checksum_that_the_bucket_insists_on_is_sent_also_when_they_are_switched_off(says):
    async with Choosy(wants={MD5}, takes={MD5}, says=says) as fake, talking_to(fake, checksums=False) as storage:
        await put_all_kinds(storage)
    assert [MD5 in one.headers for one in fake.received] == [False, *[True] * 4]


async def test_a_bucket_that_wants_a_checksum_and_takes_none_is_told_of():
    async with Choosy(wants={SHA256, MD5}, takes=set()) as fake, talking_to(fake) as storage:
        with pytest.raises(ConfigurationError, match="object lock") as caught:
            await storage.put("bucket", "key", b"{}")
    assert len(fake.received) <= 4
    assert not caught.value.maybe_written


class Locked(CountingProxy):
    """Before a server: takes no PUT without a checksum."""

    async def _pass_on(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.method == "PUT" and not {SHA256, MD5} & {name.lower() for name in request.headers}:
            await request.read()
            text = f"<Error><Code>InvalidRequest</Code><Message>{LOCKED}</Message></Error>"
            return web.Response(status=400, text=text, content_type="application/xml")
        return await super()._pass_on(request)


@pytest.mark.server
@pytest.mark.parametrize("journal", ["merge", "log"])
async def test_a_bucket_with_object_lock_can_be_used(usable_bucket, s3_config, server, journal):
    bucket = usable_bucket("Enabled" if journal == "merge" else None)
    async with (
        Locked(server.url) as locked,
        client(bucket, s3_config | {"endpoint_url": locked.url}, journal=journal) as one,
        client(bucket, s3_config, journal=journal) as other,
    ):
        await asyncio.gather(*(soon(one.put(f"key {number}", number)) for number in range(300)))
        await soon(one.put("last", "x" * 10_000))
        assert await soon(other.get("last")) == "x" * 10_000
        assert len(await other.keys()) == 301
