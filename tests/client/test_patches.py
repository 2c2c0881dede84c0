"""Changes of parts of values: they merge with what others change, and their writer hears of what does not apply."""

from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack

import pytest
from helpers import BUCKET, COMMIT, Unreliable, client, eventually, memory_client, settle, soon
from places import place

from mps3 import (
    DELETE,
    Append,
    ConfigurationError,
    ConflictError,
    Increment,
    Maximum,
    MemoryStorage,
    Minimum,
    Prepend,
    Remove,
    Union,
)
from mps3.manifest.rebasing import WAIT
from mps3.storage import Object

__all__ = ["place"]  # a fixture

pytestmark = pytest.mark.parametrize("versioning", [True, False], ids=["merge", "log"])
NEVER = 3600.0


@pytest.fixture
async def storage(versioning):
    return Unreliable(versioning=versioning)


@pytest.fixture
async def pair(storage):
    async with memory_client(storage) as one, memory_client(storage) as other:
        yield one, other


async def test_two_people_change_two_fields(place, versioning):
    bucket, options, _ = await place(versioning)
    async with client(bucket, **options) as one, client(bucket, **options) as other:
        await one.put("card", {"title": "a", "text": "b", "tags": ["x"], "old": 1})
        await other.get("card")
        await asyncio.gather(
            one.patch("card", {"title": "A", "tags": Union("y"), "old": DELETE}),
            other.patch("card", {"text": "B", "tags": Union("z"), "none": None}),
        )
        found = await one.get("card")
        assert found == await other.get("card")
        assert sorted(found.pop("tags")) == ["x", "y", "z"]
        assert found == {"title": "A", "text": "B", "none": None}


@pytest.mark.parametrize("inline", [0, 1024])
async def test_a_counter_needs_no_retry(place, versioning, inline):
    bucket, options, _ = await place(versioning)
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(client(bucket, inline=inline, **options)) for _ in range(3)]

        async def count(one):
            for _ in range(7):
                await one.increment("n", 2, path="/of/all")

        await asyncio.gather(*map(count, clients))
        assert [await one.get("n") for one in clients] == [{"of": {"all": 42}}] * 3


async def test_a_thousand_increments_are_one_commit(storage):
    async with memory_client(storage, poll_interval=NEVER) as one:
        await one.put("first", 1)
        before = storage.count("put", COMMIT)
        writes = [one.increment("n") for _ in range(1000)]
        assert await one.get("n") == 1000  # it is seen here at once
        commits = await asyncio.gather(*writes)
        assert len({commit.id for commit in commits}) == 1
        assert storage.count("put", COMMIT) == before + 1
        assert await one.get("n") == 1000
        (version,) = {commit.versions["n"] for commit in commits}
        await one.put("n", 5, if_version=version)


@pytest.mark.parametrize(
    ("there", "changes", "becomes"),
    [
        (DELETE, {"a": {"b": 1}}, {"a": {"b": 1}}),
        (DELETE, {}, {}),
        ({"a": 1}, {}, {"a": 1}),
        ([1], {"a": 1}, {"a": 1}),  # RFC 7386
        ({"a": "text"}, {"a": {"b": None}}, {"a": {"b": None}}),
        ({"a": {"b": 1, "c": 2}}, {"a": {"b": DELETE}}, {"a": {"c": 2}}),
        ({}, {"a": DELETE}, {}),
        ({"a": 1}, {"a": [None, {"b": None}]}, {"a": [None, {"b": None}]}),
        ({"a": 1}, {"a": Increment(-2), "b": Increment(1.5)}, {"a": -1, "b": 1.5}),
        ({"a": [1]}, {"a": Append(2, 1), "b": Append()}, {"a": [1, 2, 1], "b": []}),
        ({"a": [1]}, {"a": Prepend(2, 3)}, {"a": [2, 3, 1]}),
        ({"a": [1, {"x": 1, "y": 2}]}, {"a": Union({"y": 2, "x": 1}, 1.0, True, 1)}, None),
        ({"a": [1, 2, 1, True]}, {"a": Remove(1, 3)}, {"a": [2, True]}),
        ({"a": 3}, {"a": Maximum(5), "b": Maximum(1), "c": Minimum(2)}, {"a": 5, "b": 1, "c": 2}),
        ({"a": 3}, {"a": Minimum(5.5)}, {"a": 3}),
        (DELETE, {"a": {"b": {"c": Increment()}}}, {"a": {"b": {"c": 1}}}),
        (DELETE, Append(1), [1]),
        ([1], Union(1, 2), [1, 2]),
        (5, Maximum(3), 5),
        ({"a/b": {"~": 1}}, {"a/b": {"~": Increment(1)}}, {"a/b": {"~": 2}}),
    ],
)
async def test_what_a_change_makes(pair, versioning, there, changes, becomes):
    one, other = pair
    if becomes is None:
        becomes = {"a": [1, {"x": 1, "y": 2}, 1.0, True]}
    await one.put("k", there)
    write = one.patch("k", changes)
    assert json.dumps(await one.get("k")) == json.dumps(becomes)
    await write
    assert json.dumps(await one.get("k")) == json.dumps(await other.get("k")) == json.dumps(becomes)


