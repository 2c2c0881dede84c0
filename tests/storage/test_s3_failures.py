"""Failures of S3: which are tried again, which are for good, and what their errors say."""

from __future__ import annotations

import random
import time

import pytest
from aiobotocore.config import AioConfig
from helpers import NoBackoff
from scripted_s3 import HANG, HELLO, SLOW_DOWN, answer, error
from storage.s3_storage import OPERATIONS, opened, talking_to

from mps3.errors import AccessError, ConfigurationError, MPS3Error, UnavailableError
from mps3.storage.s3.storage import S3Storage
from mps3.support.environment import Environment


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
        for name, call in OPERATIONS.items():
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
        for name, call in OPERATIONS.items():
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
            await OPERATIONS[name](storage)
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
    environment = NoBackoff()
    async with opened(fake.s3_config, environment=environment) as storage:
        for number, call in enumerate(OPERATIONS.values(), 1):
            with pytest.raises(UnavailableError):
                await call(storage)
            assert environment.waits == 3 * number


async def test_no_such_host():
    s3_config = {"endpoint_url": "http://nowhere.invalid", "aws_access_key_id": "a", "aws_secret_access_key": "b"}
    async with opened(s3_config, environment=NoBackoff()) as storage:
        with pytest.raises(UnavailableError, match=r"nowhere\.invalid"):
            await storage.get("bucket", "key")


@pytest.mark.parametrize("name", OPERATIONS)
async def test_deadline(fake, name):
    async with talking_to(fake, HANG, timeout=0.2) as storage:
        started = time.monotonic()
        with pytest.raises(UnavailableError, match=r"no answer in 0\.2 s") as caught:
            await OPERATIONS[name](storage)
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


async def test_messages_hold_no_secrets(fake):
    message = "Credential=AKIAACCESSKEY/2026 Signature=cafe0123 see http://u:wJalrSecret@h/p?X-Amz-Signature=cafe0123"
    extra = "<AWSAccessKeyId>AKIAACCESSKEY</AWSAccessKeyId><StringToSign>wJalrSecret</StringToSign>"
    async with talking_to(fake, error(403, "SignatureDoesNotMatch", message, extra)) as storage:
        with pytest.raises(AccessError) as caught:
            await storage.get("bucket", "key")
        assert "wJalr" not in repr(storage)
    for secret in ("AKIA", "wJalr", "cafe0123"):
        assert secret not in str(caught.value)
    assert "StringToSign" not in str(
        caught.value.__cause__.response
    )  # Swift and AWS repeat the request, with its token
    storage = S3Storage(fake.s3_config | {"endpoint_url": "foo://user:wJalrSecret@host name/"})
    with pytest.raises(ConfigurationError) as caught_too:
        await storage.open()
    assert "wJalr" not in str(caught_too.value)
