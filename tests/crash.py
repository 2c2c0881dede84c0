"""A writer that is killed at any moment, and started again on the same directory: nothing kept is lost.

::

    python tests/crash.py --kills 2000                # half of them with each journal
    python tests/crash.py --kills 500 --journal merge

The server is moto, or the one that the environment names (as for the tests). Between it and the writer a proxy loses
some requests and answers. Each life of the writer is online, offline, or goes to and fro; it writes ``only/<n>`` and
``latest`` together, and says what it does. Most lives are killed just after they said that a write is made, kept or
committed, the others at any time, and while they open; how many had something under way is counted. A stranger marks
each ``only/<n>`` that it sees: if a write were applied once more, its mark would be gone. The order is that of the
commits, as the stranger sees them. After 40 kills the next ones have a new bucket and a new directory.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import secrets
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import servers
from proxy import Faults, FaultyProxy

from mps3 import MPS3, MPS3Error
from mps3.storage.s3.client import connect

JOURNALS = ("merge", "log")
FAULTS = Faults(
    reset_before=0.01, reset_after=0.03, internal_error_after=0.01, slow_down=0.02, black_hole=0.002, silence=0.3
)
ROUND = 40
"""Kills with one bucket and one directory; moto copies the whole bucket for each listing of versions."""
BUSY = ("keeping", "committing", "taking over")
"""The moments of a life in which something of it is under way."""


@dataclass
class Seen:
    """What the stranger saw: the commits in their order, and which writes it has marked."""

    ids: dict[str, None] = field(default_factory=dict)
    order: list[int] = field(default_factory=list)
    twice: list[int] = field(default_factory=list)
    marked: set[int] = field(default_factory=set)


@dataclass
class Said:
    """What the writer said in all its lives."""

    lives: int = 0
    failed: int = 0
    kept: list[int] = field(default_factory=list)
    made: int = 0
    moments: Counter[str] = field(default_factory=Counter)
    modes: Counter[str] = field(default_factory=Counter)
    rejected: list[int] | None = None

    @property
    def kills(self) -> int:
        return self.moments.total()


@dataclass
class Verdict:
    """What became of all writes."""

    lives_failed: int = 0
    made: int = 0
    kept: int = 0
    lost: list[int] = field(default_factory=list)
    twice: list[int] = field(default_factory=list)
    disordered: list[tuple[int, int]] = field(default_factory=list)
    set_aside: int = 0
    unseen: int = 0
    moments: Counter[str] = field(default_factory=Counter)
    modes: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0

    @property
    def kills(self) -> int:
        return self.moments.total()

    @property
    def busy(self) -> int:
        """Kills of lives that had something under way."""
        return sum(self.moments[moment] for moment in BUSY)

    @property
    def good(self) -> bool:
        return not (self.lives_failed or self.lost or self.twice or self.disordered or self.set_aside or self.unseen)

    def add(self, other: Verdict) -> None:
        self.lives_failed += other.lives_failed
        self.made += other.made
        self.kept += other.kept
        self.lost += other.lost
        self.twice += other.twice
        self.disordered += other.disordered
        self.set_aside += other.set_aside
        self.unseen += other.unseen
        self.moments += other.moments
        self.modes += other.modes
        self.faults += other.faults
        self.seconds += other.seconds

    def __str__(self) -> str:
        moments = ", ".join(f"{number} {moment}" for moment, number in self.moments.most_common())
        modes = ", ".join(f"{number} {mode}" for mode, number in self.modes.most_common())
        return (
            f"{self.kills} kills ({moments}; lives: {modes}), {self.made} writes made, {self.kept} kept, "
            f"{self.faults.total()} faults on the way, "
            f"{self.seconds:.0f} s: lost {self.lost[:9]}, twice {self.twice[:9]}, out of order {self.disordered[:9]}, "
            f"set aside {self.set_aside}, failed lives {self.lives_failed}, not seen by the stranger {self.unseen}"
        )


async def watch(stranger: MPS3, seen: Seen) -> None:
    """Note the order of commits, and mark what they wrote."""
    manifest = stranger._manifests[stranger._default]
    view = None
    while True:
        if manifest._state.view is not view:
            view = manifest._state.view
            fresh = [commit for commit in view.commits if commit.id not in seen.ids]
            for commit in fresh:
                seen.ids[commit.id] = None
                if commit.session == manifest._state.journal.session:
                    continue
                numbers = sorted(int(name[5:]) for name in commit.files if name.startswith("only/"))
                seen.twice += [number for number in numbers if number in seen.marked]
                seen.order += numbers
                for number in numbers:
                    seen.marked.add(number)
                    stranger.put(f"only/{number}", {"n": number, "marked": True})
        await asyncio.sleep(0.2)


def nobody(said: Said) -> None: ...


async def run(
    kills: int, journal: str, server: servers.Server, seed: int, progress: Callable[[Said], None] = nobody
) -> Verdict:
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
                "kills": kills,
                "seed": seed,
            }
            seen = Seen()
            async with MPS3(bucket, s3_config=server.s3_config, journal=journal, poll_interval=0.2) as stranger:
                watching = asyncio.create_task(watch(stranger, seen))
                said = await hear_out(settings, progress)
                await asyncio.sleep(1.0)
                watching.cancel()
                await asyncio.gather(watching, return_exceptions=True)
            faults = Counter(proxy.injected)
    async with MPS3(bucket, s3_config=server.s3_config, journal=journal) as fresh:
        kept = said.kept
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
        lives_failed=said.failed,
        made=said.made,
        kept=len(kept),
        lost=missing,
        twice=twice,
        disordered=disordered,
        set_aside=-1 if said.rejected is None else sum(said.rejected),
        unseen=len(set(kept) - set(seen.order)),
        moments=said.moments,
        modes=said.modes,
        faults=faults,
        seconds=time.monotonic() - started,
    )


async def hear_out(settings: dict[str, Any], progress: Callable[[Said], None]) -> Said:
    """Let the writer live and die, and hear what it says."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(Path(__file__).with_name("killed_writer.py")),
        json.dumps(settings),
        stdout=subprocess.PIPE,
        limit=2**20,
    )
    said = Said()
    try:
        assert process.stdout is not None
        async for line in process.stdout:
            life = json.loads(line)
            said.lives += 1
            said.failed += life["failed"]
            said.kept += life["kept"]
            said.made += life["made"]
            if life["killed"]:
                said.moments[life["moment"]] += 1
                said.modes[life["mode"]] += 1
            said.rejected = life.get("rejected")
            progress(said)
    except BaseException:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        raise
    finally:
        await process.wait()
    if said.rejected is None:  # the last life was never heard of
        said.failed += 1
    return said


