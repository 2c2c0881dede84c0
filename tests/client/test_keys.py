"""Any key is taken literally, by each kind of store that needs no server."""

from __future__ import annotations

import pytest
from helpers import AWKWARD_KEYS, soon

from mps3 import MPS3, LocalStorage, MemoryStorage, Ref


@pytest.fixture(params=["directory", "memory"])
async def connect(request, tmp_path):
    storage = MemoryStorage()

    def make() -> MPS3:
        return MPS3("b", storage=storage if request.param == "memory" else LocalStorage(tmp_path), poll_interval=0.05)

    return make


@pytest.mark.parametrize("key", AWKWARD_KEYS.values(), ids=AWKWARD_KEYS)
async def test_any_key_is_taken_literally(connect, key):
    async with connect() as writer, connect() as reader:
        subscription = reader.subscribe(key, "absent")
        assert await anext(subscription) == "absent"
        commit = await writer.put(key, [key])
        assert set(commit.versions) == {key}
        assert await reader.get(key, "absent") == [key]
        assert await reader.get(Ref(key)) == [key]
        assert await soon(anext(subscription)) == [key]
    async with connect() as later:
        assert await later.get(key) == [key]
        await later.delete(key)
        assert await later.get(key, "absent") == "absent"


async def test_keys_are_told_apart(connect):
    values = {key: name for name, key in AWKWARD_KEYS.items()}
    async with connect() as writer, connect() as reader:
        await writer.put_all(values)
        assert [await reader.get(key) for key in values] == list(values.values())
