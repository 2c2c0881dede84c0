"""The examples, started as a user would."""

from __future__ import annotations

import asyncio
import secrets
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import pytest
from helpers import client, eventually
from programs import EXAMPLES, PATIENCE, start
from proxy import FaultyProxy

if TYPE_CHECKING:
    from programs import Start

__all__ = ["start"]  # a fixture

pytestmark = pytest.mark.skipif(not EXAMPLES.is_dir(), reason="the examples are not beside the tests")


@pytest.fixture
def s3_url(s3_config: dict[str, Any], bucket: str) -> str:
    return f"s3://{bucket}?{urlencode(s3_config)}"


def is_story(printed: list[str]) -> None:
    assert printed[0] == "ann reads hello while it is pending"
    assert printed[1].startswith("durable as version ")
    assert printed[2:] == [
        "bob reads hello",
        "bob is told 0",
        "bob is told {'ann': 1}",
        "bob reads None",
        "bob reads absent",
        "bob reads {'text': 'oat milk', 'likes': 1}",
        "bob is told bye",
    ]


async def test_quickstart_without_arguments(start: Start) -> None:
    program = await start("quickstart.py")
    assert await program.ends() == 0
    is_story(program.printed)


async def test_quickstart_twice_in_one_directory(start: Start, tmp_path: Path) -> None:
    for _ in range(2):
        program = await start("quickstart.py", (tmp_path / "store").as_uri())
        assert await program.ends() == 0
    assert program.printed[2] == "bob reads hello"


async def test_quickstart_on_s3(start: Start, s3_url: str) -> None:
    program = await start("quickstart.py", s3_url)
    assert await program.ends() == 0
    is_story(program.printed)


async def talk(start: Start, *url: str) -> None:
    ann = await start("chat.py", "ann", *url)
    ann.type("hello")
    bob = await start("chat.py", "bob", *url)
    await ann.prints("* bob is here")
    await bob.prints("* ann is here")
    await bob.prints("ann: hello")
    bob.type("hi, ann: naïve ☺")
    await ann.prints("bob: hi, ann: naïve ☺")
    ann.type("good-bye")
    assert await ann.ends() == 0
    await bob.prints("ann: good-bye")
    await bob.prints("* ann left")
    assert await bob.ends() == 0


async def test_chat_of_two_on_the_default_store(start: Start) -> None:
    await talk(start)


async def test_chat_of_two_on_s3(start: Start, s3_url: str) -> None:
    await talk(start, s3_url)


async def test_chat_loses_nothing_and_keeps_the_order(start: Start, tmp_path: Path) -> None:
    url = (tmp_path / "store").as_uri()
    names = ("ann", "bob", "eve")
    guests = [await start("chat.py", name, url) for name in names]
    for number in range(30):
        for name, guest in zip(names, guests, strict=True):
            guest.type(f"{name} says {number}")
        await asyncio.sleep(0.01)
    for name, guest in zip(names, guests, strict=True):
        for other in names:
            if other != name:
                await guest.prints(f"{other}: {other} says 29")
    late = await start("chat.py", "late", url)
    for name in names:
        await late.prints(f"{name}: {name} says 29")
    for name, guest in zip((*names, "late"), (*guests, late), strict=True):
        assert await guest.ends() == 0
        for other in names:
            said = [line for line in guest.printed if line.startswith(f"{other}: ")]
            assert said == ([] if other == name else [f"{other}: {other} says {number}" for number in range(30)])


async def test_an_answer_is_shown_after_its_question(start: Start, tmp_path: Path) -> None:
    url = (tmp_path / "store").as_uri()
    ann, bob, eve = [await start("chat.py", name, url) for name in ("ann", "bob", "eve")]
    for number in range(10):
        ann.type(f"question {number}")
        await bob.prints(f"ann: question {number}")
        bob.type(f"answer {number}")
        await ann.prints(f"bob: answer {number}")
    await eve.prints("bob: answer 9")
    late = await start("chat.py", "late", url)
    await late.prints("bob: answer 9")
    talk = [line for number in range(10) for line in (f"ann: question {number}", f"bob: answer {number}")]
    for reader in (eve, late):
        assert [line for line in reader.printed if not line.startswith("*")] == talk
    for guest in (ann, bob, eve, late):
        assert await guest.ends() == 0


