"""Running transactions: read, change and write, again and again until nobody came in between."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from ..content.reader import for_all
from ..content.store import Content, Contents
from ..errors import (
    ClosedError,
    ConflictError,
    CorruptionError,
    MPS3Error,
    UnavailableError,
    UnknownOutcomeError,
    doubted,
)
from ..format.entries import FileEntry, version_of
from ..format.state import View
from ..format.values import load
from ..journal.protocol import OutdatedError
from ..support.environment import Environment
from ..types import DELETE, JSON, Commit, Delete
from .manifest import Manifest
from .pending import ConflictPolicy, Pending
from .session import Session

SHORTEST: Final = 0.005
"""Seconds that a try takes at least, for the pauses between them."""
LONGEST: Final = 10.0
"""Seconds at the most before another try, when somebody else was first."""
LOOK: Final = 0.25
"""Seconds between two looks whether what was read is certain by now."""

COMPLAINT: Final = 5
"""Failures to read the same state's values, after which the log says so."""

_log = logging.getLogger("mps3")

T = TypeVar("T")

_inside: ContextVar[Nesting | None] = ContextVar("mps3 transaction", default=None)


class Nesting:
    """From its making to its end, a transaction is under way in this task, and in those that are begun within it.

    A task that outlives the transaction may begin others then.
    """

    def __init__(self) -> None:
        self._ended = False
        before: Nesting | None = _inside.get()
        while before is not None and before._ended:  # noqa: SLF001 - its own
            before = before._before  # noqa: SLF001
        self._before: Nesting | None = before
        _inside.set(self)

    def end(self) -> None:
        """The transaction is over."""
        self._ended = True
        if _inside.get() is self:  # it may end in another task than it began in
            _inside.set(self._before)

    @staticmethod
    def refuse() -> None:
        """Refuse to begin another transaction.

        Raises:
            RuntimeError: One is under way.
        """
        nesting = _inside.get()
        while nesting is not None:
            if not nesting._ended:  # noqa: SLF001 - its own
                raise RuntimeError("a transaction is under way in this task: use its own methods, not the client's")
            nesting = nesting._before  # noqa: SLF001


class Workspace:
    """What a transaction has read of one state, and what it is to write.

    Args:
        view: The state.
        contents: Fetches values.
        below: What other transactions have read and written that will be committed together with this one.

    Attributes:
        failure: Why something could not be read.
        expect: The versions of what was read.
        writes: The new values, by what the manifest calls the key.
        places: The buckets and keys that those stand for.
        labels: What users call them.
    """

    def __init__(self, view: View, contents: Contents, below: Workspace | None = None) -> None:
        self.view = view
        self._contents = contents
        self._below = below
        self.failure: MPS3Error | None = None
        self.expect: dict[str, str | None] = {}
        self.writes: dict[str, Content | None] = {}
        self.places: dict[str, tuple[str, str]] = {}
        self.labels: dict[str, str] = {}

    def look_up(self, name: str) -> Content | FileEntry | None:
        """What there is of a key, for this transaction."""
        if name in self.writes:
            return self.writes[name]
        if self._below is not None:
            return self._below.look_up(name)
        file = self.view.look_up(name)
        self.expect[name] = None if file is None else file["version"]
        return file

    async def read(self, name: str, place: tuple[str, str]) -> JSON | Delete:
        """The value of a key; `DELETE` if there is none.

        Raises:
            CorruptionError: It is missing, or not what was written; perhaps it was superseded and collected.
            UnavailableError: The store does not answer.
        """
        found = self.look_up(name)
        if found is None:
            return DELETE
        if isinstance(found, Content):
            return await load(found.body, *place, found.version)
        try:
            return await load(await self._contents.fetch(*place, found), *place, found["version"])
        except (CorruptionError, UnavailableError) as error:
            self.failure = error
            raise

    def write(self, name: str, place: tuple[str, str], label: str, content: Content | None) -> None:
        """Set a key, or delete it."""
        self.writes[name] = content
        self.places[name] = place
        self.labels[name] = label

    def add(self, other: Workspace) -> None:
        """Take over what a transaction on top of this one has read and written."""
        self.expect.update(other.expect)
        self.writes.update(other.writes)
        self.places.update(other.places)
        self.labels.update(other.labels)

    def holds_in(self, view: View) -> bool:
        """Whether all that was read is still there in another state."""
        for name, expected in self.expect.items():
            file = view.look_up(name)
            if (None if file is None else file["version"]) != expected:
                return False
        return True


@dataclass(slots=True, eq=False)
class _Job(Generic[T]):
    """A function to be run.

    Attributes:
        function: What to do.
        done: What it returned, or raised, in the run that counts.
    """

    function: Callable[[Workspace], Awaitable[T]]
    done: asyncio.Future[T]


@dataclass(frozen=True, slots=True)
class _Run:
    """What one run of a function came to."""

    job: _Job[Any]
    result: Any
    error: Exception | None

    def tell(self) -> None:
        if self.job.done.done():
            return  # nobody waits for it any more
        if self.error is not None:
            self.job.done.set_exception(self.error)
        else:
            self.job.done.set_result(self.result)