@pytest.mark.parametrize(
    ("there", "changes", "why"),
    [
        ({"a": "text"}, {"a": Increment(1)}, "/a is a text, not a number"),
        ({"a": True}, {"a": Maximum(1)}, "/a is a boolean, not a number"),
        ({"a": {}}, {"a": Append(1)}, "/a is an object, not a list"),
        ({"a": None}, {"a": Union(1)}, "/a is null, not a list"),
        ({"a": "text"}, {"a": {"b": Increment(1)}}, "/a is a text, which has no part 'b'"),
        ({"a": [1]}, {"a": {"b": Increment(1)}}, "/a is a list of 1, which has no part 'b'"),
        ({"a": 2**64 - 1}, {"a": Increment(1)}, "/a would overflow"),
        ({"a": -(2**63)}, {"a": Increment(-1)}, "/a would overflow"),
        ({"a": 1.7e308}, {"a": Increment(1.7e308)}, "/a would overflow"),
        (7, {"a": Increment(1)}, "the value is a number, which has no part 'a'"),
        ("text", {"a": {"b": Append(1)}}, "the value is a text, which has no part 'a'"),
    ],
)
@pytest.mark.parametrize("inline", [0, 1024])
async def test_what_does_not_apply_changes_nothing(storage, versioning, there, changes, why, inline):
    async with memory_client(storage, inline=inline) as one, memory_client(storage) as other:
        await one.put("k", there)
        with pytest.raises(ConflictError, match=why):
            await one.patch("k", {**changes, "other": Maximum(1)})
        assert await one.get("k") == await other.get("k") == there
        # The next one is not in its way.
        await other.put("k", {"a": 1})
        await one.patch("k", {"b": 2})
        assert await other.get("k") == {"a": 1, "b": 2}


async def test_of_several_in_one_commit_only_that_fails_which_does_not_apply(storage):
    async with memory_client(storage) as one:
        await one.put("k", {"n": 1, "t": "x"})
        writes = [one.patch("k", {"n": Increment(1)}), one.patch("k", {"t": Increment(1)}), one.increment("m")]
        writes.append(one.patch("k", {"n": Increment(3)}))
        results = await asyncio.gather(*writes, return_exceptions=True)
        assert isinstance(results[1], ConflictError)
        assert results[0].id == results[2].id == results[3].id
        assert await one.get("k") == {"n": 5, "t": "x"}
        assert await one.get("m") == 1


async def test_a_patch_of_several_keys_is_all_or_nothing(storage):
    async with memory_client(storage) as one, memory_client(storage, inline=0) as other:
        await other.put_all({"a": {"n": 1}, "b": {"n": "text"}})
        before = storage.count("put", COMMIT)
        with pytest.raises(ConflictError, match="'b': /n is a text") as caught:
            await one.patch_all({"a": {"n": Increment(1)}, "b": {"n": Increment(1)}})
        assert not caught.value.maybe_written
        assert storage.count("put", COMMIT) == before
        assert await one.get("a") == {"n": 1}
        await other.put("b", {})  # which the other client has not heard of
        await one.patch_all({"a": {"n": Increment(1)}, "b": {"n": Increment(1)}})
        assert await other.get_all(["a", "b"]) == {"a": {"n": 2}, "b": {"n": 1}}


async def test_a_patch_of_several_keys_in_a_race(storage):
    """Of two keys one is changed by another client between the look and the commit."""
    async with memory_client(storage, poll_interval=NEVER) as one, memory_client(storage) as other:
        await one.put_all({"a": {"n": 1}, "b": {"n": 1}})
        before = storage.count("put", COMMIT)
        storage.hold("put", COMMIT)
        write = one.patch_all({"a": {"n": Increment(1)}, "b": {"n": Increment(1)}})
        await eventually(lambda: storage.count("put", COMMIT) > before)
        waiting, storage.hang = storage.switch, lambda operation, key: False
        await other.put("b", "text")
        waiting.set()
        with pytest.raises(ConflictError, match=r"'b': the value is a text.* other keys was done") as caught:
            await write
        assert caught.value.maybe_written
        assert await one.get_all(["a", "b"]) == {"a": {"n": 2}, "b": "text"}


