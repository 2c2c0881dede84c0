"""The time of a service: the ``Date`` of an answer to a request without credentials."""

from __future__ import annotations

import asyncio
from email.utils import parsedate_to_datetime
from typing import Final

TIMEOUT: Final = 5.0
"""Seconds that the service has to answer."""


async def ask_time(address: str) -> float | None:
    """Return the time at an address, in seconds since 1970; ``None`` if it is not told.

    Any answer tells it, also a refusal. Redirects are not followed.
    """
    aiohttp = await asyncio.to_thread(__import__, "aiohttp")  # slow to import
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TIMEOUT), trust_env=True) as session,
            session.head(address, allow_redirects=False) as response,
        ):
            date = response.headers.get("Date")
            return None if date is None else parsedate_to_datetime(date).timestamp()
    except (aiohttp.ClientError, OSError, TimeoutError, ValueError):
        return None
