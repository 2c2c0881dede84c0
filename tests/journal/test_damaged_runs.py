"""Each part of a stored run, damaged: the error says which part, and nothing damaged is kept anywhere."""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import helpers
import pytest
from format.stored_runs import small_blocks
from helpers import BUCKET, MANIFEST, Unreliable, memory_client
from journal.test_pieces import in_pieces, store

from mps3 import CorruptionError, MemoryStorage
from mps3.format import limits
from mps3.format.run import Run
from mps3.format.run_index import MARK, mark_of
from mps3.format.run_reference import RunReference
from mps3.format.run_writer import encode_runs
from mps3.journal import levels, run_reader
from mps3.journal.at_hand import at_hand
from mps3.journal.in_thread import Worker
from mps3.journal.run_reader import MissingRunError, RunReader
from mps3.storage import Object, verification
from mps3.storage.cached import CachedStorage

FILES: dict[str, Any] = {f"key/{number:02}": {"version": f"v{number}", "size": number} for number in range(9)}
FILES["key/08"]["expires"] = "2999-01-01T00:00:00.000Z"
BLOCKS = 5
Damage = Callable[[bytes], bytes]


class Cache:
    """A cache in the place of an offline directory."""

    def __init__(self) -> None:
        self.kept: dict[tuple[str, str], bytes] = {}

    async def get(self, bucket: str, key: str, version: str) -> bytes | None:
        return self.kept.get((key, version))

    def add(self, bucket: str, key: str, version: str, body: bytes) -> None:
        self.kept[key, version] = body


@pytest.fixture(autouse=True)
def sizes(monkeypatch):
    monkeypatch.setattr(run_reader, "SMALL", 0)
    monkeypatch.setattr(verification, "PAUSES", (0, 0, 0, 0))


async def stored() -> tuple[MemoryStorage, RunReference, bytes, list[tuple[int, int]]]:
    """A run, how it is named, its bytes, and where its blocks are."""
    storage = MemoryStorage()
    with small_blocks(70):
        (reference,) = await store(storage, FILES)
    found = await storage.get(BUCKET, reference.key)
    assert isinstance(found, Object)
    index, _ = await RunReader(storage, BUCKET, MANIFEST, Worker()).index(reference)
    assert len(index.blocks) == BLOCKS
    return storage, reference, found.body, [index.span(number) for number in range(BLOCKS)]


async def failure(reading: Any, reference: RunReference) -> str:
    """What the error says about a run that cannot be read."""
    with pytest.raises(CorruptionError) as caught:
        await reading
    error = caught.value
    assert (error.bucket, error.key) == (BUCKET, reference.key)
    assert reference.key in str(error)
    return str(error)


async def read_everything(run: Run) -> Any:
    return await at_hand(lambda: dict(run.items()))


async def check(storage: MemoryStorage, reference: RunReference, whole: str, pieces: str | None, good: bytes) -> None:
    """Read a run that is damaged in the store, as a whole and in pieces, and see what is kept of it.

    Args:
        storage: The store.
        reference: How a document names it.
        whole: What the error says if it is read whole.
        pieces: What it says if it is read in pieces; ``None`` if all of them are intact.
        good: Its bytes, as they were.
    """
    cache = Cache()
    cached = CachedStorage(storage, cache, lambda *_: False)
    assert whole in await failure(RunReader(cached, BUCKET, MANIFEST, Worker()).whole(reference), reference)
    assert cache.kept == {}
    (run,) = in_pieces(cached, [reference])  # type: ignore[arg-type]
    if pieces is None:
        assert await read_everything(run) == FILES
    else:
        assert pieces in await failure(read_everything(run), reference)
        # One after the other, all that can be read is right, and only that is kept.
        for name, file in FILES.items():
            try:
                found = await at_hand(lambda name=name: run.get(name, "none"))
            except CorruptionError as error:
                assert pieces in str(error)  # noqa: PT017
            else:
                assert found == (file if reference.first <= name <= reference.last else "none")
    for (_, version), body in cache.kept.items():
        first, _, last = version.partition("-")
        assert good[int(first) : int(last)] == body


def flipped(place: int) -> Damage:
    return lambda body: body[:place] + bytes([body[place] ^ 1]) + body[place + 1 :]


