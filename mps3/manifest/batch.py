"""A batch of transactions: functions that are run one on top of the other, and committed together."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from ..content.patch import PendingPatch, TooLargeError
from ..content.store import ValueStore
from ..errors import (
    ClosedError,
    ConflictError,
    CorruptionError,
    MPS3Error,
    UnknownOutcomeError,
    doubted,
)
from ..format.file_entry import version_of
from ..format.patches import comes_from
from ..journal.at_hand import look_up_in
from ..journal.attempt import OutdatedError
from ..support.environment import Environment
from ..support.gather import map_concurrently
from .manifest import Manifest
from .nesting import Nesting
from .pending import ConflictPolicy, Pending
from .session import Session
from .workspace import Workspace

SHORTEST: Final = 0.005
"""The least seconds that a try counts as, for the waits between tries."""
LONGEST: Final = 10.0
"""The most seconds before another try after a conflict."""
CERTAINTY_INTERVAL: Final = 0.25
"""Seconds between two checks whether what was read is certain by now."""
LOGGED_FAILURE: Final = 5
"""How many reads of values from the same state must fail before the log says so."""

_log = logging.getLogger("mps3")

T = TypeVar("T")


@dataclass(slots=True, eq=False)
class TransactionJob(Generic[T]):
    """A function to be run as part of a transaction.

    Attributes:
        function: The function.
        done: The result or the error of the run that was committed.
    """

    function: Callable[[Workspace], Awaitable[T]]
    done: asyncio.Future[T]


@dataclass(frozen=True, slots=True)
class FunctionRun:
    """The result of one run of a function.

    Attributes:
        job: The function.
        result: What it returned.
        error: What it raised.
        patches: The patches that it made.
    """

    job: TransactionJob[Any]
    result: Any
    error: Exception | None
    patches: frozenset[PendingPatch] = frozenset()

    def complete(self, void: frozenset[PendingPatch] = frozenset(), why: Exception | None = None) -> None:
        """Complete the future of the function.

        Args:
            void: Patches that do not apply.
            why: The error of those who made one of them.
        """
        if self.job.done.done():
            return  # its caller has been cancelled
        if why is not None and self.patches & void:
            self.job.done.set_exception(why)
        elif self.error is not None:
            self.job.done.set_exception(self.error)
        else:
            self.job.done.set_result(self.result)


class TransactionBatch:
    """Some functions that are committed together, and run again until they are.

    Attributes:
        jobs: The functions.
        left: Functions whose patches are too many for the same commit: another batch has to run them.
    """

    def __init__(self, manifest: Manifest, contents: ValueStore, environment: Environment) -> None:
        self.jobs: list[TransactionJob[Any]] = []
        self.left: list[TransactionJob[Any]] = []
        self._manifest = manifest
        self._contents = contents
        self._environment = environment
        self._session: Session | None = None
        self._pending: Pending | None = None  # what was tried last
        self._tries: list[tuple[Pending, list[FunctionRun]]] = []
        self._reading: tuple[Workspace, list[FunctionRun]] | None = None
        self._concluded = False
        self._conflicts = 0
        self._began = -math.inf

    async def attempt(self) -> None:
        """Run the functions, and send what they write to the store. Then call `decided`."""
        failures = 0
        while True:
            self._reading = None
            self._began = self._environment.monotonic()
            workspace, runs = await self._run()
            if workspace.failure is not None:
                failures += 1
                # The value may have been superseded and collected. If it is missing in a newer state too, the
                # transaction fails, unless an earlier try of it was committed.
                if failures > 1 and isinstance(workspace.failure, CorruptionError):
                    if await self._conclude():
                        return
                    raise workspace.failure
                if failures == LOGGED_FAILURE:
                    _log.warning("a transaction of %s waits to read: %s", self._manifest.ref, workspace.failure)
                await asyncio.sleep(self._environment.backoff(failures))
                await self._manifest.refresh_from_store()
                continue
            if not workspace.writes:
                self._reading = workspace, runs
                return
            if self._session is None:
                self._session = self._manifest.session_pool.acquire()
            pending = make_pending(self._manifest, workspace, self._environment, self._session, ConflictPolicy.RERUN)
            pending.attempt = None if self._pending is None else self._pending.attempt
            before = 0 if pending.attempt is None else pending.attempt.tries
            await store_values(self._contents, pending)
            self._pending = pending
            self._tries.append((pending, runs))
            self._manifest.propose(pending)
            first: list[asyncio.Future[Any]] = [pending.arrived, pending.outcome]
            await asyncio.wait(first, return_when=asyncio.FIRST_COMPLETED)
            if not pending.outcome.done() or not isinstance(pending.outcome.exception(), OutdatedError):
                return
            if pending.attempt is not None and pending.attempt.tries == before:
                self._tries.pop()  # it was never sent
            await self._pause()

    async def decided(self) -> bool:
        """Wait for the result; return false if another `attempt` has to be made."""
        if self._reading is not None:
            return await self._has_read(*self._reading)
        if self._concluded:
            return True
        assert self._pending is not None  # noqa: S101 - it was tried
        try:
            await asyncio.shield(self._pending.outcome)
        except OutdatedError:
            await self._pause()
            return False
        except ConflictError as error:
            if not self._pending.void:
                raise
            await self._complete(self._pending, error)  # of the others nothing has failed
        else:
            await self._complete(self._pending)
        self._free()
        return True

    async def _has_read(self, workspace: Workspace, runs: list[FunctionRun]) -> bool:
        """Complete a run that writes nothing, unless an earlier run was committed, or what it has read has changed."""
        if await self._conclude():
            return True
        if not await is_certain(self._manifest, workspace):
            return False
        for run in runs:
            run.complete()
        self._free()
        return True

    async def _conclude(self) -> bool:
        """Find out for certain whether an earlier run was committed, and make no other try of it."""
        if self._pending is None:
            return False
        last = Pending(
            {},
            {},
            {},
            self._environment.now(),
            self._pending.session,
            expect=self._pending.expect,
            policy=ConflictPolicy.CONCLUDE,
        )
        last.attempt = self._pending.attempt
        if last.attempt is not None:
            self._manifest.conclude(last)
            try:
                await asyncio.shield(last.outcome)
            except ConflictError:
                pass  # it was not
            else:
                await self._complete(last)
                self._free()
                self._concluded = True
                return True
        self._pending, self._tries = None, []
        return False

    async def _complete(self, pending: Pending, why: Exception | None = None) -> None:
        for run in await self._runs_that_count(pending):
            run.complete(pending.void, why)

    async def _runs_that_count(self, pending: Pending) -> list[FunctionRun]:
        """Return the runs of the try that was committed.

        Raises:
            UnknownOutcomeError: It was committed so long ago that it is not known any more which try counts.
        """
        if len(self._tries) == 1:
            return self._tries[0][1]
        if (said := self._manifest.counting(pending)) is not None:
            expect = said.get("expect", {})
            found = next((runs for tried, runs in reversed(self._tries) if tried.expect == expect), None)
            return self._tries[-1][1] if found is None else found
        view = self._manifest.state()[0]
        for tried, runs in reversed(self._tries):
            newest = await look_up_in(view, tried.changes)
            for name, content in tried.changes.items():
                if content is not None and comes_from(version_of(newest[name]), content.version):
                    return runs
        ref = self._manifest.ref
        raise UnknownOutcomeError(
            "the transaction is committed, but so long ago that it is not known any more which of its runs counts",
            bucket=ref.bucket,
            key=ref.key,
            operation="PutObject",
        )

    def fail(self, error: Exception) -> None:
        """Fail all functions."""
        if isinstance(error, MPS3Error) and self._is_in_doubt():
            error = doubted(error)
        for job in (*self.jobs, *self.left):
            fail_job(job, error)

    def _is_in_doubt(self) -> bool:
        """Return whether a try was sent, and it is not known whether it is committed."""
        pending = self._pending
        if pending is None or pending.attempt is None or not pending.attempt.doubtful:
            return False
        outcome = pending.outcome
        if not outcome.done() or outcome.cancelled():
            return True
        # Other errors say themselves whether it may be committed. An outdated try may follow others.
        return isinstance(outcome.exception(), OutdatedError)

    def _free(self) -> None:
        if self._session is not None:
            self._manifest.session_pool.release(self._session)
            self._session = None

    async def _run(self) -> tuple[Workspace, list[FunctionRun]]:
        """Run all functions, each on top of the writes of the one before."""
        whole = Workspace(self._manifest.tentative, self._contents)
        runs = []
        for place, job in enumerate(self.jobs):
            if job.done.done():
                continue
            part = Workspace(whole.view, self._contents, whole)
            nesting = Nesting()
            try:
                result = await job.function(part)
                await part.settle()
                if part.failure is None and (inapplicable := await part.inapplicable()):
                    raise inapplicable
            except Exception as error:  # noqa: BLE001 - the user's own
                # What it has read before the error has to be unchanged, too.
                runs.append(FunctionRun(job, None, error))
            else:
                try:
                    whole.add(part)
                except TooLargeError:
                    self.left = [one for one in self.jobs[place:] if not one.done.done()]
                    self.jobs = self.jobs[:place]
                    break
                runs.append(FunctionRun(job, result, None, part.patches()))
            finally:
                nesting.end()
            if part.failure is not None:
                whole.failure = part.failure
                break
        return whole, runs

    async def _pause(self) -> None:
        """Wait, so that others can commit: longer with each conflict, in proportion to the time that a try takes."""
        self._conflicts += 1
        took = max(SHORTEST, self._environment.monotonic() - self._began)
        await asyncio.sleep(self._environment.backoff(self._conflicts, first=2 * took, most=min(LONGEST, 32 * took)))
        await self._manifest.refresh_from_store()


def make_pending(
    manifest: Manifest, workspace: Workspace, environment: Environment, session: Session, policy: ConflictPolicy
) -> Pending:
    """Return the write that commits a workspace."""
    pending = Pending(
        workspace.writes,
        workspace.labels,
        workspace.places,
        environment.now(),
        session,
        expect=workspace.expect,
        policy=policy,
    )
    pending.last_collection = manifest.last_collection
    return pending


async def store_values(contents: ValueStore, pending: Pending) -> None:
    """Store the values of a transaction before it is sent."""
    await map_concurrently(contents.store, [content for content in pending.changes.values() if content is not None])


async def is_certain(manifest: Manifest, workspace: Workspace) -> bool:
    """Return whether what was read is, or becomes, part of the state, and no failed transaction has written it."""
    while not await workspace.holds_in(manifest.present()[0]):
        if not await workspace.holds_in(manifest.tentative):
            return False
        await asyncio.sleep(CERTAINTY_INTERVAL)
        await manifest.refresh()
    return True


def fail_job(job: TransactionJob[Any], error: Exception) -> None:
    """Fail a function, unless its caller has been cancelled."""
    if not job.done.done():
        job.done.set_exception(error)


def closed_error() -> ClosedError:
    """Return the error for a transaction that was running when the client was closed."""
    return ClosedError("the client was closed before it was known whether the transaction is committed")
