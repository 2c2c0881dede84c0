"""Virtual time: it passes only while nothing can run, so that tests of seconds or days take none."""

from __future__ import annotations

import asyncio
import math
import selectors
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from random import Random
from typing import Any, Final, TypeVar

from ..support.environment import Environment

START: Final = datetime(2030, 1, 1, tzinfo=timezone.utc)
"""The wall clock when a virtual loop begins."""
LONGEST: Final = 86_400.0
"""Virtual seconds after which a test fails, unless it allows more."""
THREAD_TIMEOUT: Final = 10.0
"""Seconds of real time to wait for work in a thread before virtual time passes."""
SOCKET_TIMEOUT: Final = 0.02
"""Seconds of real time to wait for sockets, and for threads that the loop has not started."""
THREADED_PACKAGES: Final = ("aiosqlite",)
"""Packages whose futures are completed by a thread of theirs."""
THREADED_NAMES: Final = ("aiosqlite", "_connection_worker_thread")
"""Parts of the names of those threads."""
WORKERS: Final = "virtual-loop"
NOTIFICATIONS: Final = "mps3.storage.local_notifications"

T = TypeVar("T")


class StuckError(RuntimeError):
    """A test waits for something that will not happen."""


class _JumpingSelector(selectors.DefaultSelector):
    """A selector that advances virtual time instead of waiting for a timer."""

    real_timeout: Callable[[], float]
    jump: Callable[[float], None]

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if ready or (timeout is not None and timeout <= 0):
            return ready
        real_timeout = self.real_timeout()
        if real_timeout and (ready := super().select(real_timeout)):
            return ready
        self.jump(math.inf if timeout is None else timeout)
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose time stands still while anything can run, and jumps to the next timer when nothing can.

    ``asyncio.sleep``, ``asyncio.timeout``, ``loop.call_later`` and all that is built on them take no real time, and
    happen in the order and at the times that they would. Time waits for work in threads (``asyncio.to_thread``, the
    directory of ``offline=``); it waits only briefly for sockets, so a real server is not for this loop.

    Use it as the ``loop_factory`` of an ``asyncio.Runner``, or let the fixture ``mps3_clock`` do it.

    Args:
        longest: Virtual seconds after which it raises a `StuckError`. A client polls for ever, so a test that waits
            for something that does not happen would never end.
    """

    def __init__(self, longest: float = LONGEST) -> None:
        self._virtual = 0.0
        self._until = longest
        self._longest = longest
        self._jobs = 0
        self._quiet: list[asyncio.Future[None]] = []
        self._never_late: set[int] = set()
        self._others = set(threading.enumerate())
        self._jumping_selector = _JumpingSelector()
        super().__init__(self._jumping_selector)
        self._jumping_selector.real_timeout, self._jumping_selector.jump = self._real_timeout, self._jump
        # The base class runs what is due within this span. A float resolves it for some 200 years.
        self._clock_resolution = 1e-6
        self.set_default_executor(ThreadPoolExecutor(thread_name_prefix=WORKERS))
        self._own = len(self._jumping_selector.get_map())

    def add_reader(self, fd: int, callback: Callable[..., Any], *args: Any) -> Any:  # type: ignore[override]
        """Watch a file descriptor. Time does not wait for one that tells of changes of files, which is never late."""
        if getattr(callback, "__module__", "") == NOTIFICATIONS:
            self._never_late.add(fd)
        return super().add_reader(fd, callback, *args)

    def remove_reader(self, fd: int) -> bool:  # type: ignore[override]
        """Watch a file descriptor no longer."""
        self._never_late.discard(fd)
        return super().remove_reader(fd)

    async def shutdown_default_executor(self, *arguments: Any) -> None:
        """Wait for the threads, as every event loop does. Virtual time stands still meanwhile."""
        self._jobs += 1
        try:
            await super().shutdown_default_executor(*arguments)
        finally:
            self._jobs -= 1

    def time(self) -> float:
        """Return the virtual seconds since the loop was created."""
        return self._virtual

    def allow(self, seconds: float) -> None:
        """Allow so much virtual time to pass from now on, and ``longest`` after it."""
        self._until = max(self._until, self._virtual + seconds + self._longest)

    async def settled(self) -> None:
        """Wait until nothing can run before time passes."""
        quiet: asyncio.Future[None] = super().create_future()
        self._quiet.append(quiet)
        await quiet

    def _real_timeout(self) -> float:
        """Return the seconds of real time to wait for threads and sockets before virtual time passes."""
        return THREAD_TIMEOUT if self._jobs else SOCKET_TIMEOUT if self._may_be_called() else 0.0

    def _jump(self, seconds: float) -> None:
        """Advance virtual time to the next timer. Called when nothing can run."""
        if self._quiet:
            quiet, self._quiet = self._quiet, []
            for waiting in quiet:
                if not waiting.done():
                    waiting.set_result(None)
        elif seconds == math.inf:
            raise StuckError("nothing will ever happen: all tasks wait, and none of them for a timer")
        else:
            self._virtual += seconds
            if self._virtual > self._until:
                raise StuckError(
                    f"still waiting after {self._virtual:.0f} seconds of virtual time. If the test needs more time, "
                    "use VirtualClock.advance, or VirtualLoop(longest=…)"
                )

    def _may_be_called(self) -> bool:
        """Return whether there are sockets, or threads that were started since and may call the loop."""
        if len(self._jumping_selector.get_map()) > self._own + len(self._never_late):
            return True
        return any(
            thread not in self._others
            and not thread.name.startswith(WORKERS)
            and not any(package in f"{type(thread).__module__} {thread.name}" for package in THREADED_NAMES)
            for thread in threading.enumerate()
        )

    def create_future(self) -> asyncio.Future[Any]:
        """Create a future. Time stands still until a future that a thread completes is done."""
        future = super().create_future()
        caller = sys._getframe(1).f_globals.get("__name__", "")  # noqa: SLF001 - documented by `sys`
        if caller.partition(".")[0] in THREADED_PACKAGES:
            self._count_job(future)
        return future

    def run_in_executor(self, executor: Executor | None, func: Callable[..., T], *args: Any) -> asyncio.Future[T]:  # type: ignore[override]
        """Run something in a thread. Time stands still until it is done."""
        future = super().run_in_executor(executor, func, *args)
        self._count_job(future)
        return future

    def _count_job(self, future: asyncio.Future[Any]) -> None:
        self._jobs += 1

        def done(_: object) -> None:
            self._jobs -= 1

        future.add_done_callback(done)


def _virtual_loop() -> VirtualLoop:
    loop = asyncio.get_running_loop()
    if not isinstance(loop, VirtualLoop):
        raise RuntimeError(  # noqa: TRY004 - no argument is wrong
            f"the virtual clock needs a VirtualLoop, and this test runs in {type(loop).__qualname__}. pytest-asyncio "
            "takes care of that from 1.4 on; for anyio, let the fixture `anyio_backend` return "
            "mps3.testing.VIRTUAL_BACKEND; else use asyncio.Runner(loop_factory=VirtualLoop)"
        )
    return loop


class VirtualClock:
    """The clock of the running `VirtualLoop`."""

    def time(self) -> float:
        """Return the seconds since 1970, as the ``clock`` of a `MemoryStorage` has to."""
        return START.timestamp() + _virtual_loop().time()

    def now(self) -> datetime:
        """Return the wall clock in UTC."""
        return START + timedelta(seconds=_virtual_loop().time())

    async def advance(self, seconds: float | timedelta) -> None:
        """Let time pass, and then wait until nothing can run, as `settle` does.

        Args:
            seconds: Seconds, or a timedelta. Unlike ``asyncio.sleep`` it may take more than a day.
        """
        loop = _virtual_loop()
        span = seconds.total_seconds() if isinstance(seconds, timedelta) else float(seconds)
        if not 0 <= span < math.inf:
            raise ValueError(f"time passes by a positive number of seconds, not {seconds!r}")
        loop.allow(span)
        await asyncio.sleep(span)
        await loop.settled()

    async def settle(self) -> None:
        """Wait until nothing can run before time passes."""
        await _virtual_loop().settled()


class VirtualEnvironment(Environment):
    """The ``environment`` of clients in virtual time. With the same seed they do the same in every run.

    Args:
        seed: The seed of all random numbers and names. Clients of one store need to share one environment, or different
            seeds, so that their names differ.
    """

    def __init__(self, seed: int = 0) -> None:
        super().__init__(Random(seed))  # noqa: S311 - it has to be reproducible
        self._clock = VirtualClock()

    def slept(self) -> float:
        """Return zero: in virtual time, no machine sleeps."""
        return 0.0

    def now(self) -> datetime:
        """Return the wall clock of the loop."""
        return self._clock.now()


VIRTUAL_BACKEND: Final[tuple[str, dict[str, Any]]] = ("asyncio", {"loop_factory": VirtualLoop})
"""For tests with anyio in virtual time: the value of the fixture ``anyio_backend``."""
