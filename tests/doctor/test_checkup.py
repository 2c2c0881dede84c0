"""What ``mps3 doctor`` finds out, because it tries what a client does: over HTTP, on stores that each lack something."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any
from unittest.mock import patch
from urllib.parse import urlencode

import pytest
from aiohttp import web
from helpers import BUCKET, MANIFEST, client, eventually, soon
from in_memory_s3 import InMemoryS3, error
from storage.s3_storage import talking_to

from mps3 import MemoryStorage
from mps3.cli import main
from mps3.doctor import checkup
from mps3.doctor.diagnosis import diagnose
from mps3.doctor.findings import Diagnosis
from mps3.storage.s3.storage import S3Storage
from mps3.support.environment import Environment


async def examine(server: InMemoryS3, manifest: str = MANIFEST, **options: Any) -> Diagnosis:
    async with talking_to(server) as storage:
        wanted = {"journal": "auto", "poll_interval": 1.0, "environment": Environment(), **options}
        return await diagnose(storage, BUCKET, manifest, **wanted)


def failed(found: Diagnosis) -> dict[str, str]:
    return {finding.what: finding.result for finding in found.findings if finding.good is False}


def said(found: Diagnosis, what: str) -> tuple[bool | None, str]:
    return next((finding.good, finding.result) for finding in found.findings if finding.what == what)


@pytest.mark.parametrize("versioning", ["Enabled", "Off", None])
@pytest.mark.parametrize("swift", [True, False])
async def test_a_good_store(versioning, swift):
    async with InMemoryS3(versioning=versioning, swift=swift) as server:
        found = await examine(server)
        assert found.healthy and found.tidy, found
        assert failed(found) == {} and server.everything == []
        if versioning == "Enabled":
            assert said(found, "listing in pages")[0] is True


Answer = Callable[[InMemoryS3, web.BaseRequest, str], "web.Response | None"]


def gets(answer: Callable[[InMemoryS3, web.BaseRequest, str], web.Response | None]) -> Answer:
    def only_gets(server: InMemoryS3, request: web.BaseRequest, key: str) -> web.Response | None:
        return answer(server, request, key) if request.method == "GET" and key.startswith(MANIFEST) else None

    return only_gets


def old(server: InMemoryS3, request: web.BaseRequest, key: str) -> web.Response | None:
    rows = server.rows.get(key, [])
    if "versionId" in request.query or len(rows) < 2:
        return None
    return web.Response(body=rows[1].body, headers={"ETag": rows[1].etag, "x-amz-version-id": rows[1].version})


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (gets(lambda *_: error(404, "NoSuchKey")), "is not there"),
        (gets(lambda *_: web.Response(headers={"ETag": '"d41d8cd98f00b204e9800998ecf8427e"'})), "empty"),
        (gets(lambda *_: web.Response(body=b"<html>", headers={"ETag": '"d4"'})), "other bytes|damaged|not"),
        (gets(old), "older version"),
    ],
)
async def test_a_store_that_does_not_give_back_what_was_written(answer, words):
    async with InMemoryS3() as server:
        server.answer = lambda server, request, key: answer(server, request, key) if ".probe/" in key else None
        found = await examine(server)
        assert not found.healthy
        with pytest.raises(AssertionError, match=words):
            raise AssertionError(failed(found)["reading back"])
        server.answer = lambda *_: None
        assert server.everything == []


async def test_a_store_that_takes_no_long_keys():
    """Swift adds to the name of an object that keeps versions, and answers with 500 if that is too long then."""

    def answer(server: InMemoryS3, request: web.BaseRequest, key: str) -> web.Response | None:
        return error(500, "InternalError") if len(key.encode()) > 1006 and request.method == "PUT" else None

    async with InMemoryS3(answer=answer) as server:
        found = await examine(server)
        assert found.healthy
        assert ("long keys", None) in [(finding.what, finding.good) for finding in found.findings]
        assert server.everything == []
    async with InMemoryS3() as server:
        found = await examine(server)
        assert ("long keys", "of 1,024 bytes") in [(finding.what, finding.result) for finding in found.findings]
        assert server.everything == []


async def test_a_store_whose_listing_is_cut():
    def answer(server: InMemoryS3, request: web.BaseRequest, key: str) -> web.Response | None:
        if key or "key-marker" not in request.query:
            return None
        text = "<ListVersionsResult><IsTruncated>false</IsTruncated></ListVersionsResult>"
        return web.Response(body=text.encode(), content_type="application/xml")

    async with InMemoryS3(answer=answer) as server:
        found = await examine(server)
        assert not found.healthy
        assert "damaged" in failed(found)["listing in pages"]


async def test_a_store_that_lists_only_some_versions():
    def answer(server: InMemoryS3, request: web.BaseRequest, key: str) -> web.Response | None:
        if key or "versions" not in request.query or ".probe/" not in request.query.get("prefix", ""):
            return None
        kept = dict(server.rows)
        server.rows = {name: rows[:2] for name, rows in kept.items()}
        try:
            return server._versions(request)
        finally:
            server.rows = kept

    async with InMemoryS3(answer=answer) as server:
        with patch.object(checkup, "VISIBILITY_TIMEOUT", 0.2):
            found = await examine(server)
        assert failed(found)["listing in pages"] == "of 5 versions that were just written, pages of 2 list 2"


@pytest.mark.parametrize("versioning", ["Enabled", "Off"])
@pytest.mark.parametrize("lacks", ["the permission", "the object"])
async def test_a_log_needs_the_listing_of_objects(versioning, lacks):
    def answer(_: InMemoryS3, request: web.BaseRequest, __: str) -> web.Response | None:
        if "list-type" not in request.query:
            return None
        if lacks == "the permission":
            return error(403, "AccessDenied")
        empty = b"<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>"
        return web.Response(body=empty, headers={"x-amz-request-id": "1"})

    with patch.object(checkup, "VISIBILITY_TIMEOUT", 0.3):
        async with InMemoryS3(versioning=versioning, answer=answer) as server:
            found = await examine(server, journal="log")
            assert not found.healthy
            assert ("s3:ListBucket" if lacks == "the permission" else "not listed") in failed(found)["listing"]
            if versioning == "Enabled":
                found = await examine(server, "merge.json", journal="merge")
                assert found.healthy and said(found, "listing")[0] is None


async def test_a_version_may_take_a_moment_until_it_is_listed():
    def answer(server: InMemoryS3, request: web.BaseRequest, key: str) -> web.Response | None:
        if key or "versions" not in request.query or server.asked["versions"] > 7:
            return None
        text = "<ListVersionsResult><IsTruncated>false</IsTruncated></ListVersionsResult>"
        server.asked["versions"] += 1
        return web.Response(body=text.encode(), content_type="application/xml")

    async with InMemoryS3(answer=answer) as server:
        found = await examine(server)
        assert failed(found) == {}


async def test_weak_etags_are_told_and_do_no_harm():
    async with InMemoryS3(versioning="Off", etag_of_get=lambda etag: f"W/{etag}") as server:
        found = await examine(server)
        assert found.healthy and found.journal == "log"
        good, result = said(found, "ETags")
        assert good is None and "weak" in result
        async with client(BUCKET, server.s3_config) as one:
            await soon(one.put("key", 1))


@pytest.mark.parametrize("versioning", ["Enabled", "Off"])
async def test_changed_etags_are_told_and_do_no_harm(versioning):
    async with InMemoryS3(versioning=versioning, etag_of_get=lambda etag: etag[:-1] + '-gzip"') as server:
        found = await examine(server)
        assert found.healthy and found.journal == "log"
        good, result = said(found, "ETags")
        assert good is None and "changes ETags" in result
        assert server.everything == []


async def test_a_store_that_takes_few_puts_a_second_to_an_object(monkeypatch):
    monkeypatch.setattr("mps3.journal.trials.PACE", 0.25)
    async with InMemoryS3(versioning="Off", pace=0.2) as server:
        found = await examine(server)
        assert found.healthy and found.journal == "log", found.findings
        assert server.refused and server.everything == []


async def test_time_stamps_that_are_minutes_off():
    async with InMemoryS3(stamp=900.0) as server:
        found = await examine(server)
        assert "s later than the store's own clock" in failed(found)["listing in pages"]


async def test_a_log_in_a_versioned_bucket_needs_conditions():
    def careless(server: InMemoryS3, request: web.BaseRequest, key: str) -> web.Response | None:
        if request.method == "PUT" and "If-None-Match" in request.headers:
            row = server.add(key, b"{}")
            return web.Response(headers={"ETag": row.etag, "x-amz-version-id": row.version})
        return None

    async with InMemoryS3() as server:
        async with client(BUCKET, server.s3_config, journal="log") as one:
            await soon(one.put("key", 1))
        assert (await examine(server)).journal == "log"
        server.answer = careless
        found = await examine(server)
        assert not found.healthy and "ignores" in failed(found)["conditions"]


@pytest.mark.parametrize("versioning", ["Enabled", "Off"])
async def test_cancelled_at_any_moment_it_leaves_nothing(versioning):
    """Each time at another request, until it is no longer interrupted."""
    for moment in range(3, 200, 3):
        async with InMemoryS3(versioning=versioning) as server:
            reached, count = asyncio.Event(), 0

            def after(
                _: InMemoryS3, request: web.BaseRequest, key: str, reached: Any = reached, at: int = moment
            ) -> None:
                nonlocal count
                count += 1
                if count == at:
                    reached.set()

            server.after = after
            storage = S3Storage(server.s3_config)
            await storage.open()
            work = diagnose(storage, BUCKET, MANIFEST, journal="auto", poll_interval=1.0, environment=Environment())
            task = asyncio.ensure_future(work)
            waiting = asyncio.ensure_future(reached.wait())
            await soon(asyncio.wait([task, waiting], return_when=asyncio.FIRST_COMPLETED))
            waiting.cancel()
            interrupted = task.cancel()
            await soon(asyncio.wait([task]))
            await storage.aclose()
            await eventually(lambda server=server: server.everything == [])
        if not interrupted:
            return
    raise AssertionError("it has no end")


def url_of(server: InMemoryS3, manifest: str = MANIFEST) -> str:
    return f"s3://{BUCKET}/{manifest}?" + urlencode(server.s3_config)


async def test_what_the_exit_code_says(capsys):
    async def doctor(server: InMemoryS3) -> tuple[int, Any]:
        code = await asyncio.to_thread(main, ["doctor", "--json", url_of(server)])
        return code, json.loads(capsys.readouterr().out or "null")

    async with InMemoryS3() as server:
        assert (await doctor(server))[0] == 0
        server.answer = gets(lambda server, request, key: error(404, "NoSuchKey"))
        code, found = await doctor(server)
        assert code == 1 and not found["healthy"]
        server.answer = lambda *_: error(404, "NoSuchBucket")
        assert (await doctor(server))[0] == 3


# What is advised ------------------------------------------------------------------------------------------------------


async def test_versioning_is_not_advised_where_it_is_impossible():
    async with InMemoryS3(versioning=None) as server:
        found = await examine(server, journal="merge")
        assert "Enable it" not in failed(found)["journal"] and "cannot be enabled" in failed(found)["journal"]
        server.versioning = "Off"
        found = await examine(server, journal="merge")
        assert "Enable it" in failed(found)["journal"]
    for storage in (MemoryStorage(versioning=False),):
        found = await diagnose(storage, BUCKET, MANIFEST, journal="merge", poll_interval=1.0, environment=Environment())
        assert "aws s3api" not in failed(found)["journal"]
