"""Share a board of jobs between worker processes, so that each job is done by exactly one of them.

::

    python examples/jobs.py --workers 3 --jobs 20

The program posts jobs, starts worker processes, and prints their progress. A job counts the primes in a range of
numbers. If you kill a worker, another one takes over its job. The program also prints the command that starts more
workers, in another terminal or, if the store is a bucket (``--url "s3://bucket?endpoint_url=…"``), on another machine.

A job has up to three keys:

    job/007      the range of numbers
    claim/007    the worker that does it; expires unless the worker renews it
    done/007     the result, and the worker that has done it

and there is one key for all of them:

    tally        the number of jobs that each worker has done, and of the primes that were found

A worker claims a job in a transaction, if the job is neither claimed nor done. It marks the job as done in another
transaction, if the claim is still its own. So each job has one result, from the worker with the last claim. A slow
worker may do the same work, but its second transaction writes nothing. The side effects of a job may therefore happen
twice, as with any queue.

That transaction also adds the result to the tally, which all workers do at the same time. It patches the tally, which
does not count as reading it, so no two transactions conflict because of it.
"""

import argparse
import asyncio
import contextlib
import logging
import math
import random
import secrets
import sys
import tempfile
from pathlib import Path
from typing import Any, cast

from mps3 import JSON, MPS3, Increment, MPS3Error, Transaction
from mps3.types import Delete

JOB, CLAIM, DONE = "job/", "claim/", "done/"
TALLY = "tally"
LEASE = 5.0
"""Seconds until a claim expires, unless it is renewed."""
SLOW_LEASE = 20.0
"""The same with the merge journal, where a transaction takes some seconds."""


def say(line: str) -> None:
    """Print a line without buffering."""
    print(line, flush=True)


def primes(first: int, end: int) -> int:
    """Count the primes in a range, by trial division."""
    return sum(n > 1 and all(n % divisor for divisor in range(2, math.isqrt(n) + 1)) for n in range(first, end))


def client_of(url: str) -> MPS3:
    """Return a client of the board."""
    # A directory enforces conditions. Some buckets do, too, but the program cannot know it.
    journal = "log" if url.startswith("file:") else "auto"
    return MPS3.from_url(url, journal=journal, poll_interval=0.2)


class Worker:
    """Does jobs until all are done.

    Args:
        client: The store of the board.
        name: The name of the worker. A restarted worker gets another id.
        lease: Seconds until a claim expires, unless it is renewed.
    """

    def __init__(self, client: MPS3, name: str, lease: float) -> None:
        self._client = client
        self._name = f"{name}.{secrets.token_hex(4)}"
        self._lease = lease

    async def run(self) -> None:
        """Do free jobs, look for more after each change of the board, and return when all jobs are done."""
        async with self._client.watch() as changes:  # live from here: it misses no change
            async for _ in changes:
                while (job := await self._take()) is not None:
                    await self._do(job)
                if await self._nothing_left():
                    return

    async def _take(self) -> str | None:
        """Claim a free job, and return it, or ``None`` if there is none."""
        keys = await self._client.keys()
        free = list(numbers(keys, JOB) - numbers(keys, CLAIM) - numbers(keys, DONE))
        random.shuffle(free)  # so that workers try different jobs

        for job in free:

            async def claim(transaction: Transaction, job: str = job) -> bool:
                taken = await transaction.get_all([CLAIM + job, DONE + job])
                if not taken:
                    transaction.put(CLAIM + job, self._name, expires_in=self._lease)
                return not taken

            if await self._client.transact(claim):
                return job
        return None

    async def _do(self, job: str) -> None:
        """Do a job, and renew the claim until it is done."""
        task = cast("dict[str, int]", await self._client.get(JOB + job))
        renewing = asyncio.create_task(self._renew(job))
        try:
            found = await asyncio.to_thread(primes, task["first"], task["end"])
        finally:
            renewing.cancel()
            await asyncio.gather(renewing, return_exceptions=True)

        async def finish(transaction: Transaction) -> bool:
            ours = await transaction.get(CLAIM + job) == self._name
            if ours:
                transaction.put(DONE + job, {"by": self._name, "primes": found})
                transaction.patch(TALLY, {"jobs": {shown(self._name): Increment(1)}, "primes": Increment(found)})
                transaction.delete(CLAIM + job)
            return ours

        if not await self._client.transact(finish):
            say(f"{shown(self._name)} is too late with job {job}")

    async def _renew(self, job: str) -> None:
        """Renew the claim until another worker has it."""

        async def renew(transaction: Transaction) -> bool:
            ours = await transaction.get(CLAIM + job) == self._name
            if ours:
                transaction.put(CLAIM + job, self._name, expires_in=self._lease)
            return ours

        ours = True
        while ours:
            await asyncio.sleep(self._lease / 3)
            ours = await self._client.transact(renew)

    async def _nothing_left(self) -> bool:
        keys = await self._client.keys()
        return numbers(keys, JOB) <= numbers(keys, DONE)


