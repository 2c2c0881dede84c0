"""The session of a storage with its service: one client of the SDK for several users, and the retries of requests.

Only this file repeats a request inside the storage, because only it knows which failures certainly had no effect. What
`puts.py` sends after a refusal is another request: it has other headers.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any, Final, TypeVar

from ...errors import ClosedError, MPS3Error, UnavailableError
from ...support.environment import Environment
from ...types import Auth
from ..bypass import BYPASS
from ..clock import StoreClock
from ..retries import repeating
from .client import S3Connection, connect
from .errors import classify_error, is_malformed, setup_error
from .request import S3Request
from .responses import server_time

T = TypeVar("T")

ATTEMPTS: Final = 4


class S3Session:
    """The session of one storage with its service. The arguments are those of `mps3.storage.s3.storage.S3Storage`.

    Attributes:
        connection: The client of the SDK; ``None`` while the session is closed.
    """

    def __init__(
        self, s3_config: Mapping[str, Any], environment: Environment, auth: Auth | None, timeout: float
    ) -> None:
        self.connection: S3Connection | None = None
        self._s3_config = s3_config
        self._environment = environment
        self._auth = auth
        self._timeout = timeout
        self._users = 0
        self._opening = asyncio.Lock()
        self._clock = StoreClock(environment.monotonic)
        self._reached: set[str] = set()  # the buckets for which the service has answered

    async def open(self) -> None:
        """Create the client, unless another user has."""
        if not self._users:
            self._opening = asyncio.Lock()  # a lock belongs to the event loop in which a task first waited for it
        self._users += 1
        try:
            async with self._opening:
                if self.connection is None:
                    self.connection = await connect(self._s3_config, self._auth)
        except BaseException as error:
            self._users -= 1
            if isinstance(error, MPS3Error) or not isinstance(error, Exception):
                raise
            raise setup_error(error) from error

    async def aclose(self) -> None:
        """Close all connections, unless another user is left. Requests under way fail."""
        if self._users != 1:
            self._users = max(0, self._users - 1)
            return
        self._users = 0
        connection, self.connection = self.connection, None
        if connection is not None:
            await connection.aclose()

    def clock(self) -> float | None:
        """Return a lower bound of the store's time, in seconds since 1970; ``None`` before a response."""
        now = self._clock.now()
        return None if now == -math.inf else now

    def observe_time(self, response: Mapping[str, Any]) -> float | None:
        """Return the time when the store sent a response, and record it for `clock`."""
        time = server_time(response)
        self._clock.observe(time)
        return time

    async def call(self, request: S3Request, send: Callable[[Any], Awaitable[T]]) -> T:
        """Send a request through the SDK's client. Repeat it where that can help and cannot take effect twice.

        Raises:
            MPS3Error: It failed. `MPS3Error.maybe_written` covers all attempts.
        """
        result = await self._call_with_retries(request, send)
        self._reached.add(request.bucket)
        return result

    async def _call_with_retries(self, request: S3Request, send: Callable[[Any], Awaitable[T]]) -> T:
        last: Exception | None = None
        # Whether an attempt that failed, or the current one, may have taken effect.
        doubtful = sending = False

        def marked(error: MPS3Error) -> MPS3Error:
            error.maybe_written = request.writes and (doubtful or sending)
            return error

        try:
            async with asyncio.timeout(self._timeout):
                for attempt in range(1, ATTEMPTS + 1):
                    connection = self.connection
                    if connection is None:
                        raise marked(_closed(request))
                    sending = True
                    token = BYPASS.set(True) if last is not None and is_malformed(last) else None
                    try:
                        return await send(connection.client)
                    except MPS3Error as error:
                        marked(error)
                        raise
                    except Exception as error:
                        if self.connection is None:
                            raise marked(_closed(request)) from error
                        failure = classify_error(error, self._described(request, connection))
                        sending, doubtful = False, doubtful or not failure.no_effect
                        again = failure.transient and (request.repeatable or failure.no_effect)
                        if not again or attempt == ATTEMPTS:
                            raise marked(failure.error) from error
                        last = error
                    finally:
                        if token is not None:
                            BYPASS.reset(token)
                    wait = self._environment.backoff(attempt, first=0.1, most=5.0)
                    repeating(attempt, wait, marked(failure.error))
                    await asyncio.sleep(wait)
        except TimeoutError as error:
            raise marked(request.error(UnavailableError, f"no answer in {self._timeout:g} s")) from last or error
        raise AssertionError  # the last attempt returns or raises

    def _described(self, request: S3Request, connection: S3Connection) -> S3Request:
        """Return a request with what its errors tell of the connection."""
        reached = request.bucket in self._reached
        return replace(request, endpoint=connection.endpoint, region=connection.region, reached=reached)


def _closed(request: S3Request) -> MPS3Error:
    return request.error(ClosedError, "the storage is closed, or was never opened")
