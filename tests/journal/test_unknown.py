"""A write whose answer was lost, when the manifest may have forgotten its session: applied once, or reported as unknown.

A document remembers a bounded number of sessions. That it does not list one is no proof that it has not committed.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from commits import is_slot, last_slot
from helpers import BUCKET, MANIFEST, Clock, NoBackoff, eventually, memory_client, soon, stored_manifest

from mps3 import MPS3, AccessError, ConflictError, MemoryStorage, UnavailableError, UnknownOutcomeError
from mps3.errors import MPS3Error
from mps3.journal import settle
from mps3.journal.log import checkpoints, tail
from mps3.journal.outcome import remembered

REMEMBERED = 8
FORGETTING = 24
"""Short sessions after which those before them are forgotten."""


class Withholding(MemoryStorage):
    """Withholds the answers to PUTs of commits by one client, until they are to be lost.

    Attributes:
        hold: Whether to withhold.
        held: How many have taken effect, and are withheld.
        before: Whether what is withheld takes no effect.
        lose: Set when those answers are to be lost.
        versioning: Whether commits are versions of the manifest; else they are slots.
        time: The store's clock.
    """

    def __init__(self, *, versioning: bool) -> None:
        self.time = Clock()
        super().__init__(versioning=versioning, clock=self.time)
        self.versioning = versioning
        self.hold: asyncio.Task[Any] | None = None
        self.holding = False
        self.before = False
        self.held = 0
        self.lose = asyncio.Event()
        self.failure: MPS3Error = UnavailableError("the answer is lost", operation="PutObject")


class Ann(MemoryStorage):
    """One client's way to a store, on which answers can be withheld."""

    def __init__(self, store: Withholding) -> None:
        super().__init__()
        self.store = store

    def __getattribute__(self, name: str) -> Any:
        if name in ("store", "put", "__class__"):
            return super().__getattribute__(name)
        return getattr(super().__getattribute__("store"), name)

    async def put(self, bucket: str, key: str, body: bytes, **options: Any) -> Any:
        store = self.store
        holding = store.holding and (key == MANIFEST if store.versioning else is_slot(key))
        if holding and store.before:
            store.held += 1
            await store.lose.wait()
            raise store.failure
        stored = await store.put(bucket, key, body, **options)
        if holding:
            store.held += 1
            await store.lose.wait()
            raise store.failure
        return stored


@pytest.fixture(autouse=True)
def forgetful(monkeypatch: pytest.MonkeyPatch) -> None:
    """Documents that remember few sessions, and not for long."""
    monkeypatch.setattr(settle, "SESSIONS", REMEMBERED)
    monkeypatch.setattr(tail, "EVERY", 4)
    monkeypatch.setattr(checkpoints, "KEPT", 4)
    monkeypatch.setattr(checkpoints, "MOST", 8)
    monkeypatch.setattr("mps3.format.commit_age.LATENESS", 20.0)  # the merge journal forgets nothing before that


@pytest.fixture(params=[True, False], ids=["merge", "log"])
def store(request: pytest.FixtureRequest) -> Withholding:
    return Withholding(versioning=request.param)


@pytest.fixture
async def ann(store: Withholding):
    async with memory_client(Ann(store), poll_interval=60) as one:
        yield one


def one_more(value: int) -> int:
    return value + 1


async def short_sessions(store: Withholding, count: int, key: str = "other") -> None:
    """Clients that come, write once, and go, more than a window after each other."""
    for number in range(count):
        store.time.later(4.5)
        async with memory_client(store) as bob:
            await soon(bob.put(key, number))


async def is_forgotten(store: Withholding, client: MPS3) -> bool:
    async with memory_client(store) as fresh:
        listed = remembered(fresh._manifests[fresh._default]._state.journal.view)
    manifest = client._manifests[client._default]
    return not any(session in listed for session in (manifest._state.journal.session, manifest.session.name))


async def lose_the_answer_of(store: Withholding, write: Any) -> asyncio.Future[Any]:
    """Begin a write, and wait until it has taken effect."""
    store.holding = True

    async def wait() -> Any:
        return await write

    written = asyncio.ensure_future(wait())
    await eventually(lambda: store.held)
    store.holding = False
    return written


