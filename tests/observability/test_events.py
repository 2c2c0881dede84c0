"""Events: each says what happened, once, and in order."""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
from typing import Any

import pytest
from commits import is_commit
from helpers import BUCKET, COMMIT, MANIFEST, POLL, Unreliable, deaf_client, eventually, memory_client, soon
from proxy import FaultyProxy

from mps3 import MPS3, AccessError, ConflictError, Ref, UnavailableError, WithdrawnError
from mps3.format.document_codec import encode
from mps3.format.slot import empty_document
from mps3.observability.events import (
    Acknowledged,
    CameOnline,
    CommitSent,
    Conflicted,
    Merged,
    Polled,
    RequestMade,
    Retried,
    WentOffline,
    WriteFailed,
    WriteMade,
)

HERE = Ref(MANIFEST, BUCKET)


async def test_a_write_from_the_call_to_the_acknowledgement(storage, seen):
    async with memory_client(storage, hooks=[seen], inline=0) as one:
        commit = await one.put_all({"a": 1, "b": "two"})
        story = [event for event in seen if isinstance(event, WriteMade | CommitSent | Acknowledged | WriteFailed)]
        made, sent, acknowledged = story
        assert made == WriteMade(HERE, made.write, ("a", "b"))
        assert sent == CommitSent(HERE, commit.id, (made.write,), ("a", "b"), 1)
        assert dataclasses.replace(acknowledged, seconds=0, waited=()) == Acknowledged(
            HERE, commit.id, (made.write,), ("a", "b"), 0, (), 1
        )
        assert 0 <= acknowledged.seconds <= acknowledged.waited[0]
        stored = [event for event in seen.of(RequestMade) if event.operation == "PutObject"]
        assert {(event.key.partition("@")[0], event.sent) for event in stored} >= {("a", 1), ("b", 5)}
        counted = one.statistics()
        assert (counted.writes, counted.commits, counted.commits_sent, counted.failed_writes) == (1, 1, 1, 0)
        assert counted.bytes_sent == sum(event.sent for event in seen.of(RequestMade))


async def test_a_write_to_two_manifests_is_one_to_each(storage, seen):
    async with memory_client(storage, hooks=[seen]) as one:
        await one.put("k", 1, manifests=[MANIFEST, "other.json"])
        made, acknowledged = seen.of(WriteMade), seen.of(Acknowledged)
        assert {event.manifest.key for event in made} == {event.manifest.key for event in acknowledged}
        assert {event.write for event in made} == {event.writes[0] for event in acknowledged}
        assert len({event.write for event in made}) == 2


async def test_writes_at_once_are_one_commit(storage, seen):
    async with memory_client(storage, hooks=[seen]) as one:
        await asyncio.gather(*(one.put(f"k{number}", number) for number in range(10)))
        assert [len(event.writes) for event in seen.of(Acknowledged)] == [10]
        assert len(seen.of(Acknowledged)[0].waited) == 10
        assert one.statistics().writes == 10


async def test_requests_say_how_they_ended(storage, seen):
    without_news = "unchanged" if storage._versioning else "absent"  # of the next slot
    async with memory_client(storage, hooks=[seen]) as one:
        await one.put("k", "value")
        await one.get("k")
        await eventually(lambda: any(event.outcome == without_news for event in seen.of(RequestMade)))
        first = seen.of(RequestMade)[0]
        assert (first.operation, first.bucket, first.key, first.outcome) == ("GetObject", BUCKET, MANIFEST, "absent")
        assert all(
            event.seconds >= 0 and event.error is None for event in seen.of(RequestMade) if event.outcome == "ok"
        )
        counted = one.statistics()
        assert sum(counted.requests.values()) == len(seen.of(RequestMade))
        assert counted.requests["GetObject"] == sum(event.operation == "GetObject" for event in seen.of(RequestMade))


async def test_a_cached_value_is_no_request(storage, seen, tmp_path):
    async with memory_client(storage, inline=0) as other:
        await other.put("k", "x" * 1000)
    for _ in range(2):
        async with memory_client(storage, hooks=[seen], offline=tmp_path, inline=0) as one:
            assert await one.get("k") == "x" * 1000
    received = [event.received for event in seen.of(RequestMade) if (event.key or "").startswith("k")]
    assert received == [1002]


async def test_what_others_commit_is_merged(storage, seen):
    async with memory_client(storage) as other:
        await other.put("before", 0)
        async with memory_client(storage, hooks=[seen]) as one:
            await one.put("mine", 0)
            assert seen.of(Merged) == []
            commits = [await other.put("k", number) for number in range(3)]
            await eventually(lambda: sum(len(event.commits) for event in seen.of(Merged)) == 3)
            assert [commit for event in seen.of(Merged) for commit in event.commits] == [one.id for one in commits]
            assert {event.manifest for event in seen.of(Merged)} == {HERE}
            assert one.statistics().merged == 3


