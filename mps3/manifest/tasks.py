"""The background tasks of one manifest."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

from ..errors import MPS3Error
from ..types import Ref

_log = logging.getLogger("mps3")


class BackgroundTasks:
    """Tasks that run until the manifest ends.

    Args:
        ref: The manifest.
        failed: Called with an error when a task has ended because of a defect.
    """

    def __init__(self, ref: Ref, failed: Callable[[MPS3Error], None]) -> None:
        self._ref = ref
        self._failed = failed
        self._tasks: list[asyncio.Task[None]] = []
        self._started = False
        self._stopped = False

    @property
    def active(self) -> bool:
        """Whether tasks have been started, and more may be."""
        return self._started and not self._stopped

    def start(self, coroutine: Coroutine[Any, Any, None], name: str) -> None:
        """Start a task."""
        self._started = True
        task = asyncio.get_running_loop().create_task(coroutine, name=f"mps3 {name} {self._ref}")
        task.add_done_callback(self._done)
        self._tasks.append(task)

    def stop(self) -> None:
        """Cancel all tasks but the one that calls this, and let no other start."""
        self._stopped = True
        for task in list(self._tasks):
            if task is not asyncio.current_task():
                task.cancel()

    async def wait(self) -> None:
        """Wait until all tasks have ended."""
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.remove(task)
        if task.cancelled() or task.exception() is None:
            return
        cause = task.exception()
        _log.critical("a defect in mps3 stopped %s", self._ref, exc_info=cause)
        error = MPS3Error(f"a defect in mps3 stopped the manifest {self._ref}: {cause!r}; please report it")
        error.__cause__ = cause
        self._failed(error)
