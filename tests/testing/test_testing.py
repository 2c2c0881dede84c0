"""What users test their programs with: virtual time, a store that misbehaves, and the fixtures."""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
import textwrap
import threading
import time
from datetime import timedelta

import pytest
from helpers import eventually

from mps3 import MPS3, AccessError, CorruptionError, LocalStorage, MemoryStorage, Reconnect, UnavailableError
from mps3.storage import ABSENT
from mps3.testing import (
    FaultyStorage,
    Request,
    StuckError,
    VirtualClock,
    VirtualEnvironment,
    VirtualLoop,
    check_storage,
)

HOUR = 3600


def run(main, **options):
    with asyncio.Runner(loop_factory=lambda: VirtualLoop(**options)) as runner:
        return runner.run(main)


# Virtual time


def test_time_jumps():
    async def main():
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(2 * HOUR):
            await asyncio.gather(asyncio.sleep(HOUR), asyncio.sleep(60))
        assert loop.time() == HOUR
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await asyncio.Event().wait()
        assert loop.time() == HOUR + 0.5

    before = time.monotonic()
    run(main())
    assert time.monotonic() - before < 60


def test_things_happen_in_the_order_of_their_times():
    seconds = [random.Random(1).random() * 1e6 for _ in range(1000)]
    woken = []

    async def sleep(span):
        await asyncio.sleep(span)
        woken.append((span, asyncio.get_running_loop().time()))

    async def main():
        await asyncio.gather(*map(sleep, seconds))

    run(main(), longest=1e6)
    assert [span for span, _ in woken] == sorted(seconds)
    assert all(abs(span - at) < 1e-6 for span, at in woken)


def test_a_little_after_a_very_long_time():
    async def main():
        await VirtualClock().advance(timedelta(days=36500))
        for _ in range(10):
            await asyncio.sleep(1e-9)

    run(main())


def test_time_waits_for_threads():
    async def main():
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(0.001):
            await asyncio.to_thread(time.sleep, 0.1)
        woken = asyncio.Event()
        thread = threading.Thread(target=lambda: loop.call_soon_threadsafe(woken.set))
        thread.start()
        await woken.wait()
        thread.join()
        assert loop.time() == 0

    run(main())


def test_waiting_for_nothing_is_an_error():
    async def main():
        await asyncio.Event().wait()

    with pytest.raises(StuckError, match="nothing will ever happen"):
        run(main())


def test_waiting_for_what_does_not_happen_is_an_error():
    async def main():
        async with MPS3("b", storage=MemoryStorage(), environment=VirtualEnvironment(), poll_interval=10) as client:
            subscription = client.subscribe("k")
            await anext(subscription)
            await anext(subscription)

    with pytest.raises(StuckError, match="still waiting after"):
        run(main(), longest=1000)


async def test_the_clock_says_what_is_wrong_without_its_loop():
    with pytest.raises(RuntimeError, match="VirtualLoop"):
        VirtualClock().now()


async def test_advancing(mps3_clock):
    begun, stamp = mps3_clock.now(), mps3_clock.time()
    happened = []

    async def later():
        for number in range(3):
            await asyncio.sleep(10)
            happened.append(number)
            await asyncio.sleep(0)
            happened.append("done")

    task = asyncio.create_task(later())
    await mps3_clock.settle()
    assert happened == []
    await mps3_clock.advance(10)
    assert happened == [0, "done"]
    await mps3_clock.advance(timedelta(seconds=20))
    assert happened == [0, "done", 1, "done", 2, "done"]
    assert mps3_clock.now() - begun == timedelta(seconds=30)
    assert mps3_clock.time() - stamp == 30
    await mps3_clock.advance(timedelta(days=400))
    await mps3_clock.advance(0)
    with pytest.raises(ValueError, match="positive"):
        await mps3_clock.advance(-1)
    await task


async def test_clients_in_virtual_time(mps3_clock, mps3_client):
    async with mps3_client(poll_interval=60) as ann, mps3_client(poll_interval=60) as bob:
        await mps3_clock.advance(600)  # both poll slowly by now
        scores = bob.subscribe("score", 0)
        assert await anext(scores) == 0
        await mps3_clock.advance(600)
        await ann.put("score", 1)
        following = asyncio.create_task(anext(scores))
        await mps3_clock.settle()
        assert not following.done()
        await mps3_clock.advance(60)
        assert following.done() and await following == 1
        assert (await ann.history("score"))[0].time == mps3_clock.now() - timedelta(seconds=60)
        assert bob.status().last_contact <= mps3_clock.now()


