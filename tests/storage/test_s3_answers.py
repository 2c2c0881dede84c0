"""What counts as an answer of S3: who stands in between can answer too, and at any length."""

from __future__ import annotations

import asyncio
import contextlib
import re
from typing import Any, Self

import httpx
import httpx2
import pytest
from aiohttp import web
from helpers import client, soon
from scripted_s3 import HELLO, PAGE, Received, ScriptedS3, answer, error
from servers import CountingProxy
from storage.s3_storage import AUTHS, CALLS, READS, WRITES, talking_to

from mps3 import AccessError, ConfigurationError, CorruptionError, MPS3Error, UnavailableError
from mps3.storage import ABSENT, pagination
from mps3.storage.s3 import responses as responses_module

# Success --------------------------------------------------------------------------------------------------------------


HALF = {
    "empty": answer(200),
    "an empty etag": answer(200, ETag=""),
    "an etag of nothing": answer(200, ETag='""'),
    "204": answer(204),
    "202": answer(202, ETag='"5d4"'),
    "a page": answer(200, PAGE, content_type="text/html"),
    "json": answer(200, b'{"ok": true}'),
    "a page with an etag": answer(200, PAGE, etag='"page"'),
}


@pytest.mark.parametrize("auth", AUTHS)
async def test_a_put_that_the_store_does_not_confirm_in_full_is_unknown(fake, auth):
    async with talking_to(fake, auth=AUTHS[auth]) as storage:
        for what, reply in HALF.items():
            fake.answers = [reply]
            for name in WRITES.keys() - {"delete"}:
                fake.received.clear()
                with pytest.raises(UnavailableError, match="unknown") as caught:
                    await WRITES[name](storage)
                assert caught.value.maybe_written, (what, name)
                assert len(fake.received) == 1, (what, name)


async def test_a_version_confirms_a_put_too(fake):
    fake.answers = [answer(200, x_amz_version_id="v1")]
    async with talking_to(fake) as storage:
        assert (await storage.put("bucket", "key", b"")).version == "v1"


@pytest.mark.parametrize("auth", AUTHS)
async def test_a_page_that_comes_with_200_is_no_answer(fake, auth):
    fake.answers = [answer(200, PAGE, content_type="text/html")]
    async with talking_to(fake, auth=AUTHS[auth]) as storage:
        for name in (*READS, "delete"):
            fake.received.clear()
            with pytest.raises(UnavailableError, match="damaged"):
                await CALLS[name](storage)
            assert len(fake.received) == 4, name


async def test_an_empty_200_is_no_answer(fake):
    fake.answers = [answer(200)]
    async with talking_to(fake) as storage:
        for call in READS.values():
            with pytest.raises(UnavailableError):
                await call(storage)


@pytest.mark.parametrize(
    "body",
    [PAGE, PAGE + b"x" * 500_000, PAGE + b"<p>" * 50_000, b"404 page not found\n", b'{"message": "no Route matched"}'],
    ids=["page", "long page", "page of tags", "text", "json"],
)
@pytest.mark.parametrize("auth", AUTHS)
async def test_a_404_of_somebody_else_is_no_absence(fake, auth, body):
    fake.answers = [answer(404, body)]
    async with talking_to(fake, auth=AUTHS[auth]) as storage:
        with pytest.raises(UnavailableError, match="Check endpoint_url"):
            await storage.get("bucket", "key")
        with pytest.raises(UnavailableError) as caught:
            await storage.put("bucket", "key", b"")
        assert not caught.value.maybe_written
        fake.answers = [error(404, "NoSuchKey")]
        assert await storage.get("bucket", "key") is ABSENT


async def test_nothing_is_unchanged_that_nobody_knew(fake):
    fake.answers = [answer(304)]
    async with talking_to(fake) as storage:
        with pytest.raises(MPS3Error):
            await storage.get("bucket", "key")


async def test_a_stranger_does_not_tell_the_time(fake):
    fake.answers = [answer(200, PAGE, date="Fri, 01 Jan 2038 00:00:00 GMT")]
    async with talking_to(fake) as storage:
        for call in CALLS.values():
            with pytest.raises(UnavailableError):
                await call(storage)
        assert storage.clock() is None


async def test_a_page_of_a_stranger_that_looks_like_an_object_does_not_tell_the_time(fake):
    fake.answers = [answer(200, PAGE, date="Fri, 01 Jan 2038 00:00:00 GMT", etag='"5f2a-1b"')]
    async with talking_to(fake) as storage:
        assert (await storage.get("bucket", "key")).body == PAGE  # whoever reads JSON finds out
        assert storage.clock() is None


