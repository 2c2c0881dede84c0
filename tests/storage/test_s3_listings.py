"""Listings of S3: their order, pages and markers, and what is no listing."""

from __future__ import annotations

import time

import pytest
from scripted_s3 import answer, version_xml, versions_xml
from servers import MOTO
from storage.s3_storage import READS, all_versions, talking_to

from mps3.errors import ConfigurationError, UnavailableError


@pytest.mark.parametrize("limit", [1, 2, 3, None])
async def test_versions_newest_first(s3_storage, bucket, limit, hold, complete_listings):
    hold("key", "key2", "key/a")
    stored = []
    for number in range(5):
        stored.append(await s3_storage.put(bucket, "key", b"x" * number))
        await s3_storage.put(bucket, "key2", b"")
        await s3_storage.put(bucket, "key/a", b"")
    listed = await all_versions(s3_storage, bucket, "key", limit)
    assert [one.version for one in listed] == [one.version for one in reversed(stored)]
    assert [one.size for one in listed] == [4, 3, 2, 1, 0]
    assert [one.etag for one in listed] == [one.etag for one in reversed(stored)]
    assert all(abs(one.modified - time.time()) < 3600 for one in listed)
    assert await all_versions(s3_storage, bucket, "ke", limit) == []


async def test_a_marker_is_the_newest(s3_storage, bucket):
    stored = await s3_storage.put(bucket, "key", b"")
    await s3_storage.delete(bucket, "key")
    listed = await all_versions(s3_storage, bucket, "key")
    assert [one.deleted for one in listed] == [True, False]
    assert listed[1].version == stored.version
    if not MOTO:  # which lists all versions before all markers
        last = await s3_storage.put(bucket, "key", b"")
        await s3_storage.delete(bucket, "key")
        listed = await all_versions(s3_storage, bucket, "key", limit=1)
        assert [one.deleted for one in listed] == [True, False, True, False]
        assert [listed[1].version, listed[3].version] == [last.version, stored.version]


async def test_the_order_is_that_of_the_document(fake):
    items = (
        version_xml("4", 7)
        + version_xml("3", 9, kind="DeleteMarker")
        + version_xml("2", 8)
        + version_xml("1", 1, kind="DeleteMarker")
    )
    async with talking_to(fake, versions_xml(items)) as storage:
        page = await storage.versions("bucket", "key")
    assert [one.version for one in page.versions] == ["4", "3", "2", "1"]
    assert [one.deleted for one in page.versions] == [False, True, False, True]
    assert page.versions[3].modified == 1767225601.5


async def test_who_lists_objects_instead_of_versions_is_refused(fake):
    """S3Mock calls both listings by one name, and some of its listings of versions fail."""
    listing = b"<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>"
    async with talking_to(fake, answer(200, listing)) as storage:
        with pytest.raises(ConfigurationError, match="does not list versions"):
            await storage.versions("bucket", "key")
        with pytest.raises(ConfigurationError, match="does not list versions"):
            await storage.scan("bucket")
        assert (await storage.list("bucket")).entries == ()


async def test_a_delete_marker_with_an_empty_etag_has_none(fake):
    items = version_xml("2", 2, kind="DeleteMarker").replace("</Key>", "</Key><ETag></ETag>") + version_xml("1", 1)
    async with talking_to(fake, versions_xml(items)) as storage:
        page = await storage.versions("bucket", "key")
    assert [one.etag for one in page.versions] == [None, None]


async def test_markers_listed_last_though_one_is_the_latest(fake):
    items = version_xml("3", 5) + version_xml("1", 1) + version_xml("4", 9, kind="DeleteMarker", latest=True)
    items += version_xml("2", 3, kind="DeleteMarker")
    async with talking_to(fake, versions_xml(items)) as storage:
        page = await storage.versions("bucket", "key")
    assert [one.version for one in page.versions] == ["4", "3", "2", "1"]


@pytest.mark.parametrize("marker", ["a%252F%0A%01", "a%2F&#x0A;&#x01;", "a%2F&#10;\x01"])
async def test_markers_encoded_or_not(fake, marker):
    """Some stores encode the keys of the items only, though XML has no control characters."""
    key = "a%2F\n\x01"
    more = f"<EncodingType>url</EncodingType><IsTruncated>true</IsTruncated><NextKeyMarker>{marker}</NextKeyMarker>"
    more += "<NextVersionIdMarker>2</NextVersionIdMarker><Prefix>&#x1;</Prefix>"
    async with talking_to(fake, versions_xml(version_xml("2", 1, key="a%252F%0A%01"), more)) as storage:
        page = await storage.versions("bucket", key)
        assert [one.version for one in page.versions] == ["2"]
        assert page.next is not None
        fake.answers = [versions_xml(version_xml("1", 1, key="a%252F%0A%01"))]
        page = await storage.versions("bucket", key, start=page.next)
    assert page.next is None
    assert "key-marker=a%252F%0A%01" in fake.received[1].target
    assert "version-id-marker=2" in fake.received[1].target


