"""Runs that are read where they are needed: ranges of keys, and a cache with too little room."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any
from unittest.mock import patch

import pytest
from format.stored_runs import small_blocks
from helpers import BUCKET, MANIFEST
from hypothesis import given, settings
from hypothesis import strategies as st

from mps3 import MemoryStorage
from mps3.format.block import open_block
from mps3.format.layers import look_up
from mps3.format.run import NotAtHandError, Run
from mps3.format.run_merge import merged_lines
from mps3.format.run_reference import RunReference
from mps3.format.run_writer import encode_runs
from mps3.journal import run_reader
from mps3.journal.at_hand import at_hand, look_up_all, prepare, ranges
from mps3.journal.in_thread import Worker
from mps3.journal.run_pieces import FetchedPieces, Piece, PieceCache
from mps3.journal.run_reader import RunReader

keys = st.text("abc", min_size=1, max_size=3)
files = st.dictionaries(keys, st.none() | st.builds(lambda n: {"version": str(n), "size": n}, st.integers(0, 9)))
layers = st.lists(files.filter(bool), min_size=1, max_size=4)
rooms = st.sampled_from([0, 1, 300, 10_000])
sizes = st.integers(1, 150)


class Counting(MemoryStorage):
    """Counts the requests."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[tuple[int, int] | None] = []

    async def get(self, bucket: str, key: str, **options: Any) -> Any:
        self.asked.append(options.get("byte_range"))
        await asyncio.sleep(0)
        return await super().get(bucket, key, **options)


async def store(storage: MemoryStorage, files: Any, most: int = 2**30) -> list[RunReference]:
    """Store a run, and return how documents name it."""
    references = []
    for part in encode_runs(files, most):
        key = f"{MANIFEST}.runs/{part.reference.sha256}"
        await MemoryStorage.put(storage, BUCKET, key, part.body)
        references.append(replace(part.reference, key=key))
    return references


def in_pieces(storage: MemoryStorage, references: Sequence[RunReference], room: int = 2**20) -> list[Run]:
    """Runs of which nothing is at hand."""
    cache, reader = PieceCache(room), RunReader(storage, BUCKET, MANIFEST, Worker())
    return [Run(reference, FetchedPieces(reference, cache, reader)) for reference in references]


