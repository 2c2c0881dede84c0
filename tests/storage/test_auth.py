"""Whoever authorises the requests: the SDK with credentials that change, or any httpx.Auth."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
import traceback
from datetime import timedelta
from typing import Any

import httpx
import httpx2
import pytest
from aiobotocore import httpxsession
from aiobotocore.config import AioConfig
from aiohttp import ClientSession, web
from botocore import UNSIGNED
from botocore.exceptions import ClientError
from gateway import Gateway
from helpers import AWKWARD_KEYS, client, eventually, soon
from httpx_aws_auth import AwsCredentials, AwsSigV4Auth
from servers import MOTO
from storage.s3_storage import opened

from mps3 import AccessError, ConfigurationError, UnavailableError
from mps3.storage import Object
from mps3.storage.s3.storage import S3Storage

LIBRARIES = [httpx, httpx2]
both = pytest.mark.parametrize("library", LIBRARIES, ids=["httpx", "httpx2"])
pytestmark = pytest.mark.server


def wants(header: str, value: Any) -> Any:
    return lambda request: None if request.headers.get(header) == (value() if callable(value) else value) else 401


async def exercise(storage: S3Storage, bucket: str, key: str = "key") -> None:
    """Every call once, of which some have queries, bodies and conditions."""
    assert (await storage.capabilities(bucket)).versioning == "enabled"
    stored = await storage.put(bucket, key, b"hello", sha256=bytes.fromhex(HELLO))
    found = await storage.get(bucket, key)
    assert isinstance(found, Object) and found.body == b"hello"
    assert found == await storage.get(bucket, key, version=stored.version)
    assert await storage.get(bucket, key, if_none_match=found.etag) is not found
    assert [version.version for version in (await storage.versions(bucket, key)).versions] == [stored.version]
    assert key in [entry.key for entry in (await storage.list(bucket)).entries]
    await storage.delete(bucket, key, version=stored.version)
    assert (await storage.versions(bucket, key)).versions == ()


HELLO = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"


def bearer(library: Any) -> Any:
    """As an application would write it: fetches a token first, and another one when it is refused."""

    class Bearer(library.Auth):
        requires_response_body = True

        def __init__(self, token_url: str) -> None:
            self.token_url = token_url
            self.token: str | None = None

        def fetch(self) -> Any:
            response = yield library.Request("POST", self.token_url, data={"grant_type": "client_credentials"})
            response.raise_for_status()
            self.token = response.json()["access_token"]

        def auth_flow(self, request: Any) -> Any:
            if self.token is None:
                yield from self.fetch()
            request.headers["Authorization"] = f"Bearer {self.token}"
            response = yield request
            if response.status_code == 401:
                yield from self.fetch()
                request.headers["Authorization"] = f"Bearer {self.token}"
                yield request

    return Bearer


# Off the shelf --------------------------------------------------------------------------------------------------------


@both
async def test_basic(library, server, bucket):
    expected = "Basic dXNlcjpwYXNz"
    async with Gateway(server, wants("Authorization", expected)) as gateway:
        config = {"endpoint_url": gateway.url, "region_name": server.region}
        async with opened(config, auth=library.BasicAuth("user", "pass")) as storage:
            await exercise(storage, bucket)
            assert all(status < 400 for _, _, status in gateway.requests)
        async with opened(config, auth=library.BasicAuth("user", "wrong")) as storage:
            with pytest.raises(AccessError, match="401") as caught:
                await storage.get(bucket, "key")
            assert "wrong" not in str(caught.value)
    assert not any("x-amz-security-token" in headers for headers in gateway.headers)


def sigv4(server: Any, secret: str | None = None) -> Any:
    credentials = AwsCredentials(access_key=server.access_key, secret_key=secret or server.secret_key)
    return AwsSigV4Auth(credentials=credentials, region=server.region, service="s3")


@pytest.fixture
async def off_the_shelf(server, bucket) -> None:
    """Skip what signs with a library that leaves headers out, where the server wants others signed."""
    async with opened({"endpoint_url": server.url, "region_name": server.region}, auth=sigv4(server)) as storage:
        try:
            await storage.capabilities(bucket)
            await storage.put(bucket, "signed", b"hello")
        except AccessError as error:
            if MOTO or not any(words in str(error) for words in ("not signed", "SignatureDoesNotMatch")):
                raise
            pytest.skip(f"this server wants other headers signed than this library signs: {error}")


async def test_a_signer_off_the_shelf(server, bucket, s3_config, off_the_shelf):
    config = {"endpoint_url": server.url, "region_name": server.region}
    async with opened(config, auth=sigv4(server)) as storage:
        await exercise(storage, bucket)
    async with client(bucket, config, auth=sigv4(server)) as one, client(bucket, s3_config) as other:
        await one.put("key", {"a": 1})
        assert await other.get("key") == {"a": 1}


@pytest.mark.skipif(MOTO, reason="moto does not verify signatures")
async def test_a_wrong_signature_is_refused(server, bucket, off_the_shelf):
    config = {"endpoint_url": server.url, "region_name": server.region}
    async with opened(config, auth=sigv4(server, "another secret")) as storage:
        with pytest.raises(AccessError, match="SignatureDoesNotMatch") as caught:
            await storage.get(bucket, "key")
    assert "another secret" not in str(caught.value)


@pytest.mark.parametrize("key", AWKWARD_KEYS.values(), ids=AWKWARD_KEYS)
async def test_any_key_can_be_signed(key, server, bucket, s3, off_the_shelf, hold):
    hold(key)
    config = {"endpoint_url": server.url, "region_name": server.region}
    async with opened(config, auth=sigv4(server)) as storage:
        await storage.put(bucket, key, b"hello")
        assert (await storage.get(bucket, key)).body == b"hello"
        if not MOTO or key.isprintable():  # moto lists nothing for what XML cannot carry, whoever signs
            assert [version.deleted for version in (await storage.versions(bucket, key)).versions] == [False]


# Of one's own ---------------------------------------------------------------------------------------------------------


@both
async def test_tokens_that_go_stale(library, server, bucket):
    async with Gateway(server, lambda _: None, prefix="/api/v1/store") as gateway:
        gateway.admits = wants("Authorization", lambda: f"Bearer {gateway.token}")
        auth = bearer(library)(f"{gateway.origin}/oauth/token")
        config = {"endpoint_url": gateway.url, "region_name": server.region}
        async with client(bucket, config, auth=auth) as one:
            async with one.subscribe("key", "nothing") as values:
                assert await soon(anext(values)) == "nothing"
                first = gateway.issued
                assert first <= 2, "two requests are sent at once while it is opened"
                for number in range(3):
                    gateway.rotate()
                    await soon(one.put("key", number))
                    assert await soon(anext(values)) == number
                assert one.status().last_error is None
            assert gateway.issued >= first + 3
        assert {path.split("/")[1] for _, path, status in gateway.requests if status} == {"api"}
        assert {status for _, _, status in gateway.requests if status >= 400} <= {
            401,
            404,
            412,
            501,
        }  # the probe is refused once


@both
@pytest.mark.parametrize("size", [0, 5, 200_000])
@pytest.mark.parametrize("stale", [False, True])
async def test_objects_are_read_also_where_the_auth_reads_every_response(library, server, bucket, size, stale):
    async with Gateway(server, lambda _: None) as gateway:
        gateway.admits = wants("Authorization", lambda: f"Bearer {gateway.token}")
        config = {"endpoint_url": gateway.url, "region_name": server.region}
        async with opened(config, auth=bearer(library)(f"{gateway.origin}/oauth/token")) as storage:
            await storage.put(bucket, "key", b"x" * size)
            if stale:
                gateway.rotate()
            found = await storage.get(bucket, "key")
            assert isinstance(found, Object) and found.body == b"x" * size


@both
@pytest.mark.parametrize("key", ["a/../b", "./a/.", "..", "a//b", "a b+c%2Fd?e#f", "\U0001f600"])
async def test_the_sdk_s_words_arrive_also_at_the_second_try(library, server, bucket, s3, key, hold):
    hold(key)
    async with Gateway(server, lambda _: None) as gateway:
        gateway.admits = wants("Authorization", lambda: f"Bearer {gateway.token}")
        auth = bearer(library)(f"{gateway.origin}/oauth/token")
        auth.token = "stale"
        config = {"endpoint_url": gateway.url, "region_name": server.region}
        async with opened(config, auth=auth) as storage:
            await storage.put(bucket, key, b"hello")
        (_, refused, first), _, (_, admitted, second) = gateway.requests
        assert (first, second) == (401, 200) and refused == admitted
        assert s3.get_object(Bucket=bucket, Key=key)["Body"].read() == b"hello"


@both
async def test_an_auth_may_change_everything(library, server, bucket, s3):
    class Elsewhere(library.Auth):
        def __init__(self, prefix: str, host: str) -> None:
            self.prefix, self.host = prefix, host

        async def async_auth_flow(self, request: Any) -> Any:
            request.url = request.url.copy_with(
                raw_path=self.prefix.encode() + request.url.raw_path, port=library.URL(self.host).port
            )
            request.url = request.url.copy_merge_params({"tenant": "me"})
            request.headers["X-Tenant"] = "me"
            yield request

    async with Gateway(server, wants("X-Tenant", "me"), prefix="/in/front") as gateway:
        config = {"endpoint_url": "http://127.0.0.1:9", "region_name": server.region}
        async with opened(config, auth=Elsewhere("/in/front", gateway.url)) as storage:
            await storage.put(bucket, "key", b"hello")
            assert (await storage.get(bucket, "key")).body == b"hello"
        assert all("tenant=me" in path for _, path, _ in gateway.requests)


@both
async def test_a_parameter_for_every_request(library, server, bucket, s3, hold):
    hold("a/../b")

    class Parameter(library.Auth):
        def auth_flow(self, request: Any) -> Any:
            request.url = request.url.copy_merge_params({"sig": "a-b"})
            yield request

    async with Gateway(server, lambda _: None) as gateway:
        config = {"endpoint_url": gateway.url, "region_name": server.region}
        async with opened(config, auth=Parameter()) as storage:
            stored = await storage.put(bucket, "a/../b", b"hello")
            assert (await storage.get(bucket, "a/../b", version=stored.version)).body == b"hello"
    assert [path.partition("?")[0] for _, path, _ in gateway.requests] == [f"/{bucket}/a/../b"] * 2
    assert all("sig=a" in path for _, path, _ in gateway.requests)
    assert s3.get_object(Bucket=bucket, Key="a/../b")["Body"].read() == b"hello"


async def test_a_path_in_front_without_auth(server, s3_config, bucket):
    async with (
        Gateway(server, lambda _: None, prefix="/a/b") as gateway,
        client(bucket, s3_config | {"endpoint_url": gateway.url}) as one,
    ):
        await one.put("x/../y", 1)
        assert await one.get("x/../y") == 1
    assert all(path.startswith(f"/a/b/{bucket}") for _, path, _ in gateway.requests)


# When it goes wrong ---------------------------------------------------------------------------------------------------


def raising(library: Any, error: Exception, *, later: bool = False) -> Any:
    class Raising(library.Auth):
        def auth_flow(self, request: Any) -> Any:
            if later:
                yield request
            raise error
            yield request

    return Raising()


def status_error(library: Any, status: int) -> Exception:
    request = library.Request("POST", "http://token.example.org/?secret=s3cr3t")
    return library.HTTPStatusError("s3cr3t", request=request, response=library.Response(status, request=request))


@both
@pytest.mark.parametrize("later", [False, True])
async def test_what_an_auth_raises_is_an_access_error(library, later, server, bucket):
    for error in (ValueError("s3cr3t"), RuntimeError("s3cr3t"), KeyError("s3cr3t"), status_error(library, 400)):
        config = {"endpoint_url": server.url, "region_name": server.region}
        async with opened(config, auth=raising(library, error, later=later)) as storage:
            with pytest.raises(AccessError, match=type(error).__name__) as caught:
                await storage.get(bucket, "key")
            assert "s3cr3t" not in str(caught.value) and caught.value.key == "key"
            assert error in causes(caught.value)


@both
async def test_what_may_pass_is_unavailable(library, server, bucket):
    for error in (status_error(library, 503), library.ConnectError("s3cr3t"), OSError("s3cr3t"), TimeoutError()):
        config = {"endpoint_url": server.url, "region_name": server.region}
        async with opened(config, auth=raising(library, error), timeout=3) as storage:
            with pytest.raises(UnavailableError, match=type(error).__name__) as caught:
                await storage.put(bucket, "key", b"1")
            assert "s3cr3t" not in str(caught.value)


def causes(error: BaseException | None) -> list[BaseException]:
    found = []
    while error is not None:
        found.append(error)
        error = error.__cause__
    return found


@both
async def test_no_answer_from_whoever_gives_tokens(library, server, bucket):
    config = {"endpoint_url": server.url, "region_name": server.region}
    async with opened(config, auth=bearer(library)("http://127.0.0.1:9/oauth/token"), timeout=5) as storage:
        with pytest.raises(UnavailableError):
            await storage.get(bucket, "key")


@both
async def test_it_recovers(library, server, bucket):
    async with Gateway(server, lambda _: None) as gateway:
        gateway.admits = wants("Authorization", lambda: f"Bearer {gateway.token}")
        config = {"endpoint_url": gateway.url, "region_name": server.region}
        auth = bearer(library)(f"{gateway.origin}/oauth/token")
        async with client(bucket, config, auth=auth) as one:
            await one.put("key", 1)
            gateway.token_status = 503
            gateway.rotate()
            write = one.put("key", 2)
            await eventually(lambda: not one.status().online)
            assert isinstance(one.status().last_error, UnavailableError)
            gateway.token_status = 200
            await soon(write, 30)
            assert await one.get("key") == 2


@pytest.mark.parametrize("wrong", [("user", "pass"), object(), "Bearer s3cr3t", httpx.BasicAuth])
async def test_what_is_no_auth(wrong, server):
    storage = S3Storage({"endpoint_url": server.url}, auth=wrong)
    with pytest.raises(ConfigurationError, match=r"httpx\.Auth") as caught:
        await storage.open()
    await storage.aclose()
    assert "s3cr3t" not in str(caught.value)


async def test_without_httpx(monkeypatch, server):
    monkeypatch.setattr(httpxsession, "httpx", None)
    storage = S3Storage({"endpoint_url": server.url}, auth=httpx.BasicAuth("a", "b"))
    with pytest.raises(ConfigurationError, match=r"mps3\[auth\]"):
        await storage.open()
    await storage.aclose()


ALONE = """
import sys, asyncio, warnings
sys.modules[{missing!r}] = None
warnings.simplefilter("error")
warnings.filterwarnings("ignore", "datetime.datetime.utc.*", DeprecationWarning)
import {installed} as library
from mps3.storage.s3 import S3Storage

