"""Storages on S3, opened for a test, and every call that they have."""

from __future__ import annotations

import hashlib
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import httpx
import httpx2
from helpers import NoBackoff

from mps3.storage.s3.storage import S3Storage

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

    from scripted_s3 import Answer, ScriptedS3

    from mps3.storage import Version

    Call = Callable[[S3Storage], Awaitable[Any]]

READS: Mapping[str, Call] = {
    "get": lambda storage: storage.get("bucket", "key"),
    "head": lambda storage: storage.head("bucket", "key"),
    "versions": lambda storage: storage.versions("bucket", "key"),
    "list": lambda storage: storage.list("bucket", "prefix"),
    "scan": lambda storage: storage.scan("bucket", "prefix"),
    "capabilities": lambda storage: storage.capabilities("bucket"),
}
WRITES: Mapping[str, Call] = {
    "put": lambda storage: storage.put("bucket", "key", b"{}", sha256=hashlib.sha256(b"{}").digest()),
    "commit": lambda storage: storage.put("bucket", "key", b"{}"),
    "create": lambda storage: storage.put("bucket", "key", b"{}", if_none_match=True),
    "delete": lambda storage: storage.delete("bucket", "key"),
}
CALLS: Mapping[str, Call] = {**READS, **WRITES}
OPERATIONS: Mapping[str, Call] = {
    name: CALLS[name] for name in ("get", "versions", "list", "capabilities", "delete", "put")
}
"""One call for each operation of S3 that has an answer with a body or none."""
AUTHS: Mapping[str, Any] = {"sdk": None, "httpx": httpx.BasicAuth("a", "b"), "httpx2": httpx2.BasicAuth("a", "b")}


@asynccontextmanager
async def opened(s3_config: Mapping[str, Any], **options: Any) -> AsyncIterator[S3Storage]:
    storage = S3Storage(s3_config, **options)
    try:
        await storage.open()
        yield storage
    finally:
        await storage.aclose()


@asynccontextmanager
async def talking_to(fake: ScriptedS3, *answers: Answer, **options: Any) -> AsyncIterator[S3Storage]:
    """A storage that does not wait between attempts."""
    if answers:
        fake.answers = [*answers]
    async with opened(fake.s3_config, **{"environment": NoBackoff(), **options}) as storage:
        yield storage


async def all_versions(storage: S3Storage, bucket: str, key: str, limit: int | None = None) -> list[Version]:
    found: list[Version] = []
    start = None
    while True:
        page = await storage.versions(bucket, key, start=start, limit=limit)
        assert limit is None or len(page.versions) <= limit
        found += page.versions
        if (start := page.next) is None:
            return found
