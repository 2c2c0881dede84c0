"""A transaction that arrives late: one that has failed takes no effect, nor does one that is stamped after a lease is over.

With the log journal a PUT succeeds as long as nobody else has taken its slot, and that a key expires is no commit.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from commits import is_commit, slots_of
from helpers import BUCKET, MANIFEST, Clock, eventually, memory_client, soon

from mps3 import MPS3, AccessError, ConflictError, MemoryStorage, UnavailableError
from mps3.format.slot import slot_key

LEASE = 6.0


class Slow(MemoryStorage):
    """Keeps PUTs of commits back, to carry them out later.

    Attributes:
        lost: How many are to be kept back while whoever sent them hears, three leases later, that the connection broke.
        hanging: How many are to be kept back while whoever sent them waits.
        kept: What is kept back.
        go: Set when what hangs is to go on.
        refused: An error that all further PUTs of commits end with.
    """

    def __init__(self, *, versioning: bool = False) -> None:
        self.time = Clock()
        super().__init__(versioning=versioning, clock=self.time)
        self.lost = self.hanging = 0
        self.kept: list[tuple[str, bytes, dict[str, Any]]] = []
        self.go = asyncio.Event()
        self.refused: Exception | None = None

    async def put(self, bucket: str, key: str, body: bytes, **options: Any) -> Any:
        if is_commit(key) and self.lost:
            self.lost -= 1
            self.kept.append((key, body, options))
            self.time.later(3 * LEASE)  # before it is tried again
            raise UnavailableError("the connection broke", bucket=bucket, key=key, operation="PutObject")
        if is_commit(key) and self.hanging:
            self.hanging -= 1
            self.kept.append((key, body, options))
            await self.go.wait()
        elif is_commit(key) and self.refused is not None:
            raise self.refused
        return await super().put(bucket, key, body, **options)

    async def deliver(self) -> list[bool]:
        """Carry out what was kept back: which of it took effect."""
        done = []
        for key, body, options in self.kept:
            try:
                await MemoryStorage.put(self, BUCKET, key, body, **options)
                done.append(True)
            except ConflictError:
                done.append(False)
        return done


class NotMineErrorError(Exception):
    """The lease is over."""


@pytest.fixture
def store() -> Slow:
    return Slow()


@pytest.fixture
async def ann(store: Slow):
    async with memory_client(store, poll_interval=60, journal="log") as one:
        yield one


async def act(client: MPS3, runs: list[Any]) -> None:
    """What only the holder of the lease may do."""

    async def run(transaction: Any) -> None:
        holder = await transaction.get("lease")
        runs.append(holder)
        if holder != "ann":
            raise NotMineErrorError
        transaction.put("done", "by ann")

    await client.transact(run)


async def act_in_a_block(client: MPS3, runs: list[Any]) -> None:
    async with client.transaction() as transaction:
        runs.append(await transaction.get("lease"))
        transaction.put("done", "by ann")


async def nobody_sees(store: Slow, *clients: MPS3) -> None:
    for one in clients:
        assert await one.get("done") is None
    async with memory_client(store, poll_interval=60) as bob:
        assert await bob.get("done") is None
        await soon(bob.put("next", 1))
        assert await bob.get("done") is None
    for one in clients:
        assert await one.get("next") == 1
        assert await one.get("done") is None


@pytest.mark.parametrize("way", [act, act_in_a_block], ids=["transact", "block"])
@pytest.mark.parametrize("journal", ["log", "merge"])
@pytest.mark.usefixtures("mps3_clock")
async def test_a_transaction_that_has_raised_takes_no_effect_when_its_put_arrives_later(journal, way):
    store = Slow(versioning=journal == "merge")
    async with memory_client(store, poll_interval=60) as ann:
        await soon(ann.put("lease", "ann", expires_in=LEASE))
        runs: list[Any] = []
        store.lost = 1
        acting = asyncio.ensure_future(way(ann, runs))
        await eventually(lambda: store.kept)
        with pytest.raises((NotMineErrorError, ConflictError)) as caught:
            await soon(acting)
        assert not getattr(caught.value, "maybe_written", False)
        assert runs[0] == "ann"
        await store.deliver()
        await nobody_sees(store, ann)


@pytest.mark.parametrize("way", [act, act_in_a_block], ids=["transact", "block"])
async def test_a_transaction_that_is_stamped_after_a_lease_that_it_has_read_is_over_does_not_count(store, ann, way):
    await soon(ann.put("lease", "ann", expires_in=LEASE))
    async with memory_client(store, poll_interval=0.05) as reader:
        store.hanging = 1
        acting = asyncio.ensure_future(way(ann, []))
        await eventually(lambda: store.kept)
        store.time.later(LEASE + 8)
        store.go.set()
        with pytest.raises((NotMineErrorError, ConflictError)) as caught:
            await soon(acting)
        assert not getattr(caught.value, "maybe_written", False)
        await nobody_sees(store, ann, reader)


async def test_a_transaction_that_is_stamped_before_the_end_of_the_lease_counts_though_it_is_answered_later(store, ann):
    """The stamp decides, not the time of the answer."""
    await soon(ann.put("lease", "ann", expires_in=LEASE))

    class Answered(MemoryStorage):
        """Answers a PUT later than it is carried out."""

    put = store.put

    async def late(bucket: str, key: str, body: bytes, **options: Any) -> Any:
        stored = await put(bucket, key, body, **options)
        if is_commit(key):
            store.time.later(LEASE - 1)
            return type(stored)(stored.version, stored.etag, store.time())
        return stored

    store.put = late  # type: ignore[method-assign]
    await soon(act(ann, []))
    store.put = put  # type: ignore[method-assign]
    assert await ann.get("done") == "by ann"
    async with memory_client(store) as bob:
        assert await bob.get("done") == "by ann"
        store.time.later(LEASE)
        await soon(bob.put("next", 1))
        assert await bob.get("done") == "by ann"
    assert await ann.get("done") == "by ann"


async def test_a_late_transaction_that_does_not_count_is_not_part_of_the_history():
    store = Slow(versioning=True)
    async with memory_client(store, poll_interval=60, journal="log") as ann:
        await soon(ann.put("done", "before"))
        await soon(ann.put("lease", "ann", expires_in=LEASE))
        store.hanging = 1
        acting = asyncio.ensure_future(act(ann, []))
        await eventually(lambda: store.kept)
        store.time.later(LEASE + 8)
        store.go.set()
        with pytest.raises(NotMineErrorError):
            await soon(acting)
        for number in range(3):
            await soon(ann.put("other", number))
        revisions = await ann.history("done")
        assert [await one.value() for one in revisions] == ["before"]
        assert len(await ann.history("other")) == 3
        log = await ann.log()
        assert [sorted(entry.versions) for entry in log] == [["other"], ["other"], ["other"], ["lease"], ["done"]]
        void, *others = (await slots_of(store))[2:]
        assert [*void["update"]["files"]] == ["done"]  # it has its slot, and does not count
        assert all([*one["update"]["files"]] == ["other"] for one in others)


async def test_a_watch_is_told_nothing_of_a_late_transaction(store, ann):
    await soon(ann.put("lease", "ann", expires_in=LEASE))
    async with memory_client(store, poll_interval=0.05) as bob, bob.watch() as watch:
        told: list[str] = [change.key for change in (await soon(anext(watch))).changes]
        store.hanging = 1
        acting = asyncio.ensure_future(act(ann, []))
        await eventually(lambda: store.kept)
        store.time.later(LEASE + 8)
        store.go.set()
        with pytest.raises(NotMineErrorError):
            await soon(acting)
        await soon(ann.put("last", 1))
        while "last" not in told:
            told += [change.key for change in (await soon(anext(watch))).changes]
        assert told == ["lease", "lease", "last"]


async def test_who_takes_a_lease_over_after_a_late_transaction_has_it(store, ann):
    await soon(ann.put("lease", "ann", expires_in=LEASE))
    store.lost = 1
    acting = asyncio.ensure_future(act(ann, []))
    await eventually(lambda: store.kept)
    async with memory_client(store) as bob:
        await store.deliver()  # takes effect, if ann has not closed it yet
        await soon(bob.put("lease", "bob", if_version=None, expires_in=60))
        with pytest.raises(NotMineErrorError):
            await soon(acting)
        assert await bob.get("done") is None
        assert await bob.get("lease") == await ann.get("lease") == "bob"


async def test_a_late_try_whose_slot_cannot_be_taken_may_have_been_written(store, ann):
    await soon(ann.put("lease", "ann", expires_in=LEASE))
    store.lost, store.refused = 1, AccessError("no more", operation="PutObject")
    acting = asyncio.ensure_future(act_in_a_block(ann, []))
    await eventually(lambda: store.kept)
    with pytest.raises(AccessError) as caught:
        await soon(acting)
    assert caught.value.maybe_written


async def test_a_transaction_that_reads_nothing_that_expires_costs_what_it_did(store, ann):
    """And one whose lease goes on for long costs no more."""
    asked: list[tuple[str, str]] = []
    get, put = store.get, store.put

    async def counted_get(bucket: str, key: str, **options: Any) -> Any:
        asked.append(("get", key))
        return await get(bucket, key, **options)

    async def counted_put(bucket: str, key: str, body: bytes, **options: Any) -> Any:
        asked.append(("put", key.partition("@")[0]))
        return await put(bucket, key, body, **options)

    store.get, store.put = counted_get, counted_put  # type: ignore[method-assign]
    await soon(ann.put("lease", "ann", expires_in=60))
    asked.clear()
    await soon(act(ann, []))
    assert asked == [("get", slot_key(MANIFEST, 2)), ("put", slot_key(MANIFEST, 2))]
