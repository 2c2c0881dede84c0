"""Parts of objects, of servers that answer otherwise than they should."""

from __future__ import annotations

import base64
import itertools
import zlib
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from aiobotocore.config import AioConfig
from aiohttp import web
from helpers import soon
from in_memory_s3 import InMemoryS3
from scripted_s3 import PAGE, ScriptedS3, answer, error
from storage.s3_storage import AUTHS, opened, talking_to

from mps3 import AccessError, ConfigurationError, CorruptionError, MPS3Error, UnavailableError
from mps3.storage import ABSENT, UNCHANGED, Object, local_schema
from mps3.storage.bypass import BYPASS
from mps3.storage.local import LocalStorage
from mps3.storage.memory import MemoryStorage
from mps3.storage.s3 import byte_ranges

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

BODY = b"0123456789"
STAMP = "Sun, 06 Nov 2033 08:49:37 GMT"


def whole(body: bytes = BODY, **headers: Any) -> bytes:
    return answer(200, body, **{"etag": '"5d4"', **headers})


def part(body: bytes, said: str | None, *, length: int | None = None, **headers: str) -> bytes:
    ranges = {} if said is None else {"content_range": said}
    return answer(206, body, length=length, **{"etag": '"5d4"', **ranges, **headers})


BEHIND = error(416, "InvalidRange")


@asynccontextmanager
async def directory(path: Path, **options: Any) -> AsyncIterator[LocalStorage]:
    storage = LocalStorage(path, **options)
    await storage.open()
    try:
        yield storage
    finally:
        await storage.aclose()


@pytest.mark.parametrize("auth", AUTHS)
async def test_a_part_is_asked_for_and_read(fake, auth):
    fake.answers = [part(b"234", "bytes 2-4/10", x_amz_version_id="v1", last_modified=STAMP)]
    async with talking_to(fake, auth=AUTHS[auth]) as storage:
        found = await storage.get("bucket", "key", version="v1", if_none_match='"1"', byte_range=(2, 5))
    assert found == Object(b"234", "v1", '"5d4"', 2014879777.0, partial=True)
    (asked,) = fake.received
    assert (asked.headers["range"], asked.headers["if-none-match"]) == ("bytes=2-4", '"1"')
    assert "versionId=v1" in asked.target


async def test_the_end_of_an_object_cuts_a_part_short(fake):
    fake.answers = [part(b"89", "bytes 8-9/10")]
    async with talking_to(fake) as storage:
        assert (await storage.get("bucket", "key", byte_range=(8, 20))).body == b"89"


async def test_a_part_of_an_empty_object_may_have_any_positions(fake):
    async with talking_to(fake) as storage:
        for said in ("bytes 0--1/0", "bytes 0-0/0", "bytes */0"):
            fake.answers = [part(b"", said)]
            found = await storage.get("bucket", "key", byte_range=(0, 5))
            assert (found.body, found.etag, found.partial) == (b"", '"5d4"', True)
            fake.answers = [part(b"x", said)]
            with pytest.raises(UnavailableError):
                await storage.get("bucket", "key", byte_range=(0, 5))


async def test_an_unchanged_object_has_no_part(fake):
    fake.answers = [answer(304)]
    async with talking_to(fake) as storage:
        assert await storage.get("bucket", "key", if_none_match='"5d4"', byte_range=(2, 5)) is UNCHANGED


@pytest.mark.parametrize("byte_range", [(3, 3), (4, 3), (-1, 3), (0, 2**63)])
async def test_what_is_no_range_is_refused(fake, tmp_path, byte_range):
    async with talking_to(fake) as storage, directory(tmp_path) as local:
        for one in (storage, local, MemoryStorage()):
            with pytest.raises(ConfigurationError, match="byte_range"):
                await one.get("bucket", "key", byte_range=byte_range)
    assert not fake.received


# A server that ignores the header ---------------------------------------------------------------------------------------


CHUNKED = b'HTTP/1.1 200 X\r\nETag: "5d4"\r\ntransfer-encoding: chunked\r\n\r\n4\r\n0123\r\n6\r\n456789\r\n0\r\n\r\n'


