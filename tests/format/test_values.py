"""What is a value, and what is refused at the call with nothing shown or sent."""

from __future__ import annotations

import dataclasses
import datetime as dt
import decimal
import enum
import subprocess
import sys
import uuid
from collections import OrderedDict, namedtuple
from pathlib import Path
from types import MappingProxyType

import pytest
from format.test_document import json_values
from helpers import PATIENCE, Unreliable, memory_client
from hypothesis import given

from mps3 import DELETE
from mps3.format.values import decode, encode


@dataclasses.dataclass
class Point:
    x: int = 1


class Colour(enum.Enum):
    RED = "red"


class Text(str):
    __slots__ = ()


KEPT = """
import os
from pathlib import Path
from mps3.format.values import encode

def resident():
    pages = Path("/proc/self/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGESIZE")

before = resident()
kept = [encode({"x": number}, "key") for number in range(20_000)]
print(resident() - before)
"""


def nested(depth: int, *, objects: bool = False) -> object:
    value: object = 1
    for _ in range(depth):
        value = {"a": value} if objects else [value]
    return value


def cyclic(*, width: int = 1) -> list:
    value: list = []
    value.extend([value] * width)
    return value


def cyclic_object() -> dict:
    value: dict = {}
    value["a"] = [value]
    return value


REFUSED = {
    "nan": float("nan"),
    "infinity": float("inf"),
    "minus infinity": float("-inf"),
    "nan inside": {"a": [1, {"b": float("nan")}]},
    "bytes": b"x",
    "bytearray": bytearray(b"x"),
    "bytes inside": [b"x"],
    "int key": {1: "a"},
    "none key": {None: "a"},
    "bool key": {True: "a"},
    "bytes key": {b"a": 1},
    "tuple key": {(1, 2): 1},
    "set": {1, 2},
    "frozenset": frozenset({1}),
    "datetime": dt.datetime(2026, 1, 1, tzinfo=dt.timezone.utc),
    "date": dt.date(2026, 1, 1),
    "time": dt.time(12),
    "uuid": uuid.UUID(int=1),
    "decimal": decimal.Decimal(1),
    "complex": 1j,
    "dataclass": Point(),
    "dataclass inside": {"a": Point()},
    "class": Point,
    "enum": Colour.RED,
    "subclass of str": Text("x"),
    "subclass of dict": OrderedDict(a=1),
    "namedtuple": namedtuple("Pair", "a b")(1, 2),  # noqa: PYI024
    "mapping proxy": MappingProxyType({"a": 1}),
    "object": object(),
    "function": print,
    "iterator": iter([1]),
    "delete inside": {"a": DELETE},
    "ellipsis": ...,
    "lone surrogate": "a\ud800b",
    "lone surrogate in a key": {"\udfff": 1},
    "lone surrogate inside": [{"a": ["\ud800"]}],
    "huge int": 2**64,
    "huge negative int": -(2**63) - 1,
    "very huge int": 10**5000,
    "too deep": nested(300),
    "too deep objects": nested(300, objects=True),
    "much too deep": nested(100_000),
    "cyclic": cyclic(),
    "widely cyclic": cyclic(width=1000),
    "cyclic object": cyclic_object(),
}

ACCEPTED = {
    "null": None,
    "true": True,
    "false": False,
    "zero": 0,
    "minus zero": -0.0,
    "largest int": 2**64 - 1,
    "smallest int": -(2**63),
    "float": 1.5e308,
    "tiny": 5e-324,
    "empty": "",
    "nul": "\0",
    "text": "\u2028 \U0001f600 \x7f\ufeff\uffff",
    "list": [],
    "object": {"": {"": [None]}},
    "deep": nested(200),
    "large": ["x" * 1000] * 3000,
}


@pytest.mark.parametrize("value", REFUSED.values(), ids=REFUSED)
@pytest.mark.parametrize("all_at_once", [False, True])
async def test_what_is_not_json_is_refused_at_the_call(value, all_at_once):
    storage = Unreliable()
    async with memory_client(storage) as client:
        await client.put("k", "before")
        subscription = client.subscribe("k")
        assert await anext(subscription) == "before"
        puts = storage.count("put")
        with pytest.raises((TypeError, ValueError), match="'k'") as caught:
            client.put_all({"other": 1, "k": value}) if all_at_once else client.put("k", value)
        assert caught.type in (TypeError, ValueError)
        assert len(str(caught.value)) < 2000
        assert client.status().pending == 0
        assert await client.get("k") == "before"
        assert await client.get("other", "absent") == "absent"
        assert storage.count("put") == puts
        await client.put("k", "after")
        assert await anext(subscription) == "after"


@pytest.mark.parametrize("value", ACCEPTED.values(), ids=ACCEPTED)
async def test_what_is_json_comes_back_equal(value):
    storage = Unreliable()
    async with memory_client(storage) as writer, memory_client(storage) as reader:
        write = writer.put("k", value)
        assert await writer.get("k", "default") == value
        await write
        for client in (writer, reader):
            found = await client.get("k", "default")
            assert found == value
            assert type(found) is type(value)


async def test_a_tuple_comes_back_as_a_list():
    async with memory_client(Unreliable()) as client:
        await client.put("k", (1, (2, 3)))
        assert await client.get("k") == [1, [2, 3]]


@given(json_values)
def test_every_json_value_round_trips(value):
    body = encode(value, "k")
    assert decode(body, "bucket", "k", "v") == value
    assert encode(decode(body, "bucket", "k", "v"), "k") == body


async def test_true_is_not_one():
    async with memory_client(Unreliable()) as client:
        subscription = client.subscribe("k")
        assert await anext(subscription) is None
        for value in (1, True, 1.0):
            await client.put("k", value)
            found = await anext(subscription)
            assert (found, type(found)) == (value, type(value))


async def test_changing_a_value_after_the_put_is_harmless():
    storage = Unreliable()
    async with memory_client(storage) as client, memory_client(storage) as other:
        value = {"list": [1]}
        write = client.put("k", value)
        value["list"].append(2)
        assert await client.get("k") == {"list": [1]}
        await write
        assert await client.get("k") == {"list": [1]}
        assert await other.get("k") == {"list": [1]}


async def test_returned_values_are_the_readers_own():
    storage = Unreliable()
    async with memory_client(storage) as client, memory_client(storage) as other:
        write = client.put("k", {"list": [1]})
        (await client.get("k"))["list"].append("mine")
        await write
        for reader in (client, other):
            subscription = reader.subscribe("k")
            (await anext(subscription))["list"].append("mine")
            (await reader.get("k"))["list"].append("mine")
            assert await reader.get("k") == {"list": [1]}
            assert await anext(reader.subscribe("k")) == {"list": [1]}
            assert await reader.get("k") is not await reader.get("k")


@pytest.mark.skipif(
    not Path("/proc/self/statm").exists(), reason="this system does not tell how much memory is resident"
)
def test_many_small_values_take_little_memory():
    """Each was once a whole page of memory, and getting it took longer than everything else of a put."""
    grown = subprocess.run(
        [sys.executable, "-c", KEPT], capture_output=True, text=True, check=True, timeout=PATIENCE
    ).stdout
    assert int(grown) < 20 * 2**20
