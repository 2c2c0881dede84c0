"""Listings in pages: what follows is asked for by what was listed, whatever the store calls it."""

from __future__ import annotations

import math
from typing import Any

import pytest
from aiohttp import web
from helpers import BUCKET, MANIFEST, NoBackoff, client, soon
from in_memory_s3 import InMemoryS3, xml
from storage.s3_storage import talking_to

from mps3 import CorruptionError, MemoryStorage, UnavailableError
from mps3.collect.bucket import Buckets
from mps3.journal.merge.listing import VersionListing
from mps3.storage import Page, Scan, VersionPage
from mps3.storage.s3.storage import S3Storage


async def versions_of(storage: S3Storage, key: str, limit: int | None = None) -> list[str]:
    found, start = [], None
    while True:
        page = await storage.versions(BUCKET, key, start=start, limit=limit)
        found += [version.version for version in page.versions]
        if (start := page.next) is None:
            return found


async def scanned(storage: S3Storage) -> list[tuple[str, str]]:
    found, start = [], None
    while True:
        page = await storage.scan(BUCKET, start=start)
        found += [(one.key, one.version) for one in page.found]
        if (start := page.next) is None:
            return found


AWKWARD = ["a", "a%2Fb", "a b+c", "a/é", "z"]


@pytest.mark.parametrize("page", [1, 2, 3, 7])
async def test_all_versions_are_listed_though_every_version_marker_is_null(page):
    """Swift's S3 API sends NextVersionIdMarker null with every page, and takes null for the end of the key."""
    async with InMemoryS3(swift=True, page=page) as server, talking_to(server) as storage:
        for number in range(5):
            for key in AWKWARD:
                server.add(key, b"%d" % number)
        server.add("a", None)
        server.add("a", b"again")
        for key in AWKWARD:
            assert await versions_of(storage, key) == [row.version for row in server.rows[key]]
        assert await scanned(storage) == server.everything


@pytest.mark.parametrize("marker", ["null", "", "first", "nonsense"])
@pytest.mark.parametrize("key_marker", ["right", "none", "first"])
async def test_wrong_markers_do_not_cut_a_listing(marker, key_marker):
    def answer(server: InMemoryS3, request: web.BaseRequest, key: str) -> web.Response | None:
        if key or "versions" not in request.query:
            return None
        text = server._versions(request).body.decode()
        first = text.partition("<VersionId>")[2].partition("<")[0]
        name = text.partition("<Key>")[2].partition("<")[0]
        before, tag, rest = text.partition("<NextVersionIdMarker>")
        if tag:
            text = before + tag + {"first": first}.get(marker, marker) + "<" + rest.partition("<")[2]
        before, tag, rest = text.partition("<NextKeyMarker>")
        if tag and key_marker != "right":
            text = before + (f"{tag}{name}<" if key_marker == "first" else "<NextKeyMarker><") + rest.partition("<")[2]
        return xml(text)

    async with InMemoryS3(page=2, answer=answer) as server, talking_to(server) as storage:
        for number in range(5):
            for key in ("a", "b"):
                server.add(key, b"%d" % number)
        assert await versions_of(storage, "a") == [row.version for row in server.rows["a"]]
        assert sorted(set(await scanned(storage))) == sorted(server.everything)


def cut(kind: str) -> Any:
    """An empty last page after one that said that more follow."""

    def answer(server: InMemoryS3, request: web.BaseRequest, key: str) -> web.Response | None:
        query = request.query
        if key or not ({"key-marker", "continuation-token", "start-after"} & {*query}):
            return None
        root = "ListVersionsResult" if "versions" in query else "ListBucketResult"
        return xml(f"<{root}><IsTruncated>false</IsTruncated></{root}>") if kind in root else None

    return answer