async def test_short_and_empty_pages(fake):
    more = (
        "<IsTruncated>true</IsTruncated><NextKeyMarker>key</NextKeyMarker><NextVersionIdMarker>{}</NextVersionIdMarker>"
    )
    pages = [
        versions_xml(version_xml("3", 3), more.format(3)),
        versions_xml("", more.format("2a")),
        versions_xml(version_xml("2", 2) + version_xml("9", 9, key="key2"), "<IsTruncated>true</IsTruncated>"),
    ]
    async with talking_to(fake, *pages) as storage:
        assert [one.version for one in await all_versions(storage, "bucket", "key")] == ["3", "2"]
    assert len(fake.received) == 3


async def test_markers_that_the_store_forgot(fake):
    pages = [versions_xml(version_xml("2", 2), "<IsTruncated>true</IsTruncated>"), versions_xml(version_xml("1", 1))]
    async with talking_to(fake, *pages) as storage:
        assert [one.version for one in await all_versions(storage, "bucket", "key")] == ["2", "1"]
    assert "version-id-marker=2" in fake.received[1].target


MORE = "<IsTruncated>true</IsTruncated><NextKeyMarker>key</NextKeyMarker>"


async def test_a_version_that_is_the_marker_is_not_listed_again(fake):
    """Versity S3 Gateway begins a page with its marker if that is the newest version of its key."""
    newest, older = version_xml("2", 2, latest=True), version_xml("1", 1)
    async with talking_to(fake, versions_xml(newest, MORE)) as storage:
        page = await storage.versions("bucket", "key", limit=1)
        fake.answers = [versions_xml(newest, MORE), versions_xml(newest + older)]
        page = await storage.versions("bucket", "key", start=page.next, limit=1)
    assert [one.version for one in page.versions] == ["1"]
    assert page.next is None
    assert ["max-keys=1" in one.target for one in fake.received] == [True, True, False]


@pytest.mark.parametrize("call", ["versions", "scan"])
async def test_an_empty_page_is_the_end_if_the_store_says_so_twice(fake, call):
    """Versity S3 Gateway says of a page that holds exactly the rest that more follow."""
    both = version_xml("2", 2, latest=True) + version_xml("1", 1)
    async with talking_to(fake, versions_xml(both, MORE)) as storage:
        read = getattr(storage, call)
        page = await read("bucket", "key")
        fake.answers = [versions_xml(""), versions_xml(version_xml("1", 1))]
        page = await read("bucket", "key", start=page.next)
    assert page.next is None
    assert "version-id-marker=1" in fake.received[1].target
    assert "version-id-marker=2" in fake.received[2].target


@pytest.mark.parametrize("again", [versions_xml(""), versions_xml(version_xml("1", 1) + version_xml("0", 0))])
async def test_an_empty_page_where_more_must_follow_is_damage(fake, again):
    both = version_xml("2", 2, latest=True) + version_xml("1", 1)
    async with talking_to(fake, versions_xml(both, MORE)) as storage:
        page = await storage.versions("bucket", "key")
        fake.answers = [versions_xml(""), again] * 4
        with pytest.raises(UnavailableError, match="nothing does"):
            await storage.versions("bucket", "key", start=page.next)


async def test_listings_that_do_not_move_forward_end(fake):
    more = (
        "<IsTruncated>true</IsTruncated><NextKeyMarker>key</NextKeyMarker><NextVersionIdMarker>1</NextVersionIdMarker>"
    )
    async with talking_to(fake, versions_xml(version_xml("1", 1), more)) as storage:
        with pytest.raises(UnavailableError):
            await all_versions(storage, "bucket", "key")


@pytest.mark.parametrize("name", ["versions", "list"])
@pytest.mark.parametrize(
    "body", [b"", b"<html/>", b"<ListVersionsResult><Vers", b"<Error><Code>InternalError</Code></Error>"]
)
async def test_what_is_not_a_listing(fake, name, body):
    async with talking_to(fake, answer(200, body)) as storage:
        with pytest.raises(UnavailableError):
            await READS[name](storage)
    assert len(fake.received) == 4


async def test_list_pages(fake):
    def page(key: str, more: str) -> bytes:
        contents = (
            f"<Contents><Key>{key}</Key><LastModified>2026-01-01T00:00:00Z</LastModified><Size>7</Size></Contents>"
        )
        return answer(200, f"<ListBucketResult>{more}{contents}</ListBucketResult>".encode())

    more = "<EncodingType>url</EncodingType><IsTruncated>true</IsTruncated>"
    pages = [
        page("a+b", more + "<NextContinuationToken>t+o=</NextContinuationToken>"),
        page("b%2Bc", more),
        page("c", "<IsTruncated>false</IsTruncated>"),
    ]
    async with talking_to(fake, *pages) as storage:
        first = await storage.list("bucket")
        second = await storage.list("bucket", start=first.next)
        third = await storage.list("bucket", start=second.next)
    assert [one.entries[0].key for one in (first, second, third)] == ["a b", "b+c", "c"]
    assert first.entries[0].size == 7
    assert third.next is None
    assert "continuation-token=t%2Bo%3D" in fake.received[1].target
    assert "start-after=b%2Bc" in fake.received[2].target
