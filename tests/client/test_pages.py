"""Long lists, page by page."""

from __future__ import annotations

import pytest
from helpers import BUCKET, MANIFEST, Unreliable, memory_client
from hypothesis import given
from hypothesis import strategies as some

from mps3 import MPS3, MemoryStorage, Ref
from mps3.client.pages import page_of
from mps3.format.names import Naming

VALUES = {f"k/{number:02}": number for number in range(10)} | {"a": 0, "z": 0}


@pytest.fixture(params=[True, False], ids=["merge", "log"])
def storage(request):
    return Unreliable(versioning=request.param)


async def test_pages_follow_each_other(storage):
    async with memory_client(storage) as one:
        await one.put_all(VALUES)
        found: dict[str, object] = {}
        while page := await one.get_all(prefix="k/", limit=3, after=max(found, default=None)):
            assert len(page) <= 3
            found.update(page)
        assert list(found.items()) == [(key, value) for key, value in sorted(VALUES.items()) if key.startswith("k/")]
        assert await one.keys(limit=2) == ["a", "k/00"]
        assert await one.keys(after="k/08") == ["k/09", "z"]
        assert await one.keys("k/", after="k/085", limit=100) == ["k/09"]
        assert await one.keys("k/", after="zz") == []
        assert await one.typed(int).get_all(prefix="k/", limit=1, after="k/03") == {"k/04": 4}


async def test_only_the_values_of_a_page_are_fetched(storage):
    async with memory_client(storage, inline=0) as one:
        await one.put_all(VALUES)
    async with memory_client(storage) as two:
        await two.keys()
        storage.calls.clear()
        assert await two.get_all(prefix="k/", limit=3) == {"k/00": 0, "k/01": 1, "k/02": 2}
        assert sum(operation == "get" and key.startswith("k/") for operation, key in storage.calls) == 3


async def test_pending_writes_have_their_place_in_a_page(storage):
    # Values of their own are held, and not a commit, behind which the manifest would wait.
    async with memory_client(storage, inline=0) as one:
        await one.put_all(VALUES)
        storage.hold("put")
        one.put("k/035", 35)
        one.delete("k/04")
        assert await one.get_all(prefix="k/", limit=2, after="k/03") == {"k/035": 35, "k/05": 5}
        storage.release()


async def test_a_snapshot_has_pages_of_one_state(storage):
    async with memory_client(storage) as one:
        await one.put_all(VALUES)
        then = await one.snapshot()
        await one.put("k/001", 1)
        assert await then.keys("k/", limit=2) == ["k/00", "k/01"]
        assert [file.key for file in await then.files(after="k/08")] == ["k/09", "z"]
        assert await then.get_all("k/", limit=1, after="k/00") == {"k/01": 1}
        with pytest.raises(ValueError, match="from 1, not 0"):
            await then.keys(limit=0)


async def test_keys_of_other_buckets_sort_by_what_they_are_called():
    storage = MemoryStorage()
    async with memory_client(storage) as one:
        await one.put_all({"t": 1, "r": 2, Ref("x", "other"): 3})
        assert await one.keys(limit=2) == ["r", "s3://other/x"]
        assert await one.keys(after="s3://other/x") == ["t"]


@pytest.mark.parametrize(
    ("options", "error", "what"),
    [
        ({"limit": 0}, ValueError, "limit is a number of keys from 1, not 0"),
        ({"limit": -1}, ValueError, "from 1, not -1"),
        ({"limit": True}, TypeError, "not bool"),
        ({"limit": "3"}, TypeError, "not str"),
        ({"after": 3}, TypeError, "after is a key"),
    ],
)
async def test_what_is_no_page(options, error, what):
    async with MPS3(BUCKET, MANIFEST, storage=MemoryStorage()) as one:
        with pytest.raises(error, match=what):
            await one.keys(**options)
        with pytest.raises(error, match=what):
            await one.get_all(**options)
        with pytest.raises(TypeError, match="limit and after are of a prefix"):
            await one.get_all(["a"], **{"limit": 1} | options)


NAMES = some.lists(some.text(max_size=3), unique=True)


@given(NAMES, some.integers(1, 5), some.none() | some.text(max_size=3))
def test_a_page_is_a_part_of_the_sorted_list(names, limit, after):
    naming = Naming(Ref(MANIFEST, BUCKET), BUCKET)
    expected = [name for name in sorted(names) if after is None or name > after]
    found = page_of([(name, name) for name in names], naming, limit, after)
    assert [name for name, _ in found] == expected[:limit]
    assert page_of([(name, name) for name in names], naming, None, after) == [(name, name) for name in expected]
