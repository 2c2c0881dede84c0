"""The board of jobs: a fleet of processes, some of which are killed or fall asleep."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from helpers import eventually
from programs import EXAMPLES, PATIENCE, Program, Start, start

from mps3 import MPS3

__all__ = ["start"]  # a fixture

pytestmark = pytest.mark.skipif(not EXAMPLES.is_dir(), reason="the examples are not beside the tests")


async def check_results(client: MPS3, jobs: int, primes: int) -> dict[str, dict[str, Any]]:
    """Each job has one result, ever; nothing is claimed any more; and the results are right."""
    done = await client.get_all(prefix="done/")
    assert len(done) == jobs
    assert await client.keys("claim/") == []
    assert sum(each["primes"] for each in done.values()) == primes
    for key in done:
        assert len(await client.history(key)) == 1
    by = Counter(each["by"].rpartition(".")[0] for each in done.values())
    assert await client.get("tally") == {"jobs": by, "primes": primes}
    return done


async def test_each_job_is_done_by_one_worker(start: Start, tmp_path: Path) -> None:
    url = (tmp_path / "store").as_uri()
    fleet = await start("jobs.py", "--workers", "3", "--jobs", "20", "--size", "1000", "--lease", "60", "--url", url)
    assert await fleet.ends() == 0
    assert fleet.printed[-1] == "2,262 primes"  # of the numbers below 20,000
    assert fleet.printed[-2].startswith("20 jobs: ")
    async with MPS3.from_url(url, journal="log") as client:
        done = await check_results(client, 20, 2262)
    told = Counter(line.split(":")[0] for line in fleet.printed if " has done " in line)
    assert told == {
        f"{each['by'].rpartition('.')[0]} has done job {key.removeprefix('done/')}": 1 for key, each in done.items()
    }
    assert sum(" takes " in line for line in fleet.printed) == 20  # nobody was too late, and nobody was missed

    again = await start("jobs.py", "--workers", "1", "--url", url)
    assert await again.ends() == 0
    assert again.printed[-2:] == fleet.printed[-2:]


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such signals to send")
@pytest.mark.parametrize("fate", ["killed", "asleep"])
async def test_a_job_of_a_lost_worker_is_taken_over(start: Start, tmp_path: Path, fate: str) -> None:
    url = (tmp_path / "store").as_uri()
    options = ("--url", url, "--lease", "1")
    board = await start("jobs.py", "--workers", "0", "--jobs", "8", "--size", "8000", *options)
    await board.prints_start("to help: ")
    async with MPS3.from_url(url, journal="log", poll_interval=0.1) as client:
        ann = await start("jobs.py", "--work", "ann", *options)
        job = await caught(client, ann)
        if fate == "killed":
            ann.process.kill()
        others = [await start("jobs.py", "--work", name, *options) for name in ("bob", "eve")]
        await board.prints(f"ann is not heard of any more: job {job} is free")
        for other in others:
            assert await other.ends() == 0
        assert await board.ends() == 0
        if fate == "asleep":
            ann.process.send_signal(signal.SIGCONT)
            assert await ann.ends() == 0
            # On a busy machine she may have been late before she was caught, too: her claim lasts for a second only.
            assert ann.printed[-1] == f"ann is too late with job {job}"
        done = await check_results(client, 8, 6413)  # of the numbers below 64,000
    assert done[f"done/{job}"]["by"].startswith(("bob.", "eve."))
    assert board.printed[-1] == "6,413 primes"


async def caught(client: MPS3, worker: Program) -> str:
    """Stop a worker in the midst of a job, and return which."""
    while True:
        await eventually(lambda: client.keys("claim/"), within=PATIENCE)
        worker.process.send_signal(signal.SIGSTOP)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(5):
                await client.put("probe", 1)  # it was not stopped while it had the database locked
                for key in await client.keys("claim/"):
                    return key.removeprefix("claim/")
        with contextlib.suppress(ProcessLookupError):
            worker.process.send_signal(signal.SIGCONT)


async def test_what_is_wrong_is_said(start: Start) -> None:
    program = await start("jobs.py", "--work", "ann")
    _, err = await program.process.communicate()
    assert program.process.returncode == 2
    assert "--work needs the --url of a board" in err.decode()
    for wrong in (("--jobs", "0"), ("--workers", "-1"), ("--lease", "nan"), ("--url", "memory:")):
        program = await start("jobs.py", *wrong)
        _, err = await program.process.communicate()
        assert program.process.returncode == 2
        assert wrong[0] in err.decode() or "share no memory" in err.decode()
    program = await start("jobs.py", "--url", "ftp://somewhere")
    _, err = await program.process.communicate()
    assert program.process.returncode == 1
    assert "not the URL of a store" in err.decode()
    assert "Traceback" not in err.decode()
