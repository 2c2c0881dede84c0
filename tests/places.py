"""Stores of every kind, with versions or without."""

from __future__ import annotations

import json
from typing import Any

import pytest
from helpers import BUCKET, MANIFEST
from stores.native import named

from mps3 import LocalStorage, MemoryStorage
from mps3.storage import Object
from mps3.storage.protocol import NULL_VERSION
from mps3.storage.s3.storage import S3Storage


@pytest.fixture(
    params=[
        "memory",
        "local",
        pytest.param("server", marks=pytest.mark.server),
        pytest.param("obstore", marks=pytest.mark.native),
    ]
)
async def place(request, tmp_path):
    """Makes stores of one kind, with versions or without: (bucket, what a client is made with, the store).

    Unless that is left to the client, it is made with the merge journal where there are versions.
    """
    opened: list[Any] = []
    storage: Any

    async def make(versioning: bool, *, auto: bool = False) -> tuple[str, dict[str, Any], Any]:
        if request.param == "obstore":
            pytest.importorskip("obstore", reason="the package obstore is not installed")
            from storage.obstore_storage import memory_storage  # noqa: PLC0415 - obstore may be missing

            if versioning:
                pytest.skip("the services that obstore reaches have no versions for mps3")
            server = named()
            if server is None:
                bucket, storage = BUCKET, memory_storage(told=True)
            else:
                made = server.make_bucket()
                bucket, storage = made.name, made.storage()
            options = {"s3_config": None, "storage": storage}
        elif request.param == "server":
            if not versioning:
                request.getfixturevalue("creation")
            elif auto:
                request.getfixturevalue("creation_in_versions")
            bucket = request.getfixturevalue("make_bucket")("Enabled" if versioning else None)
            options = {"s3_config": request.getfixturevalue("s3_config")}
            storage = S3Storage(options["s3_config"])
        else:
            bucket = BUCKET
            storage = MemoryStorage(versioning=versioning) if request.param == "memory" else None
            storage = storage or LocalStorage(tmp_path / str(versioning), versioning=versioning)
            options = {"s3_config": None, "storage": storage}
        await storage.open()
        opened.append(storage)
        if versioning and not auto:
            options["journal"] = "merge"
        return bucket, options, storage

    yield make
    for storage in opened:
        await storage.aclose()


async def manifest_of(storage: Any, bucket: str) -> dict[str, Any]:
    found = await storage.get(bucket, MANIFEST)
    assert isinstance(found, Object)
    return json.loads(found.body)


async def keys_of(storage: Any, bucket: str) -> list[str]:
    return sorted(entry.key for entry in (await storage.list(bucket)).entries)


async def everything_in(storage: Any, bucket: str) -> list[tuple[str, str]]:
    """All versions and delete markers, each as its key and its version; objects, where there are no versions."""
    if (await storage.capabilities(bucket)).versioning == "off":
        return [(key, NULL_VERSION) for key in await keys_of(storage, bucket)]
    found, start = [], None
    while True:
        page = await storage.scan(bucket, start=start)
        found += [(one.key, one.version) for one in page.found]
        start = page.next
        if start is None:
            return found