async def test_collecting_after_weeks(mps3_clock, mps3_client):
    async with mps3_client(retention=timedelta(days=7), poll_interval=HOUR * 12, inline=0) as client:
        await client.put("k", "old")
        await mps3_clock.advance(timedelta(days=1))
        await client.put("k", "new")
        await mps3_clock.advance(timedelta(days=8))
        assert (await client.collect()).values.deleted == 1
        assert await client.get("k") == "new"


async def test_keys_expire_in_virtual_time(mps3_clock, mps3_client):
    async with mps3_client() as ann, mps3_client() as bob:
        changes = bob.subscribe("k", "gone")
        assert await anext(changes) == "gone"
        await ann.put("k", 1, expires_in=60)
        assert await anext(changes) == 1
        await mps3_clock.advance(50)
        assert await bob.get("k") == 1
        await mps3_clock.advance(15)
        assert await bob.get("k", "gone") == await anext(changes) == "gone"


def test_a_run_repeats_itself():
    def once():
        seen = []

        async def main():
            store, environment = (
                FaultyStorage(MemoryStorage(versioning=False, clock=VirtualClock().time)),
                VirtualEnvironment(7),
            )
            async with (
                MPS3("b", storage=store, environment=environment, hooks=[seen.append]) as one,
                MPS3("b", storage=store, environment=environment, hooks=[seen.append]) as two,
            ):
                for number in range(5):
                    await asyncio.gather(one.put("k", number), two.put("k", number))
                store.lose_answers(3, operation="PutObject")
                await asyncio.gather(one.put("k", 6), two.put("k", 6))
                await asyncio.sleep(60)

        run(main())
        return [
            (type(event).__name__, getattr(event, "commit", None), getattr(event, "seconds", None)) for event in seen
        ]

    first = once()
    assert first == once()
    assert any(kind == "Conflicted" for kind, *_ in first)


async def test_the_directory_of_a_client_in_virtual_time(mps3_clock, mps3_client, tmp_path):
    async with mps3_client() as other:
        async with mps3_client(offline=tmp_path) as client:
            await client.put("k", 1)
            client.go_offline()
            await client.put("k", 2).kept()
            await mps3_clock.advance(HOUR)
        async with mps3_client(offline=tmp_path) as client:
            changes = other.subscribe("k")
            assert await anext(changes) in (1, 2)
            while await other.get("k") != 2:
                await asyncio.sleep(1)
            assert client.status().pending == 0
    assert mps3_clock.now().hour == 1


async def test_a_store_in_a_directory_in_virtual_time(mps3_clock, tmp_path):
    async with (
        MPS3("b", storage=LocalStorage(tmp_path), environment=VirtualEnvironment()) as ann,
        MPS3("b", storage=LocalStorage(tmp_path), environment=VirtualEnvironment(1)) as bob,
    ):
        changes = bob.subscribe("k")
        assert await anext(changes) is None
        await ann.put("k", "x" * 2**21)  # hashed in a thread
        assert len(await anext(changes)) == 2**21


# A store that misbehaves


async def test_it_is_a_store():
    report = await check_storage(FaultyStorage(), "bucket")
    assert report.passed, report


async def test_the_next_requests_fail():
    store = FaultyStorage()
    fault = store.fail(2, operation="PutObject")
    await store.get("b", "k")
    for _ in range(2):
        with pytest.raises(UnavailableError, match=r"PutObject of s3://b/k failed") as raised:
            await store.put("b", "k", b"1")
        assert (raised.value.bucket, raised.value.key, raised.value.operation) == ("b", "k", "PutObject")
    await store.put("b", "k", b"1")
    assert (fault.met, fault.active) == (2, False)
    with store.fail(None, key="k", error=CorruptionError("damaged")):
        await store.get("b", "l")
        for _ in range(3):
            with pytest.raises(CorruptionError, match="damaged"):
                await store.get("b", "k")
    await store.get("b", "k")


async def test_lost_answers_took_effect():
    store = FaultyStorage()
    store.lose_answers()
    with pytest.raises(UnavailableError):
        await store.put("b", "k", b"1")
    assert (await store.get("b", "k")).body == b"1"


async def test_refusing():
    store = FaultyStorage()
    fault = store.refuse(operation="GetObject")
    await store.put("b", "k", b"1")
    for _ in range(2):
        with pytest.raises(AccessError):
            await store.get("b", "k")
    fault.end()
    await store.get("b", "k")


