"""An asyncio event loop whose time is virtual, and processes in it that stall and die at any ``await``.

Nothing here reads a clock, waits, or starts a thread: when nothing is ready to run, time jumps to the next
timer. What runs depends on nothing but the code and its seeds.
"""

from __future__ import annotations

import asyncio
import math
import random
from asyncio import base_events
from collections.abc import Awaitable, Callable, Coroutine
from contextvars import ContextVar, copy_context
from dataclasses import dataclass, field
from typing import Any

RESOLUTION = 1e-9
"""Seconds: timers that are no further apart go off together."""
PROCESS: ContextVar[Process | None] = ContextVar("PROCESS", default=None)
"""The simulated process that the running code belongs to."""


class DeadlockError(Exception):
    """Nothing is ready and nothing is scheduled: time would stand still for ever."""


class EndlessError(Exception):
    """More virtual time, or more turns of the loop, than any history should need."""


class _Jumps:
    """A selector that never blocks: where another would wait, it moves the time."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop

    def select(self, timeout: float | None) -> list[Any]:
        loop = self._loop
        loop.turns += 1
        if timeout is None:
            raise DeadlockError(f"nothing ready and nothing scheduled at {loop.now:.3f} s")
        if timeout > 0:
            # The timer's own time, since adding a difference to `now` may round to just before it.
            loop.now = max(loop.now, loop._scheduled[0].when())
            # What is due is what is before `now` and this: after half a year, a nanosecond is less than a float can add.
            loop._clock_resolution = max(RESOLUTION, math.ulp(loop.now))
        if loop.now > loop.most_time or loop.turns > loop.most_turns:
            raise EndlessError(f"still running after {loop.now:.0f} virtual seconds and {loop.turns} turns")
        return []


class VirtualLoop(base_events.BaseEventLoop):
    """The event loop. ``time()`` starts at 0 and moves only when nothing is ready."""

    def __init__(self, most_time: float, most_turns: int) -> None:
        super().__init__()
        self.now = 0.0
        self.turns = 0
        self.most_time = most_time
        self.most_turns = most_turns
        self.tasks: list[asyncio.Task[Any]] = []
        self._clock_resolution = RESOLUTION
        self._selector = _Jumps(self)
        self.set_task_factory(_task_of_process)

    def time(self) -> float:
        return self.now

    def _process_events(self, event_list: list[Any]) -> None:
        pass

    def _write_to_self(self) -> None:
        pass

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> Any:
        """Run at once, in place of a thread, and answer one turn later."""
        answer = self.create_future()
        try:
            result = func(*args)
        except Exception as error:
            answer.set_exception(error)
        else:
            answer.set_result(result)
        return answer


def _task_of_process(loop: VirtualLoop, coro: Coroutine[Any, Any, Any], **options: Any) -> asyncio.Task[Any]:
    context = options.get("context")
    process = PROCESS.get() if context is None else context.get(PROCESS)
    if process is None:
        task = asyncio.Task(coro, loop=loop, **options)
    else:
        task = asyncio.Task(_Steps(coro, process), loop=loop, **options)
        process.tasks.append(task)
    loop.tasks.append(task)
    return task


class Process:
    """One life of one client: all the tasks it ever starts, which stall and die together.

    Args:
        name: For the trace.
        dice: Decides about stalls.
        stall: The chance of a stall at each step of a task; a step ends at an ``await`` that waits.
        longest_stall: In seconds.
        dies_at: The step at which it dies; ``None``: never.
        report: Told of stalls and of the death.
    """

    def __init__(
        self,
        name: str,
        dice: random.Random,
        *,
        stall: float = 0.0,
        longest_stall: float = 60.0,
        dies_at: int | None = None,
        report: Callable[[str], None] = lambda what: None,
    ) -> None:
        self.name = name
        self.tasks: list[asyncio.Task[Any]] = []
        self.dead = False
        self.loop: Any = asyncio.get_running_loop()
        self.death = self.loop.create_future()
        self.frozen_until = 0.0
        self.awake_from = 0.0  # when its last stall is over
        self.steps = 0
        self._dice = dice
        self._stall = stall
        self._longest_stall = longest_stall
        self._dies_at = dies_at
        self._report = report
        self._next_stall = self._draw()

    def spawn(self, coro: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Start a task that belongs to this process, as does every task that it starts."""
        context = copy_context()
        context.run(PROCESS.set, self)
        return asyncio.get_running_loop().create_task(coro, context=context)

    def calm(self) -> None:
        """From now on it neither stalls nor dies."""
        self._next_stall = self._dies_at = None

    def kill(self) -> None:
        """Let no task of it run its next step, ever."""
        if not self.dead:
            self.dead = True
            self._report("killed")
            self.death.set_result(None)
            for task in self.tasks:
                if not task.done():
                    task.cancel()

    def tick(self) -> float:
        """Count one step of one task; returns until when that task is to wait before it."""
        self.steps += 1
        now = self.loop.now
        if self._dies_at is not None and self.steps >= self._dies_at:
            self.kill()
        elif self._next_stall is not None and self.steps >= self._next_stall:
            self._next_stall = self._draw()
            until = now + self._longest_stall * self._dice.random() ** 2
            self.awake_from = max(self.awake_from, until)
            if self._dice.random() < 0.5:
                self._report(f"one task stalls until {until:.3f}")
                return until
            self._report(f"all of it stalls until {until:.3f}")
            self.frozen_until = until
        return self.frozen_until

    def _draw(self) -> int | None:
        if not self._stall:
            return None
        return self.steps + 1 + int(self._dice.expovariate(self._stall))


