"""A store in a directory that several processes use, of which some are killed or forked."""

import asyncio
import os
import signal
import subprocess
import sys
import time

import pytest
from storage.local_store import another_connection, environment, no_threads_left, run

from mps3.storage.local import LocalStorage

__all__ = ["no_threads_left"]  # a fixture

WRITER = """
import asyncio, sys
from mps3.storage.local import LocalStorage


async def main(path, name):
    storage = LocalStorage(path)
    await storage.open()

    async def write(lane):
        for number in range(100_000):
            body = f"{name}/{lane}/{number}"
            stored = await storage.put("b", "shared", body.encode())
            await storage.put("b", body, b"x" * 5000, if_none_match=True)
            print(stored.version, body, flush=True)

    await asyncio.gather(*(write(lane) for lane in range(3)))

asyncio.run(main(*sys.argv[1:]))
"""


async def test_nothing_acknowledged_is_lost_when_processes_are_killed(tmp_path):
    acknowledged = await asyncio.to_thread(write_and_be_killed, tmp_path)
    assert len(acknowledged) > 40
    assert {body.split("/")[0] for _, body in acknowledged} == set("01234")
    storage = LocalStorage(tmp_path)
    await storage.open()
    listed, start = {}, None
    while True:
        page = await storage.versions("b", "shared", start=start)
        listed |= {one.version: one for one in page.versions}
        start = page.next
        if start is None:
            break
    for version, body in acknowledged:
        assert version in listed
        assert (await storage.get("b", "shared", version=version)).body == body.encode()
        assert (await storage.get("b", body)).body == b"x" * 5000
    await storage.aclose()
    with another_connection(tmp_path) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def write_and_be_killed(path):
    writers = [start_writer(path, number) for number in range(5)]
    try:
        # One after the other, so that the others meet what a dead one left.
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline and any(len(lines(path, number)) < 10 for number in range(5)):
            time.sleep(0.05)
        for writer in writers:
            writer.send_signal(signal.SIGKILL) if os.name == "posix" else writer.kill()
            time.sleep(0.1)
    finally:
        for writer in writers:
            writer.kill()
            writer.wait()
    return [tuple(line.split(" ")) for number in range(5) for line in lines(path, number)]


def start_writer(path, number):
    with (path / f"writer-{number}").open("wb") as output:
        return subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path), str(number)], env=environment(), stdout=output
        )


def lines(path, number):
    # The last one may be cut.
    return (path / f"writer-{number}").read_text().split("\n")[:-1]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
async def test_a_fork_does_not_use_what_its_parent_opened(tmp_path):
    program = """
import asyncio, os, sys
from mps3.errors import ClosedError
from mps3.storage.local import LocalStorage

async def child(storage, path):
    try:
        await storage.put("b", "child", b"x")
    except ClosedError:
        print("closed", flush=True)
    await storage.aclose()
    for own in (LocalStorage(path), storage):
        await own.open()
        await own.put("b", "child", b"x")
        await own.aclose()

async def parent(path):
    storage = LocalStorage(path)
    await storage.open()
    await storage.put("b", "parent", b"x")
    return storage

runner = asyncio.Runner()
storage = runner.run(parent(sys.argv[1]))
if os.fork() == 0:
    asyncio.Runner().run(child(storage, sys.argv[1]))
    os._exit(0)
print("child", os.wait()[1])
runner.run(storage.put("b", "parent", b"y"))
print(len(runner.run(storage.list("b")).entries))
runner.run(storage.aclose())
runner.close()
"""
    done = await asyncio.to_thread(run, program, tmp_path)
    assert (done.returncode, done.stdout) == (0, "closed\nchild 0\n2\n"), done.stderr