def together(layers: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return {name: file for layer in layers for name, file in layer.items()}


def small(size: int = 0) -> Any:
    """Let no run be so small that it is read whole, or those of some size."""
    return patch.object(run_reader, "SMALL", size)


@given(
    layers,
    sizes,
    st.integers(1, 300),
    rooms,
    st.sampled_from([0, 300, 2**20]),
    keys | st.just(""),
    st.none() | keys,
    st.integers(1, 9),
)
@settings(deadline=None)
def test_ranges_have_every_key_once(layers, size, most, room, whole, start, stop, blocks):
    async def go() -> list[tuple[str, str | None]]:
        storage = Counting()
        with small_blocks(size):
            runs = in_pieces(storage, [one for layer in layers for one in await store(storage, layer, most)], room)
        with small(whole):
            async for first, end in ranges(runs, start, stop, blocks=blocks):
                await asyncio.sleep(0)  # others may be using the cache
                names, _ = merged_lines(runs, first, end, oldest=False)
                assert names == [one for one in expected if one >= first and (end is None or one < end)]
                found.extend(names)
                seen.append((first, end))
        return seen

    expected = sorted(name for name in together(layers) if name >= start and (stop is None or name < stop))
    found: list[str] = []
    seen: list[tuple[str, str | None]] = []
    asyncio.run(go())
    assert seen[0][0] == start and seen[-1][1] == stop, "from the beginning to the end"
    assert [end for _, end in seen[:-1]] == [first for first, _ in seen[1:]], "without a gap"
    assert found == expected, "each once, in order"


@given(layers, sizes, rooms, st.sets(keys, min_size=1))
@settings(deadline=None)
def test_keys_are_looked_up_with_whatever_room_there_is(layers, size, room, absent):
    async def go() -> None:
        storage = Counting()
        with small_blocks(size):
            references = [one for layer in layers for one in await store(storage, layer)]
        runs = in_pieces(storage, references, room)
        names = sorted(absent.union(*layers))
        with small():
            found = await look_up_all(runs, names, lambda name: look_up(name, reversed(runs)))
            assert found == {name: together(layers).get(name) for name in names}
            for name in names:
                assert await at_hand(lambda name=name: look_up(name, reversed(runs))) == found[name]
            held: list[Piece] = []
            await prepare(runs, names, held)
            for run in runs:
                assert await at_hand(lambda run=run: dict(run.items()), held) is not None

    asyncio.run(go())


async def test_what_is_worked_with_stays_at_hand_whoever_else_uses_the_cache():
    storage = Counting()
    with small_blocks(60):
        references = await store(storage, {f"{number:02}": {"version": "1", "size": 1} for number in range(20)})
    (run,) = in_pieces(storage, references, 10_000)
    with small():
        assert len(await at_hand(lambda: list(run.items()))) == 20, "now all of it is in the cache"
        async for start, stop in ranges([run], blocks=4):
            cache = run.pieces._cache
            for number in range(100):
                cache.add(("other", number), open_block(b'["a",null]' * 1000))
            merged_lines([run], start, stop, oldest=True)  # and does not raise


async def test_many_who_want_the_same_make_one_request():
    storage = Counting()
    with small_blocks(60):
        references = await store(storage, {f"{number:02}": {"version": "1", "size": 1} for number in range(20)})
    (run,) = in_pieces(storage, references)
    with small():
        found = await asyncio.gather(*(at_hand(lambda: run.get("07", None)) for _ in range(10)))
        assert found == [{"version": "1", "size": 1}] * 10
        assert len(storage.asked) == 2, "the index, and a block"
        storage.asked.clear()
        await asyncio.gather(*(at_hand(lambda: run.names()) for _ in range(10)))
        assert len(storage.asked) <= 3, "blocks that follow each other are read at once"


async def test_blocks_that_follow_each_other_are_read_at_once_up_to_some_size(monkeypatch):
    storage = Counting()
    with small_blocks(60):
        (reference,) = await store(storage, {f"{number:02}": {"version": "1"} for number in range(20)})
    reader = RunReader(storage, BUCKET, MANIFEST, Worker())
    monkeypatch.setattr(run_reader, "SMALL", 0)
    index, _ = await reader.index(reference)
    monkeypatch.setattr(run_reader, "STRETCH", index.span(1)[1])
    storage.asked.clear()
    found = await reader.blocks(reference, index, [4, 0, 1, 2, 6])
    assert sorted(found) == [0, 1, 2, 4, 6]
    assert sorted(storage.asked) == [
        (index.span(0)[0], index.span(1)[1]),
        index.span(2),
        index.span(4),
        index.span(6),
    ]


async def test_a_small_run_is_read_with_one_request():
    storage = Counting()
    (reference,) = await store(storage, {"a": {"version": "1"}})
    (run,) = in_pieces(storage, [reference])
    assert await at_hand(lambda: run.get("a", None)) == {"version": "1"}
    assert storage.asked == [None]


async def test_somebody_who_waits_for_a_request_that_fails_or_is_cancelled_makes_it_himself():
    cache = PieceCache()
    name = ("run", 0)
    started, stop = asyncio.Event(), asyncio.Event()

    async def fails() -> None:
        started.set()
        await stop.wait()
        raise ValueError("not this one")

    for end in ("fail", "cancel"):
        started.clear()
        stop.clear()
        first = asyncio.create_task(cache.once([name], fails))
        await started.wait()
        second = asyncio.create_task(cache.once([name, ("run", 1)], fails))
        await asyncio.sleep(0)
        if end == "fail":
            stop.set()
        else:
            first.cancel()
        await asyncio.wait([first])
        await second  # without an error: whoever wants it looks again
        stop.set()
        with pytest.raises(ValueError, match="not this one"):
            await cache.once([name], fails)


def test_a_cache_keeps_what_was_used_last_and_finds_what_is_in_use():
    cache = PieceCache(25)
    blocks = {number: open_block(f'["{number}",null]'.encode()) for number in range(4)}  # of ten bytes
    for number in (0, 1):
        cache.add(("run", number), blocks[number])
    assert cache.size == 20
    assert cache.get(("run", 0)) is blocks[0]
    cache.add(("run", 2), blocks[2])
    assert cache.size == 20
    assert cache.get(("run", 1)) is blocks[1], "somebody holds it"
    del blocks[1]
    assert cache.get(("run", 1)) is None
    assert cache.get(("run", 0)) is blocks[0] and cache.get(("run", 2)) is blocks[2]
    cache.add(("run", 0), blocks[0])
    assert cache.size == 20, "counted once"
    cache.add(("run", 3), open_block(b'["x",null]' + b" " * 30))
    assert cache.size == 0 and cache.get(("run", 3)) is None, "it has no room for that"


async def test_work_that_needs_something_else_each_time_goes_on(monkeypatch):
    monkeypatch.setattr(run_reader, "SMALL", 0)
    storage = Counting()
    with small_blocks(1):
        references = await store(storage, {name: {"version": name} for name in "abcdef"})
    (run,) = in_pieces(storage, references, 0)
    calls = 0

    def function() -> list[Any]:
        nonlocal calls
        calls += 1
        return [run.get(name, None) for name in "abcdef"]

    assert await at_hand(function) == [{"version": name} for name in "abcdef"]
    assert calls == 1 + 1 + 6, "the index, and block by block"
    read: Callable[[], Any] = lambda: run.get("a", None)
    with pytest.raises(NotAtHandError):
        read()  # nothing is kept
