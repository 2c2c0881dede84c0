"""A bucket in which somebody else has written, who means ill: clients go on, and nothing is lost."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
from collections.abc import Callable
from typing import Any

import orjson
import pytest
from kit import BUCKET, MANIFEST, Clock, eventually, memory_client, soon, stored_manifest

from mps3 import DELETE, MPS3, CorruptionError, MemoryStorage, Ref
from mps3.document import decode
from mps3.errors import MPS3Error

SHA256 = hashlib.sha256(b"1").hexdigest()
versioning = pytest.mark.parametrize("versioning", [True, False])


async def forge(storage: MemoryStorage, change: Callable[[dict[str, Any]], object], manifest: str = MANIFEST) -> None:
    """Replace the head by itself with a change, as anybody can who may write to the bucket."""
    document = await stored_manifest(storage, manifest)
    change(document)
    await MemoryStorage.put(storage, BUCKET, manifest, orjson.dumps(document))


async def everything(storage: MemoryStorage) -> dict[str, Any]:
    """What a new client reads."""
    async with memory_client(storage) as fresh:
        return await soon(fresh.get_all())


# Commits in the name of somebody else ----------------------------------------------------------------------------------


@versioning
@pytest.mark.parametrize("far", [1, 10**6, 2**53 - 1])
@pytest.mark.parametrize("seen", [True, False])
async def test_a_forged_commit_of_a_live_session_makes_nothing_unreadable(versioning, far, seen):
    storage = MemoryStorage(versioning=versioning)
    async with memory_client(storage, poll_interval=0.05 if seen else 3600) as one:
        await soon(one.put("a", 1))

        def usurp(document: dict[str, Any]) -> None:
            document["sequence"] = min(document["sequence"] + far, 2**53 - 1)
            document["update"] = {"files": {"forged": {"version": "none", "sha256": SHA256, "size": 1}}}

        await forge(storage, usurp)
        if seen:
            await eventually(lambda: _names(one, "forged"))
        for number in range(3):
            await soon(one.put(f"after{number}", number))
            assert await soon(one.get(f"after{number}")) == number
        await soon(one.delete("forged"))
        expected = (
            {"a": 1, "after0": 0, "after1": 1, "after2": 2} if versioning else {"after0": 0, "after1": 1, "after2": 2}
        )
        found = await everything(storage)
        assert {name: value for name, value in found.items() if name != "a"} == {
            name: value for name, value in expected.items() if name != "a"
        }


async def _names(one: MPS3, name: str) -> bool:
    return name in await one.keys()


async def test_commits_that_follow_each_other_in_a_circle_have_an_order(versioning=True):
    storage = MemoryStorage(versioning=versioning)
    async with memory_client(storage) as one:
        await soon(one.put("a", 1))
        first = (await storage.versions(BUCKET, MANIFEST)).versions[0].version

        def usurp(document: dict[str, Any]) -> None:
            document["session"] = "somebody"
            document["previous"] = first
            document["log"] = [
                {
                    "session": "t",
                    "sequence": sequence,
                    "version": version,
                    "modified": "2026-01-01T00:00:00Z",
                    "previous": previous,
                    "update": {},
                }
                for sequence, version, previous in ((1, "x", "y"), (2, "y", "x"), (3, first, "x"))
            ]

        await forge(storage, usurp)
        await soon(one.put("b", 2))
    assert (await everything(storage))["b"] == 2
