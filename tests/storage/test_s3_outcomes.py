"""What became of a write on S3: each error says whether it may have taken effect."""

from __future__ import annotations

import asyncio
import random

import pytest
from scripted_s3 import PAGE, SLOW_DOWN, answer, error
from storage.s3_storage import WRITES, talking_to

from mps3 import AccessError, MPS3Error, UnavailableError
from mps3.storage.protocol import KeyRefusedError
from mps3.support.environment import Environment

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
    async with talking_to(fake) as storage:
        for reply in OUTCOMES[maybe]:
            fake.answers = [reply]
            for name in ("put", "delete"):
                with pytest.raises(MPS3Error) as caught:
                    await WRITES[name](storage)
                assert caught.value.maybe_written is maybe, (reply, name)
            with pytest.raises(MPS3Error) as caught:
                await storage.list("bucket")
            assert not caught.value.maybe_written


@pytest.mark.parametrize("status", [409, 412])
async def test_a_conflict_has_written_nothing(fake, status):
    fake.answers = [error(status, "PreconditionFailed")]
    async with talking_to(fake) as storage:
        with pytest.raises(MPS3Error) as caught:
            await storage.put("bucket", "key", b"", if_none_match=True)
    assert not caught.value.maybe_written


@pytest.mark.parametrize("condition", [True, False])
@pytest.mark.parametrize("code", ["ObjectParentIsFile", "ExistingObjectIsDirectory", "XMinioParentIsObject"])
async def test_a_key_for_which_there_is_no_place_is_no_conflict(fake, code, condition):
    fake.answers = [error(409, code)]
    async with talking_to(fake) as storage:
        with pytest.raises(KeyRefusedError, match="a and a/b") as caught:
            await storage.put("bucket", "key", b"", if_none_match=condition)
    assert not caught.value.maybe_written


async def test_a_delete_that_was_refused_at_last_may_have_worked_at_first(fake):
    fake.answers = [None, error(403, "AccessDenied")]
    async with talking_to(fake) as storage:
        with pytest.raises(AccessError) as caught:
            await storage.delete("bucket", "key")
    assert caught.value.maybe_written


async def test_a_write_whose_time_is_over_may_count_if_it_was_under_way(fake):
    fake.answers = [b"hang"]
    async with talking_to(fake, timeout=0.3) as storage:
        with pytest.raises(UnavailableError) as caught:
            await storage.put("bucket", "key", b"")
    assert caught.value.maybe_written
    fake.answers = [SLOW_DOWN]
    environment = Environment(random.Random(1))
    environment.backoff = lambda *_, **__: 60.0
    async with talking_to(fake, timeout=0.5, environment=environment) as storage:
        with pytest.raises(UnavailableError) as caught:
            await storage.put("bucket", "key", b"")
    assert not caught.value.maybe_written


async def test_a_write_that_never_left_does_not_count(fake):
    await fake.__aexit__()
    async with talking_to(fake) as storage:
        with pytest.raises(UnavailableError) as caught:
            await storage.put("bucket", "key", b"")
    assert not caught.value.maybe_written


async def test_closing_leaves_a_write_under_way_in_doubt(fake):
    fake.answers = [b"hang"]
    async with talking_to(fake) as storage:
        call = asyncio.ensure_future(storage.put("bucket", "key", b""))
        while not fake.received:
            await asyncio.sleep(0.01)
    with pytest.raises(MPS3Error) as caught:
        await call
    assert caught.value.maybe_written
    with pytest.raises(MPS3Error) as caught:
        await storage.put("bucket", "key", b"")
    assert not caught.value.maybe_written