@pytest.mark.parametrize("number", range(BLOCKS))
@pytest.mark.parametrize("where", [0, 0.5, 1])
async def test_a_damaged_block_is_named(number, where):
    storage, reference, body, spans = await stored()
    start, end = spans[number]
    await storage.put(BUCKET, reference.key, flipped(start + int(where * (end - 1 - start)))(body))
    why = f"block {number} is malformed: its content does not have the SHA-256 that the index names"
    await check(storage, reference, why, why, body)
    (run,) = in_pieces(storage, [reference])
    for other, block in enumerate(zip(list(FILES)[::2], [*list(FILES)[1::2], None], strict=True)):
        for name in filter(None, block):
            if other != number:
                assert await at_hand(lambda name=name: run.get(name, None)) == FILES[name], "others are read"
            else:
                assert why in await failure(at_hand(lambda name=name: run.get(name, None)), reference)


INDEX = "its index does not have the SHA-256 that the manifest names"


def in_index(place: Callable[[bytes, int], int]) -> Callable[[RunReference, list[tuple[int, int]]], Damage]:
    """One bit of the index is another."""

    def damage(reference: RunReference, _: Any) -> Damage:
        return lambda body: flipped(place(body, len(body) - reference.index))(body)

    return damage


def swap(one: int, other: int) -> Callable[[RunReference, list[tuple[int, int]]], Damage]:
    def damage(_: RunReference, spans: list[tuple[int, int]]) -> Damage:
        def swapped(body: bytes) -> bytes:
            blocks = [body[slice(*span)] for span in spans]
            blocks[one], blocks[other] = blocks[other], blocks[one]
            return b"".join(blocks) + body[spans[-1][1] :]

        return swapped

    return damage


def another_index(reference: RunReference, _: Any) -> Damage:
    with small_blocks(70):
        (other,) = encode_runs({**FILES, "key/07": {"version": "v1", "size": 7}}, 2**20)
    return lambda body: body[: -reference.index] + other.body[-other.reference.index :]


def twice(which: int) -> Callable[[RunReference, list[tuple[int, int]]], Damage]:
    return lambda _, spans: lambda body: body[: spans[which][1]] + body[spans[which][0] :]


DAMAGED: dict[str, tuple[Any, str, str | None]] = {
    "the beginning of the index": (in_index(lambda _, start: start), INDEX, INDEX),
    "a digest in the index": (in_index(lambda body, _: body.index(b'"]') - 1), INDEX, INDEX),
    "the line feed of the index": (in_index(lambda body, _: len(body) - MARK * len(FILES) - 1), INDEX, INDEX),
    "the first mark": (in_index(lambda body, _: len(body) - MARK * len(FILES)), INDEX, INDEX),
    "the last mark": (in_index(lambda body, _: len(body) - 1), INDEX, INDEX),
    "two blocks, one in the place of the other": (
        swap(1, 3),
        "block 1 is malformed",
        "is malformed: its content does not have",
    ),
    "a block twice": (twice(2), "bytes", INDEX),
    "an index of another run": (another_index, "bytes where it should have", None),
    "cut by a byte": (lambda *_: lambda body: body[:-1], "bytes where it should have", "bytes where it should have"),
    "cut before the index": (
        lambda reference, _: lambda body: body[: -reference.index],
        "bytes where it should have",
        "bytes where it should have",
    ),
    "nothing": (lambda *_: lambda _: b"", "it has 0 bytes where it should have", "it has 0 bytes where it should have"),
    "bytes appended": (lambda *_: lambda body: body + b"x", "bytes", None),
    "bytes before it": (lambda *_: lambda body: b"x" + body, "bytes", INDEX),
    "zeros": (lambda *_: lambda body: bytes(len(body)), INDEX, INDEX),
    "a web page": (lambda *_: lambda body: b"<html>".ljust(len(body)), INDEX, INDEX),
}


