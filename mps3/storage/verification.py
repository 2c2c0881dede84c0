"""Verified reads, which tell damage in transit from damage in the store by reading again."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from ..errors import CorruptionError, FormatError, MPS3Error, UnavailableError
from .bypass import BYPASS
from .cached import CachedObject
from .etags import bare
from .protocol import Absence, Object

PAUSES: Final = (0.05, 0.2, 0.5, 1.0)
"""Seconds before each further attempt."""
LARGE: Final = 2**20
"""Bytes above which a thread hashes, because the event loop would stall."""

T = TypeVar("T")
_DAMAGE: Final = (CorruptionError, FormatError)
_MD5: Final = re.compile(r"[0-9a-f]{32}\Z")


class EtagDigests:
    """Whether the ETags of a store are the MD5 of its objects, as far as is known.

    They are not where the store encrypts with keys of a customer or of KMS, and they look the same there. So an ETag
    that contradicts the bytes only makes them suspect: if the same bytes arrive again, the ETag is no digest.

    Args:
        bucket: The bucket of a manifest.
        key: The key of the manifest.
    """

    def __init__(self, bucket: str, key: str) -> None:
        self._bucket = bucket
        self._key = key
        self._are_md5 = True
        self._seen = False

    @property
    def proven(self) -> bool:
        """Whether an ETag of the store was seen to be an MD5, and none was seen to be something else."""
        return self._are_md5 and self._seen

    async def contradict(self, found: Object) -> bool:
        """Return whether the bytes of an object are not those that its ETag is the MD5 of.

        Those of a part contradict nothing: the ETag is that of the whole object.
        """
        etag = bare(found.etag).lower()
        if found.partial or not self._are_md5 or _MD5.match(etag) is None:
            return False
        contradicted = (await _md5(found.body)).hex() != etag
        self._seen = self._seen or not contradicted
        return contradicted

    def are_none(self) -> None:
        """Record that the ETags of the store are not the MD5 of its objects."""
        self._are_md5 = False

    def error(self, found: Object) -> CorruptionError:
        """Return the error for an object whose ETag contradicts its bytes."""
        return CorruptionError(
            f"the MD5 of a document of s3://{self._bucket}/{self._key} is not its ETag {found.etag}",
            bucket=self._bucket,
            key=self._key,
            operation="GetObject",
            version=found.version,
        )


async def read_verified(
    read: Callable[[], Awaitable[Object | Absence]],
    check: Callable[[Object | Absence], Awaitable[T]],
    etags: EtagDigests | None = None,
) -> T:
    """Read an object and verify it. Each further attempt uses a new connection, where possible.

    The object in the store is damaged for certain when the same bytes arrive again, and their MD5 is the ETag that the
    store reports. Where ETags are not MD5, all attempts must return the same bytes, which must not look like a web
    page. Where they are known to be MD5, bytes that are not those of their ETag were damaged in transit. No ETag says
    anything of the bytes of a part, so all attempts must return the same.

    Args:
        read: Reads the object.
        check: Decodes what ``read`` returned. It raises `CorruptionError` or `FormatError` if that is damaged. Its
            errors about an `Absence` are raised at once.
        etags: Verifies what ``check`` cannot: bytes that can be decoded, and are not those that were stored. ``None``
            where ``check`` knows the digest.

    Raises:
        CorruptionError: The object in the store is damaged.
        FormatError: A newer mps3 wrote it.
        UnavailableError: It arrives damaged, and it is unknown whether it is damaged in the store.
        MPS3Error: Whatever ``read`` raises.
    """
    seen: list[bytes | None] = []
    pauses = iter(PAUSES)
    cache_failed = False
    while True:
        found: Object | Absence | None = None
        try:
            found = await (_read_anew(read) if seen or cache_failed else read())
            return await check(found) if etags is None else await _check_with_etag(found, check, etags, seen)
        except _DAMAGE as error:
            failure = error
        if found is not None and not isinstance(found, Object):
            raise failure
        if isinstance(found, CachedObject) and not cache_failed:
            cache_failed = True  # damage in the cache says nothing about the store
            continue
        # An object that is too large was not read.
        digest = None if found is None else await _md5(found.body)
        again = digest in seen
        seen.append(digest)
        if again and found is not None and _is_etag(found.etag, digest):
            raise failure
        pause = next(pauses, None)
        if pause is None:
            break
        await asyncio.sleep(pause)
    # A part may begin with any byte.
    foreign = found is not None and not found.partial and _is_web_page(found.body)
    if found is not None and etags is not None and etags.proven:
        foreign = foreign or await etags.contradict(found)
    if len(set(seen)) == 1 and not foreign:
        raise failure
    raise _damaged_in_transit(failure)


async def _check_with_etag(
    found: Object | Absence,
    check: Callable[[Object | Absence], Awaitable[T]],
    etags: EtagDigests,
    seen: list[bytes | None],
) -> T:
    if not isinstance(found, Object) or not await etags.contradict(found):
        return await check(found)
    if await _md5(found.body) not in seen:
        raise etags.error(found)
    result = await check(found)
    etags.are_none()
    return result


async def _read_anew(read: Callable[[], Awaitable[T]]) -> T:
    token = BYPASS.set(True)
    try:
        return await read()
    finally:
        BYPASS.reset(token)


async def _md5(body: bytes) -> bytes:
    if len(body) <= LARGE:
        return hashlib.md5(body, usedforsecurity=False).digest()
    return await asyncio.to_thread(lambda: hashlib.md5(body, usedforsecurity=False).digest())


def _is_etag(etag: str | None, md5: bytes | None) -> bool:
    return etag is not None and md5 is not None and bare(etag).lower() == md5.hex()


def _is_web_page(body: bytes) -> bool:
    return body[:1000].lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<")


def _damaged_in_transit(failure: MPS3Error) -> UnavailableError:
    # Without the advice in its last sentence: the object in the store may be intact.
    error = UnavailableError(
        f"the answer of the store arrived damaged {1 + len(PAUSES)} times, so something in transit changes it: "
        f"look for a proxy or a portal between this machine and the store ({str(failure).partition('. ')[0]})",
        bucket=failure.bucket,
        key=failure.key,
        operation=failure.operation,
        version=failure.version,
    )
    error.__cause__ = failure
    return error