async def test_polls(storage, seen):
    async with memory_client(storage, hooks=[seen]) as one:
        await eventually(lambda: len(seen.of(Polled)) > 2)
        assert {event.news for event in seen.of(Polled)} == {False}
        async with memory_client(storage) as other:
            await other.put("k", 1)
        await eventually(lambda: any(event.news for event in seen.of(Polled)))
        storage.down()
        await eventually(lambda: seen.of(Polled)[-1].error)
        failed = seen.of(Polled)[-1]
        assert (failed.news, failed.error.kind) == (False, "UnavailableError")
        assert failed.error.message == "the network is down"
        counted = one.statistics()
        assert counted.polls == len(seen.of(Polled))
        assert counted.failed_polls == sum(event.error is not None for event in seen.of(Polled))
        assert counted.polls_without_news == counted.polls - counted.failed_polls - 1
        storage.up()


async def test_conflicts(seen):
    storage = Unreliable(versioning=False)
    async with memory_client(storage, hooks=[seen]) as one:
        await one.put("k", 0)
        put = storage.put

        async def somebody_is_faster(bucket: str, key: str, body: bytes, **options: Any) -> Any:
            storage.put = put
            await put(bucket, key, encode(empty_document(3.0), bucket=bucket, key=key), **options)
            return await put(bucket, key, body, **options)

        storage.put = somebody_is_faster
        commit = await soon(one.put("k", 1))
        (conflict,) = seen.of(Conflicted)
        assert (conflict.manifest, conflict.commit, conflict.conflicts) == (HERE, commit.id, 1)
        assert conflict.wait == 0  # the next slot is tried at once
        assert [event.attempt for event in seen.of(CommitSent) if event.commit == commit.id] == [1]
        assert seen.of(Acknowledged)[-1].attempts == 1
        assert [event.outcome for event in seen.of(RequestMade) if is_commit(event.key or "")].count("conflict") == 1
        assert (one.statistics().conflicts, one.statistics().failed_requests) == (1, 0)


def once(storage, operation, key, error):
    """A failure of the next such call."""

    def fail(asked, name):
        if asked != operation or not storage.is_meant(key, name):
            return None
        storage.up()
        return error

    return fail


async def test_a_value_and_a_commit_that_are_tried_again(storage, seen):
    async with memory_client(storage, hooks=[seen], inline=0) as one:
        await one.put("k", 0)
        storage.fail = once(storage, "put", COMMIT, UnavailableError("lost", operation="PutObject"))
        commit = await soon(one.put("k", 1))
        (again,) = seen.of(Retried)
        assert (again.what, again.operation, again.bucket, again.key) == ("commit", "PutObject", BUCKET, MANIFEST)
        assert (again.attempt, again.commit, again.error.message) == (1, commit.id, "lost")
        assert one.statistics().retries == 1
        failing = lambda asked, name: UnavailableError("full") if asked == "put" and name.startswith("v") else None
        storage.fail = failing
        write = one.put("v", 1)
        await eventually(lambda: len(seen.of(Retried)) > 1)
        storage.up()
        await soon(write)
        again = seen.of(Retried)[1]
        assert (again.what, again.key, again.error.kind) == ("value", "v", "UnavailableError")


async def test_offline_and_online(storage, seen):
    async with memory_client(storage, hooks=[seen]) as one:
        assert seen.of(CameOnline) == [CameOnline(None)]
        storage.down()
        await eventually(lambda: seen.of(WentOffline))
        assert seen.of(WentOffline)[0].error.message == "the network is down"
        storage.up()
        await eventually(lambda: len(seen.of(CameOnline)) == 2)
        assert seen.of(CameOnline)[1].away > 0
        one.go_offline()
        assert seen[-1] == WentOffline(None)
        one.go_offline()
        one.go_online()
        assert isinstance(seen[-1], CameOnline)
        assert len(seen.of(WentOffline)) == one.statistics().times_offline == 2
        states = [event for event in seen if isinstance(event, WentOffline | CameOnline)]
        assert all(type(before) is not type(after) for before, after in itertools.pairwise(states))


async def test_a_client_that_starts_offline_says_so(storage, seen, tmp_path):
    async with memory_client(storage, offline=tmp_path) as one:
        await one.put("k", 1)
    async with memory_client(storage, offline=tmp_path, online=False, hooks=[seen]) as one:
        one.put("k", 2)
        assert seen.of(WentOffline) == [WentOffline(None)]
        assert seen.of(RequestMade) == []
        one.go_online()
        await eventually(lambda: seen.of(CameOnline))
        await eventually(lambda: one.status().pending == 0)


async def test_writes_that_come_to_nothing(storage, seen):
    async with memory_client(storage, hooks=[seen]) as one:
        write = one.put("taken back", 1)
        write.withdraw()
        with pytest.raises(WithdrawnError):
            await write
        storage.refuse(AccessError("not allowed"), key=COMMIT)
        with pytest.raises(AccessError):
            await one.put("refused", 1)
        storage.up()
        await asyncio.sleep(0)
        first, second = seen.of(WriteFailed)
        made = {event.keys: event.write for event in seen.of(WriteMade)}
        assert (first.writes, first.error.kind, first.commit) == ((made["taken back",],), "WithdrawnError", None)
        assert (second.writes, second.error.kind) == ((made["refused",],), "AccessError")
        assert second.commit == seen.of(CommitSent)[-1].commit
        assert one.statistics().failed_writes == 2