async def test_offline_and_online():
    store = FaultyStorage()
    store.go_offline()
    store.go_offline()
    assert not store.online
    for request in (store.get("b", "k"), store.put("b", "k", b""), store.list("b"), store.capabilities("b")):
        with pytest.raises(UnavailableError):
            await request
    store.go_online()
    store.go_online()
    assert store.online
    assert await store.get("b", "k") is ABSENT


@pytest.mark.parametrize("after_effect", [True, False])
async def test_hanging(after_effect):
    store = FaultyStorage()
    with store.hang(1, operation="PutObject", after_effect=after_effect) as fault:
        task = asyncio.create_task(store.put("b", "k", b"1"))
        await fault.wait()
        await asyncio.sleep(0.01)
        assert not task.done()
        assert (await store.get("b", "k") is not ABSENT) is after_effect
        await store.put("b", "l", b"1")  # only one was to hang
    await task
    assert (await store.get("b", "k")).body == b"1"


async def test_what_hangs_can_be_cancelled():
    store = FaultyStorage()
    store.hang()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await store.put("b", "k", b"1")
    store.heal()
    assert await store.get("b", "k") is ABSENT


async def test_healing_ends_everything():
    store = FaultyStorage()
    hanging = store.hang(1)
    task = asyncio.create_task(store.get("b", "k"))
    await hanging.wait()
    store.fail(None)
    store.refuse()
    store.go_offline()
    store.heal()
    assert store.online
    assert await task is ABSENT
    await store.put("b", "k", b"1")


async def test_being_slow(mps3_clock):
    store = FaultyStorage()
    store.delay(5, operation="GetObject")
    store.delay(2, 1)  # together
    begun = mps3_clock.time()
    await store.get("b", "k")
    assert mps3_clock.time() - begun == 7
    await store.get("b", "k")
    assert mps3_clock.time() - begun == 12
    await store.put("b", "k", b"1")
    assert mps3_clock.time() - begun == 12


async def test_older_answers():
    store = FaultyStorage()
    first = await store.put("b", "k", b"1")
    with store.answer_older():
        second = await store.put("b", "k", b"2")
        assert (await store.get("b", "k")).body == b"1"
        assert await store.get("b", "k", version=second.version) is ABSENT
        assert [one.version for one in (await store.versions("b", "k")).versions] == [first.version]
        assert len((await store.scan("b")).found) == 1
    assert (await store.get("b", "k")).body == b"2"
    assert [one.version for one in (await store.versions("b", "k")).versions] == [second.version, first.version]
    with pytest.raises(ValueError, match="reads nothing"):
        store.answer_older(operation="PutObject")


async def test_older_answers_need_a_store_in_memory(tmp_path):
    with pytest.raises(TypeError, match="MemoryStorage"):
        FaultyStorage(LocalStorage(tmp_path)).answer_older()


@pytest.mark.parametrize("wrong", [{"times": 0}, {"times": -1}, {"operation": "put"}])
def test_faults_that_cannot_be(wrong):
    with pytest.raises(ValueError, match=r"positive|is none of"):
        FaultyStorage().fail(**wrong)


async def test_requests_are_noted():
    store = FaultyStorage()
    await store.put("b", "k@mps3-00", b"1")
    await store.get("b", "k")
    await store.capabilities("b")
    assert store.requests == [
        Request("PutObject", "b", "k@mps3-00"),
        Request("GetObject", "b", "k"),
        Request("GetBucketVersioning", "b", None),
    ]
    assert (store.count(), store.count("GetObject"), store.count(key="k"), store.count("PutObject", "k")) == (
        3,
        1,
        2,
        1,
    )


async def test_a_copy_of_a_store_is_apart():
    store = MemoryStorage()
    first = await store.put("b", "k", b"1")
    other = store.copy()
    assert (await store.put("b", "k", b"2")).version == (await other.put("b", "k", b"3")).version != first.version
    assert ((await store.get("b", "k")).body, (await other.get("b", "k")).body) == (b"2", b"3")


# What users test with them


