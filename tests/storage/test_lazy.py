"""A store whose code is loaded when it is opened."""

from __future__ import annotations

import asyncio
import threading

import pytest

from mps3 import ClosedError, MemoryStorage
from mps3.storage import ABSENT, Object
from mps3.storage.lazy import LazyStorage


class Store(MemoryStorage):
    vendor = "somebody"


async def test_it_is_made_once_and_not_in_the_thread_of_the_loop():
    made: list[threading.Thread] = []
    stores: list[Store] = []

    def make() -> Store:
        made.append(threading.current_thread())
        stores.append(Store())
        return stores[-1]

    storage = LazyStorage(make, lambda: "somewhere")
    assert storage.vendor is None and storage.clock() is None
    assert storage.identity() == "somewhere"
    await storage.aclose()
    with pytest.raises(ClosedError, match="not open yet"):
        await storage.get("b", "k")
    assert made == []
    await asyncio.gather(storage.open(), storage.open())
    assert threading.main_thread() not in made
    assert storage.vendor == "somebody"
    storage.clock()
    await storage.put("b", "k", b"1")
    await storage.open()
    found = await storage.get("b", "k")
    assert isinstance(found, Object) and found.body == b"1"
    assert await storage.get("b", "other") is ABSENT
    await storage.aclose()


async def test_what_goes_wrong_with_making_it_goes_wrong_with_opening_it():
    def make() -> Store:
        raise ImportError("not there")

    storage = LazyStorage(make, lambda: "somewhere")
    with pytest.raises(ImportError, match="not there"):
        await storage.open()
    await storage.aclose()
