"""The IAM policies of docs/security.md allow each role what it does, and nothing of them could be left out."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator
from contextvars import ContextVar
from datetime import timedelta
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest

from mps3 import MPS3, AccessError, MemoryStorage
from mps3.storage import ABSENT, Storage
from mps3.storage.wrapper import StorageWrapper
from mps3.testing import VirtualClock
from mps3.types import JournalKind

PAGE = Path(__file__).parents[2] / "docs" / "security.md"
BUCKET, KEY = "my-bucket", "app.json"

pytestmark = pytest.mark.skipif(not PAGE.is_file(), reason="the documentation is not beside the tests")

Policy = dict[str, Any]
JOURNAL: ContextVar[JournalKind] = ContextVar("the journal of all clients")


def policies() -> dict[str, Policy]:
    """The policies of the page, by the comment above each."""
    found = re.findall(r"^<!-- policy: (\w+) -->\n```json\n((?s:.*?))^```$", PAGE.read_text("utf-8"), re.MULTILINE)
    return {name: json.loads(text) for name, text in found}


def allows(policy: Policy, action: str, bucket: str, key: str | None) -> bool:
    resource = f"arn:aws:s3:::{bucket}" + ("" if key is None else f"/{key}")
    return any(
        action in statement["Action"] and any(fnmatchcase(resource, one) for one in statement["Resource"])
        for statement in policy["Statement"]
    )


class Guarded(StorageWrapper):
    """Enforces a policy, as S3 would."""

    def __init__(self, storage: Storage, policy: Policy) -> None:
        super().__init__(storage)
        self._policy = policy
        self.tidy = True

    def _require(self, action: str, bucket: str, key: str | None = None) -> None:
        if not allows(self._policy, action, bucket, key):
            raise AccessError(f"{action} is not allowed for {bucket}/{key}", bucket=bucket, key=key)

    async def capabilities(self, bucket: str) -> Any:
        self._require("s3:GetBucketVersioning", bucket)
        return await super().capabilities(bucket)

    async def get(self, bucket: str, key: str, *, version: str | None = None, **options: Any) -> Any:
        self._require("s3:GetObject" if version is None else "s3:GetObjectVersion", bucket, key)
        found = await super().get(bucket, key, version=version, **options)
        if found is ABSENT:
            self._require("s3:ListBucket", bucket)  # S3 tells others only that they may not know
        return found

    async def head(self, bucket: str, key: str, *, version: str | None = None) -> Any:
        self._require("s3:GetObject" if version is None else "s3:GetObjectVersion", bucket, key)
        found = await super().head(bucket, key, version=version)
        if found is ABSENT:
            self._require("s3:ListBucket", bucket)
        return found

    async def put(self, bucket: str, key: str, body: bytes, **options: Any) -> Any:
        self._require("s3:PutObject", bucket, key)
        return await super().put(bucket, key, body, **options)

    async def delete(self, bucket: str, key: str, *, version: str | None = None) -> None:
        action = "s3:DeleteObject" if version is None else "s3:DeleteObjectVersion"
        self.tidy = self.tidy and allows(self._policy, action, bucket, key)  # a client that may not leaves it there
        self._require(action, bucket, key)
        await super().delete(bucket, key, version=version)

    async def versions(self, bucket: str, key: str, **options: Any) -> Any:
        self._require("s3:ListBucketVersions", bucket)
        return await super().versions(bucket, key, **options)

    async def scan(self, bucket: str, prefix: str = "", **options: Any) -> Any:
        self._require("s3:ListBucketVersions", bucket)
        return await super().scan(bucket, prefix, **options)

    async def list(self, bucket: str, prefix: str = "", **options: Any) -> Any:
        self._require("s3:ListBucket", bucket)
        return await super().list(bucket, prefix, **options)


def client(storage: Storage) -> MPS3:
    return MPS3(BUCKET, KEY, storage=storage, poll_interval=60, inline=0, journal=JOURNAL.get())


async def read(storage: Storage) -> None:
    async with client(storage) as reader:
        assert await reader.get("color") == "red"
        assert await reader.get_all(prefix="many/") == dict.fromkeys((f"many/{number}" for number in range(450)), 2)
        async with reader.watch() as batches, reader.subscribe("count") as counts:
            assert (await anext(batches)).initial
            assert await anext(counts) == 1
        revisions = await reader.history("color")
        assert [await revision.value() for revision in revisions] == ["red", "blue"]
        assert await reader.get("color", at=revisions[1].id) == "blue"
        assert await reader.get("color", "not there yet", manifest="of tomorrow.json") == "not there yet"


async def write(storage: Storage) -> None:
    async with client(storage) as writer:
        await writer.put_all({"color": "blue", "count": 0})
        await writer.put_all({"color": "red", "count": 1})
        for value in (1, 2):
            await writer.put_all(dict.fromkeys((f"many/{number}" for number in range(450)), value))  # these are runs
        await writer.put("lease", "me", expires_in=60)
    async with client(storage) as writer:  # who has nothing in memory
        await writer.update("count", lambda count: count)


async def collect(storage: Storage) -> None:
    async with client(storage) as collector:
        hour = timedelta(hours=1)
        await collector.collect(retention=hour, grace=hour, manifest="of tomorrow.json")
        assert (await collector.collect(retention=hour, grace=hour)).deleted


def less(policy: Policy) -> Iterator[tuple[str, Policy]]:
    """The policy with one action left out, for each."""
    for place, statement in enumerate(policy["Statement"]):
        for action in statement["Action"]:
            left = copy.deepcopy(policy)
            left["Statement"][place]["Action"].remove(action)
            yield f"{action} of {statement['Resource']}", left


async def act(role: str, policy: Policy, clock: VirtualClock, journal: JournalKind = "log") -> None:
    """Do what the role does, in a bucket where others have been before."""
    JOURNAL.set(journal)
    name, _, unversioned = role.partition("_")
    storage = MemoryStorage(versioning=not unversioned, clock=clock.time)
    await storage.open()
    try:
        if name != "writer":
            await write(storage)
            await clock.advance(10)
            if name == "collector":
                await write(storage)
                async with client(storage) as busy:
                    for number in range(150):  # more commits than a manifest lists
                        await busy.put("count", number)
            await clock.advance(4 * 3600)
        guarded = Guarded(storage, policy)
        await {"reader": read, "writer": write, "collector": collect}[name](guarded)
        assert guarded.tidy
    finally:
        await storage.aclose()


ROLES = ("reader", "writer", "collector", "reader_unversioned", "writer_unversioned", "collector_unversioned")


def test_every_role_has_a_policy() -> None:
    assert set(policies()) == {*ROLES, "ann"}


def journals(role: str) -> list[JournalKind]:
    return ["log"] if role.endswith("_unversioned") else ["log", "merge"]


@pytest.mark.parametrize(("role", "journal"), [(role, journal) for role in ROLES for journal in journals(role)])
async def test_allows_what_the_role_does(role: str, journal: JournalKind, mps3_clock: VirtualClock) -> None:
    await act(role, policies()[role], mps3_clock, journal)


@pytest.mark.parametrize("role", ROLES)
async def test_nothing_could_be_left_out(role: str, mps3_clock: VirtualClock) -> None:
    for what, left in less(policies()[role]):
        with pytest.raises((AccessError, AssertionError)):
            for journal in journals(role):
                await act(role, left, mps3_clock, journal)
            pytest.fail(f"{role} does not need {what}")


@pytest.mark.parametrize("journal", ["log", "merge"])
async def test_who_may_write_only_what_is_hers(journal: JournalKind, mps3_clock: VirtualClock) -> None:
    storage = MemoryStorage(clock=mps3_clock.time)
    await storage.open()
    try:
        async with MPS3(BUCKET, "users/bob.json", storage=storage, poll_interval=60, inline=0, journal=journal) as bob:
            await bob.put("users/bob/status", "here")
        guarded = Guarded(storage, policies()["ann"])
        async with MPS3(BUCKET, "users/ann.json", storage=guarded, poll_interval=60, inline=0, journal=journal) as ann:
            for value in (1, 2):  # with runs
                await ann.put_all(dict.fromkeys((f"users/ann/{number}" for number in range(450)), value))
            await mps3_clock.advance(60)
            assert await ann.get("users/bob/status", manifest="users/bob.json") == "here"
            with pytest.raises(AccessError):
                await ann.put("users/bob/status", "gone")  # the object is his
            with pytest.raises(AccessError):
                await ann.put("users/ann/status", "here", manifests=["users/bob.json"])
        assert guarded.tidy
    finally:
        await storage.aclose()