class TransactionRunner:
    """The transactions of one manifest, as far as this client makes them.

    While one is on its way, those that arrive gather, are run one on top of the other, and go out as one commit.

    Args:
        manifest: The manifest.
        contents: Stores and fetches values.
        environment: Time, chance and names.
    """

    def __init__(self, manifest: Manifest, contents: Contents, environment: Environment) -> None:
        self._manifest = manifest
        self._contents = contents
        self._environment = environment
        self._waiting: list[_Job[Any]] = []
        self._turn = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self, function: Callable[[Workspace], Awaitable[T]]) -> T:
        """Run a function until what it has read is still there when its writes are committed.

        Args:
            function: Reads and writes. It may be run several times.

        Returns:
            What it returned in the run that counts. What it raises then is raised, and it has written nothing.

        Raises:
            RuntimeError: It is called from such a function.
            MPS3Error: It cannot be committed.
        """
        self._manifest.home.check()
        Nesting.refuse()
        job: _Job[T] = _Job(function, asyncio.get_running_loop().create_future())
        self._waiting.append(job)
        if len(self._waiting) == 1:
            task = asyncio.get_running_loop().create_task(self._next(), name=f"mps3 transaction {self._manifest.ref}")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        result: T = await job.done
        return result

    async def begin(self) -> Workspace:
        """A workspace for somebody who commits it with `commit`.

        Raises:
            RuntimeError: It is called from within another transaction.
        """
        self._manifest.home.check()
        Nesting.refuse()
        await self._manifest.refresh_for_transaction()
        return Workspace(self._manifest.tentative, self._contents)

    async def commit(self, workspace: Workspace) -> Commit | None:
        """Commit what was written, if what was read is still there; ``None`` if nothing was written.

        Raises:
            ConflictError: It is not.
            MPS3Error: It cannot be committed.
        """
        manifest = self._manifest
        manifest.home.check()
        if not workspace.writes:
            if not await _is_certain(manifest, workspace):
                raise ConflictError(
                    "somebody else has changed what this transaction has read",
                    bucket=manifest.ref.bucket,
                    key=manifest.ref.key,
                )
            return None
        pending = _pending(manifest, workspace, self._environment, manifest.session_pool.acquire(), ConflictPolicy.ONCE)
        await _store(self._contents, pending)
        manifest.propose(pending)
        return await asyncio.shield(pending.outcome)

    async def aclose(self) -> None:
        """Stop. What is not decided yet is never told: whoever waits is cancelled with the client."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for job in self._waiting:
            _fail(job, _closed())

    async def _next(self) -> None:
        batch = _Batch(self._manifest, self._contents, self._environment)
        try:
            async with self._turn:
                batch.jobs, self._waiting = self._waiting, []
                await self._manifest.refresh_for_transaction()
                await batch.attempt()
            while not await batch.decided():
                async with self._turn:
                    await batch.attempt()
        except Exception as error:  # noqa: BLE001 - whoever waits gets it
            batch.fail(error)
        except asyncio.CancelledError:
            batch.fail(_closed())
            raise


class _Batch:
    """Some functions that are committed together, through all their runs.

    Attributes:
        jobs: The functions.
    """

    def __init__(self, manifest: Manifest, contents: Contents, environment: Environment) -> None:
        self.jobs: list[_Job[Any]] = []
        self._manifest = manifest
        self._contents = contents
        self._environment = environment
        self._lane: Session | None = None
        self._pending: Pending | None = None  # what was tried last
        self._tries: list[tuple[Pending, list[_Run]]] = []
        self._reading: tuple[Workspace, list[_Run]] | None = None
        self._concluded = False
        self._conflicts = 0
        self._began = -math.inf

    async def attempt(self) -> None:
        """Run the functions, and bring what they write into the store. Then `decided` tells."""
        failures = 0
        while True:
            self._reading = None
            self._began = self._environment.monotonic()
            workspace, runs = await self._run()
            if workspace.failure is not None:
                failures += 1
                # What was superseded may have been collected. If it is still missing when that is ruled out, the
                # transaction fails, unless an earlier try of it was committed.
                if failures > 1 and isinstance(workspace.failure, CorruptionError):
                    if await self._conclude():
                        return
                    raise workspace.failure
                if failures == COMPLAINT:
                    _log.warning("a transaction of %s waits to read: %s", self._manifest.ref, workspace.failure)
                await asyncio.sleep(self._environment.backoff(failures))
                await self._manifest.refresh_from_store()
                continue
            if not workspace.writes:
                self._reading = workspace, runs
                return
            if self._lane is None:
                self._lane = self._manifest.session_pool.acquire()
            pending = _pending(self._manifest, workspace, self._environment, self._lane, ConflictPolicy.RERUN)
            pending.attempt = None if self._pending is None else self._pending.attempt
            before = 0 if pending.attempt is None else pending.attempt.tries
            await _store(self._contents, pending)
            self._pending = pending
            self._tries.append((pending, runs))
            self._manifest.propose(pending)
            first: list[asyncio.Future[Any]] = [pending.arrived, pending.outcome]
            await asyncio.wait(first, return_when=asyncio.FIRST_COMPLETED)
            if not pending.outcome.done() or not isinstance(pending.outcome.exception(), OutdatedError):
                return
            if pending.attempt is not None and pending.attempt.tries == before:
                self._tries.pop()  # it has never left
            await self._pause()

    async def decided(self) -> bool:
        """Whether it is done: that it is committed, or has failed. If not, it has to be tried again."""
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
        self._tell(self._pending)
        self._free()
        return True

    async def _has_read(self, workspace: Workspace, runs: list[_Run]) -> bool:
        """Nothing is to be written, as it stands now. But an earlier run may have been committed."""
        if await self._conclude():
            return True
        if not await _is_certain(self._manifest, workspace):
            return False
        for run in runs:
            run.tell()
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
                self._tell(last)
                self._free()
                self._concluded = True
                return True
        self._pending, self._tries = None, []
        return False

    def _tell(self, pending: Pending) -> None:
        for run in self._counting(pending):
            run.tell()

    def _counting(self, pending: Pending) -> list[_Run]:
        """The runs of the try that counts.

        Raises:
            UnknownOutcomeError: It is committed so long ago that nobody can tell which try counts.
        """
        if len(self._tries) == 1:
            return self._tries[0][1]
        if (said := self._manifest.counting(pending)) is not None:
            expect = said.get("expect", {})
            found = next((runs for tried, runs in reversed(self._tries) if tried.expect == expect), None)
            return self._tries[-1][1] if found is None else found
        view = self._manifest.state()[0]
        for tried, runs in reversed(self._tries):
            for name, content in tried.changes.items():
                if content is not None and content.version == version_of(view.look_up(name)):
                    return runs
        ref = self._manifest.ref
        raise UnknownOutcomeError(
            "the transaction is committed, but so long ago that nobody can tell which of its runs counts",
            bucket=ref.bucket,
            key=ref.key,
            operation="PutObject",
        )

    def fail(self, error: Exception) -> None:
        """Tell whoever waits that it has failed."""
        if isinstance(error, MPS3Error) and self._is_in_doubt():
            error = doubted(error)
        for job in self.jobs:
            _fail(job, error)

    def _is_in_doubt(self) -> bool:
        """Whether something was sent of which it is not known that it does not count."""
        pending = self._pending
        if pending is None or pending.attempt is None or not pending.attempt.doubtful:
            return False
        outcome = pending.outcome
        if not outcome.done() or outcome.cancelled():
            return True
        # What was told for good has said it itself. After an outdated try there may be others.
        return isinstance(outcome.exception(), OutdatedError)

    def _free(self) -> None:
        if self._lane is not None:
            self._manifest.session_pool.release(self._lane)
            self._lane = None

    async def _run(self) -> tuple[Workspace, list[_Run]]:
        """Run all functions, one on top of the other."""
        whole = Workspace(self._manifest.tentative, self._contents)
        runs = []
        for job in self.jobs:
            if job.done.done():
                continue
            part = Workspace(whole.view, self._contents, whole)
            nesting = Nesting()
            try:
                runs.append(_Run(job, await job.function(part), None))
                whole.add(part)
            except Exception as error:  # noqa: BLE001 - the user's own
                # What it has read has to be true, too.
                runs.append(_Run(job, None, error))
            finally:
                nesting.end()
            if part.failure is not None:
                whole.failure = part.failure
                break
        return whole, runs

    async def _pause(self) -> None:
        """Let others pass: for as many tries as there may be of theirs, each about as long as the last one was."""
        self._conflicts += 1
        took = max(SHORTEST, self._environment.monotonic() - self._began)
        await asyncio.sleep(self._environment.backoff(self._conflicts, first=2 * took, most=min(LONGEST, 32 * took)))
        await self._manifest.refresh_from_store()


def _pending(
    manifest: Manifest, workspace: Workspace, environment: Environment, pooled: Session, policy: ConflictPolicy
) -> Pending:
    pending = Pending(
        workspace.writes,
        workspace.labels,
        workspace.places,
        environment.now(),
        pooled,
        expect=workspace.expect,
        policy=policy,
    )
    pending.collected = manifest.collected
    return pending


async def _store(contents: Contents, pending: Pending) -> None:
    await for_all(contents.store, [content for content in pending.changes.values() if content is not None])


async def _is_certain(manifest: Manifest, workspace: Workspace) -> bool:
    """Whether what was read is part of the state, or will be; not what a transaction that fails would have written."""
    while not workspace.holds_in(manifest.present()[0]):
        if not workspace.holds_in(manifest.tentative):
            return False
        await asyncio.sleep(LOOK)
        await manifest.refresh()
    return True


def _fail(job: _Job[Any], error: Exception) -> None:
    if not job.done.done():
        job.done.set_exception(error)


def _closed() -> ClosedError:
    return ClosedError("the client was closed before it was known whether the transaction is committed")
