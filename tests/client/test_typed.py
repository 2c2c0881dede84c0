"""Values of types of the user's own, by whichever package is there."""

from __future__ import annotations

import dataclasses
import datetime as dt
import pickle
import sys
from typing import Any

import pytest
from helpers import memory_client, soon
from typing_extensions import TypedDict

from mps3 import DELETE, ConfigurationError, MemoryStorage, MPS3Error, Ref, Typed, ValidationError
from mps3.client.conversion import _package

pydantic = pytest.importorskip("pydantic")
msgspec = pytest.importorskip("msgspec")


@dataclasses.dataclass
class Point:
    x: int
    y: int = 0


class PointDict(TypedDict):
    x: int
    y: int


class Model(pydantic.BaseModel):
    x: int
    at: dt.date = dt.date(2026, 1, 31)
    named: str = pydantic.Field("n", alias="a-name")


class Struct(msgspec.Struct):
    x: int
    at: dt.date = dt.date(2026, 1, 31)
    tags: tuple[str, ...] = ()


@pydantic.dataclasses.dataclass
class Validated:
    x: int


VALUES: list[tuple[Any, Any, Any]] = [
    (Point, Point(1, 2), {"x": 1, "y": 2}),
    (PointDict, {"x": 1, "y": 2}, {"x": 1, "y": 2}),
    (Model, Model(x=1), {"x": 1, "at": "2026-01-31", "a-name": "n"}),
    (Struct, Struct(1, tags=("a",)), {"x": 1, "at": "2026-01-31", "tags": ["a"]}),
    (Validated, Validated(1), {"x": 1}),
    (list[Point], [Point(1, 2)], [{"x": 1, "y": 2}]),
]


@pytest.fixture
def without(monkeypatch):
    """Pretends that packages are not installed."""

    def hide(*names: str) -> None:
        for name in names:
            monkeypatch.setitem(sys.modules, name, None)
        _package.cache_clear()

    yield hide
    monkeypatch.undo()
    _package.cache_clear()


@pytest.mark.parametrize(("model", "value", "stored"), VALUES, ids=lambda one: getattr(one, "__name__", ""))
async def test_values_of_every_kind_of_type(model, value, stored):
    async with memory_client(MemoryStorage()) as client:
        typed = client.typed(model)
        assert isinstance(typed, Typed)
        await typed.put("k", value)
        assert await client.get("k") == stored
        assert await typed.get("k") == value
        assert type(await typed.get("k")) is type(value)
        assert await typed.get("absent") is None
        assert await typed.get("absent", "default") == "default"
        await typed.put_all({"l": value, "k": DELETE})
        assert (
            await typed.get_all() == {"l": value} == await typed.get_all(["l", "k"]) == await typed.get_all(prefix="")
        )
        async with typed.subscribe("l") as values, client.subscribe("l", type=model) as others:
            assert await soon(anext(values)) == await soon(anext(others)) == value
        async with typed.watch() as batches:
            batch = await soon(anext(batches))
            assert batch.end_of_initial and batch.changes[0].value == value
            await typed.put("l", DELETE)
            while (batch := await soon(anext(batches))).id is None:
                pass
            assert batch.changes[0].value is DELETE


async def test_the_other_package_will_do(without):
    without("pydantic")
    async with memory_client(MemoryStorage()) as client:
        typed = client.typed(Point)
        await typed.put("k", Point(1, 2))
        assert await typed.get("k") == Point(1, 2)
        assert await client.typed(PointDict).get("k") == {"x": 1, "y": 2}
        await client.put("k", {"x": "one"})
        with pytest.raises(ValidationError, match="'k' does not fit Point"):
            await typed.get("k")
        with pytest.raises(ValidationError):
            typed.put("k", Point("one"))


async def test_without_a_package_the_error_says_which(without):
    without("pydantic", "msgspec")
    async with memory_client(MemoryStorage()) as client:
        with pytest.raises(ConfigurationError, match=r"type Point need pydantic or msgspec, .* pip install msgspec"):
            client.typed(Point)
        with pytest.raises(ConfigurationError, match=r"type Model need pydantic, .* pip install pydantic"):
            client.subscribe("k", type=Model)
        with pytest.raises(ConfigurationError, match="type Struct need msgspec, "):
            client.typed(Struct)


async def test_what_is_no_type_is_refused():
    async with memory_client(MemoryStorage()) as client:
        with pytest.raises(ConfigurationError, match="is not a type that can be converted"):
            client.typed(object())


@pytest.mark.parametrize("model", [Point, PointDict, Model, Struct, Validated], ids=lambda one: one.__name__)
async def test_what_does_not_fit_is_named_and_left_alone(model):
    async with memory_client(MemoryStorage()) as client, memory_client(MemoryStorage()) as other:
        typed = client.typed(model)
        await client.put_all({"bad": {"x": "a lot"}, Ref("k", "media"): [1]})
        for reading in (
            typed.get("bad"),
            typed.get_all(["bad"]),
            anext(typed.subscribe("bad")),
            anext(typed.watch("b")),
        ):
            with pytest.raises(ValidationError, match="the value of 'bad' does not fit") as caught:
                await soon(reading)
            assert caught.value.key == "bad"
            assert isinstance(caught.value, MPS3Error) and isinstance(caught.value, ValueError)
            assert pickle.loads(pickle.dumps(caught.value)).key == "bad"
        with pytest.raises(ValidationError, match="s3://media/k"):
            await typed.get(Ref("k", "media"))
        with pytest.raises(ValidationError, match="the value for 'new' does not fit"):
            typed.put("new", {"x": object()})
        with pytest.raises(ValidationError):
            typed.put_all({"new": {"x": "a lot"}})
        assert await client.get("new", "absent") == "absent"
        assert await client.get("bad") == {"x": "a lot"}
        assert client.status().pending == 0
        assert not await other.keys()


async def test_a_subscription_and_a_watch_go_on_after_what_does_not_fit():
    async with memory_client(MemoryStorage()) as client:
        typed = client.typed(Point)
        await client.put_all({"a": 1, "b": {"x": 2}})
        values, batches = typed.subscribe("a"), typed.watch()
        for waiting in (values, batches):
            with pytest.raises(ValidationError):
                await soon(anext(waiting))
        batch = await soon(anext(batches))
        assert batch.end_of_initial and [change.key for change in batch.changes] == ["b"]
        assert batch.cursor is not None
        await typed.put("a", Point(3))
        assert await soon(anext(values)) == Point(3)
        while (batch := await soon(anext(batches))).id is None:
            assert batch.changes[0].pending
        assert batch.changes[0].value == Point(3)
        assert client.status().subscriptions == 2
        await batches.aclose()
        assert client.status().subscriptions == 1
        with pytest.raises(StopAsyncIteration):
            await anext(batches)


async def test_a_typed_watch_ends_with_the_client():
    async with memory_client(MemoryStorage()) as client:
        batches = client.typed(Point).watch()
        await soon(anext(batches))
    with pytest.raises(StopAsyncIteration):
        await anext(batches)
    assert "Point" in repr(client.typed(Point))
