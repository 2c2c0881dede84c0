"""Wake-ups: changes are heard at once, and nothing depends on it."""

from __future__ import annotations

import asyncio
import math
import statistics
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from helpers import BUCKET, MANIFEST
from wake.bell import Bell, Slow

from mps3 import MPS3, ConfigurationError, MemoryStorage, Ref
from mps3.observability.events import Merged, Polled
from mps3.testing import VirtualClock, VirtualEnvironment, VirtualLoop
from mps3.wake.hint import LONGEST, Hint, topic_of
from mps3.wake.waker import BEAT, LATE

LATENCY = 0.03
TOPIC = topic_of(Ref(MANIFEST, BUCKET))
HOUR = 3600.0


def run(main: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    """Run a test in virtual time."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main())


@pytest.fixture(params=["merge", "log"])
def journal(request: pytest.FixtureRequest) -> str:
    return request.param


def make(journal: str, seconds: float = LATENCY) -> Callable[..., MPS3]:
    """Clients of one store in memory, each with its own way there."""
    memory, made = MemoryStorage(versioning=journal == "merge"), []

    def client(wake: Any, **options: Any) -> MPS3:
        made.append(None)
        storage = Slow(memory, seconds, len(made))
        environment = VirtualEnvironment(len(made))
        return MPS3(BUCKET, MANIFEST, storage=storage, journal=journal, wake=wake, environment=environment, **options)

    return client


def slow(client: MPS3) -> Slow:
    return client._source  # type: ignore[return-value]


async def heard(client: MPS3, key: str, value: object) -> float:
    """Wait until a client sees a value; return when."""
    async with client.subscribe(key) as values:
        async for found in values:
            if found == value:
                break
    return asyncio.get_running_loop().time()


def test_a_change_is_heard_within_two_or_three_round_trips(journal):
    async def main() -> list[float]:
        bell, make_one = Bell(0.001), make(journal)
        spans = []
        async with make_one(bell) as writer, make_one(bell) as reader:
            await writer.put("k", -1)
            async with reader.subscribe("k") as values:
                await anext(values)
                for number in range(200):
                    await asyncio.sleep(1)
                    began = asyncio.get_running_loop().time()
                    write = writer.put("k", number)
                    while await anext(values) != number:
                        pass
                    spans.append((asyncio.get_running_loop().time() - began) / LATENCY)
                    await write
        return spans

    spans = sorted(run(main))
    most = 2.5 if journal == "log" else 4.5
    assert statistics.median(spans) <= most
    assert spans[int(len(spans) * 0.95)] <= 4 if journal == "log" else 6


def test_an_idle_client_asks_seldom(journal):
    async def main() -> int:
        make_one = make(journal)
        async with make_one(Bell()) as one:
            await one.put("k", 1)
            await asyncio.sleep(120)
            slow(one).requests = 0
            await asyncio.sleep(HOUR)
            return slow(one).requests

    assert 100 < run(main) <= 130


def test_an_own_interval_of_idle_polls():
    async def main() -> int:
        make_one = make("log")
        async with make_one(Bell(), idle_poll_interval=300) as one:
            await one.put("k", 1)
            await asyncio.sleep(600)
            slow(one).requests = 0
            await asyncio.sleep(HOUR)
            return slow(one).requests

    assert 10 <= run(main) <= 13


def test_nothing_is_missed_while_wake_ups_come_and_go(journal):
    """Killed and started ten times during 2,000 commits; what is lost meanwhile is heard within a poll interval."""

    async def main() -> tuple[list[Any], float]:
        bell, make_one = Bell(0.001), make(journal)
        async with make_one(bell) as writer, make_one(bell) as reader:
            batches = reader.watch()
            seen: list[Any] = []
            late = 0.0

            async def listen() -> None:
                nonlocal late
                async for batch in batches:
                    for change in batch.changes:
                        seen.append(change.value["n"])
                        late = max(late, asyncio.get_running_loop().time() - change.value["at"])
                    if seen and seen[-1] == 1999:
                        return

            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(listen())
                for number in range(2000):
                    if number % 200 == 100:
                        bell.kill()
                    if number % 200 == 150:
                        bell.down = False
                    await writer.put("k", {"n": number, "at": asyncio.get_running_loop().time()})
                    await asyncio.sleep(0.2)
            assert bell.connections >= 22
            return seen, late

    seen, late = run(main)
    assert seen == list(range(2000))
    assert late <= 1.0 + 10 * LATENCY


def test_what_is_heard_no_more_is_noticed_by_the_heartbeat(journal):
    async def main() -> float:
        bell, make_one = Bell(), make(journal)
        async with make_one(bell) as writer, make_one(bell) as reader:
            await writer.put("k", 0)
            listening = asyncio.create_task(heard(reader, "k", 1))
            await asyncio.sleep(100)
            bell.deaf = True
            began = asyncio.get_running_loop().time()
            await writer.put("k", 1)
            span = await listening - began
            await asyncio.sleep(BEAT + LATE)
            assert reader._waker.idle_interval is None
            bell.deaf = False
            await asyncio.sleep(60)
            assert reader._waker.idle_interval is not None
            return span

    assert run(main) <= BEAT + LATE + 2


def test_a_writer_without_wake_ups_is_noticed(journal):
    """The first of its commits may take the idle interval; from then on polls are as frequent as without wake-ups."""

    async def main() -> list[float]:
        make_one, spans = make(journal), []
        async with make_one(None) as writer, make_one(Bell()) as reader:
            await writer.put("k", -1)
            await asyncio.sleep(100)
            for number in range(5):
                listening = asyncio.create_task(heard(reader, "k", number))
                await asyncio.sleep(20)
                began = asyncio.get_running_loop().time()
                await writer.put("k", number)
                spans.append(await listening - began)
            return spans

    first, *later = run(main)
    assert first <= 32
    assert max(later) <= 1.0 + 10 * LATENCY


def test_a_service_that_hangs_holds_nobody_up():
    async def main() -> float:
        bell, make_one = Bell(), make("log")
        async with make_one(bell) as writer, make_one(None) as reader:
            await asyncio.sleep(1)
            bell.hangs = True
            await writer.put("k", 1)
            await writer.put("k", 2)
            assert await reader.get("k") == 2
            began = asyncio.get_running_loop().time()
        return asyncio.get_running_loop().time() - began

    assert run(main) <= 3


@pytest.mark.parametrize("position", ["999", "x", "999999999999999"])
def test_false_wake_ups_cost_two_requests_a_second(journal, position):
    """10,000 a second for a while: neither requests nor memory grow with them."""

    async def main() -> float:
        bell, make_one = Bell(), make(journal)
        async with make_one(bell) as one:
            await one.put("k", 1)
            await asyncio.sleep(60)
            slow(one).requests = 0
            for _ in range(50):
                for _ in range(1000):
                    bell.ring(Hint(TOPIC, position).encode())
                await asyncio.sleep(0.1)
            assert len(one._waker._untold) == 0
            return slow(one).requests / 5

    assert run(main) <= 2.4


def test_lies_and_noise_change_nothing(journal):
    noise = [
        b"",
        b"\xff\x00",
        b"[]",
        b"{}",
        b'["a"]',
        b"[1, 2]",
        b'["' + TOPIC.encode() + b'", 7]',
        b"[" * 900,
        b'"' + b"x" * (LONGEST + 1) + b'"',
        Hint(TOPIC, "9" * 900).encode(),
        Hint(TOPIC, "-1").encode(),
        Hint(TOPIC, "").encode(),
        Hint("", "somebody").encode(),
        Hint("no such topic", "1").encode(),
    ]

    async def main() -> None:
        bell, make_one = Bell(), make(journal)
        async with make_one(bell) as writer, make_one(bell) as reader:
            for number in range(20):
                await writer.put("k", number)
                for message in noise:
                    bell.ring(message)
                await heard(reader, "k", number)
            assert await reader.get_all() == {"k": 19}
            assert bell.connections == 2

    run(main)


def test_the_names_of_bucket_and_keys_are_told_to_nobody():
    async def main() -> bytes:
        bell, make_one = Bell(), make("log")
        async with make_one(bell) as one:
            await asyncio.sleep(1)
            await one.put("secret-key", "secret-value")
        return b"".join(bell.published)

    told = run(main)
    assert TOPIC.encode() in told
    for secret in (b"secret", BUCKET.encode(), MANIFEST.encode()):
        assert secret not in told


def test_the_last_commit_is_told_before_a_client_is_closed():
    async def main() -> float:
        bell, make_one = Bell(0.01), make("log")
        async with make_one(bell) as reader:
            listening = asyncio.create_task(heard(reader, "k", 1))
            async with make_one(bell) as writer:
                await asyncio.sleep(60)
                began = asyncio.get_running_loop().time()
                writer.put("k", 1)
            return await listening - began

    assert run(main) < 0.5


def test_many_wake_ups_of_one_client_are_few_messages():
    async def main() -> int:
        bell, make_one = Bell(0.05), make("log", 0.001)
        async with make_one(bell) as one:
            await asyncio.sleep(1)
            bell.published.clear()
            for number in range(200):
                await one.put("k", number)
            return len(bell.published)

    assert run(main) < 50


def test_wake_ups_are_counted(journal):
    async def main() -> tuple[int, int]:
        bell, make_one = Bell(), make(journal)
        async with make_one(bell) as writer, make_one(bell) as reader:
            await asyncio.sleep(1)
            for number in range(3):
                await writer.put("k", number)
                await heard(reader, "k", number)
            bell.ring(Hint(TOPIC, "12345").encode())
            await asyncio.sleep(2)
            counted = reader.statistics()
            return counted.wake_ups, counted.useful_wake_ups

    wake_ups, useful = run(main)
    assert useful >= 2
    assert wake_ups == useful + 1


def test_how_long_others_have_waited_is_counted(journal):
    """With wake-ups within 0.1 seconds, without them within the poll interval."""

    async def main() -> tuple[Any, Any, list[Any]]:
        clock, events = VirtualClock().time, []
        memory, bell = MemoryStorage(versioning=journal == "merge", clock=clock), Bell()

        def client(number: int, **options: Any) -> MPS3:
            options |= {"journal": journal, "environment": VirtualEnvironment(number)}
            return MPS3(BUCKET, MANIFEST, storage=Slow(memory, LATENCY, number), **options)

        async with (
            client(1, wake=bell) as writer,
            client(2, wake=bell, hooks=[events.append]) as woken,
            client(3, poll_interval=10) as polling,
        ):
            await writer.put("k", -1)
            await asyncio.sleep(60)
            before = woken.statistics().heard_within, polling.statistics().heard_within
            for number in range(20):
                await asyncio.sleep(20)
                await writer.put("k", number)
            await asyncio.sleep(20)
            after = woken.statistics().heard_within, polling.statistics().heard_within
            return *({k: a[k] - b[k] for k in a} for a, b in zip(after, before, strict=True)), events

    woken, polling, events = run(main)
    assert list(woken) == sorted(woken) and math.inf in woken
    assert sum(woken.values()) == sum(polling.values()) == 20
    assert sum(count for within, count in woken.items() if within <= 0.2) == 20
    assert sum(count for within, count in polling.items() if 0.2 < within <= 30) >= 15
    polled = [one for one in events if isinstance(one, Polled) and one.woken]
    assert len(polled) >= 20 and all(one.news for one in polled)
    heard = [seconds for one in events if isinstance(one, Merged) for seconds in one.seconds]
    assert len(heard) >= 20 and all(0 <= seconds < 2 for seconds in heard)


async def test_what_makes_no_sense():
    with pytest.raises(ConfigurationError, match="idle_poll_interval is for clients with wake-ups"):
        MPS3(BUCKET, storage=Slow(MemoryStorage()), idle_poll_interval=3)
    with pytest.raises(ValueError, match="positive number of seconds"):
        MPS3(BUCKET, storage=MemoryStorage(), idle_poll_interval=0, wake=Bell())


def test_messages():
    assert Hint.decode(Hint("a", "b").encode()) == Hint("a", "b")
    assert topic_of(Ref("a", "b")) != topic_of(Ref("ab", ""))