@pytest.mark.parametrize("auth", AUTHS)
@pytest.mark.parametrize("reply", [whole(), CHUNKED], ids=["length", "chunked"])
async def test_the_part_is_cut_from_the_whole_object_where_it_comes(fake, auth, reply):
    fake.answers = [reply]
    async with talking_to(fake, auth=AUTHS[auth]) as storage:
        for start, end in ((0, 3), (2, 5), (7, 10), (8, 20), (10, 12), (15, 17), (0, 10**12)):
            found = await storage.get("bucket", "key", byte_range=(start, end))
            assert (found.body, found.etag, found.partial) == (BODY[start:end], '"5d4"', True)


@pytest.mark.parametrize("length", [len(BODY) * 20_000, None], ids=["length", "chunked"])
async def test_a_large_object_is_not_read_whole_for_a_part(fake, monkeypatch, length):
    monkeypatch.setattr(byte_ranges, "MAX_WHOLE_BYTES", 100_000)
    body = BODY * 20_000
    chunked = CHUNKED.partition(b"\r\n\r\n")[0] + b"\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
    fake.answers = [whole(body) if length else chunked]
    async with talking_to(fake) as storage:
        found = await storage.get("bucket", "key", byte_range=(11, 13), limit=2)
        assert found.body == b"12"  # what is behind it is not read
        fake.received.clear()
        with pytest.raises(ConfigurationError, match="ignores the range"):
            await storage.get("bucket", "key", byte_range=(150_000, 150_010))
        assert len(fake.received) == 1
        fake.answers = [whole(b"", length=len(body))]
        with pytest.raises(ConfigurationError, match="ignores the range"):  # before anything is read
            await storage.get("bucket", "key", byte_range=(150_000, 150_010))


async def test_an_object_that_ends_too_early_is_damage(fake):
    fake.answers = [whole(b"0123", length=10)]
    async with talking_to(fake) as storage:
        with pytest.raises(UnavailableError):
            await storage.get("bucket", "key", byte_range=(2, 8))
    assert len(fake.received) == 4


async def test_the_limit_is_that_of_the_part(fake):
    async with talking_to(fake) as storage:
        for reply in (whole(), CHUNKED, part(b"234", "bytes 2-4/10")):
            fake.answers = [reply]
            assert (await storage.get("bucket", "key", byte_range=(2, 5), limit=3)).body == b"234"
            fake.received.clear()
            with pytest.raises(CorruptionError, match="more than 2 bytes"):
                await storage.get("bucket", "key", byte_range=(2, 5), limit=2)
            assert len(fake.received) == 1


async def test_a_web_page_has_no_part(fake):
    """The middle of a page would look like a damaged part."""
    async with talking_to(fake) as storage:
        for byte_range in ((0, 5), (10, 20), (500, 600)):
            fake.answers = [whole(PAGE, content_type="text/html; charset=utf-8")]
            with pytest.raises(UnavailableError, match="web page"):
                await storage.get("bucket", "key", byte_range=byte_range)
        fake.answers = [whole(b"<a>", content_type="application/json")]
        assert (await storage.get("bucket", "key", byte_range=(1, 2))).body == b"a"


# Another part -----------------------------------------------------------------------------------------------------------


OTHERS = {
    "another start": part(b"345", "bytes 3-5/10"),
    "a later start": part(b"34", "bytes 3-4/10"),
    "an earlier start": part(b"1234", "bytes 1-4/10"),
    "further": part(b"2345", "bytes 2-5/10"),
    "shorter": part(b"23", "bytes 2-3/10"),
    "shorter, of unknown size": part(b"23", "bytes 2-3/*"),
    "nothing said": part(b"234", None),
    "nonsense": part(b"234", "bytes x"),
    "no unit": part(b"234", "2-4/10"),
    "backwards": part(b"", "bytes 2-1/10"),
    "unsatisfied": part(b"234", "bytes */10"),
    "fewer bytes than said": part(b"23", "bytes 2-4/10"),
    "more bytes than said": part(b"2345", "bytes 2-4/10"),
    "many parts": part(b"--x\r\n", None, content_type="multipart/byteranges; boundary=x"),
    "cut": part(b"23", "bytes 2-4/10", length=3),
    "encoded": part(b"234", "bytes 2-4/10", content_encoding="gzip"),
    "of nobody": answer(206, b"234", content_range="bytes 2-4/10"),
}


