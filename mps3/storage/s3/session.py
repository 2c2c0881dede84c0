"""A connection to an S3-compatible service that several users share, and what its answers have told so far."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any, TypeVar

from ...errors import MPS3Error
from ...support.environment import Environment
from ...types import Auth
from ..clock import StoreClock
from .answers import server_time
from .client import S3Connection, connect
from .errors import setup_error
from .request import S3Request
from .retrying import call_with_retries

T = TypeVar("T")


class S3Session:
    """The session of one storage with its service.

    Args:
        s3_config: As for `mps3.storage.s3.storage.S3Storage`.
        environment: The source of jitter.
        auth: Authorises the requests instead of the SDK.
        timeout: The most seconds that one call may take with all its attempts.

    Attributes:
        connection: The client of the SDK; ``None`` while the session is closed.
    """

    def __init__(
        self,
        s3_config: Mapping[str, Any],
        environment: Environment,
        auth: Auth | None,
        timeout: float,
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
        """Make the client, unless another user has. It connects with the first request.

        Raises:
            ConfigurationError: ``s3_config`` is wrong.
            AccessError: There are no credentials.
        """
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
        """Return the earliest time that it can be at the store, in seconds since 1970; ``None`` before an answer."""
        now = self._clock.now()
        return None if now == -math.inf else now

    def hear(self, response: Mapping[str, Any]) -> float | None:
        """Return the store's clock when it sent this answer, and remember it for `clock`."""
        moment = server_time(response)
        self._clock.observe(moment)
        return moment

    async def call(self, request: S3Request, send: Callable[[Any], Awaitable[T]]) -> T:
        """Make a request, as `mps3.storage.s3.retrying.call_with_retries`.

        Args:
            request: The request.
            send: Sends it through the SDK's client.
        """
        request = replace(request, reached=request.bucket in self._reached)
        result = await call_with_retries(
            request, send, lambda: self.connection, environment=self._environment, timeout=self._timeout
        )
        self._reached.add(request.bucket)
        return result
