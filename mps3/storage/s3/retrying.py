"""Requests are repeated here and nowhere below: only this place knows which failures certainly had no effect."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, Final, TypeVar

from ...errors import ClosedError, MPS3Error, UnavailableError
from ...support.environment import Environment
from ..bypass import BYPASS
from ..retries import repeating
from .client import S3Connection
from .errors import classify_error, is_malformed
from .request import S3Request

T = TypeVar("T")

ATTEMPTS: Final = 4


async def call_with_retries(
    request: S3Request,
    send: Callable[[Any], Awaitable[T]],
    connection: Callable[[], S3Connection | None],
    *,
    environment: Environment,
    timeout: float,  # noqa: ASYNC109 - of all attempts together
) -> T:
    """Make a request, again if that can help and cannot harm.

    Args:
        request: What is asked.
        send: Asks it of the SDK's client.
        connection: Where the client is; ``None`` when the storage is closed.
        environment: Where chance comes from.
        timeout: How long all attempts may take together, in seconds.

    Returns:
        What ``send`` returned.

    Raises:
        MPS3Error: What became of it. `MPS3Error.maybe_written` counts all the attempts.
    """
    last: Exception | None = None
    outcome_unknown = asking = False  # may an attempt that failed, or the one under way, have written something?

    def told(error: MPS3Error) -> MPS3Error:
        error.maybe_written = request.writes and (outcome_unknown or asking)
        return error

    try:
        async with asyncio.timeout(timeout):
            for attempt in range(1, ATTEMPTS + 1):
                open_ = connection()
                if open_ is None:
                    raise told(_closed(request))
                request = replace(request, endpoint=open_.endpoint, region=open_.region)
                asking = True
                anew = BYPASS.set(True) if last is not None and is_malformed(last) else None
                try:
                    return await send(open_.client)
                except MPS3Error as error:
                    told(error)
                    raise
                except Exception as error:
                    if connection() is None:
                        raise told(_closed(request)) from error
                    failure = classify_error(error, request)
                    asking, outcome_unknown = False, outcome_unknown or not failure.no_effect
                    again = failure.transient and (request.repeatable or failure.no_effect)
                    if not again or attempt == ATTEMPTS:
                        raise told(failure.error) from error
                    last = error
                finally:
                    if anew is not None:
                        BYPASS.reset(anew)
                wait = environment.backoff(attempt, first=0.1, most=5.0)
                repeating(attempt, wait, told(failure.error))
                await asyncio.sleep(wait)
    except TimeoutError as error:
        raise told(request.error(UnavailableError, f"no answer in {timeout:g} s")) from last or error
    raise AssertionError  # the last attempt returns or raises


def _closed(request: S3Request) -> MPS3Error:
    return request.error(ClosedError, "the storage is closed, or was never opened")
