"""Writes show here before they are durable, and are taken back if they never can be."""

from __future__ import annotations

import asyncio
import logging

import pytest
from helpers import BUCKET, COMMIT, MANIFEST, Unreliable, eventually, memory_client, settle, soon, stored_manifest

from mps3 import AccessError, ClosedError, Commit, ConfigurationError, Ref, UnavailableError, WithdrawnError
from mps3.storage import ABSENT

REFUSED = AccessError("access denied", bucket=BUCKET, key="k", operation="PutObject")


@pytest.fixture
async def storage():
    return Unreliable()


@pytest.fixture
async def client(storage):
    async with memory_client(storage, inline=0) as client:
        yield client


async def test_a_put_shows_at_once(storage, client):
    subscription = client.subscribe("k", "absent")
    assert await anext(subscription) == "absent"
    storage.hold("put")
    write = client.put("k", 1)
    assert await client.get("k") == 1
    assert await soon(anext(subscription)) == 1
    assert write.pending
    assert client.status().pending == 1
    storage.release()
    await write
    assert not write.pending
    assert client.status().pending == 0
    assert await client.get("k") == 1


async def test_a_delete_shows_at_once(storage, client):
    await client.put("k", 1)
    subscription = client.subscribe("k", "absent")
    assert await anext(subscription) == 1
    storage.hold("put")
    write = client.delete("k")
    assert await client.get("k", "absent") == "absent"
    assert await soon(anext(subscription)) == "absent"
    storage.release()
    await write
    assert await client.get("k", "absent") == "absent"


async def test_others_see_nothing_of_it_yet(storage, client):
    async with memory_client(storage) as other:
        storage.hold("put", COMMIT)
        write = client.put("k", 1)
        await asyncio.sleep(0.1)
        assert await other.get("k", "absent") == "absent"
        storage.release()
        await write
        assert await other.get("k", "absent") == 1


async def test_the_newest_of_several_puts_shows(storage, client):
    storage.hold("put")
    writes = [client.put("k", number) for number in range(5)]
    assert await client.get("k") == 4
    assert client.status().pending == 5
    storage.release()
    await asyncio.gather(*writes)
    assert await client.get("k") == 4


@pytest.mark.parametrize("key", ["k", COMMIT], ids=["the value", "the commit"])
async def test_what_can_never_be_is_taken_back(storage, client, key, caplog):
    await client.put("k", "stored")
    subscription = client.subscribe("k")
    assert await anext(subscription) == "stored"
    storage.refuse(REFUSED, key=key)
    storage.hold("put", key)
    write = client.put("k", "refused")
    assert await anext(subscription) == "refused"
    waiter = asyncio.ensure_future(write)
    await settle()
    storage.release()
    with pytest.raises(AccessError) as caught:
        await soon(waiter)
    assert caught.value is REFUSED
    assert await soon(anext(subscription)) == "stored"
    assert await client.get("k") == "stored"
    assert client.status().pending == 0
    assert not write.pending
    assert not write.withdraw()
    with pytest.raises(AccessError):
        await write
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []
    storage.up()
    await client.put("k", "later")
    assert await soon(anext(subscription)) == "later"


@pytest.mark.parametrize("key", ["k", COMMIT], ids=["the value", "the commit"])
async def test_what_nobody_awaits_is_logged(storage, client, key, caplog):
    storage.refuse(REFUSED, key=key)
    client.put("k", "refused")
    await eventually(lambda: client.status().pending == 0)
    await settle()
    (record,) = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert record.name == "mps3"
    assert "'k'" in record.getMessage() and "access denied" in record.getMessage()
    assert record.exc_info
    assert await client.get("k", "absent") == "absent"


async def test_a_failure_takes_only_its_own_writes_back(storage, client):
    storage.refuse(REFUSED, key="bad")
    good, bad, later = client.put("good", 1), client.put("bad", 1), client.put("good", 2)
    with pytest.raises(AccessError):
        await bad
    await good
    await later
    assert (await client.get("good"), await client.get("bad", "absent")) == (2, "absent")


