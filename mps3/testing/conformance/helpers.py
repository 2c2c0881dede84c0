"""What the checks share: assertions, reads and listings, and conditions for skipping."""

from __future__ import annotations

import asyncio
import secrets
from typing import TYPE_CHECKING, Final, TypeVar

from ...errors import ConfigurationError, ConflictError, MPS3Error, UnavailableError
from ...storage.protocol import ListedObject, Object, Page, Scan, Storage, Stored, Version, VersionPage

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

P = TypeVar("P", Page, Scan, VersionPage)

MAX_PAGES: Final = 1000
"""Pages of a listing; one with more is taken for endless."""
MANY: Final = 24
"""Concurrent calls, or objects of a listing."""
ROUNDS: Final = 8
"""Repetitions."""


class Skipped(Exception):  # noqa: N818 - nothing is wrong
    """The check does not apply to this storage or bucket."""


def require(holds: bool, sentence: str) -> None:  # noqa: FBT001 - reads as assert does
    """Fail with the sentence of the documentation that does not hold."""
    if not holds:
        raise AssertionError(f"Does not hold: {sentence}")


def key_for(what: str) -> str:
    """Return a new key for a check."""
    return f"mps3 conformance/{what}/{secrets.token_hex(8)}"


async def read(
    storage: Storage, bucket: str, key: str, *, version: str | None = None, limit: int | None = None
) -> Object:
    """Return an object; fail if it is not there."""
    found = await storage.get(bucket, key, version=version, limit=limit)
    if not isinstance(found, Object):
        raise AssertionError(f"Does not hold: get: read an object; {key!r} is {found.value} (version {version})")  # noqa: TRY004
    return found


async def all_pages(ask: Callable[[str | None], Awaitable[P]], start: str | None = None) -> list[P]:
    """Return all pages of a listing that begins at ``start``."""
    pages: list[P] = []
    for _ in range(MAX_PAGES):
        page = await ask(start)
        pages.append(page)
        start = page.next
        if start is None:
            return pages
    raise AssertionError(f"Does not hold: {type(page).__name__}.next is None when this is the last one")


async def all_versions(
    storage: Storage, bucket: str, key: str, *, start: str | None = None, limit: int | None = None
) -> list[Version]:
    """Return all versions of a key, listed page by page."""
    pages = await all_pages(lambda start: storage.versions(bucket, key, start=start, limit=limit), start)
    return [version for page in pages for version in page.versions]


async def versions_if_listed(
    storage: Storage, bucket: str, key: str, *, limit: int | None = None
) -> list[Version] | None:
    """Return all versions of a key; ``None`` if the bucket keeps none, and its store has no listing of versions."""
    try:
        return await all_versions(storage, bucket, key, limit=limit)
    except ConfigurationError:
        if (await storage.capabilities(bucket)).versioning != "off":
            raise
        return None


async def all_entries(storage: Storage, bucket: str, prefix: str, *, limit: int | None = None) -> list[ListedObject]:
    """Return all objects with a prefix, listed page by page."""
    pages = await all_pages(lambda start: storage.list(bucket, prefix, start=start, limit=limit))
    return [entry for page in pages for entry in page.entries]


async def raises(
    kind: type[MPS3Error], call: Awaitable[object], sentence: str, bucket: str, key: str | None = None
) -> None:
    """Fail unless a call raises an error of one kind that has the bucket, the key and the operation in it."""
    try:
        result = await call
    except kind as error:
        require(error.bucket == bucket, f"errors have the bucket in them ({error!r})")
        require(key is None or error.key == key, f"errors have the key in them ({error!r})")
        require(error.operation is not None, f"errors have the operation in them ({error!r})")
    except Exception as error:
        raise AssertionError(f"Does not hold: {sentence}; it was {error!r}") from error
    else:
        raise AssertionError(f"Does not hold: {sentence}; it was {result!r}")


async def one_wins(puts: list[Awaitable[Stored]]) -> None:
    """Fail unless one of many puts with the same condition succeeds."""
    answers = await asyncio.gather(*puts, return_exceptions=True)
    won = [answer for answer in answers if isinstance(answer, Stored)]
    others = [answer for answer in answers if not isinstance(answer, Stored | ConflictError | UnavailableError)]
    require(others == [], f"put: ConflictError if the condition did not hold, not {others!r}")
    # Some stores end a race with an error of their own, which does not tell which put has won.
    doubtful = any(isinstance(answer, UnavailableError) for answer in answers)
    require(
        len(won) == 1 or (won == [] and doubtful),
        f"put: one of many with the same condition succeeds, not {len(won)}",
    )


async def has_versions(storage: Storage, bucket: str) -> bool:
    """Return whether the bucket has versions; skip the check where they are suspended."""
    versioning = (await storage.capabilities(bucket)).versioning
    if versioning == "suspended":
        raise Skipped("versioning is suspended")
    return versioning == "enabled"


async def needs_versions(storage: Storage, bucket: str) -> None:
    """Skip the check where there are no versions."""
    if not await has_versions(storage, bucket):
        raise Skipped("the bucket has no versions")


async def needs_conditional_create(storage: Storage, bucket: str) -> None:
    """Skip the check if the store does not enforce ``if_none_match``; fail if it claims to."""
    claim = getattr(await storage.capabilities(bucket), "conditional_create", None)
    reason = await _why_not_enforced(storage, bucket)
    if reason is not None:
        require(not claim, f"Capabilities.conditional_create is claimed, but {reason}")
        raise Skipped(reason)


async def _why_not_enforced(storage: Storage, bucket: str) -> str | None:
    key = key_for("condition")
    await storage.put(bucket, key, b"one")
    try:
        await storage.put(bucket, key, b"two", if_none_match=True)
    except ConflictError:
        pass
    except ConfigurationError as error:
        return str(error)
    else:
        return "the store ignores the condition"
    try:
        await storage.put(bucket, key_for("condition"), b"one", if_none_match=True)
    except ConflictError:
        return "the store refuses the condition even if it holds"
    return None
