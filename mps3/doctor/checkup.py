"""Checks with a temporary object: everything that a client does with values and manifests."""

from __future__ import annotations

import asyncio
import hashlib
import time
from statistics import median
from typing import Final

import orjson

from ..content.owner_metadata import MANIFESTS, owner_metadata
from ..errors import AccessError, ConfigurationError, MPS3Error
from ..format.commit_age import refresh_age
from ..format.names import LONGEST
from ..journal.trials import SUFFIX, put_at_pace, remove
from ..storage.etags import bare, is_weak
from ..storage.protocol import UNCHANGED, Head, KeyRefusedError, Object, Storage, Stored
from ..support.environment import Environment
from ..types import Ref
from .findings import CheckResult, Diagnosis

VERSIONS: Final = 5
"""How many versions are written."""
PAGE_SIZE: Final = 2
"""How many of them a page of a listing is to hold."""
VISIBILITY_TIMEOUT: Final = 3.0
"""Seconds that a version may take to be listed: the window of new manifests."""
LISTING_INTERVAL: Final = 0.2
# As long as a value may be, and as easy to compress: a proxy that compresses leaves short answers alone.
FILLING: Final = "mps3 " * 2000
BELOW: Final = "below"
PART: Final = 200
"""Bytes of each part of a long key."""
AWKWARD: Final = "a b+c%2F&=?#é"
"""Characters that some stores and gateways mistake."""


