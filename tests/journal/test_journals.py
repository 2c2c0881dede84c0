"""Which journal a bucket gets, whatever it claims, and what finding out leaves behind: nothing."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import helpers
import pytest
from helpers import BUCKET, MANIFEST, PATIENCE, Unreliable, client, eventually, memory_client, soon
from places import everything_in, keys_of, manifest_of, place

from mps3 import AccessError, ConfigurationError, MemoryStorage, UnavailableError
from mps3.errors import MPS3Error
from mps3.format.slot import slot_key
from mps3.journal.probe import lacking_creation
from mps3.storage import Capabilities, VersionPage
from mps3.support.environment import Environment

on_server = pytest.mark.server


__all__ = ["place"]  # a fixture


# The choice -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("versioning", [True, False], ids=["versioned", "unversioned"])
async def test_the_log_journal_is_taken_with_versions_and_without(place, versioning):
    bucket, options, storage = await place(versioning, auto=True)
    async with client(bucket, **options, inline=0) as one:
        assert await everything_in(storage, bucket) == []  # the probe has left nothing
        await soon(one.put("key", 1))
    assert (await manifest_of(storage, bucket))["journal"] == "log"
    names = await keys_of(storage, bucket)
    if versioning:
        assert names == ["key", MANIFEST, slot_key(MANIFEST, 1)]
    else:
        value, *others = names
        assert value.startswith("key@mps3-") and others == [MANIFEST, slot_key(MANIFEST, 1)]


@pytest.mark.parametrize(("versioning", "kind"), [(True, "merge"), (True, "log"), (False, "log")])
async def test_a_manifest_decides_whatever_the_bucket(place, versioning, kind):
    bucket, options, _ = await place(versioning, auto=True)
    async with client(bucket, journal=kind, **options) as one:
        await soon(one.put("key", 1))
    for same in ("auto", kind):
        async with client(bucket, journal=same, **options) as two:
            assert await two.get("key") == 1
            await soon(two.put("other", 2))
    with pytest.raises(ConfigurationError, match=f'journal="{kind}"'):
        await client(bucket, journal="log" if kind == "merge" else "merge", **options).__aenter__()


@pytest.mark.parametrize(("first", "second"), [("log", "merge"), ("merge", "log"), ("merge", "auto")])
async def test_two_who_chose_differently_before_there_was_a_manifest(first, second):
    storage = MemoryStorage(versioning=True)
    slow = {"poll_interval": 60}
    async with (
        memory_client(storage, journal=first, **slow) as one,
        memory_client(storage, journal=second, **slow) as two,
    ):
        await one.put("key", 1)
        with pytest.raises(ConfigurationError, match=f"{first} journal"):
            await soon(two.put("other", 2))
    async with memory_client(storage, journal="auto") as three:
        assert await three.get("key") == 1


async def test_who_opened_before_there_was_a_manifest_is_told_that_it_has_the_other_journal():
    storage = MemoryStorage(versioning=True)
    async with memory_client(storage, journal="auto") as early, early.subscribe("key") as values:
        assert await soon(anext(values)) is None
        async with memory_client(storage, journal="merge") as one:
            await one.put("key", 1)
        with pytest.raises(ConfigurationError, match="merge journal"):
            await soon(anext(values))
    async with memory_client(storage, journal="auto") as late:
        assert await late.get("key") == 1


async def test_merge_is_refused_without_versions(place):
    bucket, options, storage = await place(False)
    with pytest.raises(ConfigurationError, match="versioning"):
        await client(bucket, journal="merge", **options).__aenter__()
    assert await keys_of(storage, bucket) == []


@on_server
async def test_suspended_versioning_is_for_the_log_journal(make_bucket, s3_config, s3):
    bucket = make_bucket("Suspended")
    with pytest.raises(ConfigurationError, match="suspended"):
        await client(bucket, s3_config, journal="merge").__aenter__()
    async with client(bucket, s3_config) as one:
        assert not s3.list_object_versions(Bucket=bucket).keys() & {"Versions", "DeleteMarkers"}
        await soon(one.put("key", 1))
        assert await one.get("key") == 1
    names = [version["Key"] for version in s3.list_object_versions(Bucket=bucket)["Versions"]]
    assert names == [MANIFEST, slot_key(MANIFEST, 1)]


async def test_versioning_that_is_suspended_later():
    class Suspended(MemoryStorage):
        suspended = False

        async def capabilities(self, bucket: str) -> Capabilities:
            return Capabilities("suspended") if self.suspended else await super().capabilities(bucket)

    storage = Suspended(versioning=True)
    async with memory_client(storage) as one:
        await one.put("key", 1)
    storage.suspended = True
    with pytest.raises(ConfigurationError, match="suspended"):
        await memory_client(storage).__aenter__()


# Stores that are not what they seem -----------------------------------------------------------------------------------


class Odd(MemoryStorage):
    """Does less than it should.

    Attributes:
        ignored: Whether create-if-absent is taken and ignored.
        refused: Whether it is refused as unknown.
        puts: What was written, and to where.
    """

    def __init__(self, *, ignored: bool = False, refused: bool = False, versioning: bool = False) -> None:
        super().__init__(versioning=versioning)
        self.ignored, self.refused = ignored, refused
        self.puts: list[tuple[str, bytes]] = []

    async def put(self, bucket: str, key: str, body: bytes, **options: Any) -> Any:
        if options.get("if_none_match") and self.refused:
            raise ConfigurationError("501 NotImplemented", bucket=bucket, key=key, operation="PutObject")
        if self.ignored:
            options.pop("if_none_match", None)
        self.puts.append((key, body))
        return await super().put(bucket, key, body, **options)


@pytest.mark.parametrize("journal", ["auto", "log"])
@pytest.mark.parametrize(
    ("how", "words"), [("ignored", "ignores If-None-Match"), ("refused", "refuses a PUT with If-None-Match")]
)
async def test_who_does_not_enforce_conditions_is_refused(journal, how, words):
    storage = Odd(**{how: True})
    with pytest.raises(ConfigurationError, match=words) as caught:
        await memory_client(storage, journal=journal).__aenter__()
    assert BUCKET in str(caught.value) and (
        "Enable it" in str(caught.value) or "versioning enabled" in str(caught.value)
    )
    assert await keys_of(storage, BUCKET) == []


@pytest.mark.parametrize("versioning", [True, False])
@pytest.mark.parametrize("journal", ["auto", "log"])
async def test_a_bucket_that_refuses_every_put_is_not_said_to_lack_conditions(journal, versioning):
    class Refusing(MemoryStorage):
        async def put(self, bucket: str, key: str, body: bytes, **options: Any) -> Any:
            raise ConfigurationError("400: an object needs a checksum", bucket=bucket, key=key, operation="PutObject")

    storage = Refusing(versioning=versioning)
    with pytest.raises(ConfigurationError, match="checksum") as caught:
        async with memory_client(storage, journal=journal) as one:
            await soon(one.put("key", 1))
    assert "create-if-absent" not in str(caught.value) and "If-None-Match" not in str(caught.value)


async def test_conditions_are_probed_once_for_a_manifest():
    """That there is one records that they were seen to hold."""
    storage = Odd()
    async with memory_client(storage) as one:
        await one.put("key", 1)
    assert any(".probe/" in key for key, _ in storage.puts)
    storage.puts.clear()
    async with memory_client(storage) as two:
        await soon(two.put("key", 2))
    assert [key.partition("@")[0] for key, _ in storage.puts] == [slot_key(MANIFEST, 2)]


@pytest.mark.parametrize("versioning", [True, False])
async def test_a_manifest_that_exists_costs_no_question_about_its_bucket(versioning):
    storage = Unreliable(versioning=versioning)
    async with memory_client(storage, journal="auto") as one:
        await one.put("key", 1)
    storage.calls.clear()
    async with memory_client(storage, journal="auto", poll_interval=60) as two:
        await soon(two.put("key", 2))
        await soon(two.put("key", 3))
    assert not [call for call in storage.calls if call[0] in ("capabilities", "versions") or ".probe/" in call[1]]
    made = [key for operation, key in storage.calls if operation == "put" and not key.endswith(".checkpoint")]
    assert made == [slot_key(MANIFEST, 2), slot_key(MANIFEST, 3)]


@pytest.mark.parametrize("condition", ["ignored", "refused"])
async def test_a_store_without_conditions_that_keeps_versions_gets_the_merge_journal(condition):
    storage = Odd(**{condition: True}, versioning=True)
    async with memory_client(storage, journal="auto") as one, memory_client(storage, journal="auto") as two:
        assert await everything_in(storage, BUCKET) == []
        await asyncio.gather(*(each.put(f"{each!r} {n}", n) for n in range(5) for each in (one, two)))
    assert (await manifest_of(storage, BUCKET))["journal"] == "merge"
    storage.puts.clear()
    async with memory_client(storage, journal="auto") as three:
        await three.put("k", 1)
    assert {key for key, _ in storage.puts} == {MANIFEST}  # a manifest is not probed for again


async def test_the_log_journal_by_choice_names_the_other_one_where_only_versions_are_kept():
    storage = Odd(ignored=True, versioning=True)
    with pytest.raises(ConfigurationError, match='journal="merge"'):
        await memory_client(storage, journal="log").__aenter__()


class Liar(Odd):
    """Says that it keeps versions, and keeps none."""

    async def capabilities(self, bucket: str) -> Capabilities:
        return Capabilities("enabled")


async def test_a_store_that_lies_about_versions():
    storage = Liar()
    async with memory_client(storage, journal="merge") as one:
        with pytest.raises(MPS3Error, match="version"):
            await soon(one.put("key", 1))
    assert not [name for name in await keys_of(storage, BUCKET) if name == "key@"]


async def test_the_log_journal_does_not_need_the_versions_that_a_store_lies_about():
    storage = Liar()
    async with memory_client(storage, inline=0) as one:
        for number in range(3):
            await soon(one.put("key", number))
    async with memory_client(storage) as two:
        assert await two.get("key") == 2
        assert len(await two.history("key")) == 3


class Shuffled(MemoryStorage):
    """Lists versions in no order."""

    async def versions(self, bucket: str, key: str, **options: Any) -> VersionPage:
        page = await super().versions(bucket, key, **options)
        return VersionPage(tuple(reversed(page.versions)), page.next)


async def test_versions_out_of_order_lose_nothing():
    """The head by GET is not the first that is listed: nothing may be acknowledged that others do not see."""
    storage = Shuffled(versioning=True)
    async with memory_client(storage) as one, memory_client(storage) as two:
        writes = {
            f"{name} {n}": each.put(f"{name} {n}", n) for n in range(3) for name, each in (("a", one), ("b", two))
        }
        done, _ = await asyncio.wait([asyncio.ensure_future(write) for write in writes.values()], timeout=10)
        acknowledged = [key for key, write in writes.items() if not write.pending]
        refused = [task for task in done if task.exception()]
        for key in acknowledged:
            if not refused:
                assert await soon(eventually(lambda key=key: sees(one, two, key))), key


async def sees(one: Any, two: Any, key: str) -> bool:
    with contextlib.suppress(UnavailableError):
        return await one.get(key) is not None and await two.get(key) is not None
    return False


# The probe ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("versioning", [True, False])
async def test_the_probe_leaves_nothing(place, versioning):
    bucket, _, storage = await place(versioning, auto=True)
    assert await lacking_creation(storage, bucket, MANIFEST, Environment()) is None
    assert await everything_in(storage, bucket) == []


class Late(MemoryStorage):
    """Writes, and only then lets its caller wait."""

    def __init__(self, slow: int, **options: Any) -> None:
        super().__init__(**options)
        self.slow, self.puts = slow, 0
        self.reached, self.switch = asyncio.Event(), asyncio.Event()

    async def put(self, bucket: str, key: str, body: bytes, **options: Any) -> Any:
        self.puts += 1
        number = self.puts
        try:
            return await super().put(bucket, key, body, **options)
        finally:
            if number == self.slow:
                self.reached.set()
                await self.switch.wait()


@pytest.mark.parametrize("slow", [1, 2])
@pytest.mark.parametrize("versioning", [True, False])
async def test_the_probe_leaves_nothing_when_it_is_interrupted(slow, versioning):
    storage = Late(slow, versioning=versioning)
    task = asyncio.ensure_future(lacking_creation(storage, BUCKET, MANIFEST, Environment()))
    await soon(storage.reached.wait())
    task.cancel()
    await asyncio.sleep(0)
    storage.switch.set()
    await asyncio.wait([task])
    assert task.cancelled()
    await asyncio.sleep(0.05)
    assert await everything_in(storage, BUCKET) == []


async def test_many_clients_probe_at_once(place):
    bucket, options, storage = await place(False)
    clients = [client(bucket, **options) for _ in range(5)]
    async with contextlib.AsyncExitStack() as stack:
        await asyncio.gather(*(stack.enter_async_context(one) for one in clients))
        assert await keys_of(storage, bucket) == []


@pytest.mark.parametrize("versioning", [True, False])
async def test_who_may_only_read_reads(versioning):
    class ReadOnly(MemoryStorage):
        closed = False

        async def put(self, bucket: str, key: str, body: bytes, **options: Any) -> Any:
            if self.closed:
                raise AccessError("PutObject failed: 403", bucket=bucket, key=key, operation="PutObject")
            return await super().put(bucket, key, body, **options)

    storage = ReadOnly(versioning=versioning)
    memory_client = partial(helpers.memory_client, journal="auto")
    storage.closed = True
    async with memory_client(storage) as early:
        assert await early.get("key") is None
        with pytest.raises(AccessError):
            await soon(early.put("key", 0))
        storage.closed = False
        async with memory_client(storage) as writer:
            await writer.put("key", 1)
        assert await soon(eventually(lambda: early.get("key"))) == 1
        storage.closed = True
        async with memory_client(storage) as reader, reader.subscribe("key") as values:
            assert await soon(anext(values)) == 1
            assert await reader.get("key") == 1
            with pytest.raises(AccessError):
                await soon(reader.put("key", 2))
            assert await reader.get("key") == 1


class Sleepy(MemoryStorage):
    """Lets something happen before its next listing of versions, and before a version is read the next time.

    Attributes:
        meanwhile: What happens: first before the listing, then before the reading.
    """

    meanwhile: tuple[Callable[[], Awaitable[None]], ...] = ()

    async def versions(self, *arguments: Any, **options: Any) -> Any:
        if len(self.meanwhile) == 2:
            first, *self.meanwhile = self.meanwhile
            await first()
        return await super().versions(*arguments, **options)

    async def get(self, bucket: str, key: str, **options: Any) -> Any:
        if len(self.meanwhile) == 1 and key == MANIFEST and options.get("version") is not None:
            (last,), self.meanwhile = self.meanwhile, ()
            await last()
        return await super().get(bucket, key, **options)


@pytest.mark.parametrize("newest", [True, False], ids=["head", "sibling"])
async def test_who_slept_until_the_versions_were_collected_lists_again(newest):
    storage = Sleepy()
    async with memory_client(storage) as one, memory_client(storage) as two:
        await asyncio.gather(one.put("a", 1), two.put("b", 1))  # neither in the log of the other
        async with asyncio.timeout(PATIENCE):
            while len(await one.get_all()) < 2:
                await asyncio.sleep(0.01)

        async def commit_if_it_is_to_be_the_head() -> None:
            if newest:
                await one.put("c", 1)

        async def go_on_and_collect() -> None:
            listed = [version.version for version in (await storage.versions(BUCKET, MANIFEST)).versions]
            await one.put("d", 1)
            for version in listed:
                await storage.delete(BUCKET, MANIFEST, version=version)

        storage.meanwhile = (commit_if_it_is_to_be_the_head, go_on_and_collect)
        async with memory_client(storage) as other:
            assert storage.meanwhile == ()
            view, _ = other._manifests[other._default].state()  # what it opened with, before it looks again
            assert {"a", "b", "d"} <= set(view.names())
