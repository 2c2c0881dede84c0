"""The storage wrapper that reports requests."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeVar

from ..errors import ConflictError
from ..storage.protocol import ABSENT, UNCHANGED, Object, Storage
from ..storage.retries import LISTENER
from ..storage.wrapper import StorageWrapper
from ..support.environment import Environment
from .events import Outcome
from .observer import Observer

T = TypeVar("T")


class ObservedStorage(StorageWrapper):
    """A storage whose requests are counted and reported to an observer."""

    def __init__(self, storage: Storage, observer: Observer, environment: Environment) -> None:
        super().__init__(storage)
        self._observer = observer
        self._environment = environment

    async def _ask(
        self, operation: str, bucket: str, key: str | None, request: Callable[[], Awaitable[T]], *, sent: int = 0
    ) -> T:
        started = self._environment.monotonic()
        token = LISTENER.set(partial(self._observer.request_retried, operation, bucket, key))
        outcome: Outcome = "error"
        failed: BaseException | None = None
        received = 0
        try:
            answer = await request()
            outcome = "absent" if answer is ABSENT else "unchanged" if answer is UNCHANGED else "ok"
            received = len(answer.body) if isinstance(answer, Object) else 0
        except BaseException as error:
            if isinstance(error, asyncio.CancelledError):
                outcome = "cancelled"
            else:
                failed = error
                if isinstance(error, ConflictError):
                    outcome = "conflict"
            raise
        else:
            return answer
        finally:
            LISTENER.reset(token)
            seconds = self._environment.monotonic() - started
            self._observer.request(operation, bucket, key, outcome, seconds, sent, received, failed)
            del failed  # its traceback holds this frame
