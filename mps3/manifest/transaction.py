"""Running transactions: read, change and write, again until no other client has committed in between."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from ..content.store import ValueStore
from ..errors import ConflictError
from ..support.environment import Environment
from ..types import Commit
from .batch import TransactionBatch, TransactionJob, closed_error, fail_job, is_certain, make_pending, store_values
from .manifest import Manifest
from .nesting import Nesting
from .pending import ConflictPolicy
from .workspace import Workspace

T = TypeVar("T")


class TransactionRunner:
    """Runs the transactions of this client in one manifest.

    Transactions that begin while another is being committed are run one on top of the other, as one batch, and are
    committed together.

    Args:
        manifest: The manifest.
        contents: Stores and fetches values.
        environment: The clock, randomness and names.
    """

    def __init__(self, manifest: Manifest, contents: ValueStore, environment: Environment) -> None:
        self._manifest = manifest
        self._contents = contents
        self._environment = environment
        self._waiting: list[TransactionJob[Any]] = []
        self._turn = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self, function: Callable[[Workspace], Awaitable[T]]) -> T:
        """Run a function, again until what it has read is unchanged when its writes are committed.

        Args:
            function: Reads and writes. It may be run several times.

        Returns:
            The result of the run that was committed. If the function raises an error, so does this, and writes nothing.

        Raises:
            RuntimeError: It is called from such a function.
            MPS3Error: It cannot be committed.
        """
        self._manifest.affinity.check()
        Nesting.refuse()
        job: TransactionJob[T] = TransactionJob(function, asyncio.get_running_loop().create_future())
        self._add([job])
        result: T = await job.done
        return result

    def _add(self, jobs: list[TransactionJob[Any]]) -> None:
        begins = not self._waiting
        self._waiting += jobs
        if begins and jobs:
            task = asyncio.get_running_loop().create_task(self._next(), name=f"mps3 transaction {self._manifest.ref}")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def begin(self) -> Workspace:
        """Return a workspace, to be committed with `commit`.

        Raises:
            RuntimeError: It is called from within another transaction.
        """
        self._manifest.affinity.check()
        Nesting.refuse()
        await self._manifest.refresh_for_transaction()
        return Workspace(self._manifest.tentative, self._contents)

    async def commit(self, workspace: Workspace) -> Commit | None:
        """Commit a workspace if what it has read is unchanged; return ``None`` if it has written nothing.

        Raises:
            ConflictError: Another client has changed what it has read.
            MPS3Error: It cannot be committed.
        """
        manifest = self._manifest
        manifest.affinity.check()
        if not workspace.writes:
            if not await is_certain(manifest, workspace):
                raise ConflictError(
                    "another client has changed what this transaction has read",
                    bucket=manifest.ref.bucket,
                    key=manifest.ref.key,
                )
            return None
        if await workspace.inapplicable(manifest.tentative):
            await manifest.refresh_for_transaction()  # what is known may be old
            if (inapplicable := await workspace.inapplicable(manifest.tentative)) is not None:
                raise inapplicable
        pending = make_pending(
            manifest, workspace, self._environment, manifest.session_pool.acquire(), ConflictPolicy.ONCE
        )
        await store_values(self._contents, pending)
        manifest.propose(pending)
        return await asyncio.shield(pending.outcome)

    async def aclose(self) -> None:
        """Stop all transactions. Those that are not decided yet fail."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for job in self._waiting:
            fail_job(job, closed_error())

    async def _next(self) -> None:
        batch = TransactionBatch(self._manifest, self._contents, self._environment)
        try:
            async with self._turn:
                batch.jobs, self._waiting = self._waiting, []
                await self._manifest.refresh_for_transaction()
                await self._attempt(batch)
            while not await batch.decided():
                async with self._turn:
                    await self._attempt(batch)
        except Exception as error:  # noqa: BLE001 - the callers get it
            batch.fail(error)
        except asyncio.CancelledError:
            batch.fail(closed_error())
            raise

    async def _attempt(self, batch: TransactionBatch) -> None:
        await batch.attempt()
        left, batch.left = batch.left, []
        self._add(left)