async def test_an_empty_page_after_a_truncated_one_is_damage_and_not_the_end():
    async with InMemoryS3(page=2, answer=cut("Versions")) as server, talking_to(server) as storage:
        for number in range(5):
            server.add("a", b"%d" % number)
        with pytest.raises(UnavailableError, match="damaged"):
            await versions_of(storage, "a")
        with pytest.raises(UnavailableError, match="damaged"):
            await scanned(storage)
    async with InMemoryS3(page=2, answer=cut("ListBucket"), versioning="Off") as server, talking_to(server) as storage:
        for number in range(5):
            server.add(f"a{number}", b"")
        first = await storage.list(BUCKET)
        with pytest.raises(UnavailableError, match="damaged"):
            await storage.list(BUCKET, start=first.next)


async def test_empty_pages_that_say_that_more_follow_end_with_an_error():
    def answer(server: InMemoryS3, request: web.BaseRequest, key: str) -> web.Response | None:
        if key or not {"versions", "list-type"} & {*request.query}:
            return None
        root = "ListVersionsResult" if "versions" in request.query else "ListBucketResult"
        number = server.asked["pages"] = server.asked["pages"] + 1
        return xml(
            f"<{root}><IsTruncated>true</IsTruncated><NextKeyMarker>a</NextKeyMarker>"
            f"<NextVersionIdMarker>{number}</NextVersionIdMarker>"
            f"<NextContinuationToken>{number}</NextContinuationToken></{root}>"
        )

    async with InMemoryS3(answer=answer) as server, talking_to(server) as storage:
        with pytest.raises(UnavailableError, match="damaged"):
            await soon(versions_of(storage, "a"))
        with pytest.raises(UnavailableError, match="damaged"):
            await soon(scanned(storage))
        start = None
        with pytest.raises(UnavailableError, match="damaged"):
            while True:
                start = (await storage.list(BUCKET, start=start)).next
                assert start is not None


async def test_history_is_whole_on_a_store_that_pages_as_swift_does():
    async with (
        InMemoryS3(swift=True, page=9) as server,
        client(BUCKET, server.s3_config) as one,
    ):
        for number in range(40):
            await soon(one.put("key", number))
        assert [await revision.value() for revision in await one.history("key", limit=None)] == [*reversed(range(40))]


async def test_nothing_is_collected_by_a_listing_that_is_cut():
    async with InMemoryS3(page=4) as server, client(BUCKET, server.s3_config, journal="merge") as one:
        for number in range(6):
            await soon(one.put("key", number))
        server.answer = cut("Versions")
        before = server.everything
        with pytest.raises((UnavailableError, CorruptionError)):
            await soon(one.collect(retention=0, grace=1200))
        assert server.everything == before
        assert MANIFEST in server.rows


class Circling(MemoryStorage):
    """Its listings have no end: they go round."""

    def round(self, start: str | None) -> str:
        return {"1": "2", "2": "3"}.get(start or "", "1")

    async def versions(self, bucket: str, key: str, *, start: Any = None, limit: Any = None) -> VersionPage:
        page = await super().versions(bucket, key)
        return VersionPage(page.versions, self.round(start), page.answered)

    async def scan(self, bucket: str, prefix: str = "", *, start: Any = None) -> Scan:
        return Scan((), self.round(start))

    async def list(self, bucket: str, prefix: str = "", *, start: Any = None, limit: Any = None) -> Page:
        return Page((), self.round(start))


@pytest.mark.parametrize("versioning", [True, False])
async def test_a_listing_that_goes_in_circles_is_an_error(versioning):
    storage = Circling(versioning=versioning)
    await storage.put(BUCKET, "key", b"")
    buckets = Buckets(storage, NoBackoff(), None)
    with pytest.raises(UnavailableError, match="circles"):
        _ = [page async for page in buckets.everything(BUCKET)]
    with pytest.raises(UnavailableError, match="circles"):
        _ = [page async for page in buckets.older_versions(BUCKET, "key", None)]
    with pytest.raises(UnavailableError, match="circles"):
        await VersionListing(storage, BUCKET, "key", page=8).back_to(-math.inf)
