"""What fails at opening, and what the error says."""

from __future__ import annotations

import asyncio
import socket

import pytest
from aiohttp import web
from helpers import client, no_task_left, soon
from proxy import FaultyProxy
from servers import CountingProxy

from mps3 import MPS3, AccessError, ConfigurationError, MPS3Error, Ref, UnavailableError

SECRET = "wJalrXUtnFEMIsecretEXAMPLEKEY"


def told(error: BaseException) -> str:
    """All that an error and its causes say."""
    said = ""
    cause: BaseException | None = error
    while cause is not None:
        said += f"{cause!r} {cause} {getattr(cause, '__notes__', '')} {vars(cause)}\n"
        cause = cause.__cause__ or cause.__context__
    return said


async def opening(one: MPS3) -> MPS3Error:
    async with no_task_left():
        with pytest.raises(MPS3Error) as caught:
            async with one:
                pass
        await asyncio.sleep(0.05)
    return caught.value


@pytest.mark.server
async def test_a_bucket_that_does_not_exist(s3_config):
    error = await opening(client("mps3-no-such-bucket-1", s3_config))
    assert isinstance(error, ConfigurationError)
    assert error.bucket == "mps3-no-such-bucket-1"
    assert "mps3-no-such-bucket-1" in str(error)
    assert error.__cause__ is not None


@pytest.mark.server
async def test_a_manifest_in_a_bucket_that_does_not_exist(bucket, s3_config):
    error = await opening(client(bucket, s3_config, Ref("m.json", "mps3-no-such-bucket-2")))
    assert isinstance(error, ConfigurationError)
    assert "mps3-no-such-bucket-2" in str(error)


@pytest.mark.server
async def test_a_value_in_a_bucket_that_does_not_exist(bucket, s3_config):
    async with client(bucket, s3_config) as one:
        with pytest.raises(ConfigurationError, match="mps3-no-such-bucket-3"):
            await soon(one.put("k", 1, bucket="mps3-no-such-bucket-3"))
        await one.put("k", 1)


@pytest.mark.server
@pytest.mark.usefixtures("bucket")  # the advice is for servers that give buckets versions
async def test_versioning_off(plain_bucket, s3_config):
    error = await opening(client(plain_bucket, s3_config, journal="merge"))
    assert isinstance(error, ConfigurationError)
    assert error.bucket == plain_bucket
    assert plain_bucket in str(error)
    assert "put-bucket-versioning" in str(error)


@pytest.mark.server
async def test_versioning_suspended(make_bucket, s3_config):
    bucket = make_bucket("Suspended")
    error = await opening(client(bucket, s3_config, journal="merge"))
    assert isinstance(error, ConfigurationError)
    assert bucket in str(error)
    assert "suspended" in str(error)
    assert "put-bucket-versioning" in str(error)


@pytest.mark.server
async def test_versioning_suspended_under_way(bucket, s3_config, s3, complete_listings):
    """Nothing that is acknowledged afterwards may be overwritten by the next."""
    async with client(bucket, s3_config, journal="merge") as one:
        await one.put("k", 1)
        suspended = {"Status": "Suspended"}
        await asyncio.to_thread(s3.put_bucket_versioning, Bucket=bucket, VersioningConfiguration=suspended)
        with pytest.raises(ConfigurationError, match="versioning"):
            await soon(one.put("k", 2))


@pytest.mark.server
@pytest.mark.parametrize("operation", ["versioning", "get", "list", "put"])
@pytest.mark.parametrize("journal", ["merge", "log"])
async def test_access_denied(bucket, s3_config, server, journal, operation):
    async with denying(server.url, operation, "versions" if journal == "merge" else "list-type") as url:
        one = client(bucket, s3_config | {"endpoint_url": url}, journal=journal)
        if operation == "put":
            async with one:
                with pytest.raises(AccessError) as caught:
                    await soon(one.put("k", 1))
                error = caught.value
                assert await one.get("k", "absent") == "absent"
        else:
            error = await opening(one)
        assert isinstance(error, AccessError)
        assert error.bucket == bucket
        action = {
            "versioning": "GetBucketVersioning",
            "get": "GetObject",
            "list": "ListBucketVersions" if journal == "merge" else "ListBucket",
            "put": "PutObject",
        }
        assert f"s3:{action[operation]}" in str(error)
        assert bucket in str(error)


@pytest.mark.server
async def test_the_log_journal_needs_no_versions(creation_in_versions, bucket, s3_config, server):
    async with denying(server.url, "list", "versions") as url, client(bucket, s3_config | {"endpoint_url": url}) as one:
        await soon(one.put("k", 1))
        assert await one.get("k") == 1


def denying(target: str, operation: str, listing: str):
    """A proxy that denies one kind of request."""

    def kind(request) -> str:
        if request.method == "PUT":
            return "put"
        if request.query_string.startswith("versioning"):
            return "versioning"
        return "list" if listing in request.query_string else "get"

    class Denying(CountingProxy):
        async def __aenter__(self):
            await super().__aenter__()
            return self.url

        async def _pass_on(self, request):
            if kind(request) == operation:
                body = "<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"
                return web.Response(status=403, text=body, content_type="application/xml")
            return await super()._pass_on(request)

    return Denying(target)


@pytest.mark.server
async def test_credentials_are_in_no_error(bucket, s3_config):
    config = s3_config | {"aws_secret_access_key": SECRET, "aws_session_token": SECRET + "TOKEN"}
    one = client("mps3-no-such-bucket-4", config)
    error = await opening(one)
    assert SECRET not in told(error)
    assert SECRET not in repr(one)
    assert SECRET not in str(one.status())


@pytest.mark.server
async def test_nobody_there(s3_config):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    error = await soon(opening(client("bucket", s3_config | {"endpoint_url": f"http://127.0.0.1:{port}"})), 30)
    assert isinstance(error, UnavailableError)
    assert error.bucket == "bucket"
    assert error.__cause__ is not None


@pytest.mark.server
async def test_a_server_that_goes_away_and_comes_back(bucket, s3_config, server):
    async with FaultyProxy(server.url) as proxy, client(bucket, s3_config | {"endpoint_url": proxy.url}) as one:
        await one.put("k", 1)
        for order in ("internal_error", "reset_before", "slow_down", "truncate"):
            proxy.inject(order)
            assert await soon(one.get("k"), 30) == 1


@pytest.mark.server
@pytest.mark.parametrize(
    "fault",
    [
        "reset_before",
        "reset_request",
        "reset_after",
        "reset_response",
        "internal_error",
        "internal_error_after",
        "slow_down",
        "error_inside",
        "error_inside_after",
    ],
)
async def test_each_fault_of_a_put_is_overcome(bucket, s3_config, server, fault):
    async with (
        FaultyProxy(server.url) as proxy,
        client(bucket, s3_config | {"endpoint_url": proxy.url}) as one,
        client(bucket, s3_config) as other,
    ):
        await one.put("k", 0)
        for number in range(1, 3):
            proxy.inject(fault, method="PUT", contains="manifest.json" if number == 2 else "/k")
            write = one.put("k", number)
            commit = await soon(write, 30)
            assert await other.get("k") == number
            assert commit.versions["k"]