async def test_a_write_that_is_pending_when_the_client_closes(storage, seen):
    async with memory_client(storage, hooks=[seen]) as one:
        storage.hold("put")
        write = one.put("k", 1)
        closing = asyncio.create_task(one.aclose())
        await asyncio.sleep(POLL)
        closing.cancel()
        await asyncio.wait([closing])
        assert not write.pending
        await asyncio.sleep(0)
    assert [event.error.kind for event in seen.of(WriteFailed)] == ["ClosedError"]
    assert one._observer._pending_writes == {}


async def test_writes_of_an_earlier_life(storage, seen, tmp_path):
    async with memory_client(storage, offline=tmp_path) as one:
        await one.put("k", 0)
        one.go_offline()
        await one.put("k", 1).kept()
    async with memory_client(storage, offline=tmp_path, hooks=[seen]) as one:
        await eventually(lambda: one.status().pending == 0)
        (made,) = seen.of(WriteMade)
        assert (made.keys, made.recovered) == (("k",), True)
        assert seen.of(Acknowledged)[-1].writes == (made.write,)
        assert one.statistics().writes == 0


async def test_transactions_that_have_to_run_again(seen):
    storage = Unreliable(versioning=False)
    async with memory_client(storage, hooks=[seen]) as one, deaf_client(storage) as other:
        await one.put("count", 0)
        interfering = [other.put("count", 10)]

        async def step(value):
            if interfering:
                await interfering.pop()
            return value + 1

        assert await soon(one.update("count", step, 0)) == 11
        conflict = seen.of(Conflicted)[-1]  # the first one, if there are two, was a PUT that came second
        (again,) = seen.of(WriteFailed)
        assert again.error.kind == "OutdatedError" and again.commit == conflict.commit and conflict.wait is None
        assert [event.keys for event in seen.of(WriteMade)] == [("count",)] * 3
        assert seen.of(Acknowledged)[-1].writes == (seen.of(WriteMade)[-1].write,)
        counted = one.statistics()
        assert (counted.writes, counted.failed_writes, counted.commits) == (3, 0, 2)
        assert counted.conflicts == len(seen.of(Conflicted))
        assert one._observer._pending_writes == one._observer._sent_commits == {}


@pytest.mark.usefixtures("mps3_clock")
async def test_a_condition_that_does_not_hold(storage, seen):
    async with memory_client(storage, hooks=[seen]) as one:
        await one.put("k", 0)
        with pytest.raises(ConflictError):
            await soon(one.put("k", 1, if_version=None))
        await asyncio.sleep(0)
        (failed,) = seen.of(WriteFailed)
        assert failed.writes == (seen.of(WriteMade)[-1].write,)
        assert len(seen.of(Conflicted)) == one.statistics().conflicts == one.statistics().failed_writes == 1
        await one.put("l", 1, if_version=None)
        assert one._observer._pending_writes == one._observer._sent_commits == {}


async def test_a_transaction_that_is_undecided_when_the_client_closes(seen):
    storage = Unreliable(versioning=False)
    async with memory_client(storage, hooks=[seen]) as one:
        await one.put("k", 0)
        storage.hold("put", COMMIT)
        task = asyncio.create_task(one.update("k", lambda value: value + 1))
        await eventually(lambda: len(seen.of(CommitSent)) == 2)
        closing = asyncio.create_task(one.aclose())
        await asyncio.sleep(0)
        closing.cancel()
        await asyncio.wait([closing, task])
    assert [event.error.kind for event in seen.of(WriteFailed)] == ["ClosedError"]
    assert one._observer._pending_writes == one._observer._sent_commits == {}


async def test_what_is_held_is_counted(storage):
    async with memory_client(storage, inline=0) as one, memory_client(storage, inline=0) as other:
        await one.put("k", "x" * 100)
        subscription, watch = one.subscribe("k"), one.watch()
        await anext(subscription)
        assert (await anext(watch)).initial
        for number in range(3):
            await other.put("l", number)
        await eventually(lambda: one.statistics().buffered)
        counted = one.statistics()
        assert (counted.subscriptions, counted.pending) == (2, 0)
        assert counted.cached_bytes >= 102
        await anext(watch)
        write = one.put("k", 2)
        assert one.statistics().pending == 1
        await write


@pytest.mark.server
async def test_requests_that_are_repeated_below(bucket, s3_config, server, seen):
    async with FaultyProxy(server.url) as proxy:
        config = s3_config | {"endpoint_url": proxy.url}
        async with MPS3(bucket, s3_config=config, poll_interval=30, hooks=[seen]) as one:
            await one.put("k", 1)
            proxy.inject("slow_down", method="PUT")
            await soon(one.put("k", 2))
            (again,) = seen.of(Retried)
            assert (again.what, again.operation, again.bucket, again.attempt) == ("request", "PutObject", bucket, 1)
            assert again.error.kind == "UnavailableError" and again.wait >= 0
            assert one.statistics().request_retries == 1
            assert one.statistics().failed_requests == 0
