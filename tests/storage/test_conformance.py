import asyncio
import posixpath
from dataclasses import replace

import pytest
from servers import MOTO

from mps3.errors import ConfigurationError, MPS3Error
from mps3.storage import ABSENT, Capabilities, Object
from mps3.storage.local import LocalStorage
from mps3.storage.memory import MemoryStorage
from mps3.storage.s3.storage import S3Storage
from mps3.testing import CHECKS, Report, Result, Skipped, check_storage

# Servers of the tests that do less than S3 does, and what they do instead.
SERVER_WEAKNESSES = {
    "control_characters": "moto routes no line feeds, Ceph cannot list by a prefix that XML cannot carry",
}
MOTO_WEAKNESSES = {
    "deleted": "moto lists delete markers behind all versions",
    "deleted_version": "moto lists delete markers behind all versions",
}


@pytest.fixture(params=["memory", "memory unversioned", "local", "local unversioned"])
async def storage(request, tmp_path):
    versioning = "unversioned" not in request.param
    if request.param.startswith("memory"):
        storage = MemoryStorage(versioning=versioning)
    else:
        storage = LocalStorage(tmp_path, versioning=versioning)
    await storage.open()
    yield storage
    await storage.aclose()


@pytest.fixture
async def s3_storage(s3_config):
    storage = S3Storage(s3_config)
    await storage.open()
    yield storage
    await storage.aclose()


every_check = pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)


@every_check
async def test_conformance(check, storage):
    try:
        await check(storage, "conformance")
    except Skipped as reason:
        pytest.skip(str(reason))


@every_check
@pytest.mark.parametrize("versioning", ["Enabled", None])
async def test_s3_conformance(check, versioning, s3_storage, make_bucket):
    known = SERVER_WEAKNESSES | (MOTO_WEAKNESSES if MOTO else {})
    try:
        await check(s3_storage, make_bucket(versioning))
    except Skipped as reason:
        pytest.skip(str(reason))
    except (AssertionError, MPS3Error) as error:
        if check.__name__ not in known:
            raise
        pytest.xfail(f"{known[check.__name__]}: {error}")


async def test_everything_at_once(tmp_path):
    for storage in (MemoryStorage(), LocalStorage(tmp_path)):
        report = await check_storage(storage, "conformance")
        assert report.passed, report
        assert len(report.results) == len(CHECKS)


async def test_every_check_is_documented():
    assert all(check.__doc__ for check in CHECKS)


def test_a_report_reads_well():
    report = Report((Result("one", "passed"), Result("two", "failed", "why"), Result("three", "skipped", "because")))
    assert not report.passed
    assert str(report).split("\n") == ["passed  one", "failed  two: why", "skipped three: because"]


class OldestFirst(MemoryStorage):
    async def versions(self, bucket, key, **options):
        page = await super().versions(bucket, key, **options)
        return replace(page, versions=page.versions[::-1])


class PrefixListed(MemoryStorage):
    async def versions(self, bucket, key, **options):
        pages = [
            await super(PrefixListed, self).versions(bucket, one)
            for one in self._buckets.get(bucket, {})
            if one.startswith(key)
        ]
        return replace(
            await super().versions(bucket, key), versions=tuple(one for page in pages for one in page.versions)
        )


class Unlimited(MemoryStorage):
    async def get(self, bucket, key, *, limit=None, **options):
        return await super().get(bucket, key, **options)


class Normalising(MemoryStorage):
    async def get(self, bucket, key, **options):
        return await super().get(bucket, posixpath.normpath(key), **options)

    async def put(self, bucket, key, body, **options):
        return await super().put(bucket, posixpath.normpath(key), body, **options)


class Checking(MemoryStorage):
    async def put(self, bucket, key, body, *, if_none_match=False, **options):
        if if_none_match and await self.get(bucket, key) is not ABSENT:
            options["if_none_match"] = True
        return await super().put(bucket, key, body, **options)


class Erasing(MemoryStorage):
    async def delete(self, bucket, key, *, version=None):
        self._buckets[bucket][key] = {}


class Torn(MemoryStorage):
    async def put(self, bucket, key, body, **options):
        await super().put(bucket, key, body[:-1], **options)
        return await super().put(bucket, key, body)


class Undescribed(MemoryStorage):
    async def put(self, bucket, key, body, *, metadata=None, **options):
        return await super().put(bucket, key, body, **options)


class Timeless(MemoryStorage):
    async def versions(self, bucket, key, **options):
        return replace(await super().versions(bucket, key, **options), answered=None)


class Shallow(MemoryStorage):
    async def scan(self, bucket, prefix="", **options):
        page = await super().scan(bucket, prefix, **options)
        return replace(page, found=tuple({one.key: one for one in page.found}.values()))