async def test_a_put_of_a_client_that_slept_does_not_replace_what_was_acknowledged_meanwhile(store, ann):
    slow = await lose_the_answer_of(store, ann.put("key", "ann's"))
    await short_sessions(store, FORGETTING, "key")
    assert await is_forgotten(store, ann)
    store.lose.set()
    with pytest.raises(UnknownOutcomeError) as caught:
        await soon(slow)
    assert caught.value.maybe_written
    assert f"s3://{BUCKET}/{MANIFEST}" in str(caught.value)
    assert await ann.get("key") == FORGETTING - 1
    (newest, *_) = await ann.history("key", limit=1)
    assert await newest.value() == FORGETTING - 1
    await soon(ann.put("key", "again"))  # and the client goes on
    assert await ann.get("key") == "again"


async def test_an_update_is_not_made_again_when_nobody_knows_whether_it_counts(store, ann):
    await soon(ann.put("count", 0))
    slow = await lose_the_answer_of(store, ann.update("count", one_more))
    await short_sessions(store, 1)  # which decides it
    for _ in range(FORGETTING):
        store.time.later(4.5)
        async with memory_client(store) as bob:
            # As an update would, without waiting until it is decided.
            await soon(bob.put("count", await bob.get("count") + 1))
    store.time.later(4.5)
    store.lose.set()
    (outcome,) = await asyncio.gather(slow, return_exceptions=True)
    assert outcome == 1 or isinstance(outcome, UnknownOutcomeError)
    assert await ann.get("count") == FORGETTING + 1


async def test_a_write_that_can_still_be_seen_is_acknowledged_though_its_session_is_forgotten(store, ann):
    slow = await lose_the_answer_of(store, ann.put("key", "ann's"))
    await short_sessions(store, FORGETTING)
    assert await is_forgotten(store, ann)
    before = await stored_manifest(store), await last_slot(store)
    store.lose.set()
    commit = await soon(slow)
    assert await ann.get("key") == "ann's"
    assert list(commit.versions) == ["key"]
    assert (await stored_manifest(store), await last_slot(store)) == before  # it was not made again


async def test_an_update_that_can_still_be_seen_returns_what_is_stored(store, ann):
    await soon(ann.put("count", 1))
    slow = await lose_the_answer_of(store, ann.update("count", one_more))
    await short_sessions(store, FORGETTING)
    store.lose.set()
    assert await soon(slow) == 2
    assert await ann.get("count") == 2


