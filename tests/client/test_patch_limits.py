"""Patches that no reader would take are refused at the call, so that no other write of the commit fails with them."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest
from helpers import memory_client

from mps3 import Append, MemoryStorage, Union
from mps3.format import limits


def lists(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


def objects(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = {"a": value}
    return value


TOO_DEEP = {
    "value": {"a": lists(64)},
    "value of an operation": {"a": Append(lists(64))},
    "value of an operation, deeper": {"a": {"b": {"c": Union(lists(200))}}},
    "members": objects(65),
    "more than can be encoded": {"a": lists(252)},
}


@pytest.mark.parametrize("changes", TOO_DEEP.values(), ids=TOO_DEEP)
async def test_what_nests_too_deep_is_an_error_of_the_call(changes):
    async with memory_client(MemoryStorage(versioning=False)) as client:
        innocent = client.put("other", 1)
        with pytest.raises(ValueError, match=r"nests? more than 64 deep"):
            client.patch("k", changes)
        with pytest.raises(ValueError, match=r"nests? more than 64 deep"):
            client.patch_all({"other": {}, "k": changes})
        await innocent
        async with client.transaction() as transaction:
            with pytest.raises(ValueError, match=r"nests? more than 64 deep"):
                transaction.patch("k", changes)
        assert await client.get_all() == {"other": 1}


async def test_the_deepest_patches_are_written_or_do_not_apply():
    storage = MemoryStorage(versioning=False)
    async with memory_client(storage) as client, memory_client(storage) as other:
        for depth in range(50, 64):
            writes = [client.put("other", depth)]
            for number, changes in enumerate(({"a": lists(depth)}, {"a": Append(lists(depth))}, objects(depth))):
                with contextlib.suppress(*([ValueError] if depth > 60 else [])):
                    writes.append(client.patch(f"k{number}", changes))
            first, *results = await asyncio.gather(*writes, return_exceptions=True)
            assert not isinstance(first, BaseException)
            assert depth > 60 or not any(isinstance(one, BaseException) for one in results)
            assert (await other.get_all())["other"] == depth


async def test_what_is_too_large_is_an_error_of_the_call():
    async with memory_client(MemoryStorage(versioning=False)) as client:
        innocent = client.put("other", 1)
        with pytest.raises(ValueError, match=f"more than {limits.PATCH}: put the value instead"):
            client.patch("k", {"a": "x" * limits.PATCH})
        await client.patch("k", {"a": "x" * (limits.PATCH - 100)})
        await innocent