@pytest.mark.parametrize("auth", AUTHS)
@pytest.mark.parametrize("what", OTHERS)
async def test_another_part_is_damage(fake, auth, what):
    async with talking_to(fake, OTHERS[what], auth=AUTHS[auth]) as storage:
        with pytest.raises(UnavailableError):
            await storage.get("bucket", "key", byte_range=(2, 5))
        assert len(fake.received) == 4
        fake.answers = [OTHERS[what], part(b"234", "BYTES  2-4/*")]
        assert (await storage.get("bucket", "key", byte_range=(2, 5))).body == b"234"


async def test_chunks_that_are_not_the_part_are_damage(fake):
    head = b'HTTP/1.1 206 X\r\nETag: "5d4"\r\nContent-Range: bytes 2-4/10\r\ntransfer-encoding: chunked\r\n\r\n'
    async with talking_to(fake) as storage:
        for sent in (b"23", b"2345"):
            fake.answers = [head + b"%x\r\n%s\r\n0\r\n\r\n" % (len(sent), sent)]
            with pytest.raises(UnavailableError):
                await storage.get("bucket", "key", byte_range=(2, 5))
        fake.answers = [head + b"3\r\n234\r\n0\r\n\r\n"]
        assert (await storage.get("bucket", "key", byte_range=(2, 5))).body == b"234"


async def test_a_part_that_nobody_asked_for_is_damage(fake):
    fake.answers = [part(b"234", "bytes 2-4/10")]
    async with talking_to(fake) as storage:
        with pytest.raises(UnavailableError):
            await storage.get("bucket", "key")


# Behind the end ---------------------------------------------------------------------------------------------------------


class Ending(ScriptedS3):
    """Has an object, and answers 416 to all GETs."""

    head: bytes = answer(200, BODY, etag='"5d4"', x_amz_version_id="v1", last_modified=STAMP)
    behind: bytes = BEHIND

    def reply(self, received: Any) -> bytes:
        return self.head if received.method == "HEAD" else self.behind


@pytest.mark.parametrize("auth", AUTHS)
@pytest.mark.parametrize("behind", [BEHIND, answer(416), error(416, "RequestedRangeNotSatisfiable")])
async def test_behind_the_end_is_an_empty_part_of_the_object_that_is_there(auth, behind):
    async with Ending() as fake, talking_to(fake, auth=AUTHS[auth]) as storage:
        fake.behind = behind
        found = await storage.get("bucket", "key", version="v1", byte_range=(10, 12))
        assert found == Object(b"", "v1", '"5d4"', 2014879777.0, partial=True)
        assert [one.method for one in fake.received] == ["GET", "HEAD"]
        assert all("versionId=v1" in one.target for one in fake.received)
        assert await storage.get("bucket", "key", if_none_match='"5d4"', byte_range=(10, 12)) is UNCHANGED
        found = await storage.get("bucket", "key", if_none_match='"5d5"', byte_range=(10, 12))
        assert (found.body, found.etag) == (b"", '"5d4"')


async def test_a_416_is_no_word_of_what_is_there():
    async with Ending() as fake, talking_to(fake) as storage:
        with pytest.raises(UnavailableError, match="has 10 bytes"):
            await storage.get("bucket", "key", byte_range=(9, 12))
        fake.head = answer(404)
        assert await storage.get("bucket", "key", byte_range=(10, 12)) is ABSENT
        fake.head = answer(403)
        with pytest.raises(AccessError):
            await storage.get("bucket", "key", byte_range=(10, 12))
        fake.behind = answer(416, PAGE, content_type="text/html")
        with pytest.raises(MPS3Error, match="web page"):
            await storage.get("bucket", "key", byte_range=(10, 12))


async def test_a_416_to_a_whole_read_is_an_error(fake):
    fake.answers = [BEHIND]
    async with talking_to(fake) as storage:
        with pytest.raises(ConfigurationError, match="416"):
            await storage.get("bucket", "key")


async def test_a_part_of_an_absent_object_is_absent(fake):
    fake.answers = [error(404, "NoSuchKey")]
    async with talking_to(fake) as storage:
        assert await storage.get("bucket", "key", byte_range=(0, 5)) is ABSENT
        fake.answers = [error(404, "NoSuchBucket")]
        with pytest.raises(ConfigurationError, match="no bucket"):
            await storage.get("bucket", "key", byte_range=(0, 5))