class _Steps(Coroutine[Any, Any, Any]):
    """A coroutine of a process: passes each step on, unless the process stalls or is dead."""

    def __init__(self, coro: Coroutine[Any, Any, Any], process: Process) -> None:
        self._coro = coro
        self._process = process
        self._error: BaseException | None = None
        self._until = 0.0
        self._burials = 0

    def __await__(self) -> Any:
        raise NotImplementedError

    def send(self, value: Any) -> Any:
        return self._step(None)

    def throw(self, kind: Any, value: Any = None, traceback: Any = None) -> Any:
        return self._step(value if isinstance(value, BaseException) else kind if value is None else kind(value))

    def close(self) -> None:
        self._coro.close()

    def _step(self, error: BaseException | None) -> Any:
        self._error = error or self._error
        process = self._process
        loop = process.loop
        if not process.dead:
            if loop.now >= self._until:
                self._until = process.tick()
            if loop.now < self._until and not process.dead:
                return self._park(loop)
        if process.dead:
            return self._bury()
        error, self._error = self._error, None
        return self._coro.send(None) if error is None else self._coro.throw(error)

    def _park(self, loop: asyncio.AbstractEventLoop) -> asyncio.Future[None]:
        thawed = loop.create_future()
        loop.call_at(self._until, lambda: thawed.done() or thawed.set_result(None))
        thawed._asyncio_future_blocking = True
        return thawed

    def _bury(self) -> None:
        """Unwind a dead task, out of sight: nothing it still does may leave the process."""
        self._burials += 1
        try:
            if self._burials > 100:
                self._coro.close()
                raise asyncio.CancelledError
            waited_for = self._coro.throw(asyncio.CancelledError())
        except BaseException as error:
            raise asyncio.CancelledError from error
        if waited_for is not None:
            waited_for._asyncio_future_blocking = False
        # A bare yield: the loop runs the others that this one may be waiting for, then comes back.


@dataclass(frozen=True)
class Outcome:
    """What became of a run.

    Attributes:
        result: What ``main`` returned; ``None`` if it raised.
        complaints: Tasks left over, errors nobody looked at, errors of ``main``. Empty when all is well.
        time: The virtual seconds it took.
    """

    result: Any
    complaints: list[str] = field(default_factory=list)
    time: float = 0.0
    error: BaseException | None = None


def run(
    main: Callable[[], Coroutine[Any, Any, Any]], *, most_time: float = 7200.0, most_turns: int = 2_000_000
) -> Outcome:
    """Run ``main`` in a loop of its own and leave nothing behind."""
    loop = VirtualLoop(most_time, most_turns)
    complaints: list[str] = []
    loop.set_exception_handler(lambda _, context: complaints.append(_describe(context)))
    result, failure = None, None
    try:
        result = loop.run_until_complete(main())
    except (Exception, asyncio.CancelledError) as error:
        failure = error
        complaints.append(f"{type(error).__name__}: {error}")
    left = [task for task in loop.tasks if not task.done()]
    complaints += [f"task left over: {_name(task)}" for task in left]
    try:
        loop.most_time, loop.most_turns = loop.now + 3600, loop.turns + 100_000
        for task in left:
            task.cancel()
        if left:
            loop.run_until_complete(asyncio.wait(left, timeout=600))
        loop.run_until_complete(loop.shutdown_asyncgens())
    except (DeadlockError, EndlessError) as error:
        complaints.append(f"while closing: {type(error).__name__}: {error}")
    for task in loop.tasks:
        if task.done() and task._log_traceback:
            error = task.exception()
            complaints.append(f"error nobody looked at, of {_name(task)}: {type(error).__name__}: {error}")
        task._log_destroy_pending = False
    loop.tasks.clear()
    loop.close()
    return Outcome(result, complaints, loop.now, failure)


def _name(task: asyncio.Task[Any]) -> str:
    coro = task.get_coro()
    inner: Awaitable[Any] = coro._coro if isinstance(coro, _Steps) else coro
    owner = f" of {coro._process.name}" if isinstance(coro, _Steps) else ""
    return getattr(inner, "__qualname__", type(inner).__name__) + owner


def _describe(context: dict[str, Any]) -> str:
    error = context.get("exception")
    return f"{context.get('message')}: {type(error).__name__}: {error}" if error else str(context.get("message"))