async def make_bucket(server: servers.Server, bucket: str, *, versioning: bool) -> None:
    connection = await connect({**server.s3_config, "endpoint_url": server.url})
    try:
        await connection.client.create_bucket(Bucket=bucket)
        if versioning:
            await connection.client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    finally:
        await connection.aclose()


def rounds(kills: int, most: int) -> list[int]:
    """How many kills each bucket sees."""
    return [min(most, kills - before) for before in range(0, kills, most)]


def judge(journal: str, kills: int, server: servers.Server, seed: int) -> Verdict:
    """So many kills with one journal, in as many buckets as it takes."""
    total = Verdict()
    for number, some in enumerate(rounds(kills, ROUND)):
        before = total.kills

        def progress(said: Said, before: int = before) -> None:
            if sys.stdout.isatty():
                print(f"\r{journal}: {before + said.kills} kills, {said.failed} failed lives", end="", flush=True)

        verdict = asyncio.run(run(some, journal, server, seed + number, progress))
        total.add(verdict)
        if not verdict.good:
            print(f"\nseed {seed + number}: {verdict}", flush=True)
        elif not sys.stdout.isatty():
            print(f"{journal}, so far: {total}", flush=True)
    return total


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=2000)
    parser.add_argument("--journal", choices=JOURNALS)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    journals = [arguments.journal] if arguments.journal else JOURNALS
    bad = False
    with servers.server() as server:
        for journal in journals:
            try:
                verdict = judge(journal, arguments.kills // len(journals), server, arguments.seed)
            except MPS3Error as error:
                print(f"\n{journal}: {error!r}")
                return 1
            print(f"\r{journal}: {verdict}", flush=True)
            bad |= not verdict.good
    return int(bad)


if __name__ == "__main__":
    sys.exit(main())