# Checksums --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reply", [part(b"234", "bytes 2-4/10"), whole()], ids=["part", "whole"])
async def test_a_part_has_not_the_checksum_of_the_object(fake, reply):
    checksum = base64.b64encode(zlib.crc32(BODY).to_bytes(4)).decode()
    head, _, body = reply.partition(b"\r\n\r\n")
    fake.answers = [head + f"\r\nx-amz-checksum-crc32: {checksum}\r\n\r\n".encode() + body]
    own = fake.s3_config | {"config": AioConfig(response_checksum_validation="when_supported")}
    async with opened(own) as storage:
        assert (await storage.get("bucket", "key", byte_range=(2, 5))).body == b"234"
        assert "x-amz-checksum-mode" not in fake.received[0].headers
        if b" 200 " in head:
            assert (await storage.get("bucket", "key")).body == BODY
            fake.answers = [head + f"\r\nx-amz-checksum-crc32: {checksum}\r\n\r\n".encode() + body[::-1]]
            with pytest.raises(UnavailableError, match="checksum"):
                await storage.get("bucket", "key")
        else:
            fake.answers = [whole()]
            await storage.get("bucket", "key")
        assert fake.received[-1].headers["x-amz-checksum-mode"] == "ENABLED"


# Connections ------------------------------------------------------------------------------------------------------------


async def test_parts_share_a_connection(fake):
    fake.answers = [part(b"234", "bytes 2-4/10")]
    async with talking_to(fake) as storage:
        for _ in range(5):
            await storage.get("bucket", "key", byte_range=(2, 5))
    assert fake.connections == 1


async def test_what_is_behind_a_part_of_a_whole_object_does_not_reach_the_next_answer(fake):
    body = BODY * 100_000
    async with talking_to(fake) as storage:
        for number in range(5):
            fake.answers = [whole(body)]
            start = number * 3
            assert (await storage.get("bucket", "key", byte_range=(start, start + 4))).body == body[start : start + 4]
            fake.answers = [whole(b"next")]
            assert (await storage.get("bucket", "key")).body == b"next"


async def test_a_server_that_ignores_the_header_now_and_then():
    turns = itertools.count()

    def now_and_then(server: InMemoryS3, request: web.BaseRequest, key: str) -> web.Response | None:
        if request.method == "GET" and next(turns) % 3 == 0:
            row = server.rows[key][0]
            return web.Response(body=row.body, headers={"ETag": row.etag})
        return None

    body = BODY * 10_000
    async with InMemoryS3(answer=now_and_then) as server, opened(server.s3_config) as storage:
        await storage.put("bucket", "key", body)
        for start in range(0, 100_000, 7777):
            found = await soon(storage.get("bucket", "key", byte_range=(start, start + 100)))
            assert found.body == body[start : start + 100]
        assert 3 < server.asked["GET"] < next(turns)


# A directory ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("versioning", [True, False])
async def test_a_directory_reads_only_the_part(tmp_path, versioning, monkeypatch):
    read: list[int] = []
    usual = local_schema._part

    def noted(*arguments: Any) -> bytes | None:
        found = usual(*arguments)
        read.append(len(found or b""))
        return found

    monkeypatch.setattr(local_schema, "_part", noted)
    body = BODY * 500_000
    async with directory(tmp_path, versioning=versioning) as storage:
        first = await storage.put("bucket", "key", body)
        get = partial(storage.get, "bucket", "key")
        assert (await get(byte_range=(4_000_001, 4_000_005))).body == b"1234"
        assert (await get(byte_range=(4_999_999, 6_000_000))).body == b"9"
        assert (await get(byte_range=(5_000_000, 2**63 - 1))).body == b""
        assert read == [4, 1, 0]
        with pytest.raises(CorruptionError):
            await get(byte_range=(10, 14), limit=3)
        assert await get(byte_range=(10, 14), if_none_match=first.etag) is UNCHANGED
        await storage.delete("bucket", "key")
        assert await get(byte_range=(0, 1)) is ABSENT
        assert read == [4, 1, 0]
        if versioning:
            assert (await get(version=first.version, byte_range=(2, 4))).body == b"23"


async def test_the_context_of_a_part_is_that_of_its_read(fake):
    """As for a whole object, a new connection is used where the answer was damaged."""
    fake.answers = [part(b"345", "bytes 3-5/10"), part(b"234", "bytes 2-4/10")]
    async with talking_to(fake) as storage:
        assert (await storage.get("bucket", "key", byte_range=(2, 5))).body == b"234"
    assert fake.connections == 2
    assert not BYPASS.get()