class Board:
    """Posts jobs, and prints their progress.

    Args:
        client: The store of the board.
    """

    def __init__(self, client: MPS3) -> None:
        self._client = client
        self._claims: dict[str, str] = {}
        self._done: dict[str, dict[str, Any]] = {}
        self._jobs: set[str] = set()

    async def post(self, jobs: int, size: int) -> None:
        """Post jobs, unless the board already has some."""
        if not await self._client.keys(JOB):
            width = len(str(jobs))
            await self._client.put_all(
                {f"{JOB}{n:0{width}}": {"first": (n - 1) * size, "end": n * size} for n in range(1, jobs + 1)}
            )

    async def tell(self) -> None:
        """Print the progress until all jobs are done."""
        async for batch in self._client.watch():
            changes = {change.key: change.value for change in batch.changes}
            for key, value in sorted(changes.items(), key=lambda change: change[0].startswith(CLAIM)):
                kind, _, job = key.partition("/")
                self._note(f"{kind}/", job, value)
            if (batch.end_of_initial or not batch.initial) and self._jobs <= self._done.keys():
                return

    def _note(self, kind: str, job: str, value: JSON | Delete) -> None:
        if kind == JOB:
            self._jobs.add(job)
        elif kind == DONE and isinstance(value, dict):
            if job not in self._done:
                say(f"{shown(value['by'])} has done job {job}: {value['primes']:,} primes")
            self._done[job] = value
        elif kind == CLAIM:
            before = self._claims.pop(job, None)
            if before is not None and before != value and job not in self._done:
                # Another worker may have claimed it before this process saw the expiry.
                say(f"{shown(before)} is not heard of any more: job {job} is free")
            if isinstance(value, str):
                if value != before:  # otherwise it was renewed
                    say(f"{shown(value)} takes job {job}")
                self._claims[job] = value

    async def sum_up(self) -> None:
        """Print the number of jobs of each worker, and the total."""
        tally = cast("dict[str, Any]", await self._client.get(TALLY))
        by = sorted(tally["jobs"].items())
        say(f"{sum(tally['jobs'].values())} jobs: " + ", ".join(f"{worker} did {count}" for worker, count in by))
        say(f"{tally['primes']:,} primes")


def numbers(keys: list[str], prefix: str) -> set[str]:
    """Return the jobs that have a key with this prefix."""
    return {key.removeprefix(prefix) for key in keys if key.startswith(prefix)}


def shown(worker: str) -> str:
    """Return the name of a worker without its suffix."""
    return worker.rpartition(".")[0]


async def work(options: argparse.Namespace) -> None:
    """Run as a worker."""
    async with client_of(options.url) as client:
        await Worker(client, options.work, options.lease).run()


async def lead(options: argparse.Namespace) -> None:
    """Post jobs, start workers, and print their progress."""
    async with client_of(options.url) as client:
        board = Board(client)
        await board.post(options.jobs, options.size)
        command = [sys.executable, __file__, "--url", options.url, "--lease", str(options.lease), "--work"]
        say(f'to help: {Path(sys.executable).name} {__file__} --url "{options.url}" --work NAME')
        workers = [
            await asyncio.create_subprocess_exec(*command, f"worker-{n}", stdin=asyncio.subprocess.DEVNULL)
            for n in range(1, options.workers + 1)
        ]
        try:
            async with asyncio.TaskGroup() as tasks:
                telling = tasks.create_task(board.tell())
                gone = [tasks.create_task(mourn(n, worker)) for n, worker in enumerate(workers, 1)]
                if gone:
                    await asyncio.wait(gone)
                    # The workers exit when all jobs are done; this process sees that a little later.
                    await asyncio.wait([telling], timeout=options.lease)
                    if not telling.done():
                        telling.cancel()
                        sys.exit("all workers are gone")
        finally:
            for worker in workers:
                if worker.returncode is None:
                    with contextlib.suppress(ProcessLookupError):
                        worker.terminate()
                    await worker.wait()
        await board.sum_up()


async def mourn(n: int, worker: asyncio.subprocess.Process) -> None:
    """Wait until a worker exits, and print its exit code if it failed."""
    code = await worker.wait()
    if code != 0:
        say(f"worker-{n} has ended with exit code {code}")


def positive(text: str) -> float:
    """Parse a positive number of seconds."""
    found = float(text)
    if not 0 < found < math.inf:
        raise ValueError(text)
    return found


def number(text: str) -> int:
    """Parse a number that is not negative."""
    found = int(text)
    if found < 0:
        raise ValueError(text)
    return found


def some(text: str) -> int:
    """Parse a number that is positive."""
    if (found := number(text)) == 0:
        raise ValueError(text)
    return found


def main() -> None:
    """Parse the command line, and run."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--workers", type=number, default=3, help="how many workers to start (3)")
    parser.add_argument("--jobs", type=some, default=20, help="how many jobs to post, if there are none (20)")
    parser.add_argument("--size", type=some, default=25_000, help="how many numbers a job looks at (25000)")
    parser.add_argument("--lease", type=positive, help=f"seconds that a claim lasts ({LEASE:g}; S3: {SLOW_LEASE:g})")
    parser.add_argument("--url", help="the store (a temporary directory)")
    parser.add_argument("--work", metavar="NAME", help="be a worker of that name for the board at --url")
    options = parser.parse_args()
    if options.work and not options.url:
        parser.error("--work needs the --url of a board")
    if options.url and options.url.startswith("memory:"):
        parser.error("workers are processes of their own, which share no memory: take a file: or s3: URL")
    logging.getLogger("mps3").setLevel(logging.ERROR)
    with contextlib.ExitStack() as stack:
        if options.url is None:
            options.url = Path(stack.enter_context(tempfile.TemporaryDirectory())).as_uri()
        if options.lease is None:
            options.lease = LEASE if options.url.startswith("file:") else SLOW_LEASE
        try:
            asyncio.run((work if options.work else lead)(options))
        except MPS3Error as error:
            sys.exit(f"{type(error).__name__}: {error}")
        except ExceptionGroup as group:
            sys.exit("\n".join(f"{type(error).__name__}: {error}" for error in group.exceptions))
        except KeyboardInterrupt:
            sys.exit(130)


if __name__ == "__main__":
    main()
