"""Live views: a mapping that each commit changes as a whole, and queries that wake when their results change."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import pytest
from helpers import Unreliable, eventually, memory_client, settle, soon
from hypothesis import given
from hypothesis import strategies as some

from mps3 import AccessError, Change, ClosedError, ConfigurationError, View
from mps3.client.query import Criteria, Selection
from mps3.types import DELETE


@pytest.fixture(params=[True, False], ids=["merge", "log"])
def storage(request):
    return Unreliable(versioning=request.param)


@dataclass
class User:
    score: int


# A mapping


async def test_a_view_is_a_mapping_that_stays_current(storage):
    async with memory_client(storage) as ann, memory_client(storage) as bob:
        await ann.put_all({"u/b": 2, "u/a": 1, "v": 0})
        async with bob.view("u/") as view:
            assert await soon(view.loaded()) is view
            assert view.complete
            assert dict(view) == {"u/a": 1, "u/b": 2} == view
            assert list(view) == ["u/a", "u/b"]
            assert len(view) == 2
            assert "u/a" in view
            assert "v" not in view
            assert view.get("u/x") is None
            await ann.put_all({"u/c": 3, "u/a": 10, "v": 1})
            await eventually(lambda: view == {"u/a": 10, "u/b": 2, "u/c": 3})
            await ann.delete("u/b")
            await eventually(lambda: list(view) == ["u/a", "u/c"])
            bob.put("u/d", 4)
            await eventually(lambda: view.get("u/d") == 4)
        await ann.put("u/z", 1)
        await bob.get("u/z")
        assert "u/z" not in view, "it was closed"


async def test_it_begins_with_its_first_use_and_ends_with_the_client(storage):
    async with memory_client(storage) as one:
        await one.put("k", 1)
        view = one.view()
        assert len(view) == 0
        assert not view.complete
        assert await soon(view.loaded()) == {"k": 1}
        before = asyncio.all_tasks()
    assert view == {"k": 1}
    assert not any("view" in task.get_name() for task in before if not task.done())
    with pytest.raises(ClosedError):
        one.view()
    late = View(lambda: one.watch(), "", None, None, set())
    with pytest.raises(ClosedError):
        await late.loaded()


async def test_no_half_of_a_commit_is_ever_seen(storage):
    async with memory_client(storage) as ann, memory_client(storage) as bob:
        await ann.put_all({"a": 0, "b": 0})
        async with bob.view() as view:
            await view.loaded()
            halves = 0
            done = asyncio.Event()

            async def look() -> None:
                nonlocal halves
                while not done.is_set():
                    halves += view["a"] != view["b"]
                    await asyncio.sleep(0)

            looking = asyncio.create_task(look())
            for number in range(1, 50):
                await ann.put_all({"a": number, "b": number})
            await eventually(lambda: view["a"] == 49)
            done.set()
            await looking
            assert halves == 0


async def test_changes_are_told_and_a_slow_reader_gets_the_last_of_each_key(storage):
    async with memory_client(storage) as ann, memory_client(storage) as bob:
        await ann.put("a", 0)
        async with bob.view() as view:
            changes = aiter(view)
            first = asyncio.ensure_future(anext(changes))
            await view.loaded()
            await asyncio.sleep(0)
            await ann.put("b", 1)
            change = await soon(first)
            assert (change.key, change.value) == ("b", 1)
            for number in range(20):
                await ann.put("a", number)
            await ann.delete("b")
            await eventually(lambda: "b" not in view)
            told = [await soon(anext(changes)) for _ in range(2)]
            assert {change.key: change.value for change in told} == {"a": 19, "b": DELETE}
            ended = asyncio.ensure_future(anext(changes))
            await asyncio.sleep(0.01)
        with pytest.raises(StopAsyncIteration):
            await soon(ended)


async def test_what_lies_under_a_prefix(storage):
    async with memory_client(storage) as one:
        await one.put_all({"a": 1, "a/1": 2, "a/2": 3, "b": 4})
        async with one.view() as view:
            await view.loaded()
            assert view.under("a/") == {"a/1": 2, "a/2": 3}
            assert view.under("a") == {"a": 1, "a/1": 2, "a/2": 3}
            assert view.under("c") == {}


async def test_values_of_a_type(storage):
    async with memory_client(storage) as one:
        await one.put_all({"a": {"score": 1}, "b": "no user"})
        async with one.view(type=User) as view:
            await view.loaded()
            assert view["a"] == User(1)
            assert list(view) == ["a"]
            assert "does not fit User" in str(view.invalid["b"])
            await one.put("b", {"score": 2})
            await eventually(lambda: view.get("b") == User(2))
            assert view.invalid == {}


async def test_more_keys_than_the_limit_are_an_error_that_says_so(storage):
    async with memory_client(storage) as one:
        await one.put_all({f"k{number}": number for number in range(5)})
        async with one.view("k", limit=4) as view:
            with pytest.raises(ConfigurationError, match="more than 4 keys that begin with 'k'"):
                await soon(view.loaded())
            with pytest.raises(ConfigurationError):
                view["k1"]
            with pytest.raises(ConfigurationError):
                await anext(aiter(view))
        async with one.view("k", limit=5) as view:
            assert len(await soon(view.loaded())) == 5
            await one.put("k5", 5)
            with pytest.raises(ConfigurationError):
                await eventually(lambda: len(view) > 5)
        with pytest.raises(ValueError, match="limit"):
            one.view(limit=0)
        with pytest.raises(TypeError, match="prefix is a text"):
            one.view(7)


async def test_errors_of_the_store_reach_whoever_uses_it(storage):
    async with memory_client(storage) as one:
        await one.put("k", 1)
        async with one.view() as view:
            await view.loaded()
            waiting = asyncio.ensure_future(anext(aiter(view)))
            query = asyncio.ensure_future(anext(aiter(view.where(lambda value: value > 5))))
            assert await soon(query) == {}
            await asyncio.sleep(0.01)
            storage.fail = lambda operation, key: AccessError("no")
            with pytest.raises(AccessError):
                await soon(waiting)
            with pytest.raises(AccessError):
                len(view)


# Queries


async def test_queries_select_and_sort(storage):
    async with memory_client(storage) as one:
        await one.put_all({"ann": 3, "bob": 5, "cid": 1, "dan": 5})
        async with one.view() as view:
            await view.loaded()
            assert view.where(lambda score: score > 2).result == {"ann": 3, "bob": 5, "dan": 5}
            assert list(view.order_by(lambda score: score).result) == ["cid", "ann", "bob", "dan"]
            assert list(view.order_by(lambda score: score, reverse=True).first(2).result) == ["dan", "bob"]
            assert view.first(1).result == {"ann": 3}
            narrow = view.where(lambda score: score > 1).where(lambda score: score < 5)
            assert narrow.result == {"ann": 3}
            with pytest.raises(ValueError, match="from 1, not 0"):
                view.first(0)
            with pytest.raises(TypeError):
                view.first("1")


async def test_a_query_wakes_only_when_its_result_changes(storage):
    async with memory_client(storage) as ann, memory_client(storage) as bob:
        await ann.put_all({"a": 1, "b": 2, "c": 3})
        async with bob.view() as view:
            results: list[dict[str, Any]] = []

            async def follow() -> None:
                async for result in view.order_by(lambda value: value, reverse=True).first(2):
                    results.append(result)

            following = asyncio.create_task(follow())
            await eventually(lambda: results == [{"c": 3, "b": 2}])
            await ann.put("a", 0)
            await ann.put("d", -1)
            await ann.put("e", 9)
            await eventually(lambda: results[-1] == {"e": 9, "c": 3})
            assert len(results) == 2
            await ann.delete("c")
            await eventually(lambda: results[-1] == {"e": 9, "b": 2})
        await soon(following)
        assert len(results) == 3


async def test_a_query_wakes_once_for_a_write_of_this_client(storage):
    """Not again when it is committed."""
    async with memory_client(storage) as one, one.view() as view:
        results = aiter(view.where(lambda value: value != "no"))
        assert await soon(anext(results)) == {}
        await one.put("k", [1, {"a": True}])
        assert await soon(anext(results)) == {"k": [1, {"a": True}]}
        await one.put("other", "no")
        waiting = asyncio.ensure_future(anext(results))
        await settle()
        assert not waiting.done()
        await one.put("k", [1, {"a": 1}])  # which Python takes for the same
        found = await soon(waiting)
        assert found["k"][1]["a"] is not True


async def test_an_exception_of_a_function_ends_its_query_and_nothing_else(storage):
    async with memory_client(storage) as one:
        await one.put("a", 1)
        async with one.view() as view:
            broken = aiter(view.where(lambda value: value > 0))
            good = aiter(view.where(lambda value: value != 1))
            assert await soon(anext(broken)) == {"a": 1}
            assert await soon(anext(good)) == {}
            await one.put("b", "a text")
            with pytest.raises(TypeError):
                await soon(anext(broken))
            assert await soon(anext(good)) == {"b": "a text"}


async def test_queries_that_nobody_iterates_any_more_are_forgotten(storage):
    async with memory_client(storage) as one:
        await one.put("a", 1)
        async with one.view() as view:
            for _ in range(5):
                async for _ in view.where(lambda value: value):
                    break
            await eventually(lambda: not view._queries)
            async for _ in view.first(1):
                assert len(view._queries) == 1
                break


async def test_a_thousand_queries_wake_where_they_are_concerned(storage):
    async with memory_client(storage) as one:
        await one.put_all({f"k{number}": {"room": number, "n": 0} for number in range(1000)})
        async with one.view() as view:
            await view.loaded()
            woken: dict[int, int] = dict.fromkeys(range(1000), 0)

            async def follow(room: int) -> None:
                async for _ in view.where(lambda value: value["room"] == room):
                    woken[room] += 1

            tasks = [asyncio.create_task(follow(room)) for room in range(1000)]
            await eventually(lambda: all(count == 1 for count in woken.values()))
            await one.put("k7", {"room": 7, "n": 1})
            await eventually(lambda: woken[7] == 2 or woken[7] == 3)
            assert [room for room, count in woken.items() if count > 1] == [7]
        await asyncio.gather(*tasks)


VALUES = some.dictionaries(some.sampled_from("abcdefgh"), some.integers(-3, 3))
CHANGES = some.lists(some.tuples(some.sampled_from("abcdefgh"), some.none() | some.integers(-3, 3)))


@given(VALUES, CHANGES, some.booleans(), some.booleans(), some.none() | some.integers(1, 4), some.booleans())
def test_a_selection_that_is_kept_is_one_made_anew(values, changes, filtered, ordered, number, reverse):
    predicates = ((lambda value: value % 2 == 0),) if filtered else ()
    criteria = Criteria(predicates, (lambda value: value * value) if ordered else None, reverse, number)
    kept, now = Selection(criteria, values), dict(values)
    before = kept.result()
    for key, value in changes:
        if value is None:
            now.pop(key, None)
        else:
            now[key] = value
        changed = kept.apply([Change(key, DELETE if value is None else value, "v")])
        anew = Selection(criteria, now).result()
        assert changed or list(anew.items()) == list(before.items())
        before = kept.result()
        assert list(before.items()) == list(anew.items())


# Notebooks


async def test_a_notebook_shows_a_table(storage):
    async with memory_client(storage) as one:
        await one.put_all({f"k{number:02}": "<b>" for number in range(30)})
        async with one.view() as view:
            await view.loaded()
            shown = view._repr_mimebundle_()
            assert "k00" in shown["text/plain"] and "… and 10 more" in shown["text/plain"]
            assert "<b>" not in shown["text/html"] and "&lt;b&gt;" in shown["text/html"]
            assert "k19" in shown["text/html"] and "k20" not in shown["text/html"]


async def test_the_table_moves(storage, monkeypatch):
    updates: list[str] = []

    class Handle:
        def update(self, bundle, *, raw):
            assert raw
            updates.append(bundle["text/plain"])

    monkeypatch.setattr("IPython.display.display", lambda bundle, *, raw, display_id: Handle())
    async with memory_client(storage) as one:
        async with one.view() as view:
            view._ipython_display_()
            await eventually(lambda: updates)
            await one.put("color", "red")
            await eventually(lambda: 'color  "red"' in updates[-1])
            assert view._displays
        assert not view._displays
