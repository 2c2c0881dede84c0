"""Verified reads, which tell damage in transit from damage in the store by reading again."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from ..errors import CorruptionError, FormatError, MPS3Error, UnavailableError
from .bypass import BYPASS
from .cached import CachedObject
from .protocol import Absence, Object

PAUSES: Final = (0.05, 0.2, 0.5, 1.0)
"""Seconds before each further try."""
LARGE: Final = 2**20
"""Bytes above which a thread hashes, because the event loop would stall."""

T = TypeVar("T")
Damage: Final = (CorruptionError, FormatError)


async def read_verified(
    ask: Callable[[], Awaitable[Object | Absence]], check: Callable[[Object | Absence], Awaitable[T]]
) -> T:
    """Read an object and verify it. Each further attempt uses a new connection, where possible.

    The object in the store is damaged for certain when the same bytes arrive again, and their MD5 is the ETag that the
    store reports. Where ETags are not MD5, all attempts must return the same bytes, which must not look like a web
    page.

    Args:
        ask: Asks the store.
        check: Makes something of its answer. It raises `CorruptionError` or `FormatError` if that is damaged. What it
            raises of an `Absence` is passed on at once.

    Raises:
        CorruptionError: The store holds something else than was written.
        FormatError: A newer mps3 wrote it.
        UnavailableError: It arrives damaged, and nobody can tell whether it is so in the store.
        MPS3Error: Whatever ``ask`` raises.
    """
    seen: list[bytes | None] = []
    pauses = iter(PAUSES)
    recalled = False
    while True:
        found: Object | Absence | None = None
        try:
            found = await (_anew(ask) if seen or recalled else ask())
            return await check(found)
        except Damage as error:
            failure = error
        if found is not None and not isinstance(found, Object):
            raise failure
        if isinstance(found, CachedObject) and not recalled:
            recalled = True  # the cache is wrong, which says nothing of the store
            continue
        # What is too large is not even read.
        mark = None if found is None else await _md5(found.body)
        again = mark in seen
        seen.append(mark)
        if again and found is not None and _is_named_by(found.etag, mark):
            raise failure
        pause = next(pauses, None)
        if pause is None:
            break
        await asyncio.sleep(pause)
    if len(set(seen)) == 1 and not (found is not None and _is_page(found.body)):
        raise failure
    raise _damaged(failure)


async def _anew(ask: Callable[[], Awaitable[T]]) -> T:
    token = BYPASS.set(True)
    try:
        return await ask()
    finally:
        BYPASS.reset(token)


async def _md5(body: bytes) -> bytes:
    if len(body) <= LARGE:
        return hashlib.md5(body, usedforsecurity=False).digest()
    return await asyncio.to_thread(lambda: hashlib.md5(body, usedforsecurity=False).digest())


def _is_named_by(etag: str | None, mark: bytes | None) -> bool:
    return etag is not None and mark is not None and etag.removeprefix("W/").strip('"').lower() == mark.hex()


def _is_page(body: bytes) -> bool:
    return body[:1000].lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<")


def _damaged(failure: MPS3Error) -> UnavailableError:
    # Without what its last sentence advises: it may well be a good object.
    error = UnavailableError(
        f"what the store answered arrived damaged {1 + len(PAUSES)} times, so something on the way here changes it: "
        f"look for a proxy or a portal between this machine and the store ({str(failure).partition('. ')[0]})",
        bucket=failure.bucket,
        key=failure.key,
        operation=failure.operation,
        version=failure.version,
    )
    error.__cause__ = failure
    return error