async def test_the_network_fails_for_one_of_two(mps3_clock, mps3_store, mps3_client):
    network = FaultyStorage(mps3_store)
    asked = []

    def decide(offer: Reconnect) -> None:
        asked.append({key: change.current for write in offer.conflicts for key, change in write.changes.items()})

    async with mps3_client(storage=network, on_reconnect=decide) as phone, mps3_client() as laptop:
        await phone.put("note", "first")
        network.go_offline()
        await mps3_clock.advance(5)
        assert not phone.status().online
        mine = phone.put("note", "from the phone")
        await laptop.put("note", "from the laptop")
        await mps3_clock.advance(60)
        assert (await phone.get("note"), await laptop.get("note")) == ("from the phone", "from the laptop")
        network.go_online()
        await mine
        assert asked == [{"note": "from the laptop"}]
        assert await laptop.get("note") == "from the phone"


async def test_lost_answers_are_no_second_writes(mps3_clock, mps3_store, mps3_client):
    async with mps3_client() as client:
        await client.put("k", 0)
        mps3_store.lose_answers(operation="PutObject", key="manifest.json")
        await client.put("k", 1)
        assert [await one.value() for one in await client.history("k")] == [1, 0]


async def test_older_answers_show_nobody_an_older_state(mps3_clock, mps3_store, mps3_client):
    async with mps3_client() as client, mps3_client() as other:
        await client.put("k", 1)
        assert await other.get("k") == 1
        older = mps3_store.answer_older()
        write = client.put("k", 2)
        await mps3_clock.advance(30)
        assert await client.get("k") == 2
        assert await other.get("k") == 1
        older.end()
        await write
        assert await other.get("k") == 2


async def test_without_the_clock_time_is_real(mps3_store, mps3_client):
    assert not isinstance(asyncio.get_running_loop(), VirtualLoop)
    async with mps3_client() as ann, mps3_client("other.json") as bob:
        await ann.put("k", 1)
        assert await bob.get("k") is None
        assert await bob.get("k", manifest="manifest.json") == 1
        mps3_store.go_offline()
        await eventually(lambda: not ann.status().online)
        mps3_store.go_online()


# With other test runners


TESTS = """
import asyncio
import time
import pytest

{head}

async def test_virtual(mps3_clock, mps3_client):
    async with mps3_client() as ann, mps3_client() as bob:
        changes = bob.subscribe("k")
        assert await anext(changes) is None
        await ann.put("k", 1)
        assert await anext(changes) == 1
        await asyncio.sleep(600)
    assert mps3_clock.now().minute >= 10

async def test_isolated(mps3_client):
    async with mps3_client() as client:
        assert await client.get("k") is None

def test_plain(mps3_store):
    assert mps3_store.requests == []
"""

ANYIO = """
from mps3.testing import VIRTUAL_BACKEND

pytestmark = pytest.mark.anyio

@pytest.fixture
def anyio_backend(request):
    return VIRTUAL_BACKEND if "mps3_clock" in request.fixturenames else "asyncio"
"""

OWN_LOOPS = """
class Own(asyncio.SelectorEventLoop):
    pass

async def test_own_loop():
    assert type(asyncio.get_running_loop()) is Own
"""
OWN_LOOPS_CONFTEST = """
import asyncio

def pytest_asyncio_loop_factories(config, item):
    return {"own": lambda: item.module.Own()}
"""


AUTO = ["-o", "asyncio_mode=auto", "-o", "asyncio_default_fixture_loop_scope=function"]


def pytest_run(directory, tests, *options, conftest=""):
    (directory / "conftest.py").write_text('pytest_plugins = ["mps3.testing.fixtures"]\n' + conftest)
    (directory / "test_them.py").write_text(textwrap.dedent(tests))
    (directory / "pytest.ini").write_text("[pytest]\n")  # not those of whatever directory this one may be in
    command = [sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider", *options, str(directory)]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=directory)


@pytest.mark.parametrize(
    ("head", "options", "conftest", "passed"),
    [
        pytest.param("pytestmark = []", [*AUTO, "-p", "no:anyio"], "", 3, id="pytest-asyncio"),
        pytest.param(ANYIO, ["-p", "no:asyncio"], "", 3, id="anyio"),
        pytest.param(OWN_LOOPS, AUTO, OWN_LOOPS_CONFTEST, 4, id="loops of one's own"),
    ],
)
def test_the_fixtures_elsewhere(tmp_path, head, options, conftest, passed):
    ended = pytest_run(tmp_path, TESTS.replace("{head}", head), *options, conftest=conftest)
    assert f"{passed} passed" in ended.stdout, ended.stdout + ended.stderr


def test_pytest_is_not_imported_unless_it_is_used():
    code = "import sys, mps3.testing; assert not {'pytest', '_pytest'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