async def test_a_listing_of_something_else_is_left_out(fake):
    def page(root: str, tag: str) -> bytes:
        items = "".join(
            f"<{tag}><Key>{key}</Key><VersionId>1</VersionId><LastModified>2026-01-01T00:00:00Z</LastModified></{tag}>"
            for key in ("other/a", "prefix/a")
        )
        return answer(200, f"<{root}><IsTruncated>false</IsTruncated>{items}</{root}>".encode())

    async with talking_to(fake) as storage:
        fake.answers = [page("ListBucketResult", "Contents")]
        assert [entry.key for entry in (await storage.list("bucket", "prefix/")).entries] == ["prefix/a"]
        fake.answers = [page("ListVersionsResult", "Version")]
        assert [found.key for found in (await storage.scan("bucket", "prefix/")).found] == ["prefix/a"]


class Portal(CountingProxy):
    """Lets requests through, but for some PUTs, which it answers itself."""

    def __init__(self, target: str, contains: str, times: int) -> None:
        super().__init__(target)
        self.contains, self.left = contains, times

    async def _pass_on(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.method == "PUT" and self.contains in request.raw_path and self.left:
            self.left -= 1
            await request.read()
            return web.Response(body=PAGE, content_type="text/html")
        return await super()._pass_on(request)


@pytest.mark.server
@pytest.mark.parametrize("journal", ["merge", "log"])
@pytest.mark.parametrize("contains", ["/color", "/manifest.json"])
async def test_what_is_acknowledged_is_there_though_a_portal_answered_first(
    usable_bucket, s3_config, server, journal, contains
):
    bucket = usable_bucket("Enabled" if journal == "merge" else None)
    async with (
        Portal(server.url, contains, 0) as portal,
        client(bucket, s3_config | {"endpoint_url": portal.url}, journal=journal, inline=0) as one,
        client(bucket, s3_config, journal=journal) as other,
    ):
        await soon(one.put("color", "red"))
        portal.left = 2
        await soon(one.put("color", "blue"))
        assert portal.left == 0
        assert await soon(other.get("color")) == "blue"


# Length ---------------------------------------------------------------------------------------------------------------


class Endless:
    """Answers everything with a head and then bytes, as long as anybody takes them."""

    def __init__(self, head: bytes, chunk: bytes = b"x" * (1 << 16)) -> None:
        self.head, self.chunk, self.sent = head, chunk, 0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        self.s3_config = {
            "endpoint_url": f"http://127.0.0.1:{port}",
            "region_name": "us-east-1",
            "aws_access_key_id": "a",
            "aws_secret_access_key": "b",
        }
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(self.head + b"\r\n\r\n")
            while self.sent < 1 << 29:
                writer.write(b"%x\r\n%s\r\n" % (len(self.chunk), self.chunk))
                self.sent += len(self.chunk)
                await writer.drain()
        writer.close()


CHUNKED = b"\r\nTransfer-Encoding: chunked"


@pytest.mark.parametrize("auth", AUTHS)
async def test_an_error_without_end_is_judged_by_its_status(auth):
    async with Endless(b"") as endless, talking_to(endless, auth=AUTHS[auth]) as storage:
        for status, kind in ((500, UnavailableError), (403, AccessError), (400, MPS3Error), (302, ConfigurationError)):
            endless.head, endless.sent = b"HTTP/1.1 %d X" % status + CHUNKED, 0
            for call in (READS["get"], READS["versions"], WRITES["put"]):
                with pytest.raises(kind):
                    await call(storage)
            assert endless.sent < 100 * 2**20


@pytest.mark.parametrize("auth", AUTHS)
async def test_an_answer_without_end_is_damage(auth):
    async with (
        Endless(b'HTTP/1.1 200 OK\r\nETag: "1"' + CHUNKED, b"<a>" + b" " * 60_000) as endless,
        talking_to(endless, auth=AUTHS[auth]) as storage,
    ):
        for name in ("versions", "list", "capabilities", "put", "delete"):
            endless.sent = 0
            with pytest.raises(UnavailableError, match="more than"):
                await CALLS[name](storage)
            assert endless.sent < 100 * 2**20, name


@pytest.mark.parametrize("auth", AUTHS)
async def test_millions_of_tags_are_not_parsed(fake, auth):
    """It would hold up the event loop for seconds."""
    pages = [b"<a/>" * 2_000_000, b"<Version/>" * 800_000, b"&#1;" * 2_000_000, b"<a>" * 2_000_000]
    async with talking_to(fake, auth=AUTHS[auth]) as storage:
        for page in pages:
            fake.answers = [answer(200, b"<ListVersionsResult>" + page)]
            with pytest.raises(UnavailableError, match="more tags and entities"):
                await storage.versions("bucket", "key")
            fake.answers = [answer(500, b"<Error><Code>Code</Code>" + page + b"</Error>")]
            with pytest.raises(UnavailableError) as caught:
                await storage.versions("bucket", "key")
            assert "Code" not in str(caught.value)


@pytest.mark.parametrize("auth", AUTHS)
async def test_an_object_of_which_nobody_says_how_long_it_is_has_a_bound(auth, monkeypatch):
    monkeypatch.setattr(responses_module, "MAX_OBJECT_BYTES", 1 << 20)
    async with (
        Endless(b'HTTP/1.1 200 OK\r\nETag: "1"' + CHUNKED) as endless,
        talking_to(endless, auth=AUTHS[auth]) as storage,
    ):
        with pytest.raises(CorruptionError, match="more than"):
            await storage.get("bucket", "key")
    assert endless.sent < 100 * 2**20


@pytest.mark.parametrize("library", [httpx, httpx2])
async def test_a_large_object_arrives_also_through_an_auth_that_makes_its_own_requests(fake, library):
    class Copying(library.Auth):
        def auth_flow(self, request: Any) -> Any:
            yield library.Request(request.method, request.url, headers=request.headers)

    body = b"<&" * (5 << 20)
    fake.answers = [answer(200, body, ETag='"1"')]
    async with talking_to(fake, auth=Copying()) as storage:
        assert (await storage.get("bucket", "key")).body == body


@pytest.mark.parametrize("auth", ["httpx", "httpx2"])
async def test_a_small_answer_does_not_become_a_large_one(fake, auth):
    import gzip  # noqa: PLC0415

    bomb = gzip.compress(b" " * (64 << 20))
    fake.answers = [answer(500, bomb, content_encoding="gzip")]
    async with talking_to(fake, auth=AUTHS[auth]) as storage:
        with pytest.raises(UnavailableError):
            await storage.versions("bucket", "key")
    assert fake.received[0].headers["accept-encoding"] == "identity"


class Listing(ScriptedS3):
    """Has a next page after every page."""

    circle = False

    def reply(self, received: Received) -> bytes:
        found = re.search(r"(?:version-id-marker|continuation-token)=(\d+)", received.target)
        number = int(found[1]) if found else 0
        marker = number % 3 + 1 if self.circle else number + 1
        fields = f"<Key>key</Key><VersionId>{marker}</VersionId><LastModified>2026-01-01T00:00:00Z</LastModified>"
        more = "<IsTruncated>true</IsTruncated>"
        if "list-type=2" in received.target:
            more += f"<NextContinuationToken>{marker}</NextContinuationToken><Contents>{fields}</Contents>"
            return answer(200, f"<ListBucketResult>{more}</ListBucketResult>".encode())
        more += f"<NextKeyMarker>key</NextKeyMarker><NextVersionIdMarker>{marker}</NextVersionIdMarker>"
        return answer(200, f"<ListVersionsResult>{more}<Version>{fields}</Version></ListVersionsResult>".encode())


@pytest.mark.parametrize(("circle", "why"), [(False, "more than 50 pages"), (True, "circles")])
async def test_a_listing_ends(circle, why, monkeypatch):
    monkeypatch.setattr(pagination, "MAX_PAGES", 50)
    async with Listing() as fake, talking_to(fake) as storage:
        fake.circle = circle
        for pages in (storage.versions, storage.list, storage.scan):
            fake.received.clear()
            start = None
            progress = pagination.PageProgress("bucket", "key", "List")
            with pytest.raises(UnavailableError, match=why):
                while True:
                    start = progress.forward((await pages("bucket", "key", start=start)).next)
                    assert start is not None
            assert len(fake.received) < (20 if circle else 60)


async def test_hello_is_an_object(fake):
    fake.answers = [HELLO]
    async with talking_to(fake) as storage:
        assert (await storage.get("bucket", "key")).body == b"hello"
