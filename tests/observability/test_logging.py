"""The bundled hook for logging: what it says, and at which level."""

from __future__ import annotations

import asyncio
import logging
import typing

import pytest
from helpers import BUCKET, MANIFEST, Unreliable, eventually, memory_client

from mps3 import Ref
from mps3.observability.events import (
    Acknowledged,
    CameOnline,
    CommitSent,
    Conflicted,
    Event,
    Merged,
    Polled,
    Problem,
    RequestMade,
    Retried,
    WentOffline,
    WriteFailed,
    WriteMade,
)
from mps3.observability.logging import LEVELS, LoggingHook

PLACE = f"s3://{BUCKET}/{MANIFEST}"


@pytest.fixture
def storage():
    return Unreliable()


async def test_events_are_logged(storage, caplog):
    caplog.set_level(logging.DEBUG, "mps3.events")
    # No poll: it would be the last request.
    async with memory_client(storage, hooks=[LoggingHook()], poll_interval=3600) as one:
        commit = await one.put("color\nforged", "red")
    records = {record.mps3_event: record for record in caplog.records if record.name == "mps3.events"}
    request, done = records["RequestMade"], records["Acknowledged"]
    assert (request.name, request.levelno) == ("mps3.events", logging.DEBUG)
    assert (request.mps3_operation, request.mps3_bucket, request.mps3_outcome) == ("ListObjectVersions", BUCKET, "ok")
    assert (done.levelno, done.mps3_commit, done.mps3_manifest) == (logging.INFO, commit.id, PLACE)
    assert done.getMessage().startswith(f"commit {commit.id} to {PLACE} acknowledged in ")
    assert done.getMessage().endswith(r": 'color\nforged'")
    assert all("\n" not in record.getMessage() for record in caplog.records)


async def test_failures_say_why(storage, caplog):
    caplog.set_level(logging.DEBUG, "mps3.events")
    async with memory_client(storage, hooks=[LoggingHook()]) as one:
        storage.down()
        await eventually(lambda: not one.status().online)
        storage.up()
        await eventually(lambda: one.status().online)
        one.put("k", 1).withdraw()
        await asyncio.sleep(0)
    records = [record for record in caplog.records if record.name == "mps3.events"]
    said = next(record for record in records if record.mps3_event == "WentOffline")
    assert said.levelno == logging.WARNING
    assert said.getMessage() == "offline (UnavailableError: the network is down)"
    assert (said.mps3_error, said.mps3_message) == ("UnavailableError", "the network is down")
    assert any(record.getMessage().startswith("online again, after ") for record in records)
    failed = next(record for record in records if record.mps3_event == "WriteFailed")
    assert (
        failed.getMessage() == f"1 write to {PLACE} failed (WithdrawnError: the write was withdrawn before it was sent)"
    )


async def test_levels_are_chosen(storage, caplog):
    caplog.set_level(logging.DEBUG, "other")
    hook = LoggingHook(logging.getLogger("other"), {RequestMade: None, WriteMade: logging.CRITICAL})
    async with memory_client(storage, hooks=[hook]) as one:
        await one.put("k", 1)
    kinds = {record.mps3_event: record.levelno for record in caplog.records if record.name == "other"}
    assert "RequestMade" not in kinds
    assert kinds["WriteMade"] == logging.CRITICAL
    with pytest.raises(ValueError, match=r"mps3\.observability\.events"):
        LoggingHook(levels={str: 10})


def test_every_kind_of_event_has_a_level():
    assert set(LEVELS) == set(typing.get_args(Event))


FAILED = Problem("UnavailableError", "the network is down")


HERE = Ref(MANIFEST, BUCKET)


SAMPLES = [
    (RequestMade("GetObject", BUCKET, "k", "ok", 0.5, 0, 7), "GetObject of 'k' in bucket: ok in 0.500 s"),
    (
        RequestMade("GetBucketVersioning", BUCKET, None, "error", 0.5, 0, 0, Problem("RuntimeError", "")),
        "GetBucketVersioning of bucket bucket: error in 0.500 s (RuntimeError)",
    ),
    (
        Retried("value", "PutObject", BUCKET, "k", 1, 0.25, FAILED),
        "try 2 of a value (PutObject of 'k' in bucket) in 0.250 s (UnavailableError: the network is down)",
    ),
    (Polled(HERE, True, 0.5), f"polled {PLACE}: news in 0.500 s"),
    (
        Polled(HERE, False, 0.5, FAILED),
        f"polled {PLACE}: failed in 0.500 s (UnavailableError: the network is down)",
    ),
    (Merged(HERE, ("a.1", "b.2")), f"{PLACE} has 2 commits of other clients"),
    (Merged(HERE, ("a.1",), (0.25,)), f"{PLACE} has 1 commit of other clients, heard after 0.250 s"),
    (WriteMade(HERE, 7, ("a", "b", "c", "d", "e")), f"write 7 to 'a', 'b', 'c' and 2 more of {PLACE}"),
    (WriteMade(HERE, 7, ("a",), recovered=True), f"write 7 to 'a' of {PLACE}, of an earlier client"),
    (
        WriteFailed(HERE, (1, 2), FAILED, "a.1"),
        f"2 writes to {PLACE} failed (UnavailableError: the network is down)",
    ),
    (CommitSent(HERE, "a.1", (1,), ("k",), 2), f"commit a.1 to {PLACE} sent, try 2: 'k'"),
    (Conflicted(HERE, "a.1", 2, 0.5), f"commit a.1 to {PLACE} met conflict 2, again in 0.500 s"),
    (Conflicted(HERE, "a.1", 1, None), f"commit a.1 to {PLACE} met conflict 1"),
    (Acknowledged(HERE, "a.1", (1,), ("k",), 0.5, (0.75,), 1), f"commit a.1 to {PLACE} acknowledged in 0.500 s: 'k'"),
    (Acknowledged(HERE, "a.1", (1,), ("k",), None, (0.75,), 0), f"commit a.1 to {PLACE} acknowledged: 'k'"),
    (WentOffline(), "offline by request"),
    (WentOffline(FAILED), "offline (UnavailableError: the network is down)"),
    (CameOnline(), "online"),
    (CameOnline(2.5), "online again, after 2.500 s"),
]


@pytest.mark.parametrize(("event", "words"), SAMPLES)
def test_what_is_said(caplog, event, words):
    caplog.set_level(logging.DEBUG, "mps3.events")
    LoggingHook()(event)
    (record,) = caplog.records
    assert record.getMessage() == words
    assert record.mps3_event == type(event).__name__


def test_all_kinds_are_said():
    assert {type(event) for event, _ in SAMPLES} == set(typing.get_args(Event))