async def test_chat_takes_a_file_as_input(start: Start, tmp_path: Path) -> None:
    url = (tmp_path / "store").as_uri()
    (tmp_path / "script.txt").write_text("one\n\ntwo")
    with (tmp_path / "script.txt").open() as script:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-W", "error", str(EXAMPLES / "chat.py"), "ann", url, stdin=script
        )
        async with asyncio.timeout(PATIENCE):
            assert await process.wait() == 0
    bob = await start("chat.py", "bob", url)
    await bob.prints("ann: one")
    await bob.prints("ann: two")
    assert await bob.ends() == 0


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGINT to send")
async def test_chat_ends_at_once_when_interrupted(start: Start, tmp_path: Path) -> None:
    url = (tmp_path / "store").as_uri()
    ann = await start("chat.py", "ann", url)
    bob = await start("chat.py", "bob", url)
    await bob.prints("* ann is here")
    ann.type("in haste")
    await bob.prints("ann: in haste")
    began = time.monotonic()
    ann.interrupt()
    async with asyncio.timeout(PATIENCE):  # its input stays open
        assert await ann.process.wait() in (0, 130)
    assert time.monotonic() - began < 10
    assert (await ann.process.stderr.read()).decode() == ""
    await bob.prints("* ann left")
    assert await bob.ends() == 0


async def test_chat_says_what_is_wrong(start: Start) -> None:
    program = await start("chat.py", "ann", "ftp://somewhere")
    _, err = await program.process.communicate()
    assert program.process.returncode == 1
    assert "not the URL of a store" in err.decode()
    assert "Traceback" not in err.decode()


@pytest.mark.server
async def test_notes_survive_a_lost_network_and_a_kill(
    start: Start, server: Any, s3_config: dict[str, Any], bucket: str
) -> None:
    async with FaultyProxy(server.url) as proxy:
        url = f"s3://{bucket}?{urlencode({**s3_config, 'endpoint_url': proxy.url})}"
        ann = await start("offline_notes.py", "ann", url)
        await ann.prints("* online")
        ann.type("before the tunnel")
        await ann.prints("kept: before the tunnel")
        ann.type("/title Ours")
        await ann.prints("kept: the title 'Ours'")
        async with client(bucket, s3_config) as eve:  # a slow store may take a while to get it
            await eventually(lambda: eve.get("title"))
        proxy.go_offline()
        await ann.prints_start("* offline")
        ann.type("in the tunnel")
        await ann.prints("kept: in the tunnel")
        await ann.prints_start("* offline, ")
        ann.process.kill()
        await ann.process.wait()

        ann = await start("offline_notes.py", "ann", url)
        await ann.prints("Ours, as ann. Type a note, or /help.")
        ann.type("after a restart")
        await ann.prints("kept: after a restart")
        ann.type("/title Mine")
        await ann.prints("kept: the title 'Mine'")
        ann.type("/list")
        for text in ("before the tunnel", "in the tunnel", "after a restart"):
            await ann.prints(f"ann: {text}")
        assert await ann.ends() == 0

        proxy.go_online()
        bob = await start("offline_notes.py", "bob", url)
        await bob.prints("* online")
        bob.type("/title Theirs")
        bob.type("hello")
        await bob.prints("kept: hello")
        assert await bob.ends() == 0  # closing has sent it

        bob = await start("offline_notes.py", "bob", url)
        await bob.prints("* online")
        ann = await start("offline_notes.py", "ann", url)
        await ann.prints_start("* others made the title 'Theirs', you 'Mine'")
        async with client(bucket, s3_config) as eve:
            # Bob is told of what is new only once his watch has begun.
            greeting = {"by": "eve", "text": "hello, all"}
            await bob.prints_at_last("eve: hello, all", lambda: eve.put(f"note/{secrets.token_hex(4)}", greeting))
        ann.type("/theirs")
        await bob.prints("ann: after a restart")

        async def look() -> None:
            ann.type("/list")

        # While the network seems to be away, on a busy machine, what was not read yet is not shown.
        await ann.prints_at_last("--- Theirs ---", look)
        await ann.prints_at_last("bob: hello", look)
        bob.type("/off")
        await bob.prints_start("* offline")
        bob.type("/on")
        bob.type("/quit")
        assert await bob.ends() == 0
        assert await ann.ends() == 0


async def test_notes_start_on_this_machine_without_a_url(start: Start) -> None:
    ann = await start("offline_notes.py", "ann")
    ann.type("one")
    ann.type("/list")
    await ann.prints("ann: one")
    assert await ann.ends() == 0
