"""A client that holds next to nothing of a large manifest: every call fetches the pieces of runs that it needs."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import Any

import pytest
from helpers import BUCKET, Unreliable, eventually, memory_client, soon
from simulation.histories import Pieces, tiny

from mps3 import DELETE, KEPT, ExpiredError, UnavailableError
from mps3.format.run import Run

IN_PIECES: dict[str, Any] = {"prefetch": 0, "memory_bytes": 0}
NAMES = [f"item/{number:03}" for number in range(120)]


@pytest.fixture(params=[True, False], ids=["merge", "log"])
def storage(request):
    return Unreliable(versioning=request.param)


@pytest.fixture(autouse=True)
def _small():
    with tiny(Pieces(block=200, small=0, prefetch=0, memory=0)):
        yield


async def filled(storage, values=None, **options):
    """Keys in runs of several levels, and what they hold."""
    values = {name: {"n": number} for number, name in enumerate(NAMES)} if values is None else values
    async with memory_client(storage, **options) as ann:
        for start in range(0, len(values), 20):
            await ann.put_all(dict(list(values.items())[start : start + 20]))
        for number in range(8):
            await ann.put("last", number)
    return {**values, "last": 7}


@asynccontextmanager
async def opened(storage, **options):
    async with memory_client(storage, **{**IN_PIECES, **options}) as bob:
        await bob.get("nothing")
        assert layers_of(bob), "there are no runs"
        yield bob


def layers_of(client):
    view = client._manifests[client._default].state()[0]
    return [layer for layer in view.layers if isinstance(layer, Run)]


async def test_every_call_that_reads(storage):
    values = await filled(storage)
    async with opened(storage) as bob:
        assert [await bob.get(name) for name in NAMES] == [values[name] for name in NAMES]
        assert await bob.get("item/9", "no") == "no"
        assert await bob.keys() == sorted(values)
        assert await bob.keys("item/01", limit=3, after="item/013") == ["item/014", "item/015", "item/016"]
        assert await bob.get_all(prefix="item/05") == {name: values[name] for name in NAMES if name[:7] == "item/05"}
        assert await bob.get_all([NAMES[5], "no", "last"]) == {NAMES[5]: {"n": 5}, "last": 7}
        there = await bob.snapshot()
        assert await there.keys() == sorted(values)
        assert await there.get(NAMES[77]) == {"n": 77}
        assert [one.key for one in await there.files("item/11")] == NAMES[110:]
        assert [await revision.value() for revision in await bob.history(NAMES[3])] == [{"n": 3}]


@pytest.mark.usefixtures("mps3_clock")
async def test_every_call_that_writes(storage):
    await filled(storage)
    async with opened(storage) as bob:
        await bob.patch(NAMES[0], {"p": 1})
        assert await bob.get(NAMES[0]) == {"n": 0, "p": 1}
        await bob.delete(NAMES[1])
        assert await bob.get(NAMES[1], DELETE) is DELETE
        assert (await bob.update(NAMES[2], lambda old: {**old, "u": 1})) is not None
        version = (await (await bob.snapshot()).files(NAMES[3]))[0].version
        await bob.put(NAMES[3], "new", if_version=version)

        async def swap(tx):
            one, other = await tx.get(NAMES[4]), await tx.get(NAMES[5])
            tx.put(NAMES[4], other)
            tx.put(NAMES[5], one)

        await bob.transact(swap)
        assert await bob.get_all(NAMES[2:6]) == {
            NAMES[2]: {"n": 2, "u": 1},
            NAMES[3]: "new",
            NAMES[4]: {"n": 5},
            NAMES[5]: {"n": 4},
        }
        async with opened(storage) as carl:
            assert await carl.get_all(prefix="item/") == await bob.get_all(prefix="item/")


@pytest.mark.usefixtures("mps3_clock")
async def test_a_transaction_keeps_an_expiry_that_has_to_be_fetched(storage):
    async with memory_client(storage) as ann:
        await ann.put("short", 1, expires_in=3600)
        before = (await (await ann.snapshot()).files("short"))[0].expires
    await filled(storage)
    async with opened(storage) as bob:

        async def renew(tx):
            tx.put("short", 2, expires_in=KEPT)

        await bob.transact(renew)
        (found,) = await (await bob.snapshot()).files("short")
        assert (await bob.get("short"), found.expires) == (2, before)


async def test_subscriptions_and_watches(storage):
    values = await filled(storage)
    async with opened(storage) as bob, memory_client(storage) as ann:
        subscription = bob.subscribe(NAMES[9])
        assert await soon(anext(subscription)) == {"n": 9}
        listed: dict[str, Any] = {}
        watch = bob.watch("item/")
        async for batch in watch:
            listed.update((change.key, change.value) for change in batch.changes)
            if batch.end_of_initial:
                break
        assert listed == {name: values[name] for name in NAMES}
        await ann.put_all({NAMES[9]: "changed", NAMES[10]: DELETE})
        assert await soon(anext(subscription)) == "changed"
        batch = await soon(anext(watch))
        assert {change.key: change.value for change in batch.changes} == {NAMES[9]: "changed", NAMES[10]: DELETE}


@pytest.mark.usefixtures("mps3_clock")
async def test_a_key_that_lies_in_a_run_expires_for_who_has_looked_at_it(storage):
    async with memory_client(storage) as ann:
        await ann.put("short", 1, expires_in=4)
        await filled(storage)
    async with opened(storage) as bob:
        subscription = bob.subscribe("short", default="gone")
        first = await soon(anext(subscription))
        assert first == "gone" or await soon(anext(subscription), 10) == "gone"


async def test_restoring_one_key_reads_next_to_nothing_of_the_others(storage):
    await filled(storage)
    async with opened(storage) as bob:
        then = await bob.put("one", 1)
        await bob.put("one", 2)
        before = bob.statistics().requests["GetObject"]
        assert (await bob.restore_all(then.id)) is not None
        assert await bob.get("one") == 1
        assert bob.statistics().requests["GetObject"] - before < 4 * len(layers_of(bob))


async def test_what_is_written_offline_to_keys_that_are_not_at_hand(storage, tmp_path):
    await filled(storage)
    seen: list[Any] = []
    async with opened(storage, offline=tmp_path, on_reconnect=seen.append) as bob, memory_client(storage) as ann:
        assert await bob.get(NAMES[0]) == {"n": 0}
        bob.go_offline()
        assert await bob.get(NAMES[0]) == {"n": 0}  # what was read is kept
        write = bob.put(NAMES[50], "mine")
        await ann.put(NAMES[50], "theirs")
        bob.go_online()
        await soon(write)
        assert [change.current for one in seen for pending in one.conflicts for change in pending.changes.values()] == [
            "theirs"
        ]
        assert await ann.get(NAMES[50]) in ("mine", "theirs")
        await eventually(lambda: _is(ann, NAMES[50], "mine"))


async def _is(client, key, value):
    return await client.get(key) == value


class TestWhatWasCollected:
    """With the log journal, a client goes by an old checkpoint whose runs others have merged and collected."""

    @pytest.fixture
    def storage(self):
        return Unreliable(versioning=False)

    @asynccontextmanager
    async def behind(self, storage):
        """A client whose state names runs that are gone."""
        values = await filled(storage)
        async with opened(storage) as bob:
            old = {layer.reference.key for layer in layers_of(bob)}
            async with memory_client(storage) as ann:
                for number in range(40):
                    await ann.put(NAMES[number], number)
                    values[NAMES[number]] = number
            await bob.refresh() if hasattr(bob, "refresh") else await bob.get("last")
            async with opened(storage) as fresh:
                needed = {layer.reference.key for layer in layers_of(fresh)}
            named = {layer.reference.key for layer in layers_of(bob)}
            assert named - needed or old - needed, "nothing was merged"
            for key in (old | named) - needed:
                await storage.delete(BUCKET, key)
            yield bob, values

    async def test_reads_go_on(self, storage):
        async with self.behind(storage) as (bob, values):
            assert await soon(bob.get(NAMES[100])) == values[NAMES[100]]
            assert await soon(bob.keys("item/")) == NAMES
            assert await soon(bob.get_all(prefix="item/")) == {name: values[name] for name in NAMES}
            assert await soon(anext(bob.subscribe(NAMES[99]))) == values[NAMES[99]]

    async def test_writes_go_on(self, storage):
        async with self.behind(storage) as (bob, values):
            await soon(bob.patch(NAMES[101], {"p": 1}))
            await soon(bob.update(NAMES[102], lambda old: {**old, "u": 1}))
            assert await soon(bob.get(NAMES[101])) == {**values[NAMES[101]], "p": 1}
            assert await soon(bob.get(NAMES[102])) == {**values[NAMES[102]], "u": 1}

    async def test_an_old_snapshot_says_so(self, storage):
        await filled(storage)
        async with opened(storage) as bob:
            old = await bob.snapshot()
            for layer in layers_of(bob):
                await storage.delete(BUCKET, layer.reference.key)
            with pytest.raises(ExpiredError):
                await old.get(NAMES[60])

    async def test_a_view_begins_anew(self, storage):
        async with self.behind(storage) as (bob, values):
            view = await soon(bob.view("item/").loaded())
            assert dict(view) == {name: values[name] for name in NAMES}


async def test_many_who_want_the_same_piece_fetch_it_once():
    storage = Unreliable(versioning=False)
    await filled(storage)
    async with opened(storage, memory_bytes=2**20) as bob:
        before = bob.statistics().requests["GetObject"]
        found = await asyncio.gather(*(bob.get(NAMES[30]) for _ in range(50)))
        assert found == [{"n": 30}] * 50
        assert bob.statistics().requests["GetObject"] - before < 3 * len(layers_of(bob)) + 60


async def test_what_was_read_together_is_there_offline_one_by_one(storage, tmp_path):
    values = await filled(storage)
    async with opened(storage, offline=tmp_path) as bob:
        assert len(await bob.get_all(prefix="item/")) == len(NAMES)
    async with memory_client(storage, **IN_PIECES, offline=tmp_path, online=False) as bob:
        assert await soon(bob.get(NAMES[61])) == values[NAMES[61]]
        assert await soon(bob.get_all(prefix="item/07")) == {name: values[name] for name in NAMES[70:80]}


async def test_a_watch_tells_of_a_pending_patch_although_the_store_fails_once(storage):
    await filled(storage)
    async with opened(storage) as bob:
        watch = bob.watch(NAMES[33])
        assert (await soon(anext(watch))).end_of_initial
        failed: list[str] = []

        def fail(operation, key):
            if operation == "get" and ".runs/" in key and len(failed) < 2:
                failed.append(key)
                return UnavailableError("not this time", operation="GetObject")
            return UnavailableError("not yet", operation="PutObject") if operation == "put" else None

        storage.fail = fail
        write = bob.patch(NAMES[33], {"p": 1})
        batch = await soon(anext(watch))
        assert failed and [(change.value, change.pending) for change in batch.changes] == [({"n": 33, "p": 1}, True)]
        storage.fail = lambda *_: None
        await soon(write)
