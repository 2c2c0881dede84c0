"""A writer that is killed at any moment, and started again on the same directory: nothing kept is lost.

::

    python tests/crash.py --kills 2000                # half of them with each journal
    python tests/crash.py --kills 500 --journal merge

The server is moto, or the one that the environment names (as for the tests). Between it and the writer a proxy loses
some requests and answers. Each life of the writer is online, offline, or goes to and fro; it writes ``only/<n>`` and
``latest`` together, and says in a file when a write is kept. A stranger marks each ``only/<n>`` that it sees: if a
write were applied once more, its mark would be gone. The order is that of the commits, as the stranger sees them.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import logging
import os
import random
import secrets
import select
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import servers
from proxy import Faults, FaultyProxy

import mps3.storage.s3
from mps3 import MPS3, MPS3Error
from mps3.storage.s3_client import connect

JOURNALS = ("merge", "conditional")
FAULTS = Faults(
    reset_before=0.01, reset_after=0.03, internal_error_after=0.01, slow_down=0.02, black_hole=0.002, silence=0.3
)
PATIENCE = 240.0


# The writer -----------------------------------------------------------------------------------------------------------


async def write(settings: dict[str, Any], seed: int, first: int, log: int, *, last: bool) -> None:
    """One life: writes number after number until it is killed; the last one only brings everything home."""
    dice = random.Random(seed)
    mode = "online" if last else dice.choice(["online", "online", "offline", "to and fro"])
    # What has never been read cannot be opened offline, so the first life has a network without faults.
    client = MPS3(
        settings["bucket"],
        s3_config={**settings["s3_config"], "endpoint_url": settings["direct" if last or first == 0 else "through"]},
        journal=settings["journal"],
        offline=settings["directory"],
        online=mode != "offline" or first == 0,
        poll_interval=0.1,
    )

    def say(what: str, number: int) -> None:
        os.write(log, f"{what} {number}\n".encode())

    async with client:
        say("open", client.status().pending)
        if last:
            async with asyncio.timeout(PATIENCE):
                async for status in client.status_changes():
                    if not status.pending:
                        break
            say("rejected", len(client.rejected()))
            return

        async def keep(number: int) -> None:
            say("made", number)
            await client.put_all({f"only/{number}": {"n": number}, "latest": number}).kept()
            say("kept", number)

        number = first
        closes = time.monotonic() + (dice.uniform(0.05, 0.5) if dice.random() < 0.05 else 1e9)
        while time.monotonic() < closes:
            if mode == "to and fro" and dice.random() < 0.3:
                (client.go_offline if dice.random() < 0.5 else client.go_online)()
            many = dice.choice([1, 1, 1, 2, 5])
            await asyncio.gather(*(keep(number + more) for more in range(many)))
            number += many
            await asyncio.sleep(dice.choice([0.0, 0.005, 0.03, 0.1]))


def live(settings: dict[str, Any], seed: int, first: int, *, last: bool) -> None:
    """What a forked process does."""
    logging.getLogger("mps3").setLevel(logging.ERROR)  # that the network fails is no news here
    code = 1
    try:
        log = os.open(settings["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        asyncio.run(write(settings, seed, first, log, last=last))
        code = 0
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(code)


def kill_all(settings: dict[str, Any]) -> None:
    """Let the writer live as often as it is to be killed. A process of its own, with all imported and no thread."""
    prepared = asyncio.run(connect({**settings["s3_config"], "endpoint_url": settings["through"]}))
    direct = asyncio.run(connect({**settings["s3_config"], "endpoint_url": settings["direct"]}))

    async def no_connect(s3_config: Any, auth: Any = None) -> Any:
        return direct if s3_config["endpoint_url"] == settings["direct"] else prepared

    mps3.storage.s3.connect = no_connect
    dice = random.Random(settings["seed"])
    kills, failures, life = 0, 0, 0
    while kills < settings["kills"]:
        numbers, opened = spoken(settings["log"], "made"), len(spoken(settings["log"], "open"))
        process = os.fork()
        if not process:
            live(settings, dice.randrange(2**32) + life, max(numbers, default=-1) + 1, last=False)
        life += 1
        # The first life has to have read the manifest; others may die while they open.
        delay = 1.5 if not numbers else 0.01 * 60 ** dice.random()
        if numbers and dice.random() < 0.75:
            wait_until_open(settings["log"], opened)
        ended = wait_for(process, delay)
        if ended is None:
            os.kill(process, signal.SIGKILL)
            os.waitpid(process, 0)
            kills += 1
        else:
            failures += ended != 0
        if life % 10 == 0 or kills == settings["kills"]:
            print(json.dumps({"kills": kills, "failures": failures}), flush=True)
    process = os.fork()
    if not process:
        live(settings, 0, 0, last=True)
    ended = wait_for(process, PATIENCE + 30)
    if ended is None:
        os.kill(process, signal.SIGKILL)
    print(json.dumps({"kills": kills, "failures": failures + (ended != 0), "done": True}), flush=True)


def wait_until_open(log: str, before: int) -> None:
    """Wait until one more client has opened; not for ever, since it may fail to."""
    deadline = time.monotonic() + 10
    while len(spoken(log, "open")) == before and time.monotonic() < deadline:
        time.sleep(0.005)


def wait_for(process: int, seconds: float) -> int | None:
    """The exit status of a child that ends within so many seconds."""
    with contextlib.closing(_Descriptor(os.pidfd_open(process))) as descriptor:
        if not select.select([descriptor.number], [], [], seconds)[0]:
            return None
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


class _Descriptor:
    def __init__(self, number: int) -> None:
        self.number = number

    def close(self) -> None:
        os.close(self.number)


def spoken(log: str, what: str) -> list[int]:
    """The numbers that the writer said this of."""
    try:
        lines = Path(log).read_text().splitlines()
    except FileNotFoundError:
        return []
    return [int(line.split()[1]) for line in lines if line.startswith(what + " ")]


# The judge ------------------------------------------------------------------------------------------------------------


@dataclass
class Seen:
    """What the stranger saw: the commits in their order, and which writes it has marked."""

    ids: dict[str, None] = field(default_factory=dict)
    order: list[int] = field(default_factory=list)
    twice: list[int] = field(default_factory=list)
    marked: set[int] = field(default_factory=set)
    gaps: int = 0


@dataclass
class Verdict:
    """What became of all writes."""

    kills: int
    lives_failed: int
    kept: int
    lost: list[int]
    twice: list[int]
    disordered: list[tuple[int, int]]
    set_aside: int
    gaps: int
    faults: dict[str, int]
    seconds: float

    @property
    def good(self) -> bool:
        return not (self.lives_failed or self.lost or self.twice or self.disordered or self.set_aside)

    def __str__(self) -> str:
        return (
            f"{self.kills} kills, {self.kept} kept writes, {sum(self.faults.values())} faults on the way, "
            f"{self.seconds:.0f} s: lost {self.lost[:9]}, twice {self.twice[:9]}, out of order {self.disordered[:9]}, "
            f"set aside {self.set_aside}, failed lives {self.lives_failed}, gaps in what was seen {self.gaps}"
        )


async def watch(stranger: MPS3, seen: Seen) -> None:
    """Note the order of commits, and mark what they wrote."""
    manifest = stranger._manifests[stranger._default]
    view = None
    while True:
        if manifest._view is not view:
            view = manifest._view
            fresh = [commit for commit in view.commits if commit.id not in seen.ids]
            if seen.ids and view.commits and view.commits[0].id not in seen.ids and len(fresh) == len(view.commits):
                seen.gaps += 1
            for commit in fresh:
                seen.ids[commit.id] = None
                if commit.session == manifest._journal.session:
                    continue
                numbers = sorted(int(name[5:]) for name in commit.files if name.startswith("only/"))
                seen.twice += [number for number in numbers if number in seen.marked]
                seen.order += numbers
                for number in numbers:
                    seen.marked.add(number)
                    stranger.put(f"only/{number}", {"n": number, "marked": True})
        await asyncio.sleep(0.02)


async def run(kills: int, journal: str, server: servers.Server, seed: int, *, progress: bool = False) -> Verdict:
    """Kill the writer so often, and judge what is in the bucket afterwards."""
    started = time.monotonic()
    bucket = f"mps3-crash-{secrets.token_hex(6)}"
    await make_bucket(server, bucket, versioning=journal == "merge")
    with tempfile.TemporaryDirectory() as directory:
        async with FaultyProxy(server.url, FAULTS, seed=seed) as proxy:
            settings = {
                "bucket": bucket,
                "journal": journal,
                "s3_config": {**server.s3_config, "endpoint_url": server.url},
                "direct": server.url,
                "through": proxy.url,
                "directory": f"{directory}/offline",
                "log": f"{directory}/log",
                "kills": kills,
                "seed": seed,
            }
            seen = Seen()
            async with MPS3(bucket, s3_config=server.s3_config, journal=journal, poll_interval=0.1) as stranger:
                watching = asyncio.create_task(watch(stranger, seen))
                said = await hear_out(settings, progress=progress)
                await asyncio.sleep(1.0)
                watching.cancel()
                await asyncio.gather(watching, return_exceptions=True)
            faults = dict(proxy.injected)
        kept = spoken(settings["log"], "kept")
        set_aside = spoken(settings["log"], "rejected")
    async with MPS3(bucket, s3_config=server.s3_config, journal=journal) as fresh:
        final = dict(zip(kept, await asyncio.gather(*(fresh.get(f"only/{number}") for number in kept)), strict=True))
        latest = await fresh.get("latest")
    first_places = list(dict.fromkeys(seen.order))
    disordered = [(one, other) for one, other in pairwise(first_places) if other < one]
    if kept and latest != max(first_places + kept):
        disordered.append((max(kept), latest))
    missing = [number for number, value in final.items() if value is None]
    unmarked = [number for number, value in final.items() if number in seen.marked and value == {"n": number}]
    appeared = Counter(seen.order)
    twice = sorted({*seen.twice, *unmarked, *(number for number, times in appeared.items() if times > 1)})
    return Verdict(
        said["kills"],
        said["failures"],
        len(kept),
        missing,
        twice,
        disordered,
        sum(set_aside) if set_aside else -1,
        seen.gaps,
        faults,
        time.monotonic() - started,
    )


async def hear_out(settings: dict[str, Any], *, progress: bool) -> dict[str, Any]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, __file__, "--nursery", json.dumps(settings), stdout=subprocess.PIPE
    )
    said: dict[str, Any] = {"kills": 0, "failures": 1}
    try:
        assert process.stdout is not None
        async for line in process.stdout:
            said = json.loads(line)
            if progress:
                print(
                    f"\r{settings['journal']}: {said['kills']} kills, {said['failures']} failures", end="", flush=True
                )
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
        await process.wait()
    return said if said.pop("done", False) else {**said, "failures": said["failures"] + 1}


async def make_bucket(server: servers.Server, bucket: str, *, versioning: bool) -> None:
    connection = await connect({**server.s3_config, "endpoint_url": server.url})
    try:
        await connection.client.create_bucket(Bucket=bucket)
        if versioning:
            await connection.client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    finally:
        await connection.aclose()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=2000)
    parser.add_argument("--journal", choices=JOURNALS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--nursery", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.nursery:
        kill_all(json.loads(arguments.nursery))
        return 0
    journals = [arguments.journal] if arguments.journal else JOURNALS
    bad = False
    with servers.server() as server:
        for journal in journals:
            kills = arguments.kills // len(journals)
            try:
                verdict = asyncio.run(run(kills, journal, server, arguments.seed, progress=True))
            except MPS3Error as error:
                print(f"\n{journal}: {error!r}")
                return 1
            print(f"\r{journal}: {verdict}")
            bad |= not verdict.good
    return int(bad)


if __name__ == "__main__":
    sys.exit(main())