async def test_puts_and_deletes_before_and_after(storage):
    async with memory_client(storage) as one, memory_client(storage) as other:
        one.increment("k")
        one.put("k", {"a": 1})
        one.patch("k", {"b": 2})
        assert await one.get("k") == {"a": 1, "b": 2}
        one.delete("k")
        one.patch("k", {"c": 3})
        assert await one.get("k") == {"c": 3}
        large = "x" * 5000
        one.put("k", {"large": large})
        await one.patch("k", {"d": 4})
        assert await one.get("k") == await other.get("k") == {"large": large, "d": 4}
        await one.put("k", 1)
        assert await other.get("k") == 1


async def test_a_pending_patch_lies_over_what_others_change(storage):
    async with memory_client(storage) as one, memory_client(storage) as other:
        await one.put("k", {"n": 1})
        async with one.subscribe("k") as values, one.watch() as batches:
            assert await anext(values) == {"n": 1}
            await anext(batches)
            before = storage.count("put", COMMIT)
            storage.hold("put", COMMIT)
            write = one.patch("k", {"n": Increment(1)})
            assert await soon(anext(values)) == {"n": 2}
            (change,) = (await soon(anext(batches))).changes
            assert (change.value, change.pending) == ({"n": 2}, True)
            await eventually(lambda: storage.count("put", COMMIT) > before)
            waiting, storage.hang = storage.switch, lambda operation, key: False
            await other.patch("k", {"n": Increment(10), "m": 1})
            waiting.set()
            await write
            await eventually(lambda: _is(one, "k", {"n": 12, "m": 1}))
            shown = {}
            while shown != {"n": 12, "m": 1}:
                shown = await soon(anext(values))
            committed = []
            while {"n": 12, "m": 1} not in committed:
                committed += [one.value for one in (await soon(anext(batches))).changes if not one.pending]


async def _is(one, key, value):
    return await one.get(key) == value


async def test_patches_wait_in_front_of_a_stored_value(storage, versioning):
    """What is stored once is not stored again by each, and is from time to time."""
    async with memory_client(storage, inline=0) as one, memory_client(storage) as other:
        await one.put("k", {"text": "x" * 3000, "n": 0})
        values = storage.count("put", "k") + sum(key.startswith("k@") for _, key in storage.calls)
        for number in range(1, WAIT):
            await one.increment("k", path="/n")
            assert (await other.get("k"))["n"] == number
        assert storage.count("put", "k") + sum(
            key.startswith("k@") and asked == "put" for asked, key in storage.calls
        ) == (values if versioning else 1)
        async with other.subscribe("k") as seen, other.watch("k") as batches:
            assert (await anext(seen))["n"] == WAIT - 1
            await anext(batches)
            commit = await one.increment("k", path="/n")  # and the value is stored
            assert (await soon(anext(seen)))["n"] == WAIT
            await eventually(lambda: one.status().pending == 0)
            assert (await one.history("k"))[0].version == commit.versions["k"]
            # That is no change to anybody.
            await other.put("l", 1)
            assert [change.value["n"] for change in (await soon(anext(batches))).changes] == [WAIT]
            await one.put("l2", 1)
            await one.increment("k", path="/n")
            assert (await soon(anext(seen)))["n"] == WAIT + 1
            assert [change.value["n"] for change in (await soon(anext(batches))).changes] == [WAIT + 1]
    async with memory_client(storage) as third:
        assert await third.get("k") == {"text": "x" * 3000, "n": WAIT + 1}


async def test_with_inline_0_each_value_becomes_an_object(storage, versioning):
    async with memory_client(storage, inline=0) as one:
        await one.patch("k", {"a": 1})
        await eventually(lambda: one.status().pending == 0 and any(key.startswith("k") for _, key in storage.calls))
        await eventually(lambda: _stored(storage, versioning, {"a": 1}))


async def _stored(storage, versioning, value):
    found = [entry.key for entry in (await storage.list(BUCKET)).entries if entry.key.startswith("k")]
    for key in found:
        body = await storage.get(BUCKET, key)
        if isinstance(body, Object) and json.loads(body.body) == value:
            return True
    return False