@pytest.mark.parametrize("what", DAMAGED)
async def test_a_damaged_run_is_refused(what):
    damage, whole, pieces = DAMAGED[what]
    storage, reference, body, spans = await stored()
    wrong = damage(reference, spans)(body)
    assert wrong != body
    await storage.put(BUCKET, reference.key, wrong)
    if what == "an index of another run":
        if len(wrong) == len(body):
            whole = INDEX
        pieces = INDEX
    await check(storage, reference, whole, pieces, body)


@pytest.mark.parametrize(
    ("said", "whole", "pieces"),
    [
        ({"first": "key/0"}, "its index does not begin with the key", None),
        ({"first": "key/01"}, "its index does not begin with the key", None),
        ({"last": "key/09"}, "block 4 is malformed: it ends with another key", None),
        ({"last": "key/07"}, "the blocks of its index are not in order", None),
        ({"entries": 8}, "its index does not have 8 keys", None),
        ({"entries": 10}, "its index does not have 10 keys", None),
        ({"expires": None}, "its keys do not expire when the manifest says", None),
        ({"expires": 5.0}, "its keys do not expire when the manifest says", None),
        ({"size": -1}, "bytes", INDEX),
        ({"size": 1}, "bytes where it should have", "bytes where it should have"),
        ({"index": -1}, INDEX, None),
        ({"index": 1}, INDEX, None),
        ({"sha256": "0" * 64}, INDEX, None),
        ({"key": "other.json.runs/x"}, "it is not among the runs of its manifest", None),
        ({"key": MANIFEST + ".runs/x"}, "it is missing", None),
        ({"size": limits.RUN}, f"more than {limits.RUN}", None),
        ({"index": limits.RUN_INDEX}, f"more than {limits.RUN_INDEX}", None),
    ],
    ids=str,
)
async def test_a_reference_that_lies_is_noticed(said, whole, pieces):
    storage, reference, body, _ = await stored()
    known = {"size": reference.size, "index": reference.index}
    wrong = replace(
        reference, **{member: known.get(member, 0) + what if member in known else what for member, what in said.items()}
    )
    await check(storage, wrong, whole, whole if pieces is None else pieces, body)


async def test_a_missing_run_is_missing():
    storage, reference, _, _ = await stored()
    (run,) = in_pieces(storage, [reference])
    assert await at_hand(lambda: run.get("key/00", None)) == FILES["key/00"]
    await storage.delete(BUCKET, reference.key)
    with pytest.raises(MissingRunError, match=reference.sha256):
        await at_hand(lambda: run.get("key/05", None))
    assert await at_hand(lambda: run.get("key/00", None)) == FILES["key/00"], "what is at hand is still read"


