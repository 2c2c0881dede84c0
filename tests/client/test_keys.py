"""Any key is taken literally, by each kind of store that needs no server."""

from __future__ import annotations

from typing import Any

import pytest
from helpers import AWKWARD_KEYS, soon

from mps3 import MPS3, ConfigurationError, LocalStorage, MemoryStorage, Ref
from mps3.storage.protocol import KeyRefusedError


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


class Directories(MemoryStorage):
    """Keeps objects in directories, so that no object has another one below it."""

    async def put(self, bucket: str, key: str, body: bytes, **options: Any) -> Any:
        for other in self._buckets.get(bucket, {}):
            if f"{key}/".startswith(f"{other}/") != f"{other}/".startswith(f"{key}/"):
                raise KeyRefusedError(f"{key} beside {other}", bucket=bucket, key=key, operation="PutObject")
        return await super().put(bucket, key, body, **options)

    @property
    def keys(self) -> set[str]:
        return {key.partition("@mps3-")[0] for key in self._buckets["b"] if "@mps3-" in key}


async def test_a_value_that_has_no_place_in_a_directory_is_stored_beside_it():
    storage = Directories()
    values = {"a/b": 1, "a": 2, "x/y/z": 3, "x": 4, "of": 5, "d/": 6, "..": 7}
    async with MPS3("b", "of/a/manifest.json", storage=storage, inline=0) as one:
        for key, value in values.items():
            await soon(one.put(key, value))
        assert storage.keys == {"a", "x", "of", "d/", ".."}
        await soon(one.put("a/b", "again"))
    async with MPS3("b", "of/a/manifest.json", storage=storage) as later:
        assert await later.get_all() == {**values, "a/b": "again"}


async def test_a_value_that_has_no_place_at_all_is_refused():
    storage = Directories()
    async with MPS3("b", "manifest.json", storage=storage, inline=0) as one:
        await soon(one.put("first", 1))
        with pytest.raises(KeyRefusedError) as refusal:
            await soon(one.put("first/x", 1))
    assert isinstance(refusal.value, ConfigurationError)
    assert (refusal.value.key, refusal.value.maybe_written) == ("first/x", False)