@pytest.mark.parametrize("kind", [Undescribed, Timeless, Shallow])
async def test_storages_fail_that_cannot_be_collected_in(kind):
    assert not (await check_storage(kind(), "conformance")).passed


@pytest.mark.parametrize("kind", [OldestFirst, PrefixListed, Unlimited, Normalising, Checking, Erasing, Torn])
async def test_broken_storages_fail(kind):
    assert not (await check_storage(kind(), "conformance")).passed


class Rangeless(MemoryStorage):
    """Returns the whole object for a part of it."""

    async def get(self, bucket, key, *, byte_range=None, **options):
        return await super().get(bucket, key, **options)


class Deaf(Rangeless):
    """As `Rangeless`, and says that it is the part."""

    async def get(self, bucket, key, *, byte_range=None, **options):
        found = await super().get(bucket, key, **options)
        return replace(found, partial=byte_range is not None) if isinstance(found, Object) else found


class Inclusive(MemoryStorage):
    """Takes the end of a range for the last position, as HTTP does."""

    async def get(self, bucket, key, *, byte_range=None, **options):
        if byte_range is not None:
            byte_range = (byte_range[0], byte_range[1] + 1)
        return await super().get(bucket, key, byte_range=byte_range, **options)


class FromOne(MemoryStorage):
    """Counts bytes from one, as SQL does."""

    async def get(self, bucket, key, *, byte_range=None, **options):
        if byte_range is not None:
            byte_range = (max(0, byte_range[0] - 1), max(1, byte_range[1] - 1))
        return await super().get(bucket, key, byte_range=byte_range, **options)


class Absent(MemoryStorage):
    """Has nothing behind the end of an object."""

    async def get(self, bucket, key, **options):
        found = await super().get(bucket, key, **options)
        return ABSENT if isinstance(found, Object) and found.partial and not found.body else found


class OfTheObject(MemoryStorage):
    """Compares the limit with the whole object."""

    async def get(self, bucket, key, *, limit=None, byte_range=None, **options):
        found = await super().get(bucket, key, limit=limit, **options)
        if byte_range is None or not isinstance(found, Object):
            return found
        return replace(found, body=found.body[slice(*byte_range)], partial=True)


class OfTheNewest(MemoryStorage):
    """Reads parts of the newest version only."""

    async def get(self, bucket, key, *, version=None, byte_range=None, **options):
        version = version if byte_range is None else None
        return await super().get(bucket, key, version=version, byte_range=byte_range, **options)


@pytest.mark.parametrize("kind", [Rangeless, Deaf, Inclusive, FromOne, Absent, OfTheObject, OfTheNewest])
async def test_storages_fail_that_read_other_parts(kind):
    report = await check_storage(kind(), "conformance")
    failed = [one.check for one in report.results if one.outcome == "failed"]
    assert failed and all(check.startswith("parts") for check in failed)


class Careless(MemoryStorage):
    async def put(self, bucket, key, body, *, sha256=None, if_none_match=False, metadata=None):
        return await super().put(bucket, key, body, metadata=metadata)


class Boastful(Careless):
    async def capabilities(self, bucket):
        return BoastfulCapabilities(versioning="enabled")


class BoastfulCapabilities(Capabilities):
    conditional_create = True


async def test_conditions_are_only_needed_where_they_are_claimed():
    careless, boastful = await asyncio.gather(*(check_storage(kind(), "conformance") for kind in (Careless, Boastful)))
    assert careless.passed, careless
    assert [one.check for one in boastful.results if one.outcome == "failed"] == ["conditional_create"]


class Explicit(MemoryStorage):
    async def capabilities(self, bucket):
        if bucket != "conformance":
            raise ConfigurationError("no such bucket", bucket=bucket, operation="GetBucketVersioning")
        return await super().capabilities(bucket)


async def test_a_missing_bucket_must_be_missing_for_all_calls():
    report = await check_storage(Explicit(), "conformance")
    assert [one.check for one in report.results if one.outcome == "failed"] == ["missing_bucket"]


class Unlisted(MemoryStorage):
    """Has no listing of versions, as servers that know no versions."""

    async def versions(self, bucket, key, **options):
        raise ConfigurationError("501 NotImplemented", bucket=bucket, key=key, operation="ListObjectVersions")


async def test_a_store_without_versions_need_not_list_them():
    report = await check_storage(Unlisted(versioning=False), "conformance")
    assert report.passed, report


async def test_a_store_with_versions_must_list_them():
    report = await check_storage(Unlisted(versioning=True), "conformance")
    assert {"absent", "deleted", "exact_key"} <= {one.check for one in report.results if one.outcome == "failed"}