async def test_a_value_that_grows_too_large_to_be_inline(storage):
    async with memory_client(storage) as one, memory_client(storage) as other:
        for _ in range(5):
            await one.patch("k", {"list": Append("x" * 20_000)})
        assert len((await other.get("k"))["list"]) == 5
        await eventually(lambda: one.status().pending == 0)
        await one.patch("k", {"n": 1})
        found = await other.get("k")
        assert (len(found["list"]), found["n"]) == (5, 1)
    async with memory_client(storage) as third:
        assert await third.get("k") == found


async def test_a_collection_keeps_what_patches_wait_for(storage, versioning):
    async with memory_client(storage, inline=0) as one:
        await one.put("k", {"a": 1})
        await one.patch("k", {"b": 2})
        await one.put("x", 1)
        await one.collect(retention=0)
        async with memory_client(storage) as other:
            assert await other.get("k") == {"a": 1, "b": 2}


async def test_the_history_has_each_change(storage):
    async with memory_client(storage) as one, memory_client(storage) as other:
        await one.put("k", {"n": 0})
        for number in range(1, 4):
            await (one, other)[number % 2].increment("k", path="/n")
        with pytest.raises(ConflictError):
            await one.patch("k", {"n": Append(1)})
        await other.put("k", {"n": 10, "large": "x" * 2000})
        await other.increment("k", path="/n")
        await eventually(lambda: other.status().pending == 0)
        revisions = await one.history("k")
        assert [(await revision.value())["n"] for revision in revisions] == [11, 10, 3, 2, 1, 0]
        assert [(await one.history("k", limit=1))[0].version] == [revisions[0].version]
        (some,) = [revision for revision in revisions if (await revision.value())["n"] == 2]
        assert await one.get("k", at=some.id) == {"n": 2}
        await one.restore("k", some)
        assert await other.get("k") == {"n": 2}


@pytest.mark.usefixtures("mps3_clock")
async def test_if_version(storage):
    async with memory_client(storage) as one, memory_client(storage) as other:
        with pytest.raises(ConflictError):
            await one.patch("k", {"a": 1}, if_version="none")
        commit = await one.patch("k", {"a": 1}, if_version=None)
        second = await other.patch("k", {"b": 1}, if_version=commit.versions["k"])
        with pytest.raises(ConflictError):
            await one.patch("k", {"c": 1}, if_version=commit.versions["k"])
        assert await one.get("k") == {"a": 1, "b": 1}
        assert second.versions["k"] == (await one.history("k"))[0].version


@pytest.mark.usefixtures("mps3_clock")
async def test_in_a_transaction(storage):
    async with memory_client(storage) as one, memory_client(storage) as other:
        await one.put_all({"k": {"n": 1}, "l": 1})
        async with one.transaction() as transaction:
            assert await transaction.get("l") == 1
            transaction.patch("k", {"n": Increment(1), "a": 1})
            transaction.increment("k", path="/n")
            transaction.increment("l", 5)
            transaction.put("m", {"x": 1})
            transaction.patch("m", {"y": 2})
            transaction.patch_all({"o": {"z": 3}})
            await other.patch("k", {"b": 1})  # is no conflict: it was not read
        assert await other.get_all(["k", "l", "m", "o"]) == {
            "k": {"n": 3, "a": 1, "b": 1},
            "l": 6,
            "m": {"x": 1, "y": 2},
            "o": {"z": 3},
        }
        with pytest.raises(ConflictError):
            async with one.transaction() as transaction:
                transaction.increment("k", path="/n")
                assert (await transaction.get("k"))["n"] == 4
                await other.increment("k", path="/n")  # is one: it was read
        assert (await one.get("k"))["n"] == 4
        with pytest.raises(ConflictError, match="wrote"):
            async with one.transaction() as transaction:
                transaction.put("p", "text")
                transaction.increment("p")
        assert await one.get("p") is None

        async def both(transaction):
            transaction.increment("l", 10)
            return await transaction.get("l")

        assert sorted(await asyncio.gather(*(one.transact(both) for _ in range(3)))) == [16, 26, 36]