class Checkup:
    """The checks of one temporary object beside a manifest.

    ``versioned`` is whether the bucket claims to keep versions; ``found`` gets the findings.
    """

    def __init__(
        self,
        storage: Storage,
        bucket: str,
        manifest: str,
        *,
        versioned: bool,
        environment: Environment,
        found: Diagnosis,
    ) -> None:
        self._storage = storage
        self._bucket = bucket
        self._ref = Ref(manifest, bucket)
        self._key = f"{manifest}{SUFFIX}{environment.name()}"
        self._versioned = versioned
        self._environment = environment
        self._found = found
        self._stored: list[Stored] = []
        self._etag: str | None = None

    async def run(self) -> bool:
        """Run all checks; return whether all objects are removed again."""
        check = self._found.check
        try:
            if await check("writing", self._write()):
                if await check("reading back", self._read()):
                    await check("ETags", self._compare_etags())
                    await check("polling", self._poll())
                    await check("describing", self._describe())
                if self._versioned:
                    await check("old versions", self._read_old())
                    await check("listing in pages", self._list_pages())
                    await check("listing all versions", self._scan())
                await check("listing", self._list())
                await check("checksums", self._put_with_wrong_checksum())
                if self._versioned:  # without versions, values have other keys
                    await check("keys below keys", self._use_key_below(), needed=False)
        finally:
            tidy = await self._remove(self._key)
            if self._versioned:  # after the object that may hide it
                tidy = await self._remove(f"{self._key}/{BELOW}") and tidy
        if tidy and self._stored:
            key = f"{self._key}/{AWKWARD}"
            try:
                await check("keys", self._use_awkward_key(key))
            finally:
                tidy = await self._remove(key)
        if tidy and self._stored:
            key = _long_key(f"{self._key}/")
            try:
                await check("long keys", self._use_long_key(key))
            finally:
                tidy = await self._remove(key)
        return tidy

    async def _remove(self, key: str) -> bool:
        error = await remove(self._storage, self._bucket, key)
        if error is not None and (self._stored or not isinstance(error, AccessError)):
            # Clients never delete a version, so this is not bad.
            self._found.add("removing", None, f"s3://{self._bucket}/{key} is left behind: {error}")
        return error is None

    async def _put(self, key: str, body: bytes) -> Stored:
        return await put_at_pace(
            lambda: self._storage.put(
                self._bucket,
                key,
                body,
                sha256=hashlib.sha256(body).digest(),
                metadata=owner_metadata([self._ref], self._bucket, key),
            )
        )

    async def _write(self) -> CheckResult:
        times = []
        for number in range(VERSIONS):
            began, wall = time.perf_counter(), self._environment.now().timestamp()
            stored = await self._put(self._key, _body(number))
            times.append(time.perf_counter() - began)
            self._stored.append(stored)
            if not number:
                self._found.add("clocks", None, _compare_clocks(stored.modified, wall, times[0]))
        if self._versioned:
            names = {stored.version for stored in self._stored}
            if None in names:
                raise ConfigurationError("the store says that versioning is enabled, but a PUT made no version")
            if len(names) < VERSIONS:
                raise ConfigurationError("the store says that versioning is enabled, but several PUTs made one version")
        return True, f"{median(times) * 1000:.0f} ms"

    async def _read(self) -> CheckResult:
        found = await self._storage.get(self._bucket, self._key)
        if not isinstance(found, Object):
            return False, "an object that was just written is not there"
        expected = _body(VERSIONS - 1)
        if found.body in map(_body, range(VERSIONS - 1)):
            return False, "an older version came back"
        if not found.body:
            return False, "an object that was just written came back empty"
        if found.body != expected:
            return False, f"other bytes came back than were written: {len(found.body)}, not {len(expected)}"
        if self._versioned and found.version != self._stored[-1].version:
            return False, f"the PUT made version {self._stored[-1].version}, but a GET says {found.version}"
        self._etag = found.etag
        return True, "the bytes that were written"

    async def _compare_etags(self) -> CheckResult:
        put, got = self._stored[-1].etag, self._etag
        # Only polls of the merge journal compare ETags, and do without.
        if got is None:
            return None, "the answer to a GET has none"
        if put is not None and bare(put) != bare(got):
            return None, (
                f"the answer to a GET has another one ({got}) than the answer to the PUT ({put}): something between "
                "this client and the store changes ETags, as some compressing proxies do"
            )
        if is_weak(got):
            return None, (
                f"the answer to a GET has a weak one ({got}), as from a proxy that compresses; clients compare it "
                "without the mark"
            )
        return True, "the answers to a GET and a PUT have the same"

    async def _poll(self) -> CheckResult:
        if self._etag is None:
            return None, "there is no ETag for If-None-Match"
        if await self._storage.get(self._bucket, self._key, if_none_match=self._etag) is UNCHANGED:
            return True, "an unchanged object is not sent again"
        return None, "an unchanged object is sent again each time, so each poll transfers the whole manifest"

    async def _describe(self) -> CheckResult:
        head = await self._storage.head(self._bucket, self._key)
        if not isinstance(head, Head):
            return None, "a HEAD does not find an object that was just written: garbage cannot be collected"
        if head.metadata.get(MANIFESTS) is None:
            return None, "the store does not keep metadata: values are never collected as garbage"
        return True, "metadata is kept"

    async def _read_old(self) -> CheckResult:
        for number in (0, VERSIONS - 2):
            version = self._stored[number].version
            found = await self._storage.get(self._bucket, self._key, version=version)
            if not isinstance(found, Object):
                return False, f"version {version}, which was just written, cannot be read"
            if found.body != _body(number):
                return False, f"version {version} came back as other bytes than it was written with"
        return True, "can be read"

    async def _list_pages(self) -> CheckResult:
        expected = [str(stored.version) for stored in reversed(self._stored)]
        deadline = time.monotonic() + VISIBILITY_TIMEOUT
        while True:
            listed, pages, late = await self._versions()
            if listed == expected:
                break
            if time.monotonic() > deadline:
                if sorted(listed) == sorted(expected):
                    return False, f"versions are not listed newest first: {', '.join(listed)}"
                return False, (
                    f"of {VERSIONS} versions that were just written, pages of {PAGE_SIZE} list "
                    f"{len({*listed} & {*expected})}"
                )
            await asyncio.sleep(LISTING_INTERVAL)
        if abs(late) > refresh_age():
            return False, (
                f"versions are stamped {abs(late):.0f} s {'later' if late > 0 else 'earlier'} than the store's own "
                "clock says, so commits would not count"
            )
        return True, f"all versions, newest first, in {pages} pages"

    async def _versions(self) -> tuple[list[str], int, float]:
        """Return the versions as listed, the number of pages, and the seconds that the newest is ahead of the store."""
        listed: list[str] = []
        pages, late, start = 0, 0.0, None
        while pages <= VERSIONS:
            page = await self._storage.versions(self._bucket, self._key, start=start, limit=PAGE_SIZE)
            pages += 1
            listed += [version.version for version in page.versions]
            if pages == 1 and page.versions and page.answered is not None:
                late = page.versions[0].modified - page.answered
            start = page.next
            if start is None:
                break
        return listed, pages, late

    async def _list(self) -> CheckResult:
        deadline = time.monotonic() + VISIBILITY_TIMEOUT
        while True:
            try:
                page = await self._storage.list(self._bucket, self._key)
            except AccessError as error:
                return None, f"a client that opens a log needs it, and so does garbage collection: {error}"
            if self._key in {one.key for one in page.entries}:
                return True, "by prefix"
            if time.monotonic() > deadline:
                return None, "an object that was just written is not listed"
            await asyncio.sleep(LISTING_INTERVAL)

    async def _scan(self) -> CheckResult:
        try:
            keys = {one.key for one in (await self._storage.scan(self._bucket, self._key)).found}
        except AccessError as error:
            return None, f"only garbage collection needs it: {error}"
        return (True, "by prefix") if self._key in keys else (None, "an object that was just written is not listed yet")

    async def _put_with_wrong_checksum(self) -> CheckResult:
        try:
            await put_at_pace(
                lambda: self._storage.put(self._bucket, self._key, b"{}", sha256=hashlib.sha256(b"[]").digest())
            )
        except AccessError:
            raise
        except MPS3Error:
            return True, "the store refuses a body that does not have its SHA-256"
        return None, "the store does not verify SHA-256; each client verifies what it reads"

    async def _use_key_below(self) -> CheckResult:
        """Use the key as a directory, as some stores do, too."""
        key = f"{self._key}/{BELOW}"
        try:
            await self._put(key, _body(0))
        except KeyRefusedError:
            return (
                None,
                "the store keeps objects in directories: beside a large value a there can be no large value a/b",
            )
        try:
            listed = any(one.key == key for one in (await self._storage.list(self._bucket, key)).entries)
        except AccessError as error:
            return None, f"only garbage collection needs to list: {error}"
        if listed:
            return True, "can be used"
        return None, "an object hides those below it from listings, as a hides a/b, so that a collection may leave some"

    async def _use_awkward_key(self, key: str) -> CheckResult:
        await self._put(key, _body(0))
        found = await self._storage.get(self._bucket, key)
        if isinstance(found, Object) and found.body == _body(0):
            return True, "with any characters"
        return None, f"an object whose key ends with {AWKWARD!r} is not found again: use simple keys"

    async def _use_long_key(self, key: str) -> CheckResult:
        try:
            await self._put(key, _body(0))
            found = await self._storage.get(self._bucket, key)
        except AccessError:
            raise
        except MPS3Error:
            found = None
        if isinstance(found, Object) and found.body == _body(0):
            return True, f"of {LONGEST:,} bytes"
        return None, f"a key of {LONGEST:,} bytes cannot be used: take shorter ones"


def _long_key(start: str) -> str:
    """Return a key of the greatest length. Its parts are not long: some stores make directories of them."""
    missing = LONGEST - len(start.encode())
    padding = f"{'k' * PART}/" * (missing // (PART + 1)) + "k" * (missing % (PART + 1))
    return start + (padding[:-1] + "k" if padding else "")


def _body(number: int) -> bytes:
    return orjson.dumps({"probe": number, "filling": FILLING})


def _compare_clocks(stamp: float | None, before: float, took: float) -> str:
    if stamp is None:
        return "the store does not tell the time, so keys cannot expire"
    # The stamps of a store may be whole seconds.
    if before - 1 <= stamp <= before + took + 1:
        return "this machine and the store agree to a second"
    ahead = before - stamp
    return (
        f"this machine is {abs(ahead):.0f} s {'ahead of' if ahead > 0 else 'behind'} the store; nothing depends on it"
    )