async def test_a_failing_value_takes_all_of_its_put_all_back(storage, client):
    storage.refuse(REFUSED, key="bad")
    write = client.put_all({"good": 1, "bad": 1})
    assert await client.get("good") == 1
    with pytest.raises(AccessError):
        await write
    assert await client.get("good", "absent") == "absent"
    await client.put("other", 1)
    assert "good" not in str(await stored_manifest(storage))


async def test_an_older_value_of_this_client_shows_again(storage, client):
    storage.hold("put")
    first = client.put("k", "first")
    await settle()
    second = client.put("k", "second")
    assert second.withdraw()
    assert await client.get("k") == "first"
    storage.release()
    await first
    assert await client.get("k") == "first"


async def test_trouble_that_passes_takes_nothing_back(storage, client):
    storage.down()
    write = client.put("k", 1)
    await eventually(lambda: not client.status().online)
    assert await client.get("k") == 1
    assert write.pending
    assert client.status().last_error is not None
    storage.up()
    await soon(write)
    assert client.status().online
    assert client.status().last_error is None


async def test_a_commit_says_what_it_did(storage, client):
    first = await client.put_all({"a": 1, "b": 2})
    assert isinstance(first, Commit)
    assert first.manifest == Ref(MANIFEST, BUCKET)
    assert set(first.versions) == {"a", "b"}
    assert first.others == ()
    for key, version in first.versions.items():
        assert (await storage.get(BUCKET, key, version=version)) is not ABSENT
    second = await client.delete("a")
    assert second.versions == {"a": None}
    assert second.id != first.id
    with pytest.raises(AttributeError):
        second.id = "x"


async def test_the_versions_are_those_that_the_manifest_names(storage, client):
    commit = await client.put("k", 1)
    document = await stored_manifest(storage)
    assert document["update"]["files"]["k"]["version"] == commit.versions["k"]
    assert f"{document['session']}.{document['sequence']}" == commit.id


async def test_writes_that_went_out_together_are_one_commit(storage, client):
    writes = [client.put(f"k{number}", number) for number in range(10)]
    commits = await asyncio.gather(*writes)
    assert len({commit.id for commit in commits}) == 1
    assert [set(commit.versions) for commit in commits] == [{f"k{number}"} for number in range(10)]


async def test_a_write_can_be_awaited_twice_and_at_once(client):
    write = client.put("k", 1)
    first, second = await asyncio.gather(write, write)
    assert first == second == await write


async def test_cancelling_the_await_does_not_cancel_the_write(storage, client):
    storage.hold("put")
    write = client.put("k", 1)
    with pytest.raises(TimeoutError):
        await soon(write, 0.05)
    assert write.pending
    storage.release()
    commit = await soon(write)
    assert set(commit.versions) == {"k"}


async def test_a_write_that_has_not_left_can_be_withdrawn(storage, client, caplog):
    await client.put("k", "stored")
    subscription = client.subscribe("k")
    assert await anext(subscription) == "stored"
    puts = storage.count("put")
    write = client.put("k", "withdrawn")
    assert write.withdraw()
    assert not write.pending
    assert await client.get("k") == "stored"
    with pytest.raises(WithdrawnError):
        await write
    assert not write.withdraw()
    await asyncio.sleep(0.1)
    assert storage.count("put") == puts
    assert "withdrawn" not in caplog.text
    await client.put("k", "after")
    assert await anext(subscription) == "after"


async def test_a_write_whose_value_is_on_its_way_can_be_withdrawn(storage, client):
    storage.hold("put", "k")
    write = client.put("k", "withdrawn")
    await eventually(lambda: storage.count("put", "k"))
    assert write.withdraw()
    storage.release()
    await client.put("other", 1)
    assert await client.get("k", "absent") == "absent"
    async with memory_client(storage, inline=0) as other:
        assert await other.get("k", "absent") == "absent"