async def test_many_patches_are_several_commits(storage):
    """Patches do not become runs, so that a commit has only so many of them."""
    large = "x" * 30_000
    async with memory_client(storage) as one, memory_client(storage) as other:
        with pytest.raises(ValueError, match="more than 122880"):
            one.patch_all({f"k{number}": {"a": large} for number in range(5)})
        commits = await asyncio.gather(*(one.patch(f"k{number}", {"a": large}) for number in range(10)))
        assert 2 < len({commit.id for commit in commits}) <= 10
        assert await other.get_all(prefix="k") == {f"k{number}": {"a": large} for number in range(10)}

        async def change(transaction, number):
            transaction.patch(f"k{number}", {"b": large})

        await asyncio.gather(*(one.transact(lambda t, n=number: change(t, n)) for number in range(10)))
        assert await other.get_all(prefix="k") == {f"k{number}": {"a": large, "b": large} for number in range(10)}
        with pytest.raises(ValueError, match="more than 122880"):
            async with one.transaction() as transaction:
                for number in range(5):
                    transaction.patch(f"k{number}", {"c": large})
        assert "c" not in (await one.get("k0"))


@pytest.mark.usefixtures("mps3_clock")
async def test_updates_and_patches_of_one_key(storage):
    """An update that read what a patch changed meanwhile runs again."""
    async with memory_client(storage) as one, memory_client(storage) as other:
        await asyncio.gather(
            *(one.update("n", lambda value: value + 100, 0) for _ in range(3)),
            *(other.increment("n") for _ in range(20)),
            *(one.increment("n") for _ in range(20)),
        )
        assert await one.get("n") == await other.get("n") == 340


async def test_a_patch_of_a_key_in_another_bucket_and_manifest(storage):
    async with memory_client(storage) as one:
        await one.put("k", {"a": 1}, bucket="other", manifests=["x", "y"])
        await one.patch("k", {"b": 2}, bucket="other", manifests=["x", "y"])
        for manifest in "xy":
            assert await one.get("k", bucket="other", manifest=manifest) == {"a": 1, "b": 2}
        assert await one.get("k") is None


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda one: one.patch("k", [1]), TypeError, "a mapping of names to values, not list"),
        (lambda one: one.patch("k", {1: 2}), TypeError, "the keys of JSON objects are texts"),
        (lambda one: one.patch("k", {"a": object()}), TypeError, "/a.*not JSON"),
        (lambda one: one.patch("k", {"a": Increment}), TypeError, "the class Increment, not"),
        (lambda one: one.patch("k", {"a": [Increment(1)]}), TypeError, "not JSON"),
        (lambda one: one.patch("k", {"a": "x" * 40_000}), ValueError, "more than 32768"),
        (lambda one: one.patch("k", {"a": float("nan")}), ValueError, "nan"),
        (lambda one: one.increment("k", "1"), TypeError, "a number, not str"),
        (lambda one: one.increment("k", True), TypeError, "a number, not bool"),
        (lambda one: one.increment("k", float("inf")), ValueError, "finite"),
        (lambda one: one.increment("k", 2**64), ValueError, "64 bits"),
        (lambda one: one.increment("k", path="votes"), ValueError, "begins with a slash"),
        (lambda one: one.increment("k", path="/a~"), ValueError, "tilde"),
        (lambda one: one.patch_all({}), ValueError, "nothing to write"),
        (lambda one: one.patch_all({str(number): {} for number in range(501)}), ValueError, "more than 500"),
        (lambda one: one.patch("manifest.json", {}), ConfigurationError, "is kept: choose another"),
    ],
)
async def test_bad_calls_say_what_is_wrong(storage, call, error, message):
    async with memory_client(storage) as one:
        with pytest.raises(error, match=message):
            call(one)
        assert one.status().pending == 0


async def test_a_patch_can_be_withdrawn(storage):
    async with memory_client(storage) as one:
        await one.put("k", 1)
        storage.down()
        await eventually(lambda: not one.status().online)
        write = one.increment("k")
        assert await one.get("k") == 2
        assert write.withdraw()
        assert await one.get("k") == 1
        storage.up()


async def test_expiry_is_kept_unless_said(versioning):
    storage = MemoryStorage(versioning=versioning)
    async with memory_client(storage) as one:
        await one.put("k", {"a": 1}, expires_in=3600)
        (before,) = await (await one.snapshot()).files()
        await one.patch("k", {"b": 1})
        (after,) = await (await one.snapshot()).files()
        assert before.expires == after.expires is not None
        await one.patch("k", {"b": 2}, expires_in=7200)
        (later,) = await (await one.snapshot()).files()
        assert later.expires > after.expires
        assert await one.get("k") == {"a": 1, "b": 2}
        await one.increment("n", expires_in=0.05)
        await eventually(lambda: _is(one, "n", None))
        await one.increment("n")
        assert await one.get("n") == 1  # what has expired is not there
        await settle()
