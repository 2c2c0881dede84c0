"""What counts as an answer of S3: who stands in between can answer too, and at any length."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import itertools
import random
import re
from typing import TYPE_CHECKING, Any, Self

import httpx
import httpx2
import pytest
from aiohttp import web
from helpers import client, soon
from scripted_s3 import HELLO, SLOW_DOWN, Received, ScriptedS3, answer, error
from servers import Counted, CountingProxy

from mps3 import AccessError, ConfigurationError, CorruptionError, MPS3Error, UnavailableError
from mps3.storage import ABSENT, pagination
from mps3.storage.s3 import responses as responses_module
from mps3.storage.s3.storage import S3Storage
from mps3.support.environment import Environment

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

PAGE = b"<!DOCTYPE html><html><body>Accept the terms</body></html>"
READS = {
    "get": lambda storage: storage.get("bucket", "key"),
    "head": lambda storage: storage.head("bucket", "key"),
    "versions": lambda storage: storage.versions("bucket", "key"),
    "list": lambda storage: storage.list("bucket", "prefix"),
    "scan": lambda storage: storage.scan("bucket", "prefix"),
    "capabilities": lambda storage: storage.capabilities("bucket"),
}
WRITES = {
    "put": lambda storage: storage.put("bucket", "key", b"{}", sha256=hashlib.sha256(b"{}").digest()),
    "commit": lambda storage: storage.put("bucket", "key", b"{}"),
    "create": lambda storage: storage.put("bucket", "key", b"{}", if_none_match=True),
    "replace": lambda storage: storage.put("bucket", "key", b"{}", if_match='"5d4"'),
    "delete": lambda storage: storage.delete("bucket", "key"),
}
CALLS = READS | WRITES
AUTHS = {"sdk": None, "httpx": httpx.BasicAuth("a", "b"), "httpx2": httpx2.BasicAuth("a", "b")}


class Impatient(Environment):
    def __init__(self) -> None:
        super().__init__(random.Random(0))

    def backoff(self, attempt: int, *, first: float, most: float) -> float:
        return 0.0


@contextlib.asynccontextmanager
async def talking(s3_config: dict[str, Any], **options: Any) -> AsyncIterator[S3Storage]:
    storage = S3Storage(s3_config, **({"environment": Impatient()} | options))
    await storage.open()
    try:
        yield storage
    finally:
        await storage.aclose()


@pytest.fixture
async def fake() -> AsyncIterator[ScriptedS3]:
    async with ScriptedS3() as fake:
        yield fake


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
    async with talking(fake.s3_config, auth=AUTHS[auth]) as storage:
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
    async with talking(fake.s3_config) as storage:
        assert (await storage.put("bucket", "key", b"")).version == "v1"


@pytest.mark.parametrize("auth", AUTHS)
async def test_a_page_that_comes_with_200_is_no_answer(fake, auth):
    fake.answers = [answer(200, PAGE, content_type="text/html")]
    async with talking(fake.s3_config, auth=AUTHS[auth]) as storage:
        for name in (*READS, "delete"):
            fake.received.clear()
            with pytest.raises(UnavailableError, match="damaged"):
                await CALLS[name](storage)
            assert len(fake.received) == 4, name


async def test_an_empty_200_is_no_answer(fake):
    fake.answers = [answer(200)]
    async with talking(fake.s3_config) as storage:
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
    async with talking(fake.s3_config, auth=AUTHS[auth]) as storage:
        with pytest.raises(UnavailableError, match="Check endpoint_url"):
            await storage.get("bucket", "key")
        with pytest.raises(UnavailableError) as caught:
            await storage.put("bucket", "key", b"")
        assert not caught.value.maybe_written
        fake.answers = [error(404, "NoSuchKey")]
        assert await storage.get("bucket", "key") is ABSENT


async def test_nothing_is_unchanged_that_nobody_knew(fake):
    fake.answers = [answer(304)]
    async with talking(fake.s3_config) as storage:
        with pytest.raises(MPS3Error):
            await storage.get("bucket", "key")


async def test_a_stranger_does_not_tell_the_time(fake):
    fake.answers = [answer(200, PAGE, date="Fri, 01 Jan 2038 00:00:00 GMT")]
    async with talking(fake.s3_config) as storage:
        for call in CALLS.values():
            with pytest.raises(UnavailableError):
                await call(storage)
        assert storage.clock() is None


async def test_a_listing_of_something_else_is_left_out(fake):
    def page(root: str, tag: str) -> bytes:
        items = "".join(
            f"<{tag}><Key>{key}</Key><VersionId>1</VersionId><LastModified>2026-01-01T00:00:00Z</LastModified></{tag}>"
            for key in ("other/a", "prefix/a")
        )
        return answer(200, f"<{root}><IsTruncated>false</IsTruncated>{items}</{root}>".encode())

    async with talking(fake.s3_config) as storage:
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
@pytest.mark.parametrize("journal", ["merge", "conditional"])
@pytest.mark.parametrize("contains", ["/color", "/manifest.json"])
async def test_what_is_acknowledged_is_there_though_a_portal_answered_first(
    make_bucket, s3_config, server, journal, contains
):
    bucket = make_bucket("Enabled" if journal == "merge" else None)
    async with (
        Portal(server.url, contains, 0) as portal,
        client(bucket, s3_config | {"endpoint_url": portal.url}, journal=journal) as one,
        client(bucket, s3_config, journal=journal) as other,
    ):
        await soon(one.put("color", "red"))
        portal.left = 2
        await soon(one.put("color", "blue"))
        assert portal.left == 0
        assert await soon(other.get("color")) == "blue"


# Redirects ------------------------------------------------------------------------------------------------------------

REDIRECTS = [300, 301, 302, 303, 307, 308]


@pytest.mark.parametrize("auth", AUTHS)
async def test_a_redirect_is_never_followed_and_names_region_and_endpoint(fake, auth):
    config = fake.s3_config | {"aws_session_token": "TOKEN"}
    async with ScriptedS3() as elsewhere, talking(config, auth=AUTHS[auth]) as storage:
        location = f"http://u:pw@127.0.0.1:{elsewhere.port}/x?sig=secret"
        for status, call in itertools.product(REDIRECTS, CALLS.values()):
            fake.answers = [answer(status, PAGE, location=location)]
            fake.received.clear()
            with pytest.raises(ConfigurationError) as caught:
                await call(storage)
            assert "region_name (us-east-1)" in str(caught.value)
            assert f"endpoint_url ({config['endpoint_url']})" in str(caught.value)
            assert str(elsewhere.port) in str(caught.value)
            assert "pw" not in str(caught.value) and "secret" not in str(caught.value)
            assert not caught.value.maybe_written
            assert len(fake.received) == 1
    assert elsewhere.received == []


class Redirecting(CountingProxy):
    """Sends some requests elsewhere."""

    method = contains = location = ""
    status = 301

    async def _pass_on(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.method == self.method and self.contains in request.raw_path:
            self.requests.append(Counted(request.method, request.raw_path, "", self.status, 0, 0))
            await request.read()
            text = "<Error><Code>PermanentRedirect</Code><Message>elsewhere</Message></Error>"
            return web.Response(
                status=self.status, text=text, content_type="application/xml", headers={"Location": self.location}
            )
        return await super()._pass_on(request)


@pytest.mark.server
@pytest.mark.parametrize("journal", ["merge", "conditional"])
async def test_a_write_that_is_redirected_after_the_store_has_answered_is_tried_again(
    make_bucket, s3_config, server, journal
):
    bucket = make_bucket("Enabled" if journal == "merge" else None)
    async with (
        ScriptedS3() as elsewhere,
        Redirecting(server.url) as proxy,
        client(bucket, s3_config | {"endpoint_url": proxy.url}, journal=journal, poll_interval=60) as one,
    ):
        await soon(one.put("color", "red"))
        proxy.location = f"http://127.0.0.1:{elsewhere.port}/"
        for proxy.contains, proxy.status in itertools.product(("/color", "/manifest.json"), (301, 307)):
            proxy.clear()
            proxy.method = "PUT"
            write = asyncio.ensure_future(one.put("color", f"blue {proxy.contains} {proxy.status}"))
            async with asyncio.timeout(10):
                while not [request for request in proxy.requests if request.status in {301, 307}]:
                    await asyncio.sleep(0.01)
            assert not write.done()
            proxy.method = ""
            await soon(write)
            assert await soon(one.get("color")) == f"blue {proxy.contains} {proxy.status}"
    assert elsewhere.received == []


@pytest.mark.server
async def test_a_client_whose_first_request_is_redirected_fails(make_bucket, s3_config, server):
    bucket = make_bucket("Enabled")
    async with Redirecting(server.url) as proxy:
        proxy.method, proxy.contains = "GET", "/"
        with pytest.raises(ConfigurationError, match=r"region_name .* endpoint_url"):
            async with client(bucket, s3_config | {"endpoint_url": proxy.url}) as one:
                await soon(one.get("color"))


@pytest.mark.parametrize("auth", AUTHS)
async def test_a_redirect_after_the_bucket_has_answered_is_an_outage(fake, auth):
    async with ScriptedS3() as elsewhere, talking(fake.s3_config, auth=AUTHS[auth]) as storage:
        fake.answers = [HELLO]
        await storage.get("bucket", "key")
        for status, call in itertools.product(REDIRECTS, CALLS.values()):
            fake.answers = [answer(status, PAGE, location=f"http://127.0.0.1:{elsewhere.port}/x")]
            with pytest.raises(UnavailableError) as caught:
                await call(storage)
            assert "region_name (us-east-1)" in str(caught.value)
            assert f"endpoint_url ({fake.s3_config['endpoint_url']})" in str(caught.value)
            assert str(elsewhere.port) in str(caught.value)
            assert not caught.value.maybe_written
        fake.answers = [error(301, "PermanentRedirect")]
        with pytest.raises(UnavailableError, match="PermanentRedirect"):
            await storage.get("bucket", "key")
        # A wrong region is not what a portal answers.
        fake.answers = [error(400, "AuthorizationHeaderMalformed")]
        with pytest.raises(ConfigurationError):
            await storage.get("bucket", "key")
        fake.answers = [answer(302)]
        with pytest.raises(ConfigurationError):
            await storage.get("other", "key")
        fake.answers = [answer(302), HELLO]
        assert await storage.get("bucket", "key")
    assert elsewhere.received == []


async def test_a_redirect_after_an_unknown_outcome_leaves_it_unknown(fake):
    async with talking(fake.s3_config) as storage:
        fake.answers = [HELLO]
        await storage.get("bucket", "key")
        fake.answers = [error(500, "InternalError"), answer(302)]
        with pytest.raises(UnavailableError) as caught:
            await storage.delete("bucket", "key")
        assert caught.value.maybe_written


@pytest.mark.parametrize(
    ("reply", "region"),
    [
        (error(301, "PermanentRedirect", "use the other one", "<Endpoint>b.s3.eu-west-3.amazonaws.com</Endpoint>"), ""),
        (error(307, "TemporaryRedirect", extra="<Endpoint>b.s3.eu-west-3.amazonaws.com</Endpoint>"), ""),
        (answer(301, x_amz_bucket_region="eu-west-3"), "eu-west-3"),
        (error(400, "AuthorizationHeaderMalformed", "the region is wrong", "<Region>eu-west-3</Region>"), "eu-west-3"),
        (answer(400, x_amz_bucket_region="eu-west-3"), None),
    ],
    ids=["301 without a region", "307", "301 with a region", "400 with a region", "400"],
)
async def test_the_sdk_does_not_go_to_another_region(fake, reply, region):
    fake.answers = [reply]
    async with talking(fake.s3_config) as storage:
        for name, call in CALLS.items():
            fake.received.clear()
            with pytest.raises(ConfigurationError) as caught:
                await call(storage)
            assert len(fake.received) == 1
            if name == "head" and b" 400 " in reply[:20]:
                continue  # it has no body that could say so
            if region is not None:
                assert "region_name (us-east-1)" in str(caught.value) and (region in str(caught.value))


async def test_an_auth_is_not_sent_elsewhere_for_its_token(fake):
    class Auth(httpx2.Auth):
        requires_response_body = True

        def auth_flow(self, request: Any) -> Any:
            response = yield httpx2.Request("POST", f"http://127.0.0.1:{fake.port}/token", content=b"s3cr3t")
            response.raise_for_status()
            yield request

    async with ScriptedS3() as elsewhere, talking(fake.s3_config, auth=Auth()) as storage:
        fake.answers = [answer(307, location=f"http://127.0.0.1:{elsewhere.port}/")]
        with pytest.raises(AccessError):
            await storage.get("bucket", "key")
    assert elsewhere.received == []


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
    async with Endless(b"") as endless, talking(endless.s3_config, auth=AUTHS[auth]) as storage:
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
        talking(endless.s3_config, auth=AUTHS[auth]) as storage,
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
    async with talking(fake.s3_config, auth=AUTHS[auth]) as storage:
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
        talking(endless.s3_config, auth=AUTHS[auth]) as storage,
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
    async with talking(fake.s3_config, auth=Copying()) as storage:
        assert (await storage.get("bucket", "key")).body == body


@pytest.mark.parametrize("auth", ["httpx", "httpx2"])
async def test_a_small_answer_does_not_become_a_large_one(fake, auth):
    import gzip  # noqa: PLC0415

    bomb = gzip.compress(b" " * (64 << 20))
    fake.answers = [answer(500, bomb, content_encoding="gzip")]
    async with talking(fake.s3_config, auth=AUTHS[auth]) as storage:
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
    async with Listing() as fake, talking(fake.s3_config) as storage:
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


# What became of a write -----------------------------------------------------------------------------------------------


OUTCOMES = {
    True: [
        None,
        answer(500),
        error(503, "ServiceUnavailable"),
        error(400, "RequestTimeout"),
        error(200, "InternalError"),
        answer(200, PAGE),
        answer(502, PAGE),
    ],
    False: [
        SLOW_DOWN,
        answer(429),
        error(403, "AccessDenied"),
        error(404, "NoSuchBucket"),
        error(413, "EntityTooLarge"),
        error(501, "NotImplemented"),
        error(400, "BadDigest"),
        answer(302, location="http://elsewhere/"),
        answer(404, PAGE),
    ],
}


@pytest.mark.parametrize("maybe", OUTCOMES)
async def test_an_error_says_whether_the_write_may_count(fake, maybe):
    async with talking(fake.s3_config) as storage:
        for reply in OUTCOMES[maybe]:
            fake.answers = [reply]
            for name in ("put", "delete"):
                with pytest.raises(MPS3Error) as caught:
                    await WRITES[name](storage)
                assert caught.value.maybe_written is maybe, (reply, name)
            with pytest.raises(MPS3Error) as caught:
                await storage.list("bucket")
            assert not caught.value.maybe_written


@pytest.mark.parametrize("status", [404, 409, 412])
async def test_a_conflict_has_written_nothing(fake, status):
    fake.answers = [error(status, "PreconditionFailed")]
    async with talking(fake.s3_config) as storage:
        with pytest.raises(MPS3Error) as caught:
            await storage.put("bucket", "key", b"", if_match='"1"')
    assert not caught.value.maybe_written


async def test_a_delete_that_was_refused_at_last_may_have_worked_at_first(fake):
    fake.answers = [None, error(403, "AccessDenied")]
    async with talking(fake.s3_config) as storage:
        with pytest.raises(AccessError) as caught:
            await storage.delete("bucket", "key")
    assert caught.value.maybe_written


async def test_a_write_whose_time_is_over_may_count_if_it_was_under_way(fake):
    fake.answers = [b"hang"]
    async with talking(fake.s3_config, timeout=0.3) as storage:
        with pytest.raises(UnavailableError) as caught:
            await storage.put("bucket", "key", b"")
    assert caught.value.maybe_written
    fake.answers = [SLOW_DOWN]
    environment = Environment(random.Random(1))
    environment.backoff = lambda *_, **__: 60.0
    async with talking(fake.s3_config, timeout=0.5, environment=environment) as storage:
        with pytest.raises(UnavailableError) as caught:
            await storage.put("bucket", "key", b"")
    assert not caught.value.maybe_written


async def test_a_write_that_never_left_does_not_count(fake):
    await fake.__aexit__()
    async with talking(fake.s3_config) as storage:
        with pytest.raises(UnavailableError) as caught:
            await storage.put("bucket", "key", b"")
    assert not caught.value.maybe_written


async def test_closing_leaves_a_write_under_way_in_doubt(fake):
    fake.answers = [b"hang"]
    async with talking(fake.s3_config) as storage:
        call = asyncio.ensure_future(storage.put("bucket", "key", b""))
        while not fake.received:
            await asyncio.sleep(0.01)
    with pytest.raises(MPS3Error) as caught:
        await call
    assert caught.value.maybe_written
    with pytest.raises(MPS3Error) as caught:
        await storage.put("bucket", "key", b"")
    assert not caught.value.maybe_written


async def test_hello_is_an_object(fake):
    fake.answers = [HELLO]
    async with talking(fake.s3_config) as storage:
        assert (await storage.get("bucket", "key")).body == b"hello"
