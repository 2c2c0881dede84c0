"""The session with a service: one store of obstore for each bucket, the store's time, and the retries of requests.

Only this file repeats a request, because only it knows which failures certainly had no effect.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, Final, TypeVar

from ...errors import ClosedError, MPS3Error, UnavailableError
from ...support.environment import Environment
from ..bypass import BYPASS
from ..clock import StoreClock
from ..failure import MalformedResponseError
from ..retries import repeating
from .failures import classify_error, setup_error
from .request import Request
from .server_time import ask_time
from .stores import StoreFactory

T = TypeVar("T")

ATTEMPTS: Final = 4
TIME_INTERVAL: Final = 60.0
"""Seconds between two questions for the store's time."""
NEAR: Final = 3.0
"""Seconds between the store's time, as it is known, and a time stamp that is believed."""
SLEPT: Final = 5.0
"""Seconds that the wall clock gains on the monotonic one, after which this machine has most likely slept."""
TIME_PAUSE: Final = 10.0
"""Seconds before the next question, when one was not answered."""


class ObstoreSession:
    """The session of one storage with its service.

    Args:
        factory: Makes the stores.
        environment: The clock and jitter.
        timeout: The most seconds of one call with all its attempts.
    """

    def __init__(self, factory: StoreFactory, environment: Environment, timeout: float) -> None:
        self._factory = factory
        self._environment = environment
        self._timeout = timeout
        self._users = 0
        self._address: str | None = None
        self._stores: dict[tuple[str, int], Any] = {}
        self._reached: set[str] = set()  # the buckets for which the service has answered
        self._clock = StoreClock(environment.monotonic)
        self._ask_at = self._ask_not_before = -math.inf
        self._told = False
        self._wall_ahead = 0.0
        self._asking: asyncio.Task[None] | None = None

    @property
    def is_open(self) -> bool:
        """Whether anybody uses it."""
        return self._users > 0

    async def open(self) -> None:
        """Check the settings. The first request connects.

        Raises:
            ConfigurationError: They are wrong, or obstore is not installed.
        """
        self._users += 1
        try:
            if self._users == 1:
                self._factory.check()
                self._address = self._factory.provider.address(self._factory.config)
                await asyncio.to_thread(self._factory.make, "mps3")
        except BaseException as error:
            self._users -= 1
            if isinstance(error, MPS3Error) or not isinstance(error, Exception):
                raise
            raise setup_error(error) from error

    async def aclose(self) -> None:
        """Forget all connections, unless another user is left. Requests under way come to their end."""
        self._users = max(0, self._users - 1)
        if not self._users:
            self._stores.clear()
            asking, self._asking = self._asking, None
            if asking is not None:
                asking.cancel()
                await asyncio.gather(asking, return_exceptions=True)

    def clock(self) -> float | None:
        """Return a lower bound of the store's time, in seconds since 1970; ``None`` before it is known."""
        now = self._clock.now()
        return None if now == -math.inf else now

    def observe_time(self, stamp: float) -> None:
        """Record a time stamp of the store."""
        self._clock.observe(stamp)

    def time_of_answer(self) -> float | None:
        """Return the time of an answer that has just come, as well as it is known."""
        # Without the store's own word there are only stamps of objects, which may be old.
        return self.clock() if self._told else None

    def stamp_of_put(self, etag: str | None, version: str | None) -> float | None:
        """Return the time stamp of an object that was written just now, as a GET tells it, if it is known."""
        told, stamp = self.time_of_answer(), self._factory.provider.stamp(etag, version)
        if told is None or stamp is None or abs(stamp - told) > NEAR:
            return None
        self._clock.observe(stamp)
        return float(math.floor(stamp))

    async def _keep_time(self) -> None:
        """Ask for the store's time where that is due: obstore does not tell the time of an answer."""
        if self._address is None or not self._is_time_due():
            return
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._ask_time(self._address), name="mps3 time of the store")
        await asyncio.wait([self._asking])  # it goes on for others when this call is cancelled

    def _is_time_due(self) -> bool:
        here = self._environment.monotonic()
        return here >= self._ask_not_before and (here >= self._ask_at or self._wall() > self._wall_ahead + SLEPT)

    def _wall(self) -> float:
        """Return how far the wall clock is ahead of the monotonic one."""
        return self._environment.now().timestamp() - self._environment.monotonic()

    async def _ask_time(self, address: str) -> None:
        told = await ask_time(address)
        here = self._environment.monotonic()
        if told is None:
            self._ask_not_before = here + TIME_PAUSE
            return
        self._clock.observe(told)
        self._told, self._ask_at, self._wall_ahead = True, here + TIME_INTERVAL, self._wall()

    async def call(self, request: Request, send: Callable[[Any], Awaitable[T]], *, retries: int = 0) -> T:
        """Send a request through the store of its bucket. Repeat it where that helps and cannot take effect twice.

        Args:
            request: What is asked for.
            send: Sends it.
            retries: How often the store repeats a request by itself.

        Raises:
            MPS3Error: It failed. `MPS3Error.maybe_written` covers all attempts.
        """
        request = replace(request, reached=request.bucket in self._reached)
        last: Exception | None = None
        # Whether an attempt that failed, or the current one, may have taken effect.
        doubtful = sending = False

        def marked(error: MPS3Error) -> MPS3Error:
            error.maybe_written = request.writes and (doubtful or sending)
            return error

        try:
            async with asyncio.timeout(self._timeout):
                for attempt in range(1, ATTEMPTS + 1):
                    if not self._users:
                        raise marked(request.error(ClosedError, "the storage is closed, or was never opened"))
                    store = await self._store(request.bucket, retries, anew=isinstance(last, MalformedResponseError))
                    sending = True
                    try:
                        answer = await send(store)
                    except MPS3Error as error:
                        if error.operation == request.operation:
                            marked(error)
                        raise
                    except Exception as error:
                        failure = classify_error(error, request)
                        sending, doubtful = False, doubtful or not failure.no_effect
                        again = failure.transient and (request.repeatable or failure.no_effect)
                        if not again or attempt == ATTEMPTS:
                            raise marked(failure.error) from error
                        last = error
                    else:
                        break
                    wait = self._environment.backoff(attempt, first=0.1, most=5.0)
                    repeating(attempt, wait, marked(failure.error))
                    await asyncio.sleep(wait)
        except TimeoutError as error:
            raise marked(request.error(UnavailableError, f"no answer in {self._timeout:g} s")) from last or error
        self._reached.add(request.bucket)
        await self._keep_time()
        return answer

    async def _store(self, bucket: str, retries: int, *, anew: bool) -> Any:
        """Return the store of a bucket; a new one, with new connections, after a damaged answer."""
        store = self._stores.get((bucket, retries))
        if store is None or anew or BYPASS.get():
            try:
                store = await asyncio.to_thread(self._factory.make, bucket, retries=retries)
            except Exception as error:
                raise setup_error(error) from error
            if self._users:
                self._stores[bucket, retries] = store
        return store
