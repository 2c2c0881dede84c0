"""Slots that somebody has made very large: reading many of them at once does not fill the memory."""

from __future__ import annotations

from collections import Counter
from typing import Any

import orjson
import pytest
from commits import read
from helpers import BUCKET, MANIFEST, memory_client, soon

from mps3 import CorruptionError, MemoryStorage, UnavailableError
from mps3.format.commit_age import Moment
from mps3.format.document import LIMIT
from mps3.format.slot import slot_key
from mps3.journal.log import reader as log_reader
from mps3.journal.log.reader import CONCURRENCY, SMALL, LogReader
from mps3.journal.runs import Runs


class Watched(MemoryStorage):
    """Knows how many bytes of slots were handed out and are not read yet."""

    def __init__(self) -> None:
        super().__init__(versioning=False)
        self.held: dict[str, int] = {}
        self.most = 0
        self.gets: Counter[str] = Counter()

    async def get(self, bucket: str, key: str, **options: Any) -> Any:
        self.gets[key] += 1
        found = await super().get(bucket, key, **options)
        self.held[key] = len(getattr(found, "body", b""))
        self.most = max(self.most, sum(self.held.values()))
        return found


@pytest.fixture
def storage(monkeypatch: pytest.MonkeyPatch) -> Watched:
    storage = Watched()
    whole = log_reader.read_document

    async def watched(*arguments: Any, version: str, **options: Any) -> Any:
        try:
            return await whole(*arguments, version=version, **options)
        finally:
            storage.held.pop(version)

    monkeypatch.setattr(log_reader, "read_document", watched)
    return storage


def reader_of(storage: MemoryStorage) -> LogReader:
    return LogReader(storage, BUCKET, MANIFEST, Runs(storage, BUCKET, MANIFEST, lambda: Moment(0.0)))


async def enlarged(storage: MemoryStorage, sizes: list[int]) -> None:
    """Slots from 2 on, each with a value that belongs to it, of these sizes."""
    async with memory_client(storage) as one:
        await soon(one.put("key", 1))
    document = await read(storage, slot_key(MANIFEST, 1))
    for number, size in enumerate(sizes, start=2):
        values = {f"{number}-{part}": {"version": f"{number}", "value": "x" * 50_000} for part in range(size // 50_000)}
        body = orjson.dumps({**document, "session": "somebody", "sequence": number, "update": {"files": values}})
        await storage.put(BUCKET, slot_key(MANIFEST, number), body + b" " * (size - len(body)))


async def test_large_slots_are_read_one_after_another(storage):
    sizes = [4_000_000] * 20 + [1000] * 10
    await enlarged(storage, sizes)
    storage.most, storage.gets = 0, Counter()
    found = await reader_of(storage).slots(range(2, 2 + len(sizes)))
    assert len(found) == len(sizes)
    assert storage.most <= CONCURRENCY * SMALL + LIMIT
    assert storage.most < 2 * 4_000_000
    assert [storage.gets[slot_key(MANIFEST, number)] for number in range(2, 2 + len(sizes))] == [2] * 20 + [1] * 10


async def test_a_client_goes_on_after_them(storage):
    await enlarged(storage, [4_000_000] * 5)
    async with memory_client(storage) as one:
        assert await soon(one.get("key")) == 1
        await soon(one.put("key", 2))
        assert len(await soon(one.keys())) == 1 + 5 * 80


async def test_no_slot_is_larger_than_a_manifest(monkeypatch):
    monkeypatch.setattr("mps3.storage.verification.PAUSES", (0.0,))
    storage = MemoryStorage(versioning=False)
    await storage.put(BUCKET, slot_key(MANIFEST, 1), b" " * (LIMIT + 1))
    with pytest.raises((CorruptionError, UnavailableError)):
        await reader_of(storage).slot(1)