async def test_a_write_that_never_arrived_is_made_as_long_as_nothing_was_forgotten_since(store, ann):
    """The guard does not say that it is unknown where it can be known."""
    await short_sessions(store, FORGETTING)
    assert await ann.get("other") == FORGETTING - 1
    store.before = True
    slow = await lose_the_answer_of(store, ann.put("key", "ann's"))
    await short_sessions(store, REMEMBERED // 2, "key")
    store.lose.set()
    await soon(slow)
    assert await ann.get("key") == "ann's"


async def test_a_client_in_contact_always_knows(store, monkeypatch):
    """Every look at the store moves on what is known not to have arrived."""
    await short_sessions(store, FORGETTING)
    way = Ann(store)
    async with memory_client(way, poll_interval=60, environment=NoBackoff()) as one:
        store.before = True
        slow = await lose_the_answer_of(store, one.put("key", "ann's"))
        for _ in range(4):
            await short_sessions(store, REMEMBERED // 2, "key")
            store.holding, store.held = True, 0
            store.lose.set()
            await eventually(lambda: store.held)
            store.lose.clear()
        store.holding = False
        store.lose.set()
        await soon(slow)
        assert await one.get("key") == "ann's"


async def test_busy_sessions_that_stay_do_not_make_a_write_unknown(store, ann):
    """However much a few clients write: as long as no session is forgotten, it is known what has arrived."""
    await short_sessions(store, REMEMBERED - 3)
    async with memory_client(store) as bob, memory_client(store) as carl:
        assert await ann.get("other") is not None
        store.before = True
        slow = await lose_the_answer_of(store, ann.put("key", "ann's"))
        for number in range(FORGETTING):
            store.time.later(4.5)
            await soon((bob, carl)[number % 2].put("key", number))
        store.lose.set()
        await soon(slow)
        assert await ann.get("key") == "ann's"


async def test_a_conditional_put_whose_outcome_is_forgotten_is_unknown(store, ann):
    slow = await lose_the_answer_of(store, ann.put("key", "ann's", if_version=None))
    await short_sessions(store, FORGETTING, "key")
    store.lose.set()
    with pytest.raises(UnknownOutcomeError):
        await soon(slow)
    assert await ann.get("key") == FORGETTING - 1


async def test_a_block_whose_outcome_is_forgotten_is_unknown(store, ann):
    async def block() -> None:
        async with ann.transaction() as transaction:
            assert await transaction.get("key") is None
            transaction.put("key", "ann's")

    slow = await lose_the_answer_of(store, block())
    await short_sessions(store, FORGETTING, "key")
    store.lose.set()
    with pytest.raises(UnknownOutcomeError):
        await soon(slow)
    assert await ann.get("key") == FORGETTING - 1


async def test_all_writes_of_a_group_are_unknown_together(store, ann):
    await soon(ann.put("key", "first"))
    store.holding = True
    blocking = ann.put("blocking", 1)
    await eventually(lambda: store.held)
    group = [ann.put("key", number) for number in range(3)]
    store.holding = False
    store.lose.set()
    await soon(blocking)
    await soon(asyncio.gather(*(write for write in group)))
    store.lose.clear()
    store.held = 0
    writes = [ann.put("key", f"late {number}") for number in range(3)]
    slow = [await lose_the_answer_of(store, writes[0]), *(asyncio.ensure_future(one) for one in writes[1:])]
    await short_sessions(store, FORGETTING, "key")
    store.lose.set()
    outcomes = await soon(asyncio.gather(*slow, return_exceptions=True))
    assert any(isinstance(outcome, UnknownOutcomeError) for outcome in outcomes)
    for outcome in outcomes:
        assert not isinstance(outcome, BaseException) or isinstance(outcome, UnknownOutcomeError)


# Whether it may have been written -------------------------------------------------------------------------------------


async def test_what_is_refused_before_anything_left_was_not_written(store, ann):
    await soon(ann.put("key", 1))
    store.holding, store.before = True, True
    store.failure = AccessError("no", operation="PutObject")
    store.lose.set()
    with pytest.raises(AccessError) as caught:
        await soon(ann.put("key", 2))
    assert not caught.value.maybe_written


async def test_what_is_refused_after_a_lost_answer_may_have_been_written(store, ann):
    await soon(ann.put("key", 1))
    slow = await lose_the_answer_of(store, ann.put("key", 2))
    store.holding, store.before, store.held = True, True, 0
    other, store.lose = store.lose, asyncio.Event()

    async def refuse(*arguments: Any, **options: Any) -> Any:
        raise AccessError("no", operation="GetObject")

    store.get = store.versions = refuse  # type: ignore[method-assign]
    other.set()
    with pytest.raises(AccessError) as caught:
        await soon(slow)
    assert caught.value.maybe_written


async def test_what_was_on_its_way_when_the_client_closed_may_have_been_written(store):
    async with memory_client(store) as bob:
        await soon(bob.put("key", 1))
    one = memory_client(Ann(store))
    await one.__aenter__()
    slow = await lose_the_answer_of(store, one.put("key", 2))
    queued = one.put("key", 3)
    closing = asyncio.ensure_future(one._manifests[one._default].aclose())
    with pytest.raises(MPS3Error) as caught:
        await soon(slow)
    assert caught.value.maybe_written
    with pytest.raises(MPS3Error) as caught:
        await soon(queued)
    assert not caught.value.maybe_written
    await closing
    await one.aclose()


async def test_a_condition_that_does_not_hold_was_not_written(store, ann):
    await soon(ann.put("key", 1))
    with pytest.raises(ConflictError) as caught:
        await soon(ann.put("key", 2, if_version=None))
    assert not caught.value.maybe_written
