"""Redirects are never followed: the errors name the region and the endpoint."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import httpx2
import pytest
from aiohttp import web
from helpers import NoBackoff, client, soon
from scripted_s3 import HELLO, PAGE, ScriptedS3, answer, error
from servers import Counted, CountingProxy
from storage.s3_storage import AUTHS, CALLS, opened, talking_to

from mps3 import AccessError, ConfigurationError, UnavailableError

REDIRECTS = [300, 301, 302, 303, 307, 308]


@pytest.mark.parametrize("auth", AUTHS)
async def test_a_redirect_is_never_followed_and_names_region_and_endpoint(fake, auth):
    config = fake.s3_config | {"aws_session_token": "TOKEN"}
    async with ScriptedS3() as elsewhere, opened(config, environment=NoBackoff(), auth=AUTHS[auth]) as storage:
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
@pytest.mark.parametrize("journal", ["merge", "log"])
async def test_a_write_that_is_redirected_after_the_store_has_answered_is_tried_again(
    usable_bucket, s3_config, server, journal
):
    bucket = usable_bucket("Enabled" if journal == "merge" else None)
    async with (
        ScriptedS3() as elsewhere,
        Redirecting(server.url) as proxy,
        client(bucket, s3_config | {"endpoint_url": proxy.url}, journal=journal, poll_interval=60, inline=0) as one,
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
    async with ScriptedS3() as elsewhere, talking_to(fake, auth=AUTHS[auth]) as storage:
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
    async with talking_to(fake) as storage:
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
    async with talking_to(fake) as storage:
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

    async with ScriptedS3() as elsewhere, talking_to(fake, auth=Auth()) as storage:
        fake.answers = [answer(307, location=f"http://127.0.0.1:{elsewhere.port}/")]
        with pytest.raises(AccessError):
            await storage.get("bucket", "key")
    assert elsewhere.received == []
