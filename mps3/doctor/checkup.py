"""Checks on a temporary object: all that a client does with values and manifests."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Awaitable, Callable
from statistics import median
from typing import Final

import orjson

from ..content.owner_metadata import MANIFESTS, owner_metadata
from ..errors import AccessError, ConfigurationError, MPS3Error
from ..format.commit_age import refresh_age
from ..journal.trials import SUFFIX, remove
from ..storage.etags import bare, is_weak
from ..storage.protocol import UNCHANGED, Head, Object, Storage, Stored
from ..support.environment import Environment
from ..types import Ref
from .findings import Finding

Result = tuple[bool | None, str]

VERSIONS: Final = 5
"""How many versions are written."""
AT_ONCE: Final = 2
"""How many of them a page of a listing is to hold."""
VISIBLE: Final = 3.0
"""Seconds that a version may take to be listed: the window of new manifests."""
LOOK: Final = 0.2
"""Seconds between two looks whether it is."""
# As long as a value may be, and as easy to compress: what compresses on the way leaves short answers alone.
FILLING: Final = "mps3 " * 2000
AWKWARD: Final = "a b+c%2F&=?#é"
"""Characters that some stores and gateways mistake."""


class Checkup:
    """One object, and what is tried on it.

    Args:
        storage: The store, opened.
        bucket: The bucket.
        manifest: The manifest's key; the object is made beside it.
        versioned: Whether the bucket says that it keeps versions.
        environment: Names the object, and tells this machine's time.
        tell: Called with each finding.
    """

    def __init__(
        self,
        storage: Storage,
        bucket: str,
        manifest: str,
        *,
        versioned: bool,
        environment: Environment,
        tell: Callable[[str, bool | None, str], Finding],
    ) -> None:
        self._storage = storage
        self._bucket = bucket
        self._ref = Ref(manifest, bucket)
        self._key = f"{manifest}{SUFFIX}{environment.name()}"
        self._versioned = versioned
        self._environment = environment
        self._tell = tell
        self._stored: list[Stored] = []
        self._found: Object | None = None

    async def run(self) -> bool:
        """Try everything.

        Returns:
            Whether all that was written is removed again.
        """
        try:
            if await self._try("writing", self._write):
                if await self._try("reading back", self._read):
                    await self._try("ETags", self._etags)
                    await self._try("polling", self._poll)
                    await self._try("describing", self._describe)
                if self._versioned:
                    await self._try("old versions", self._read_old)
                    await self._try("listing in pages", self._list_pages)
                await self._try("listing", self._list)
                await self._try("checksums", self._checksums)
        finally:
            tidy = await self._remove(self._key)
        if tidy and self._stored:
            tidy = await self._awkward_key()
        return tidy

    async def _try(self, what: str, trial: Callable[[], Awaitable[Result]]) -> bool:
        try:
            good, result = await trial()
        except MPS3Error as error:
            good, result = False, str(error)
        self._tell(what, good, result)
        return good is not False

    async def _remove(self, key: str) -> bool:
        error = await remove(self._storage, self._bucket, key)
        if error is not None and (self._stored or not isinstance(error, AccessError)):
            # A client never deletes a version, so it is no failure.
            self._tell("removing", None, f"s3://{self._bucket}/{key} is left behind: {error}")
        return error is None

    async def _put(self, key: str, body: bytes) -> Stored:
        return await self._storage.put(
            self._bucket,
            key,
            body,
            sha256=hashlib.sha256(body).digest(),
            metadata=owner_metadata([self._ref], self._bucket, key),
        )

    async def _write(self) -> Result:
        times = []
        for number in range(VERSIONS):
            began, wall = time.perf_counter(), self._environment.now().timestamp()
            stored = await self._put(self._key, _body(number))
            times.append(time.perf_counter() - began)
            self._stored.append(stored)
            if not number:
                self._tell("clocks", None, _clocks(stored.modified, wall, times[0]))
        if self._versioned:
            names = {stored.version for stored in self._stored}
            if None in names:
                raise ConfigurationError("the store says that versioning is enabled, but a PUT made no version")
            if len(names) < VERSIONS:
                raise ConfigurationError("the store says that versioning is enabled, but several PUTs made one version")
        return True, f"{median(times) * 1000:.0f} ms"

    async def _read(self) -> Result:
        found = await self._storage.get(self._bucket, self._key)
        if not isinstance(found, Object):
            return False, "an object that was just written is not there"
        if found.body != _body(VERSIONS - 1):
            older = any(found.body == _body(number) for number in range(VERSIONS - 1))
            return False, "an older version came back" if older else _other(found.body, _body(VERSIONS - 1))
        if self._versioned and found.version != self._stored[-1].version:
            return False, f"the PUT made version {self._stored[-1].version}, but a GET says {found.version}"
        self._found = found
        return True, "what was written came back"

    async def _etags(self) -> Result:
        put, got = self._stored[-1].etag, self._found.etag if self._found else None
        needed = False if not self._versioned else None  # only where conditions are made of them
        if got is None:
            return needed, "the answer to a GET has none"
        if put is not None and bare(put) != bare(got):
            return needed, (
                f"the answer to a GET has another one ({got}) than the answer to the PUT ({put}): something between "
                "this client and the store changes ETags, as some proxies do that compress"
            )
        if is_weak(got):
            return None, (
                f"the answer to a GET has a weak one ({got}), as a proxy that compresses makes them; they are compared "
                "without the mark"
            )
        return True, "a GET tells the same as the PUT"

    async def _poll(self) -> Result:
        etag = self._found.etag if self._found else None
        if etag is None:
            return None, "there is no ETag to ask with"
        found = await self._storage.get(self._bucket, self._key, if_none_match=etag)
        if found is UNCHANGED:
            return True, "what has not changed is not sent again"
        return None, "what has not changed is sent again each time, so polling costs the bytes of the manifest"

    async def _describe(self) -> Result:
        head = await self._storage.head(self._bucket, self._key)
        if not isinstance(head, Head):
            return None, "a HEAD does not find what was just written: garbage cannot be collected"
        if head.metadata.get(MANIFESTS) is None:
            return None, "the store does not keep metadata: values are never collected as garbage"
        return True, "metadata is kept"

    async def _read_old(self) -> Result:
        for number in (0, VERSIONS - 2):
            version = self._stored[number].version
            found = await self._storage.get(self._bucket, self._key, version=version)
            if not isinstance(found, Object):
                return False, f"version {version}, which was just written, cannot be read"
            if found.body != _body(number):
                return False, f"version {version} came back as other bytes than it was written with"
        return True, "can be read"

    async def _list_pages(self) -> Result:
        expected = [stored.version for stored in reversed(self._stored)]
        deadline = time.monotonic() + VISIBLE
        while True:
            listed, pages, late = await self._listed()
            if listed == expected:
                break
            if time.monotonic() > deadline:
                if sorted(listed) == sorted(map(str, expected)):
                    return False, f"versions are not listed newest first: {', '.join(listed)}"
                return False, (
                    f"of {VERSIONS} versions that were just written, pages of {AT_ONCE} list "
                    f"{len(set(listed) & set(expected))}"
                )
            await asyncio.sleep(LOOK)  # it may take so long until they are visible
        if abs(late) > refresh_age():
            return False, (
                f"versions are stamped {abs(late):.0f} s {'later' if late > 0 else 'earlier'} than the store's own "
                "clock says, so commits would not count"
            )
        return True, f"all versions, newest first, in {pages} pages"

    async def _listed(self) -> tuple[list[str], int, float]:
        """The versions as they are listed, in how many pages, and by how much their stamps are ahead of the store."""
        listed: list[str] = []
        pages, late, start = 0, 0.0, None
        while pages <= VERSIONS:
            page = await self._storage.versions(self._bucket, self._key, start=start, limit=AT_ONCE)
            pages += 1
            listed += [version.version for version in page.versions]
            if pages == 1 and page.versions and page.answered is not None:
                late = page.versions[0].modified - page.answered
            start = page.next
            if start is None:
                break
        return listed, pages, late

    async def _list(self) -> Result:
        try:
            if self._versioned:
                keys = [one.key for one in (await self._storage.scan(self._bucket, self._key)).found]
            else:
                keys = [one.key for one in (await self._storage.list(self._bucket, self._key)).entries]
        except AccessError as error:
            return None, f"only collecting garbage needs it: {error}"
        return (True, "by prefix") if self._key in keys else (None, "what was just written is not listed yet")

    async def _checksums(self) -> Result:
        try:
            await self._storage.put(self._bucket, self._key, b"{}", sha256=hashlib.sha256(b"[]").digest())
        except AccessError:
            raise
        except MPS3Error:
            return True, "the store refuses what is not what its SHA-256 says"
        return None, "the store does not verify the SHA-256 of what it is sent; each client verifies what it reads"

    async def _awkward_key(self) -> bool:
        key = f"{self._key}/{AWKWARD}"

        async def trial() -> Result:
            await self._put(key, _body(0))
            found = await self._storage.get(self._bucket, key)
            if isinstance(found, Object) and found.body == _body(0):
                return True, "with any characters"
            return None, f"an object whose key ends with {AWKWARD!r} is not found again: use simple keys"

        try:
            await self._try("keys", trial)
        finally:
            tidy = await self._remove(key)
        return tidy


def _body(number: int) -> bytes:
    return orjson.dumps({"probe": number, "filling": FILLING})


def _other(found: bytes, expected: bytes) -> str:
    if not found:
        return "an object that was just written came back empty"
    return f"other bytes came back than were written: {len(found)} of them, not {len(expected)}"


def _clocks(theirs: float | None, before: float, took: float) -> str:
    if theirs is None:
        return "the store does not tell the time, so keys cannot expire"
    # The store's time stamps may be whole seconds.
    if before - 1 <= theirs <= before + took + 1:
        return "this machine and the store agree to a second"
    ahead = before - theirs
    return (
        f"this machine is {abs(ahead):.0f} s {'ahead of' if ahead > 0 else 'behind'} the store; nothing depends on it"
    )
