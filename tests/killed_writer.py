"""A writer that is killed again and again, and what kills it. `crash` starts it and judges what is left.

``python tests/killed_writer.py SETTINGS`` lets one writer after the other live on the same directory, and prints what they
said, as one line of JSON for each death.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import random
import select
import signal
import sys
import time
import traceback
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import mps3.storage.s3.storage
from mps3 import MPS3, MPS3Error
from mps3.storage.s3.client import connect

PATIENCE = 240.0
"""Seconds in which the last life brings at least one more write home, and the first has its first one committed."""
HOMECOMING = 60.0
"""Seconds that a life may take for what the ones before it left, before it is killed over it."""
BACKLOG = 12
"""So many outboxes, and one life is to bring home what is in them before it goes on."""
LONGEST = 10.0
"""Seconds that are waited for a life to do what it is to be killed after."""


# The writer -----------------------------------------------------------------------------------------------------------


async def write(settings: dict[str, Any], mode: str, seed: int, first: int, out: int) -> None:
    """One life: writes number after number until it is killed.

    Args:
        settings: Which bucket, and how to get there.
        mode: ``"online"``, ``"offline"``, ``"to and fro"``; ``"home"`` first brings home what lives before it left,
            and ``"last"`` does nothing else.
        seed: Of its dice.
        first: The first number that nobody has used.
        out: Where it says what it does. What was written into a pipe survives its writer.
    """
    dice = random.Random(seed)

    def say(what: str, number: int = 0) -> None:
        os.write(out, f"{what} {number}\n".encode())

    # What has never been read cannot be opened offline, so the first life has a network without faults.
    endpoint = settings["direct" if mode == "last" else "through"]
    belongs = Path(settings["directory"], "store.json")
    if belongs.exists() and endpoint.rpartition("/")[2] not in belongs.read_text():
        belongs.unlink()  # the same store at another address
    client = MPS3(
        settings["bucket"],
        s3_config={**settings["s3_config"], "endpoint_url": endpoint},
        journal=settings["journal"],
        offline=settings["directory"],
        online=mode != "offline",
        poll_interval=0.1,
    )
    async with client:
        say("open", client.status().pending)
        if mode in ("home", "last"):
            async for status in client.status_changes():
                say("waiting", status.pending)
                if not status.pending:
                    break
            say("home")
        if mode == "last":
            say("rejected", len(client.rejected()))
            return

        async def follow(number: int) -> None:
            say("made", number)
            write = client.put_all({f"only/{number}": {"n": number}, "latest": number})
            await write.kept()
            say("kept", number)
            with contextlib.suppress(MPS3Error):  # it was closed, and the next life goes on
                await write
                say("committed", number)

        async with asyncio.TaskGroup() as following:
            number = first
            while True:
                if mode == "to and fro" and dice.random() < 0.3:
                    (client.go_offline if dice.random() < 0.5 else client.go_online)()
                for _ in range(dice.choice([1, 1, 1, 2, 5])):
                    following.create_task(follow(number))
                    number += 1
                await asyncio.sleep(dice.choice([0.0, 0.005, 0.03, 0.1]))
                if number > first + 200:  # one that is not killed closes in good order
                    return


def live(settings: dict[str, Any], mode: str, seed: int, first: int, out: int) -> None:
    """What a forked process does."""
    logging.getLogger("mps3").setLevel(logging.CRITICAL)  # that the network fails is no news here
    code = 1
    try:
        asyncio.run(write(settings, mode, seed, first, out))
        code = 0
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(code)


# What kills it --------------------------------------------------------------------------------------------------------


@dataclass
class Life:
    """A process, and what it has said so far."""

    process: int
    pipe: int
    said: list[tuple[str, int]] = field(default_factory=list)
    _rest: bytes = b""

    def numbers(self, what: str) -> list[int]:
        return [number for word, number in self.said if word == what]

    def listen(self, seconds: float) -> bool:
        """Hear what it says next. False when it says nothing for so long, or is over."""
        if not select.select([self.pipe], [], [], max(0.0, seconds))[0]:
            return False
        heard = os.read(self.pipe, 65536)
        *lines, self._rest = (self._rest + heard).split(b"\n")
        self.said += [(word.decode(), int(number)) for word, number in (line.split() for line in lines)]
        return bool(heard)

    def wait(self, what: str, times: int, seconds: float) -> bool:
        """Wait until it has said something so often."""
        deadline = time.monotonic() + seconds
        while len(self.numbers(what)) < times:
            if not self.listen(deadline - time.monotonic()):
                return False
        return True

    def end(self, seconds: float) -> int | None:
        """Its exit status if it ends by itself within so many seconds."""
        deadline = time.monotonic() + seconds
        while self.listen(deadline - time.monotonic()):
            pass
        # The pipe has no other writer: it is at its end when the process is.
        if time.monotonic() >= deadline:
            return None
        return os.waitstatus_to_exitcode(os.waitpid(self.process, 0)[1])

    def come_home(self) -> int | None:
        """Its exit status once it has brought everything home; ``None`` if it gets no further."""
        while True:
            before = self.numbers("waiting")[-1:]
            ended = self.end(PATIENCE)
            if ended is not None or self.numbers("waiting")[-1:] == before:
                return ended

    def kill(self) -> None:
        os.kill(self.process, signal.SIGKILL)
        os.waitpid(self.process, 0)
        while self.listen(1.0):
            pass

    def moment(self) -> str:
        """What it had under way when it died."""
        made, kept, committed = (set(self.numbers(what)) for what in ("made", "kept", "committed"))
        opened = self.numbers("open")
        if not opened:
            return "opening"
        if made - kept:
            return "keeping"
        if kept - committed:
            return "committing"
        return "taking over" if opened[0] and not made else "idle"


def begin(settings: dict[str, Any], mode: str, seed: int, first: int) -> Life:
    heard, out = os.pipe()
    process = os.fork()
    if not process:
        os.close(heard)
        live(settings, mode, seed, first, out)
    os.close(out)
    return Life(process, heard)


def kill_one(life: Life, mode: str, dice: random.Random) -> int | None:
    """Wait for a random moment, and kill it there; its exit status if it ended before."""
    if mode == "first":
        life.wait("committed", 1, PATIENCE)  # the manifest has to be known from then on
        delay = 0.0
    elif mode == "home":
        life.wait("home", 1, HOMECOMING)
        life.wait("made", dice.randint(1, 4), LONGEST)
        delay = dice.choice([0.0, dice.uniform(0, 0.05)])
    elif (way := dice.random()) < 0.1:
        delay = 0.15 * dice.random()  # while it opens, or soon after
    elif way < 0.8:
        what = dice.choice(["made", "made", "kept", "kept" if mode == "offline" else "committed"])
        life.wait(what, dice.randint(1, 8), 3.0 if what == "committed" else LONGEST)
        delay = dice.choice([0.0, dice.uniform(0, 0.005), dice.uniform(0, 0.05)])
    else:
        life.wait("open", 1, LONGEST)
        delay = 0.01 * 60 ** dice.random()
    ended = life.end(delay)
    if ended is None:
        life.kill()
    return ended


def kill_all(settings: dict[str, Any]) -> None:
    """Let the writer live as often as it is to be killed. A process of its own, with all imported and no thread."""
    prepared = asyncio.run(connect({**settings["s3_config"], "endpoint_url": settings["through"]}))
    direct = asyncio.run(connect({**settings["s3_config"], "endpoint_url": settings["direct"]}))

    async def no_connect(s3_config: Any, auth: Any = None) -> Any:
        return direct if s3_config["endpoint_url"] == settings["direct"] else prepared

    mps3.storage.s3.storage.connect = no_connect
    dice = random.Random(settings["seed"])
    outboxes = Path(settings["directory"]) / "outbox"
    kills, next_number = 0, 0
    mode = "first"
    while kills < settings["kills"]:
        calm = {**settings, "through": settings["direct"]} if mode == "first" else settings
        life = begin(calm, "online" if mode == "first" else mode, dice.randrange(2**32), next_number)
        ended = kill_one(life, mode, dice)
        kills += ended is None
        next_number = max([next_number, *(number + 1 for number in life.numbers("made"))])
        tell(life, mode=mode, killed=ended is None, failed=bool(ended), moment=life.moment() if ended is None else "")
        os.close(life.pipe)
        mode = dice.choice(["online", "online", "offline", "to and fro"])
        if len(list(outboxes.glob("*.sqlite3"))) > BACKLOG:
            mode = "home"
    life = begin(settings, "last", 0, 0)
    ended = life.come_home()
    if ended is None:
        life.kill()
    tell(life, mode="last", killed=False, failed=ended != 0, moment="", rejected=life.numbers("rejected"))


def tell(life: Life, **about: Any) -> None:
    counts = Counter(word for word, _ in life.said)
    print(json.dumps({**about, "kept": life.numbers("kept"), "made": counts["made"]}), flush=True)


if __name__ == "__main__":
    kill_all(json.loads(sys.argv[1]))
