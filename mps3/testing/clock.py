"""Time that passes only while there is nothing else to do, for tests of what takes seconds or days."""

from __future__ import annotations

import asyncio
import math
import selectors
import sys
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from random import Random
from typing import Any, Final, TypeVar

from ..support.environment import Environment

START: Final = datetime(2030, 1, 1, tzinfo=timezone.utc)
"""What the wall clock shows when a virtual loop begins."""
LONGEST: Final = 86_400.0
"""Virtual seconds after which a test has gone wrong, unless it says that it takes longer."""
WORKING: Final = 10.0
"""Seconds of real time that work in a thread has, before time passes all the same."""
FOREIGN: Final = 0.02
"""Seconds of real time that others have who may be at work: sockets, threads that were started by hand."""
THREADED: Final = ("aiosqlite",)
"""Packages whose futures are decided by a thread of theirs."""
WORKERS: Final = "virtual-loop"

T = TypeVar("T")


class StuckError(RuntimeError):
    """The test waits for something that will not happen."""


class _Jumps(selectors.BaseSelector):
    """A selector that, where another would wait for a timer, moves the time."""

    def __init__(self) -> None:
        self._real = selectors.DefaultSelector()
        self.patience: Callable[[], float]
        self.jump: Callable[[float], None]

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._real.register(fileobj, events, data)

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return self._real.unregister(fileobj)

    def modify(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._real.modify(fileobj, events, data)

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return self._real.get_map()

    def close(self) -> None:
        self._real.close()

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = self._real.select(0)
        if ready or (timeout is not None and timeout <= 0):
            return ready
        patience = self.patience()
        if patience and (ready := self._real.select(patience)):
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
        longest: Seconds of its time after which it raises a `StuckError`: a client polls for ever, so a test that
            waits for something else would, too.
    """

    def __init__(self, longest: float = LONGEST) -> None:
        self._virtual = 0.0
        self._until = longest
        self._longest = longest
        self._jobs = 0
        self._quiet: list[asyncio.Future[None]] = []
        self._others = set(threading.enumerate())
        self._jumps = _Jumps()
        super().__init__(self._jumps)
        self._jumps.patience, self._jumps.jump = self._patience, self._jump
        # The base class runs what is due within this. A float tells such spans apart for some 200 years.
        self._clock_resolution = 1e-6
        self.set_default_executor(ThreadPoolExecutor(thread_name_prefix=WORKERS))
        self._own = len(self._jumps.get_map())

    async def shutdown_default_executor(self, *arguments: Any) -> None:
        """As every event loop. A thread of its own waits for the others meanwhile."""
        self._jobs += 1
        try:
            await super().shutdown_default_executor(*arguments)
        finally:
            self._jobs -= 1

    def time(self) -> float:
        """Seconds since the loop was made."""
        return self._virtual

    def allow(self, seconds: float) -> None:
        """That much time may pass from now on, and the usual besides."""
        self._until = max(self._until, self._virtual + seconds + self._longest)

    async def settled(self) -> None:
        """Wait until nothing can happen any more without time passing."""
        quiet: asyncio.Future[None] = super().create_future()
        self._quiet.append(quiet)
        await quiet

    def _patience(self) -> float:
        """Nothing can run here: how many seconds of real time others have, who may be at work."""
        return WORKING if self._jobs else FOREIGN if self._may_be_called() else 0.0

    def _jump(self, seconds: float) -> None:
        """Nothing can run anywhere: let time pass until the next timer, if there is one."""
        if self._quiet:
            quiet, self._quiet = self._quiet, []
            for waiting in quiet:
                if not waiting.done():
                    waiting.set_result(None)
        elif seconds == math.inf:
            raise StuckError("nothing will ever happen: all tasks wait, and none for a time")
        else:
            self._virtual += seconds
            if self._virtual > self._until:
                raise StuckError(
                    f"still waiting after {self._virtual:.0f} seconds of virtual time: what is waited for does not "
                    "happen. If it only takes so long, use VirtualClock.advance, or VirtualLoop(longest=…)"
                )

    def _may_be_called(self) -> bool:
        """Whether there are sockets, or threads that somebody started meanwhile."""
        if len(self._jumps.get_map()) > self._own:
            return True
        return any(
            thread not in self._others
            and not thread.name.startswith(WORKERS)
            and not any(package in f"{type(thread).__module__} {thread.name}" for package in _SQLITE)
            for thread in threading.enumerate()
        )

    def create_future(self) -> asyncio.Future[Any]:
        """A future. Those that a thread decides are waited for."""
        future = super().create_future()
        caller = sys._getframe(1).f_globals.get("__name__", "")  # noqa: SLF001 - documented by `sys`
        if caller.partition(".")[0] in THREADED:
            self._started(future)
        return future

    def run_in_executor(self, executor: Executor | None, func: Callable[..., T], *args: Any) -> asyncio.Future[T]:  # type: ignore[override]
        """Run something in a thread, and let no time pass until it is done."""
        future = super().run_in_executor(executor, func, *args)
        self._started(future)
        return future

    def _started(self, future: asyncio.Future[Any]) -> None:
        self._jobs += 1

        def done(_: object) -> None:
            self._jobs -= 1

        future.add_done_callback(done)


_SQLITE: Final = ("aiosqlite", "_connection_worker_thread")
"""How to tell the threads that work for the futures above."""


def _loop() -> VirtualLoop:
    loop = asyncio.get_running_loop()
    if not isinstance(loop, VirtualLoop):
        raise RuntimeError(  # noqa: TRY004 - it is how the test is run that is wrong
            f"the virtual clock needs a VirtualLoop, and this test runs in {type(loop).__qualname__}. pytest-asyncio "
            "takes care of that from 1.4 on; for anyio, let the fixture `anyio_backend` return "
            "mps3.testing.VIRTUAL_BACKEND; else use asyncio.Runner(loop_factory=VirtualLoop)"
        )
    return loop


class VirtualClock:
    """What shows and moves the time of the `VirtualLoop` that runs."""

    def time(self) -> float:
        """Seconds since 1970: for the ``clock`` of a `MemoryStorage`, which stamps what it stores."""
        return START.timestamp() + _loop().time()

    def now(self) -> datetime:
        """The wall clock, in UTC."""
        return START + timedelta(seconds=_loop().time())

    async def advance(self, seconds: float | timedelta) -> None:
        """Let time pass, and everything happen that happens meanwhile.

        ``asyncio.sleep`` is the same but for two things: here all is done that can be done at that moment, and it may
        take longer than a day.

        Args:
            seconds: How long; seconds or a timedelta.
        """
        loop = _loop()
        span = seconds.total_seconds() if isinstance(seconds, timedelta) else float(seconds)
        if not 0 <= span < math.inf:
            raise ValueError(f"time passes by a positive number of seconds, not {seconds!r}")
        loop.allow(span)
        await asyncio.sleep(span)
        await loop.settled()

    async def settle(self) -> None:
        """Let everything happen that can happen without time passing."""
        await _loop().settled()


class VirtualEnvironment(Environment):
    """The ``environment`` of clients that live in virtual time, and are the same in every run.

    Args:
        seed: Of their chance: other waits, other names. Clients that meet share one world, or their names are equal.
    """

    def __init__(self, seed: int = 0) -> None:
        super().__init__(Random(seed))  # noqa: S311 - the same each time is what is wanted
        self._clock = VirtualClock()

    def now(self) -> datetime:
        """The wall clock of the loop."""
        return self._clock.now()


VIRTUAL_BACKEND: Final[tuple[str, dict[str, Any]]] = ("asyncio", {"loop_factory": VirtualLoop})
"""What the fixture ``anyio_backend`` returns for tests with anyio in virtual time."""