async def test_a_write_on_its_way_cannot_be_withdrawn(storage, client):
    storage.hold("put", COMMIT)
    write = client.put("k", 1)
    await eventually(lambda: storage.count("put", COMMIT))
    assert not write.withdraw()
    storage.release()
    await write
    assert not write.withdraw()
    assert await client.get("k") == 1


async def test_withdrawing_the_superseding_value_brings_back_the_superseded(storage, client):
    first, second = client.put("k", 1), client.put("k", 2)
    await eventually(lambda: storage.count("put", "k"))
    if second.withdraw():
        await soon(first)
        assert await client.get("k") == 1
        async with memory_client(storage, inline=0) as other:
            assert await other.get("k") == 1


async def test_superseded_values_are_not_uploaded(storage, client):
    writes = [client.put("k", number) for number in range(100)]
    commits = await asyncio.gather(*writes)
    assert storage.count("put", "k") == 1
    assert await client.get("k") == 99
    assert len({commit.versions["k"] for commit in commits}) == 1


async def test_values_superseded_while_a_commit_is_under_way_are_not_uploaded(storage, client):
    storage.hold("put", "k")
    writes = [client.put("k", 0)]
    await eventually(lambda: storage.count("put", "k"))
    for number in range(1, 50):
        writes.append(client.put("k", number))
        await asyncio.sleep(0)
    storage.release()
    await asyncio.gather(*writes)
    assert storage.count("put", "k") <= 3
    assert await client.get("k") == 49


async def test_a_put_that_is_deleted_at_once_is_not_uploaded(storage, client):
    put, delete = client.put("k", 1), client.delete("k")
    assert (await put).versions == {"k": None}
    await delete
    assert storage.count("put", "k") == 0


async def test_writes_gather_while_a_commit_is_under_way(storage, client):
    storage.hold("put", COMMIT)
    writes = [client.put("first", 0)]
    await eventually(lambda: storage.count("put", COMMIT))
    for number in range(50):
        writes.append(client.put(f"k{number}", number))
        await asyncio.sleep(0.001)
    storage.release()
    await asyncio.gather(*writes)
    assert storage.count("put", COMMIT) == 2


async def test_values_go_out_together_but_not_all(storage, client):
    storage.calls.clear()  # opening has tried what the store can do
    storage.hold("put")
    write = client.put_all({f"k{number}": number for number in range(100)})
    await eventually(lambda: storage.count("put") >= 32)
    await asyncio.sleep(0.05)
    assert storage.count("put") == 32
    storage.release()
    await write
    assert storage.count("put") == 101


async def test_a_commit_that_cannot_be_repeated_for_ever_is_repeated(storage, client):
    """An outage in the middle of a commit: the same commit goes out again, once."""
    await client.put("k", 0)
    storage.fail = lambda operation, key: UnavailableError("down") if operation == "versions" else None
    write = client.put("k", 1)
    await eventually(lambda: storage.count("put", COMMIT) >= 2)
    storage.up()
    commit = await soon(write)
    assert await client.get("k") == 1
    async with memory_client(storage) as other:
        assert await other.get("k") == 1
        assert (await other.put("k", 2)).id != commit.id


async def test_a_failed_manifest_fails_what_is_pending_and_only_that(storage, client):
    missing = ConfigurationError("no such bucket", bucket="elsewhere")
    elsewhere = [("capabilities", "elsewhere"), ("get", "other.json")]
    storage.fail = lambda operation, key: missing if (operation, key) in elsewhere else None
    write = client.put("k", 1, manifests=[Ref("other.json", "elsewhere")])
    with pytest.raises(ConfigurationError):
        await soon(write)
    await client.put("k", 2)
    storage.up()
    await soon(client.put("k", 3, manifests=[Ref("other.json", "elsewhere")]))


async def test_closing_fails_what_is_pending(storage):
    client = memory_client(storage)
    await client.__aenter__()
    storage.hold("put")
    write = client.put("k", 1)
    closing = asyncio.create_task(client.aclose())
    await asyncio.sleep(0.1)
    assert write.pending
    closing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await closing
    with pytest.raises(ClosedError):
        await soon(write)
