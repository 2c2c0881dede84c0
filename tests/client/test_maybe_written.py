"""The error of a write says whether the write may have taken effect."""

from __future__ import annotations

import pickle
from collections.abc import Awaitable, Callable
from copy import copy
from typing import Any

import pytest
from commits import is_commit
from helpers import BUCKET, MANIFEST, Unreliable, client, eventually, memory_client, soon
from in_memory_s3 import InMemoryS3, error

from mps3 import DELETE, AccessError, ConfigurationError, MPS3Error, UnavailableError, UnknownOutcomeError

WRITES: dict[str, Callable[[Any], Awaitable[Any]]] = {
    "put": lambda one: one.put("key", 2),
    "put_all": lambda one: one.put_all({"key": 2, "other": 3}),
    "delete": lambda one: one.delete("key"),
    "update": lambda one: one.update("key", lambda value: value + 1),
    "if_version": lambda one: one.put("new", 1, if_version=None),
    "transact": lambda one: one.transact(swap),
}


async def swap(transaction: Any) -> None:
    transaction.put("key", await transaction.get("key") + 1)


@pytest.mark.parametrize("write", WRITES)
async def test_versioning_that_is_suspended_under_a_running_client(write):
    """The commit that notices it was stored, and others see it."""
    async with InMemoryS3() as server:
        async with client(BUCKET, server.s3_config, journal="merge") as one:
            await soon(one.put("key", 1))
            server.versioning = "Suspended"
            with pytest.raises(ConfigurationError, match="no longer keeps versions") as caught:
                await soon(WRITES[write](one))
            assert caught.value.maybe_written
            assert "may have taken effect" in str(caught.value)
        server.versioning = "Enabled"
        async with client(BUCKET, server.s3_config) as two:
            shown = await two.get_all()
            if write in ("put", "put_all", "delete"):
                assert shown.get("key", DELETE) == {"delete": DELETE}.get(write, 2)
            await soon(two.put("key", 5))
            assert await two.get("key") == 5


async def test_while_versioning_is_suspended_nobody_makes_the_manifest_unreadable():
    """The first commit that notices is stored without a version; another one would take its place."""
    async with (
        InMemoryS3() as server,
        client(BUCKET, server.s3_config, journal="merge") as one,
        client(BUCKET, server.s3_config, journal="merge") as two,
    ):
        await soon(one.put("key", 1))
        server.versioning = "Suspended"
        with pytest.raises(ConfigurationError) as caught:
            await soon(one.put("key", 2))
        assert caught.value.maybe_written
        await eventually(lambda: sees(two, 2))
        stored = list(server.rows[MANIFEST])
        for each in (one, two, one):
            with pytest.raises(ConfigurationError, match="no longer keeps versions") as caught:
                await soon(each.put("key", 3))
            assert not caught.value.maybe_written and "may have" not in str(caught.value)
        assert server.rows[MANIFEST] == stored
        server.versioning = "Enabled"
        await soon(one.put("key", 4))
        await soon(two.put("other", 5))
        async with client(BUCKET, server.s3_config) as three:
            assert await three.get_all() == {"key": 4, "other": 5}
            assert [await revision.value() for revision in await three.history("key")] == [4, 2, 1]


async def sees(one: Any, value: Any) -> bool:
    return await one.get("key") == value


async def test_the_log_journal_does_not_depend_on_versioning():
    async with InMemoryS3() as server, client(BUCKET, server.s3_config, journal="log") as one:
        await soon(one.put("key", 1))
        server.versioning = "Suspended"
        for number in range(3):
            await soon(one.put("key", number))
        assert await one.get("key") == 2
        server.versioning = "Enabled"
        await soon(one.put("key", 7))
        async with client(BUCKET, server.s3_config) as two:
            assert await two.get("key") == 7


async def test_a_value_that_is_refused_has_not_been_written():
    """However far the store came with the value: no manifest names it."""
    storage = Unreliable()
    refused = AccessError("PutObject failed: 403", bucket=BUCKET, key="key", operation="PutObject", maybe_written=True)
    async with memory_client(storage, inline=0) as one:
        storage.refuse(refused, key="key")
        with pytest.raises(AccessError) as caught:
            await soon(one.put("key", 1))
        assert not caught.value.maybe_written and "may have" not in str(caught.value)


@pytest.mark.parametrize("journal", ["merge", "log"])
async def test_a_refused_commit_has_not_been_written(journal):
    async with InMemoryS3() as server, client(BUCKET, server.s3_config, journal=journal) as one:
        await soon(one.put("key", 1))
        server.answer = lambda server, request, key: (
            error(403, "AccessDenied") if request.method == "PUT" and is_commit(key) else None
        )
        with pytest.raises(AccessError) as caught:
            await soon(one.put("key", 2))
        assert not caught.value.maybe_written and "may have" not in str(caught.value)


@pytest.mark.parametrize("kind", [ConfigurationError, UnavailableError, AccessError, MPS3Error])
def test_the_message_says_so_once(kind):
    doubtful = kind("it failed.", bucket="b", maybe_written=True)
    assert str(doubtful) == "it failed. The write may have taken effect, or still may"
    for again in (copy(doubtful), pickle.loads(pickle.dumps(doubtful)), kind(str(doubtful), maybe_written=True)):
        assert str(again) == str(doubtful) and again.maybe_written
    assert str(kind("it failed.")) == "it failed."
    assert str(UnknownOutcomeError("nobody can tell")) == "nobody can tell"
