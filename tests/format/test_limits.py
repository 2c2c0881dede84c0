"""One limit for writers and readers, of everything; and nobody can make reading stop the event loop."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Callable
from typing import Any

import orjson
import pytest
from commits import slots_of
from format.test_document import documents
from helpers import BUCKET, MANIFEST, memory_client, soon, stored_manifest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mps3 import DELETE, CorruptionError, MemoryStorage, MPS3Error
from mps3.format import limits
from mps3.format.document_codec import decode, encode
from mps3.format.json_text import PIECE, is_richer
from mps3.format.values import decode as read
from mps3.format.values import encode as write

STALL = 0.5  # seconds: what was seen before this was bounded was 4 to 31 s, on a quiet machine


def nested(depth: int, kind: str) -> tuple[Any, bytes]:
    value: Any = [] if kind == "lists" else {}
    for _ in range(depth - 1):
        value = [value] if kind == "lists" else {"a": value}
    opening, closing, middle = (b"[", b"]", b"[]") if kind == "lists" else (b'{"a":', b"}", b"{}")
    return value, opening * (depth - 1) + middle + closing * (depth - 1)


@pytest.mark.parametrize("kind", ["lists", "objects"])
@pytest.mark.parametrize("depth", [1, 250, 254, 255, 256, 500, 1000])
def test_writers_and_readers_have_one_limit_of_depth(kind, depth):
    value, body = nested(depth, kind)
    for padding in (b"", b" " * 100_000):
        if depth <= limits.DEPTH:
            assert write(value, "k") == body and read(body + padding, "b", "k", "v") == value
        else:
            with pytest.raises(ValueError, match="254 deep"):
                write(value, "k")
            with pytest.raises(CorruptionError, match="254 deep"):
                read(body + padding, "b", "k", "v")


def test_writers_and_readers_have_one_limit_of_parts():
    value = [0] * (limits.PARTS - 1)
    assert read(write(value, "k"), "b", "k", "v") == value
    value += [0, 0]
    with pytest.raises(ValueError, match="500000 arrays"):
        write(value, "k")
    with pytest.raises(CorruptionError, match="500000 arrays"):
        read(orjson.dumps(value), "b", "k", "v")
    text = ",[{" * limits.PARTS
    assert read(write(text, "k"), "b", "k", "v") == text


@given(
    st.lists(
        st.sampled_from(['"', "\\", ",", "[", "{", "a", '\\"', "\\\\", "é", "\n"])
        | st.integers(PIECE - 3, PIECE + 3).map("x".__mul__)
        | st.integers(PIECE - 3, PIECE + 3).map("\\".__mul__),
        max_size=12,
    ).map("".join),
    st.integers(0, 8),
)
@settings(max_examples=30, deadline=None)
def test_parts_are_counted_outside_of_texts(text, more):
    body = orjson.dumps([text, *([[]] * more), {text: text}])
    parts = 2 + 2 * more + 1
    assert is_richer(body, parts - 1) and not is_richer(body, parts)


@given(documents)
@settings(max_examples=50, deadline=None, suppress_health_check=list(HealthCheck))
def test_what_a_writer_makes_of_any_document_can_be_read(document):
    async def check() -> None:
        storage = MemoryStorage(versioning=document.journal == "merge")
        await storage.put(BUCKET, MANIFEST, encode(document, bucket=BUCKET, key=MANIFEST))
        try:
            async with memory_client(storage) as one:
                await soon(one.put_all({"k": 1, "s3://x": 2}))
                await soon(one.delete("k"))
        except MPS3Error:
            body = orjson.dumps(await stored_manifest(storage))
            decode(body, bucket=BUCKET, key=MANIFEST, version="v")
            return
        async with memory_client(storage) as fresh:
            assert await soon(fresh.get("s3://x")) == 2 and await soon(fresh.get("k")) is None

    asyncio.run(check())


HEAD = b'{"mps3":2,"journal":"merge","window":3.0,"session":"s","sequence":1,"previous":null,"update":{}'
ENTRY = b'{"session":"s","sequence":1,"version":"v","modified":"2026-01-01T00:00:00Z","update":{}}'
EXPIRING = b'"%d":{"version":"1","expires":"2999-01-01T00:00:00Z"}'
HOSTILE: dict[str, Callable[[], bytes]] = {
    "lists": lambda: b',"x":[' + b"[]," * 10_000_000 + b"[]]}",
    "objects": lambda: b',"x":[' + b"{}," * 10_000_000 + b"{}]}",
    "log": lambda: b',"log":[' + b",".join([ENTRY] * 300_000) + b"]}",
    "files": lambda: (
        b',"files":{' + b",".join(b'"k%d":{"version":"1"}' % number for number in range(1_000_000)) + b"}}"
    ),
    "expiring": lambda: b',"files":{' + b",".join(EXPIRING % number for number in range(400_000)) + b"}}",
    "text": lambda: b',"x":"' + b"," * 30_000_000 + b'"}',
    "escapes": lambda: b',"x":"' + b'\\"' * 15_000_000 + b'"}',
}


async def longest_stall(done: asyncio.Event) -> float:
    longest = 0.0
    while not done.is_set():
        started = time.perf_counter()
        await asyncio.sleep(0)
        longest = max(longest, time.perf_counter() - started)
        await asyncio.sleep(0.001)
    return longest


@pytest.mark.parametrize("kind", HOSTILE)
async def test_a_large_manifest_of_many_parts_is_refused_and_stops_nobody(kind):
    storage, done = MemoryStorage(), asyncio.Event()
    await storage.put(BUCKET, MANIFEST, HEAD + HOSTILE[kind]())
    watching = asyncio.create_task(longest_stall(done))
    with pytest.raises(CorruptionError):
        async with memory_client(storage):
            pass
    done.set()
    assert await watching < STALL


@pytest.mark.parametrize(
    "member",
    [b'"x":[' + b"[]," * 1_400_000 + b"[]]", b'"x":"' + b"y" * 4_000_000 + b'"'],
    ids=["lists", "text"],
)
async def test_large_siblings_are_refused_and_stop_nobody(member):
    storage, done = MemoryStorage(), asyncio.Event()
    async with memory_client(storage) as one:
        await soon(one.put("k", 1))
    for number in range(20):
        body = HEAD.replace(b'"s"', b'"s%d"' % number).replace(b'"update":{}', b'"update":{' + member + b"}") + b"}"
        await storage.put(BUCKET, MANIFEST, body)
    watching = asyncio.create_task(longest_stall(done))
    with pytest.raises(CorruptionError):
        async with memory_client(storage):
            pass
    done.set()
    assert await watching < STALL


async def test_a_large_value_of_many_parts_is_refused_and_stops_nobody():
    storage, done = MemoryStorage(), asyncio.Event()
    async with memory_client(storage) as one:
        await soon(one.put("k", 1))
        body = b"[" + b"[]," * 10_000_000 + b"[]]"
        stored = await storage.put(BUCKET, "k", body)
        file = {"version": stored.version, "size": len(body), "sha256": hashlib.sha256(body).hexdigest()}
        document = await stored_manifest(storage)
        document |= {"session": "somebody", "update": {"files": {"k": file}}}
        await storage.put(BUCKET, MANIFEST, orjson.dumps(document))
        watching = asyncio.create_task(longest_stall(done))
        async with memory_client(storage) as fresh:
            with pytest.raises(CorruptionError, match="500000"):
                await soon(fresh.get("k"))
        done.set()
        assert await watching < STALL


async def test_a_run_is_not_read_further_than_any_client_writes():
    storage = MemoryStorage()
    async with memory_client(storage) as one:
        await soon(one.put("k", 1))
        document = await stored_manifest(storage)
        run = {"key": f"{MANIFEST}.runs/x", "sha256": "0" * 64, "entries": 1, "first": "a", "last": "a"}
        for size, index in ((limits.RUN + 1, 10), (limits.RUN, limits.RUN_INDEX + 1)):
            named = run | {"bytes": size, "index": index}
            await storage.put(BUCKET, MANIFEST, orjson.dumps(document | {"session": "x", "runs": [named]}))
            with pytest.raises(CorruptionError, match="more than"):
                async with memory_client(storage):
                    pass


@pytest.mark.parametrize(
    ("members", "what"),
    [
        ({"files": {str(number): {"version": "1"} for number in range(limits.FILES + 1)}}, "files"),
        ({"update": {"files": {str(number): None for number in range(limits.CHANGES + 1)}}}, "update"),
        ({"update": {"expect": {str(number): None for number in range(limits.READS + 1)}}}, "expect"),
        ({"sessions": {str(number): 1 for number in range(limits.SESSIONS + 1)}}, "sessions"),
        ({"sessions": {"s" * (limits.SESSION + 1): 1}}, "a session whose name has 101 characters"),
        ({"session": "s" * (limits.SESSION + 1)}, "a session whose name has 101 characters"),
        ({"x": "y" * limits.UNKNOWN}, "'x'"),
        ({"update": {"x": "y" * limits.UNKNOWN}}, "update"),
    ],
    ids=["files", "changes", "reads", "sessions", "name of a session", "session", "unknown", "unknown in a commit"],
)
def test_a_document_beyond_a_limit_is_refused(members, what):
    document = orjson.loads(HEAD + b"}") | members
    with pytest.raises(CorruptionError, match=what):
        decode(orjson.dumps(document), bucket=BUCKET, key=MANIFEST, version="v")


async def test_a_log_that_changes_very_many_keys_is_kept_readable(monkeypatch):
    monkeypatch.setattr(limits, "CROWDED_BYTES", limits.DOCUMENT)  # here it is their number that counts
    storage = MemoryStorage(versioning=False)
    async with memory_client(storage) as one:
        await soon(one.put("k", 1))
        for _ in range(60):
            await soon(one.put_all(dict.fromkeys(map(str, range(limits.MANY)), DELETE)))
        named = sum(len(slot["update"].get("files", ())) for slot in await slots_of(storage))
        assert limits.CROWDED <= named <= limits.CROWDED + 2 * limits.MANY
    async with memory_client(storage) as fresh:
        assert await soon(fresh.keys()) == ["k"]