async def main():
    storage = S3Storage({{"endpoint_url": {url!r}, "region_name": "us-east-1"}}, auth=library.BasicAuth("a", "b"))
    await storage.open()
    for _ in range(2):
        print(await storage.get({bucket!r}, "key"))
    await storage.aclose()

asyncio.run(main())
"""


@pytest.mark.skipif(not MOTO, reason="Ceph does not take Basic")
@pytest.mark.parametrize(("installed", "missing"), [("httpx", "httpx2"), ("httpx2", "httpx")])
async def test_only_one_of_them_installed(installed, missing, server, bucket):
    program = ALONE.format(installed=installed, missing=missing, url=server.url, bucket=bucket)
    ran = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
    )
    assert (ran.returncode, ran.stderr) == (0, "") and ran.stdout.count("ABSENT") == 2


# The SDK's own credentials --------------------------------------------------------------------------------------------


async def test_credentials_that_expire_during_polls(server, bucket, tmp_path, monkeypatch):
    """A key is good for ten seconds, and says half a second; the SDK is to fetch another one before it is refused."""
    program, life = tmp_path / "credentials.sh", timedelta(minutes=15, seconds=0.5)
    issued: dict[str, float] = {}
    counter = tmp_path / "count"
    program.write_text(
        f'#!/bin/sh\necho >> "{counter}"\nn=$(wc -l < "{counter}")\n'
        f'cat <<END\n{{"Version": 1, "AccessKeyId": "KEY$n", "SecretAccessKey": "x", "SessionToken": "y", '
        f'"Expiration": "$({sys.executable} {tmp_path}/when.py)"}}\nEND\n'
    )
    (tmp_path / "when.py").write_text(
        "from datetime import *\n"
        f"print((datetime.now(timezone.utc) + timedelta(seconds={life.total_seconds()})).isoformat())\n"
    )
    program.chmod(0o700)
    (tmp_path / "config").write_text(f"[default]\nregion = us-east-1\ncredential_process = {program}\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)

    def admits(request: web.BaseRequest) -> int | None:
        key = request.headers["Authorization"].partition("Credential=")[2].partition("/")[0]
        first = issued.setdefault(key, time.monotonic())
        return None if time.monotonic() - first < 10 else 403

    async with Gateway(server, admits) as gateway:
        opening = client(bucket, {"endpoint_url": gateway.url})
        async with opening as one, one.subscribe("key", -1) as values:
            assert await soon(anext(values)) == -1
            number = 0
            while len(issued) < 3 and not one.status().last_error:
                await soon(one.put("key", number))
                assert await soon(anext(values)) == number
                number += 1
                await asyncio.sleep(0.1)
            assert one.status().last_error is None
    assert len(issued) >= 3, issued
    assert not [request for request in gateway.requests if request[2] in (401, 403)]


async def test_anonymous(server, bucket, s3):
    s3.put_object(Bucket=bucket, Key="public", Body=b"hello", ACL="public-read")
    try:
        grants = s3.get_object_acl(Bucket=bucket, Key="public")["Grants"]
    except ClientError as error:
        pytest.skip(f"this server has no access control lists: {error}")
    if not any(grant["Grantee"].get("URI", "").endswith("/AllUsers") for grant in grants):
        pytest.skip("this server ignores access control lists of objects")
    s3.put_object(Bucket=bucket, Key="private", Body=b"hello")
    async with ClientSession() as web, web.get(f"{server.url}/{bucket}/public") as found:
        if found.status != 200:
            pytest.skip("this server has no public objects")
    config = {"endpoint_url": server.url, "region_name": server.region}
    async with opened(config | {"config": AioConfig(signature_version=UNSIGNED)}) as storage:
        assert (await storage.get(bucket, "public")).body == b"hello"
        with pytest.raises(AccessError):
            await storage.get(bucket, "private")


async def test_no_secret_in_any_line_of_a_log(server, bucket, caplog):
    async with opened({"endpoint_url": server.url}, auth=raising(httpx, ValueError("boom"))) as storage:
        with pytest.raises(AccessError) as caught:
            await storage.get(bucket, "key")
    assert "boom" in "".join(traceback.format_exception(caught.value))  # whoever wants to know can
    assert "boom" not in str(caught.value)
    assert "boom" not in caplog.text
