"""Opening, closing, and what is left behind when either is interrupted: nothing."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import subprocess
import sys
import textwrap
import time

import pytest
from helpers import MANIFEST, Unreliable, client, eventually, memory_client, no_task_left, soon
from proxy import FaultyProxy

from mps3 import MPS3, AccessError, ClosedError, LocalStorage, UnavailableError


async def calls(one: MPS3) -> None:
    for call in (
        lambda: one.put("k", 1),
        lambda: one.put_all({"k": 1}),
        lambda: one.delete("k"),
        lambda: one.subscribe("k"),
    ):
        with pytest.raises(ClosedError):
            call()
    with pytest.raises(ClosedError):
        await one.get("k")


async def test_nothing_works_before_opening():
    one = memory_client(Unreliable())
    await calls(one)
    status = one.status()
    assert (status.online, status.pending, status.last_contact, status.subscriptions) == (False, 0, None, 0)


async def test_nothing_works_after_closing():
    one = memory_client(Unreliable())
    async with one:
        await one.put("k", 1)
    await calls(one)
    assert one.status().pending == 0
    await one.aclose()


async def test_a_client_is_opened_once():
    one = memory_client(Unreliable())
    async with one:
        with pytest.raises(ClosedError):
            await one.__aenter__()
        await one.put("k", 1)
    with pytest.raises(ClosedError):
        await one.__aenter__()


async def test_closing_what_was_never_opened():
    await memory_client(Unreliable()).aclose()


async def test_closing_sends_what_is_pending():
    storage = Unreliable()
    async with no_task_left(), memory_client(storage) as one:
        writes = [one.put(f"k{number}", number) for number in range(100)]
        last = one.put("k0", "last")
    assert not any(write.pending for write in writes)
    await last
    async with memory_client(storage) as other:
        assert await other.get("k0") == "last"
        assert [await other.get(f"k{number}") for number in range(1, 100)] == list(range(1, 100))


async def test_closing_sends_to_a_manifest_that_was_just_opened():
    storage = Unreliable()
    async with memory_client(storage) as one:
        one.put("k", 1, manifests=["second.json"])
    async with memory_client(storage, "second.json") as other:
        assert await other.get("k") == 1


async def test_leaving_with_an_error_sends_what_is_pending_too():
    storage = Unreliable()
    with pytest.raises(KeyError):
        async with memory_client(storage) as one:
            one.put("k", 1)
            raise KeyError
    async with memory_client(storage) as other:
        assert await other.get("k") == 1


@pytest.mark.usefixtures("mps3_clock")
async def test_closing_with_a_dead_store_ends_and_fails_what_is_pending(caplog):
    storage = Unreliable()
    one = memory_client(storage)
    async with no_task_left():
        await one.__aenter__()
        storage.down()
        awaited, other = one.put("a", 1), one.put("b", 1)
        waiting = asyncio.ensure_future(awaited)
        await eventually(lambda: not one.status().online)
        now = asyncio.get_running_loop().time
        started = now()
        await one.aclose()
        assert now() - started < 6
        assert not other.pending
        with pytest.raises(ClosedError):
            await waiting
        with pytest.raises(ClosedError):
            await other
    assert "'b'" in caplog.text
    assert "'a'" not in caplog.text


@pytest.mark.server
async def test_closing_with_a_dead_server_ends(bucket, s3_config, server):
    async with FaultyProxy(server.url) as proxy:
        one = client(bucket, s3_config | {"endpoint_url": proxy.url})
        async with no_task_left():
            async with one:
                await one.put("k", 1)
                proxy.go_offline()
                write = one.put("k", 2)
                started = time.monotonic()
            assert time.monotonic() - started < 15
            with pytest.raises(ClosedError):
                await write
            await asyncio.sleep(0.05)


async def test_closing_twice_at_once():
    one = memory_client(Unreliable())
    async with no_task_left():
        await one.__aenter__()
        one.put("k", 1)
        await asyncio.gather(one.aclose(), one.aclose())


@pytest.mark.parametrize("rounds", range(12))
async def test_cancelling_the_opening_leaves_nothing(rounds):
    storage = Unreliable()
    async with no_task_left():
        one = memory_client(storage)
        opening = asyncio.create_task(one.__aenter__())
        for _ in range(rounds):
            await asyncio.sleep(0)
        opening.cancel()
        try:
            await opening
        except asyncio.CancelledError:
            assert storage.opened == 0
        else:
            await one.aclose()
    assert storage.opened == 0


async def test_cancelling_an_opening_that_hangs_leaves_nothing():
    storage = Unreliable()
    storage.hold_all()
    async with no_task_left():
        with pytest.raises(TimeoutError):
            await soon(memory_client(storage).__aenter__(), 0.05)
    assert storage.opened == 0


async def test_a_failed_opening_leaves_nothing():
    storage = Unreliable()
    storage.down()
    async with no_task_left():
        one = memory_client(storage)
        with pytest.raises(UnavailableError):
            await one.__aenter__()
        await calls(one)
    assert storage.opened == 0


@pytest.mark.parametrize("what", ["get", "put", "anext", "get of a value"])
@pytest.mark.parametrize("hanging", ["get", "put", "versions"])
async def test_cancelling_anything_leaves_nothing(what, hanging):
    storage = Unreliable()
    async with memory_client(storage) as one, memory_client(storage) as other:
        await other.put("k", 1)
        before = asyncio.all_tasks()
        storage.hold(hanging)
        coroutine = {
            "get": lambda: one.get("absent"),
            "get of a value": lambda: one.get("k"),
            "put": lambda: one.put("k", 2),
            "anext": lambda: anext(one.subscribe("k")),
        }[what]()
        task = asyncio.ensure_future(coroutine)
        await asyncio.sleep(0.05)
        task.cancel()
        await asyncio.wait([task])
        storage.release()
        await eventually(lambda: one.status().pending == 0)
        await eventually(lambda: asyncio.all_tasks() <= before)
        await one.put("k", 3)
        assert await one.get("k") == 3


@pytest.mark.parametrize("hanging", ["get", "put", "versions"])
async def test_cancelling_the_closing_stops_everything(hanging):
    storage = Unreliable()
    async with no_task_left():
        one = memory_client(storage)
        await one.__aenter__()
        storage.hold(hanging)
        write = one.put("k", 1)
        closing = asyncio.create_task(one.aclose())
        await asyncio.sleep(0.05)
        closing.cancel()
        await soon(asyncio.wait([closing]), 2)
        assert not write.pending
        if hanging == "put":
            assert closing.cancelled()
            with pytest.raises(ClosedError):
                await write
    assert storage.opened == 0


async def test_a_get_under_way_ends_with_the_client():
    storage = Unreliable()
    async with memory_client(storage, inline=0) as other:
        await other.put("k", 1)
    async with no_task_left():
        one = memory_client(storage, inline=0)
        await one.__aenter__()
        storage.hold("get", "k")
        reading = asyncio.create_task(one.get("k"))
        await eventually(lambda: storage.count("get", "k"))
        await one.aclose()
        with pytest.raises(ClosedError):
            await soon(reading, 2)


async def test_a_get_that_waits_for_the_manifest_ends_with_the_client():
    storage = Unreliable()
    async with no_task_left():
        one = memory_client(storage)
        await one.__aenter__()
        storage.hold("get", MANIFEST)
        reading = asyncio.create_task(one.get("k"))
        await asyncio.sleep(0.05)
        await one.aclose()
        with pytest.raises(ClosedError):
            await soon(reading, 2)


async def test_manifests_that_failed_leave_nothing_behind():
    storage = Unreliable()
    refused = AccessError("denied")
    async with no_task_left(), memory_client(storage) as one:
        storage.fail = lambda operation, key: refused if key == "second.json" else None
        for _ in range(3):
            with pytest.raises(AccessError):
                await soon(one.put("k", 1, manifests=["second.json"]))
            with pytest.raises(AccessError):
                await soon(one.get("k", manifest="second.json"))


async def test_without_the_store_what_is_known_is_read():
    storage = Unreliable()
    async with memory_client(storage, inline=0) as other:
        await other.put_all({"known": 1, "unknown": 2})
    async with memory_client(storage, inline=0) as one:
        assert await one.get("known") == 1
        storage.down()
        assert await soon(one.get("known"), 5) == 1
        await eventually(lambda: not one.status().online)
        assert await soon(one.get("known"), 0.5) == 1
        assert await soon(one.get("absent", "default"), 0.5) == "default"
        with pytest.raises(UnavailableError):
            await soon(one.get("unknown"), 5)
        with pytest.raises(UnavailableError):
            await soon(one.get("k", manifest="second.json"), 5)
        storage.up()
        assert await soon(one.get("unknown")) == 2


async def test_it_polls_on_after_an_outage():
    storage = Unreliable()
    async with memory_client(storage) as one, memory_client(storage) as other:
        subscription = one.subscribe("k")
        assert await anext(subscription) is None
        for number in range(3):
            storage.down()
            await eventually(lambda: not one.status().online)
            storage.up()
            await soon(other.put("k", number))
            assert await soon(anext(subscription)) == number


@pytest.mark.server
async def test_a_client_of_a_server_leaves_nothing(bucket, s3_config):
    async with no_task_left():
        async with client(bucket, s3_config) as one:
            await one.put("k", 1)
            reading = asyncio.create_task(anext(one.subscribe("k")))
            assert await soon(reading) == 1
            for number in range(20):
                task = asyncio.ensure_future(one.put("k", number))
                await asyncio.sleep(0.002 * number)
                task.cancel()
                await asyncio.wait([task])
                task = asyncio.create_task(one.get("k"))
                await asyncio.sleep(0.001 * number)
                task.cancel()
                await asyncio.wait([task])
            assert await one.get("k") == 19
        await asyncio.sleep(0.05)
    gc.collect()


async def test_a_directory_is_shared_by_clients_that_come_and_go(tmp_path):
    for number in range(3):
        async with (
            no_task_left(),
            MPS3("b", storage=LocalStorage(tmp_path), poll_interval=0.05) as one,
            MPS3("b", storage=LocalStorage(tmp_path), poll_interval=0.05) as two,
        ):
            assert await one.get("k") == (number - 1 if number else None)
            subscription = two.subscribe("k")
            await anext(subscription)
            await one.put("k", number)
            assert await soon(anext(subscription)) == number


async def test_clients_may_share_one_storage():
    storage = Unreliable()
    async with memory_client(storage) as one:
        async with memory_client(storage) as two:
            await two.put("k", 1)
        assert storage.opened == 1
        assert await one.get("k") == 1
        await one.put("k", 2)


def test_a_client_that_is_not_closed_is_warned_of():
    one = None

    async def main():
        nonlocal one
        one = memory_client(Unreliable())
        await one.__aenter__()
        await one.put("k", 1)

    asyncio.run(main())
    one = None
    with pytest.warns(ResourceWarning, match=r"manifest\.json.* was not closed"):
        gc.collect()


def test_a_client_that_is_closed_is_not(recwarn):
    async def main():
        async with memory_client(Unreliable()) as one:
            await one.put("k", 1)

    asyncio.run(main())
    gc.collect()
    assert [str(each.message) for each in recwarn] == []


@pytest.mark.server
@pytest.mark.skipif(os.name != "posix", reason="Ctrl-C is a signal")
@pytest.mark.parametrize("seconds", [0.0, 0.3, 1.0])
def test_ctrl_c_ends_cleanly(bucket, s3_config, seconds):
    program = textwrap.dedent(
        f"""
        import asyncio
        from mps3 import MPS3

        async def follow(client):
            async for _ in client.subscribe("k"):
                pass

        async def main():
            print("starting", flush=True)
            async with MPS3({bucket!r}, s3_config={s3_config!r}, poll_interval=0.05) as client:
                reader = asyncio.create_task(follow(client))
                for number in range(10**9):
                    await client.put("k", number)

        try:
            asyncio.run(main())
        except KeyboardInterrupt:
            print("interrupted", flush=True)
        """
    )
    with subprocess.Popen(
        [sys.executable, "-W", "always", "-W", "ignore::DeprecationWarning", "-c", program],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout.readline() == "starting\n"
        time.sleep(seconds)
        process.send_signal(signal.SIGINT)
        try:
            out, err = process.communicate(timeout=20)
        finally:
            process.kill()
    assert out == "interrupted\n"
    assert err == ""