class Passing(MemoryStorage):
    """Damages some answers on their way."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self.times = times

    async def get(self, bucket: str, key: str, **options: Any) -> Any:
        found = await super().get(bucket, key, **options)
        if isinstance(found, Object) and self.times:
            self.times -= 1
            return replace(found, body=flipped(len(found.body) // 2)(found.body))
        return found


async def test_a_passing_damage_is_not_said_and_not_kept():
    storage, cache = Passing(0), Cache()
    with small_blocks(70):
        (reference,) = await store(storage, FILES)
    cached = CachedStorage(storage, cache, lambda *_: False)
    (run,) = in_pieces(cached, [reference])  # type: ignore[arg-type]
    for name, file in FILES.items():
        storage.times = 2
        assert await at_hand(lambda name=name: run.get(name, None)) == file
    storage.times = 0
    body = (await storage.get(BUCKET, reference.key)).body
    assert len(cache.kept) == BLOCKS + 1
    for (_, version), kept in cache.kept.items():
        first, _, last = version.partition("-")
        assert body[int(first) : int(last)] == kept
    storage.times = 1000
    (again,) = in_pieces(cached, [reference])  # type: ignore[arg-type]
    for name, file in FILES.items():
        assert await at_hand(lambda name=name: again.get(name, None)) == file, "of the cache"


async def test_a_cache_that_was_damaged_is_put_right():
    storage, cache = MemoryStorage(), Cache()
    with small_blocks(70):
        (reference,) = await store(storage, FILES)
    cached = CachedStorage(storage, cache, lambda *_: False)
    for _ in range(2):
        (run,) = in_pieces(cached, [reference])  # type: ignore[arg-type]
        assert await read_everything(run) == FILES
        good = dict(cache.kept)
        for name, body in good.items():
            cache.kept[name] = flipped(len(body) // 2)(body)
    (run,) = in_pieces(cached, [reference])  # type: ignore[arg-type]
    assert await read_everything(run) == FILES
    assert cache.kept == good


async def forged(storage: MemoryStorage, blocks: list[bytes], said: list[Any]) -> RunReference:
    """Store a run of which every digest is right."""
    marks = b"".join(mark_of(first).to_bytes(MARK, "little") for first, *_ in said)
    index = json.dumps({"blocks": said}).encode() + b"\n" + marks
    digest = hashlib.sha256(index).hexdigest()
    key, body = f"{MANIFEST}.runs/{digest}", b"".join([*blocks, index])
    await storage.put(BUCKET, key, body)
    return RunReference(key, digest, len(said), len(body), len(index), said[0][0], "z")


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        (bytes(100 * 2**20), f"its lines have more than {limits.BLOCK} bytes"),
        (b"[" + b"[]," * 10**6 + b"[]]", f"it has more than {limits.PARTS} arrays"),
        (b"[" * 10**6, f"it has more than {limits.PARTS} arrays"),
    ],
    ids=["zeros", "arrays", "brackets"],
)
async def test_a_bomb_is_refused(lines, why):
    storage = MemoryStorage()
    bomb = zlib.compress(lines, 9)
    said = [["a", len(bomb), 1, hashlib.sha256(bomb).hexdigest()]]
    reference = await forged(storage, [bomb], said)
    (run,) = in_pieces(storage, [reference])
    for reading in (RunReader(storage, BUCKET, MANIFEST, Worker()).whole(reference), at_hand(lambda: run.get("a", 0))):
        with pytest.raises(CorruptionError, match=f"block 0 is malformed: {why}"):
            await reading


async def test_blocks_that_are_many_and_large_are_not_read_whole():
    storage = MemoryStorage()
    files = {"version": "1", "text": "x" * (limits.UNKNOWN - 2)}
    lines = [json.dumps([f"{number:02}", files], separators=(",", ":")).encode() for number in range(20)]
    blocks = [zlib.compress(line, 9) for line in lines]
    said = [[f"{number:02}", len(block), 1, hashlib.sha256(block).hexdigest()] for number, block in enumerate(blocks)]
    reference = await forged(storage, blocks, said)
    assert reference.size < 100_000
    with pytest.raises(CorruptionError):
        await RunReader(storage, BUCKET, MANIFEST, Worker()).whole(reference)


@pytest.mark.parametrize("pieces", [False, True], ids=["whole", "in pieces"])
@pytest.mark.parametrize("versioning", [True, False], ids=["merge", "log"])
async def test_nothing_damaged_is_kept_in_an_offline_directory(tmp_path, monkeypatch, pieces, versioning):
    monkeypatch.setattr(levels, "LARGE", 100)
    storage = Unreliable(versioning=versioning)
    values = {f"k/{number:02}": f"value {number}" for number in range(40)}
    with small_blocks(200):
        async with memory_client(storage) as first:
            await first.put_all(values)
    (key,) = [key for key in storage._buckets[BUCKET] if key.startswith(f"{MANIFEST}.runs/")]
    good = (await MemoryStorage.get(storage, BUCKET, key)).body
    await MemoryStorage.put(storage, BUCKET, key, flipped(len(good) // 2)(good))
    options = {"offline": tmp_path, "prefetch": 0 if pieces else None}
    with pytest.raises(CorruptionError, match=r"runs/.*(block \d+ is malformed|its index)"):
        async with helpers.memory_client(storage, **options) as reader:
            await reader.get_all(prefix="k/")
    await MemoryStorage.put(storage, BUCKET, key, good)
    async with helpers.memory_client(storage, **options) as reader:
        assert await reader.get_all(prefix="k/") == values
        cache = reader._directory.cache
        await cache._flush()
        kept = await cache._read("SELECT key, version, body FROM objects", ())
    parts = [(version, body) for name, version, body in kept if name == key]
    assert parts
    for version, body in parts:
        start, _, end = version.partition("-")
        assert body == (good[int(start) : int(end)] if version else good)
