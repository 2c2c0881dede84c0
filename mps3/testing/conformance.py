"""What every `mps3.storage.Storage` must do, as checks that can be run against one.

All at once::

    report = await check_storage(MyStorage(), "a-bucket-for-tests")
    assert report.passed, report

or one by one, with any test framework, against a storage that is open::

    @pytest.mark.parametrize("check", CHECKS)
    async def test_conformance(check, storage):
        await check(storage, "a-bucket-for-tests")

The bucket should be one for tests: the checks write to it under names of their own (and a few
awkward ones, such as ``..``), and leave what they wrote.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from mps3.errors import ConfigurationError, ConflictError, CorruptionError, MPS3Error, UnavailableError
from mps3.storage import ABSENT, UNCHANGED, Entry, Found, Head, Object, Storage, Stored, TellsTime, Version

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Check = Callable[[Storage, str], Awaitable[None]]

MOST_PAGES: Final = 1000
MANY: Final = 24
ROUNDS: Final = 8


class Skipped(Exception):  # noqa: N818 - nothing is wrong
    """The check does not apply to this storage or bucket."""


@dataclass(frozen=True, slots=True)
class Result:
    """How one check went.

    Attributes:
        check: Its name.
        outcome: ``skipped`` if it does not apply.
        detail: What does not hold, or why it was skipped.
    """

    check: str
    outcome: Literal["passed", "failed", "skipped"]
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.outcome:8}{self.check}" + (f": {self.detail}" if self.detail else "")


@dataclass(frozen=True, slots=True)
class Report:
    """How all checks went.

    Attributes:
        results: One for each check, in the order of `CHECKS`.
    """

    results: tuple[Result, ...]

    @property
    def passed(self) -> bool:
        """Whether no check failed."""
        return all(result.outcome != "failed" for result in self.results)

    def __str__(self) -> str:
        return "\n".join(str(result) for result in self.results)


async def check_storage(storage: Storage, bucket: str) -> Report:
    """Open a storage, run all checks against it, and close it.

    Args:
        storage: The storage, not open yet.
        bucket: A bucket in it that is for tests.

    Returns:
        How each check went. It raises only what ``open`` and ``aclose`` raise.
    """
    await storage.aclose()
    await storage.open()
    try:
        results = [await _result(check, storage, bucket) for check in CHECKS]
    finally:
        await storage.aclose()
        await storage.aclose()
    return Report(tuple(results))


async def _result(check: Check, storage: Storage, bucket: str) -> Result:
    name = getattr(check, "__name__", repr(check))
    try:
        await check(storage, bucket)
    except Skipped as reason:
        return Result(name, "skipped", str(reason))
    except AssertionError as error:
        return Result(name, "failed", str(error))
    except Exception as error:  # noqa: BLE001 - a broken storage may raise anything
        return Result(name, "failed", f"unexpected {error!r}")
    return Result(name, "passed")


# The checks -----------------------------------------------------------------------------------------------------------


async def round_trip(storage: Storage, bucket: str) -> None:
    """What was put is got, byte for byte."""
    for body in (b"hello", bytes(range(256)), b"\r\n\r\n0\r\n\r\n", b"\x1f\x8b not gzip"):
        key = _key("round trip")
        stored = await storage.put(bucket, key, body, sha256=hashlib.sha256(body).digest())
        found = await _read(storage, bucket, key)
        _require(found.body == body, f"get: read an object; got {found.body!r} after putting {body!r}")
        _require(
            found.version == stored.version, "Object.version is the version that put returned, if it is the newest"
        )


async def shared(storage: Storage, bucket: str) -> None:
    """Several clients can use one storage."""
    key = _key("shared")
    await storage.open()
    await storage.put(bucket, key, b"x")
    await storage.aclose()
    try:
        found: object = await storage.get(bucket, key)
    except MPS3Error as error:
        found = repr(error)
    _require(isinstance(found, Object), f"aclose: releases everything only when the last client does; {found!r}")


async def empty_body(storage: Storage, bucket: str) -> None:
    """An object may be empty."""
    key = _key("empty")
    await storage.put(bucket, key, b"", sha256=hashlib.sha256(b"").digest())
    found = await _read(storage, bucket, key, limit=0)
    _require(found.body == b"", "an object may be empty")


async def large_body(storage: Storage, bucket: str) -> None:
    """An object may be large."""
    key, body = _key("large"), secrets.token_bytes(1 << 20)
    await storage.put(bucket, key, body, sha256=hashlib.sha256(body).digest())
    _require((await _read(storage, bucket, key)).body == body, "an object may have 1 MiB")


async def absent(storage: Storage, bucket: str) -> None:
    """What is not there is ABSENT, not an error."""
    key = _key("absent")
    _require(await storage.get(bucket, key) is ABSENT, "get: ABSENT if there is no such object")
    _require(await storage.get(bucket, key, if_none_match='"0"') is ABSENT, "get: ABSENT whatever if_none_match says")
    page = await storage.versions(bucket, key)
    _require(page.versions == () and page.next is None, "versions: an object that never was has none")
    await storage.delete(bucket, key)
    _require(await storage.get(bucket, key) is ABSENT, "delete: what does not exist is deleted already")


async def overwritten(storage: Storage, bucket: str) -> None:
    """The newest put wins, and is visible at once."""
    key = _key("overwritten")
    for number in range(ROUNDS):
        body = b"%d" % number
        await storage.put(bucket, key, body)
        _require((await _read(storage, bucket, key)).body == body, "get: the newest if version is None")


async def unchanged(storage: Storage, bucket: str) -> None:
    """An ETag tells whether an object has changed."""
    key = _key("unchanged")
    stored = await storage.put(bucket, key, b"one")
    found = await _read(storage, bucket, key)
    if found.etag is None:
        raise Skipped("the store sends no ETag")
    _require(stored.etag in {None, found.etag}, "Stored.etag is the ETag as get gives it, if there is one")
    again = await storage.get(bucket, key, if_none_match=found.etag)
    _require(again is UNCHANGED, "get: UNCHANGED if the object still has the ETag if_none_match")
    await storage.put(bucket, key, b"two")
    changed = await storage.get(bucket, key, if_none_match=found.etag)
    _require(isinstance(changed, Object) and changed.body == b"two", "get: the object if it has another ETag")
    await storage.delete(bucket, key)
    _require(await storage.get(bucket, key, if_none_match=found.etag) is ABSENT, "get: ABSENT once it is deleted")


async def limited(storage: Storage, bucket: str) -> None:
    """A reader can refuse large objects."""
    key = _key("limited")
    await storage.put(bucket, key, b"12345")
    _require((await _read(storage, bucket, key, limit=5)).body == b"12345", "get: limit many bytes are not too many")
    await _raises(
        CorruptionError,
        storage.get(bucket, key, limit=4),
        "get: CorruptionError if it is larger than limit",
        bucket,
        key,
    )


async def checksum(storage: Storage, bucket: str) -> None:
    """A body that does not have its digest is refused, if the store can."""
    key = _key("checksum")
    try:
        await storage.put(bucket, key, b"body", sha256=hashlib.sha256(b"another").digest())
    except MPS3Error:
        _require(await storage.get(bucket, key) is ABSENT, "put: what is refused for its digest is not written")
    else:
        raise Skipped("the store does not verify digests")


async def newest_first(storage: Storage, bucket: str) -> None:
    """Versions are listed newest first, with what they are."""
    await _needs_versions(storage, bucket)
    key = _key("newest first")
    stored = [await storage.put(bucket, key, b"x" * number) for number in range(ROUNDS)]
    _require(
        len({one.version for one in stored} - {None}) == ROUNDS,
        "Stored.version is the new version, where there are versions",
    )
    listed = await _all_versions(storage, bucket, key)
    _require(
        [one.version for one in listed] == [one.version for one in reversed(stored)],
        "versions: newest first, in the store's own order",
    )
    _require([one.size for one in listed] == [*reversed(range(ROUNDS))], "Version.size is in bytes")
    _require(not any(one.deleted for one in listed), "Version.deleted is only for delete markers")
    _require(all(one.modified > 0 for one in listed), "Version.modified is in seconds since 1970")
    for one in listed:
        found = await _read(storage, bucket, key, version=one.version)
        _require(found.etag in {None, one.etag}, "Version.etag is the ETag as get gives it")
        _require(
            found.modified is None or abs(found.modified - one.modified) <= 1,
            "Object.modified is the time stamp as versions lists it, to the second",
        )


async def paged_versions(storage: Storage, bucket: str) -> None:
    """Versions can be listed a few at a time, while new ones come."""
    await _needs_versions(storage, bucket)
    key = _key("paged")
    stored = [(await storage.put(bucket, key, b"%d" % number)).version for number in range(7)]
    first = await storage.versions(bucket, key, limit=2)
    _require(first.next is not None, "versions: limit bounds a page, and next says that more follow")
    _require(len(first.versions) < len(stored), "versions: at most about limit")
    await storage.put(bucket, key, b"later")
    rest = await _all_versions(storage, bucket, key, start=first.next, limit=2)
    _require(
        [one.version for one in (*first.versions, *rest)] == stored[::-1],
        "versions: the pages together list each version once, whatever is written meanwhile",
    )


async def exact_key(storage: Storage, bucket: str) -> None:
    """The versions of a key are not those of keys that start with it."""
    key = _key("exact")
    others = [key + "0", key + "/x", key + " ", key[:-1]]
    for one in (*others[:2], key, *others[2:], key):
        await storage.put(bucket, one, one.encode())
    expected = 2 if await _has_versions(storage, bucket) else 1
    for limit in (None, 1):
        listed = await _all_versions(storage, bucket, key, limit=limit)
        _require(len(listed) == expected, "versions: of exactly this key; it is not a prefix")
    _require(await _all_versions(storage, bucket, key[:-2]) == [], "versions: of exactly this key; it is not a prefix")


async def old_versions(storage: Storage, bucket: str) -> None:
    """Old versions can be read when the object has been replaced or deleted."""
    await _needs_versions(storage, bucket)
    key = _key("old")
    first = await storage.put(bucket, key, b"one")
    second = await storage.put(bucket, key, b"two")
    await storage.delete(bucket, key)
    for stored, body in ((first, b"one"), (second, b"two")):
        found = await _read(storage, bucket, key, version=stored.version)
        _require(found.body == body, "get: version says which version is read")
        _require(found.version == stored.version, "Object.version is the version read")
    other = _key("old")
    await storage.put(bucket, other, b"other")
    _require(
        await storage.get(bucket, other, version=first.version) is ABSENT,
        "get: ABSENT if the object has no such version, though another one has",
    )


async def deleted(storage: Storage, bucket: str) -> None:
    """A deleted object is absent; it leaves a delete marker, where there are versions."""
    key = _key("deleted")
    stored = await storage.put(bucket, key, b"x")
    await storage.delete(bucket, key)
    _require(await storage.get(bucket, key) is ABSENT, "get: ABSENT if its newest version is a delete marker")
    await storage.delete(bucket, key)
    listed = await _all_versions(storage, bucket, key)
    if await _has_versions(storage, bucket):
        _require(listed != [], "delete: without version, the old versions stay")
        marker = listed[0]
        _require(marker.deleted and marker.etag is None, "delete: leaves a delete marker, listed first, without ETag")
        _require(listed[-1].version == stored.version, "delete: without version, the old versions stay")
        _require(await storage.get(bucket, key, version=marker.version) is ABSENT, "get: a delete marker is ABSENT")
    else:
        _require(listed == [], "delete: nothing stays where there are no versions")
    await storage.put(bucket, key, b"y")
    _require((await _read(storage, bucket, key)).body == b"y", "put: a deleted object can be written again")


async def deleted_version(storage: Storage, bucket: str) -> None:
    """A version is deleted for good, and nothing else is."""
    await _needs_versions(storage, bucket)
    key = _key("deleted version")
    stored = [(await storage.put(bucket, key, b"%d" % number)).version for number in range(3)]
    for _ in range(2):
        await storage.delete(bucket, key, version=stored[1])
    _require(await storage.get(bucket, key, version=stored[1]) is ABSENT, "delete: one version for good")
    listed = [one.version for one in await _all_versions(storage, bucket, key)]
    _require(listed == [stored[2], stored[0]], "delete: only the version that was named, and no marker")
    await storage.delete(bucket, key, version=stored[2])
    _require((await _read(storage, bucket, key)).body == b"0", "delete: without the newest version, the next is it")
    await storage.delete(bucket, key)
    listed_with_marker = await _all_versions(storage, bucket, key)
    _require(len(listed_with_marker) == 2, "delete: without version, leaves a delete marker")
    await storage.delete(bucket, key, version=listed_with_marker[0].version)
    _require((await _read(storage, bucket, key)).body == b"0", "delete: without its marker, an object is back")


async def without_versions(storage: Storage, bucket: str) -> None:
    """Without versions there is one, called null."""
    if await _has_versions(storage, bucket):
        raise Skipped("the bucket has versions")
    key = _key("without versions")
    await storage.put(bucket, key, b"one")
    stored = await storage.put(bucket, key, b"two!")
    _require(stored.version is None, "Stored.version is None in a bucket without versions")
    _require((await _read(storage, bucket, key)).version is None, "Object.version is None in a bucket without versions")
    listed = await _all_versions(storage, bucket, key)
    _require(
        [(one.version, one.size, one.deleted) for one in listed] == [("null", 4, False)],
        "versions: without versions, the current object is listed as version null",
    )


async def awkward_keys(storage: Storage, bucket: str) -> None:
    """Keys are taken literally."""
    own = _key("awkward")
    keys = [*AWKWARD, *(f"{own}/{key}" for key in AWKWARD), f"{own}/".ljust(1024, "k"), f"{own}/{'é' * 400}"]
    await _taken_literally(storage, bucket, own, keys)


async def control_characters(storage: Storage, bucket: str) -> None:
    """Keys are taken literally, with control characters too."""
    own = _key("control")
    await _taken_literally(storage, bucket, own, [*CONTROL, *(f"{own}/{key}" for key in CONTROL)])


async def _taken_literally(storage: Storage, bucket: str, own: str, keys: list[str]) -> None:
    bodies = {key: secrets.token_bytes(8) for key in keys}
    for key, body in bodies.items():
        await storage.put(bucket, key, body)
    for key, body in bodies.items():
        _require((await _read(storage, bucket, key)).body == body, f"get: the key, literally; {key!r} got mixed up")
        _require(await _all_versions(storage, bucket, key) != [], f"versions: the key, literally; {key!r} has none")
    listed = {entry.key for entry in await _entries(storage, bucket, f"{own}/")}
    expected = {key for key in keys if key.startswith(f"{own}/")}
    _require(listed == expected, f"list: keys, literally; these differ: {sorted(listed ^ expected)}")
    for key in keys:
        await storage.delete(bucket, key)
        _require(await storage.get(bucket, key) is ABSENT, f"delete: the key, literally; {key!r} is still there")


async def listing(storage: Storage, bucket: str) -> None:
    """Current objects are listed by prefix."""
    own = _key("listing")
    sizes = {f"{own}/a/{number}": number for number in range(3)} | {f"{own}/b": 3, f"{own}/a%": 4, f"{own}/a_": 5}
    for key, size in sizes.items():
        await storage.put(bucket, key, b"x" * size)
    await storage.put(bucket, f"{own}/a/gone", b"x")
    await storage.delete(bucket, f"{own}/a/gone")
    for prefix in (f"{own}/", f"{own}/a", f"{own}/a/", f"{own}/a%", f"{own}/a_", f"{own}/c"):
        entries = await _entries(storage, bucket, prefix)
        expected = {key: size for key, size in sizes.items() if key.startswith(prefix)}
        _require(len(entries) == len({entry.key for entry in entries}), "list: each object once")
        _require(
            {entry.key: entry.size for entry in entries} == expected,
            "list: current objects whose keys start with prefix, with their sizes",
        )
        _require(all(entry.modified > 0 for entry in entries), "Entry.modified is in seconds since 1970")


async def described(storage: Storage, bucket: str) -> None:
    """An object says what was said of it when it was put."""
    key = _key("described")
    metadata = {"mps3-manifests": "bucket/a%2Cb,bucket/c", "mps3-place": "0" * 64}
    stored = await storage.put(bucket, key, b"described", metadata=metadata)
    await storage.put(bucket, _key("described"), b"of itself")
    for version in (None, stored.version):
        found = await storage.head(bucket, key, version=version)
        _require(isinstance(found, Head), f"head: finds what was put; got {found!r}")
        if isinstance(found, Head):
            known = {name: found.metadata.get(name) for name in metadata}
            _require(known == metadata, f"head: tells the metadata given to put; got {found.metadata!r}")
            _require(found.size == len(b"described"), f"Head.size is in bytes; got {found.size}")
    await storage.put(bucket, key, b"again")
    found = await storage.head(bucket, key)
    _require(isinstance(found, Head) and not found.metadata.get("mps3-place"), "a put replaces the metadata, too")
    if stored.version is not None:
        found = await storage.head(bucket, key, version=stored.version)
        _require(isinstance(found, Head) and "mps3-place" in found.metadata, "head: each version has its own metadata")
        await storage.delete(bucket, key, version=stored.version)
        gone = await storage.head(bucket, key, version=stored.version)
        _require(gone is ABSENT, f"head: returns ABSENT for a version that is deleted; got {gone!r}")
    gone = await storage.head(bucket, _key("described"))
    _require(gone is ABSENT, f"head: returns ABSENT when there is no such object; got {gone!r}")


async def scanned(storage: Storage, bucket: str) -> None:
    """All versions of many objects can be listed, and deleted on the way."""
    await _needs_versions(storage, bucket)
    prefix = _key("scanned")
    put = []
    for number in range(MANY):
        key = f"{prefix}/{number // 3:02}"
        put.append((key, (await storage.put(bucket, key, b"x" * number)).version, number))
    await storage.delete(bucket, f"{prefix}/00")
    found: list[Found] = []
    start: str | None = None
    for _ in range(MOST_PAGES):
        page = await storage.scan(bucket, prefix, start=start)
        found += page.found
        start = page.next
        if start is None:
            break
    listed = sorted((one.key, one.version, one.size) for one in found if not one.deleted)
    _require(
        listed == sorted((key, str(version), size) for key, version, size in put),
        f"scan: lists each version of each object once; got {listed!r} after putting {put!r}",
    )
    markers = [one.key for one in found if one.deleted]
    _require(markers == [f"{prefix}/00"], f"scan: lists delete markers as such; got {markers!r}")


async def told_the_time(storage: Storage, bucket: str) -> None:
    """The store tells its time, by which it stamps versions."""
    await _needs_versions(storage, bucket)
    key = _key("told the time")
    stored = await storage.put(bucket, key, b"x")
    page = await storage.versions(bucket, key)
    _require(
        stored.modified is not None and page.answered is not None,
        "Stored.modified and VersionPage.answered say when the store answered; writers that slept are noticed by that",
    )
    for told in (stored.modified, page.answered):
        _require(
            told is not None and abs(told - page.versions[0].modified) < 5,
            f"Stored.modified and VersionPage.answered are of the clock that stamps the versions; got {told} "
            f"where the version is of {page.versions[0].modified}",
        )
    if isinstance(storage, TellsTime):
        now = storage.clock()
        _require(
            now is not None and abs(now - page.versions[0].modified) < 5,
            f"clock: is of the clock that stamps the versions; got {now} just after one of {page.versions[0].modified}",
        )


async def concurrent_puts(storage: Storage, bucket: str) -> None:
    """No put is lost to another one."""
    key = _key("concurrent")
    bodies = [b"%d" % number for number in range(MANY)]
    stored = await asyncio.gather(*(storage.put(bucket, key, body) for body in bodies))
    _require((await _read(storage, bucket, key)).body in bodies, "put: an object, whole")
    if await _has_versions(storage, bucket):
        listed = [one.version for one in await _all_versions(storage, bucket, key)]
        _require(
            len(listed) == MANY and set(listed) == {one.version for one in stored},
            "versions: lists each version that a put has returned, once",
        )
        found = await asyncio.gather(*(_read(storage, bucket, key, version=one.version) for one in stored))
        _require([one.body for one in found] == bodies, "Stored.version is the version of this put, not of another")


async def whole_puts(storage: Storage, bucket: str) -> None:
    """Readers see an object whole."""
    key = _key("whole")
    await storage.put(bucket, key, b"0" * 200_000)

    async def write(letter: bytes) -> None:
        for _ in range(3):
            await storage.put(bucket, key, letter * 200_000)

    async def read() -> None:
        for _ in range(6):
            found = await _read(storage, bucket, key)
            _require(
                len(found.body) == 200_000 and len(set(found.body)) == 1,
                "put: write an object, whole or not at all",
            )

    await asyncio.gather(write(b"1"), write(b"2"), read(), read())


async def cancelled_puts(storage: Storage, bucket: str) -> None:
    """A call may be cancelled at any time."""
    key, body = _key("cancelled"), b"x" * 10_000
    for number in range(ROUNDS):
        writing = asyncio.ensure_future(storage.put(bucket, key, body))
        for _ in range(number):
            await asyncio.sleep(0)
        writing.cancel()
        await asyncio.wait([writing])
        found = await storage.get(bucket, key)
        _require(found is ABSENT or (isinstance(found, Object) and found.body == body), "put: whole or not at all")
    await storage.put(bucket, _key("after"), body)


async def conditional_create(storage: Storage, bucket: str) -> None:
    """Of those who create an object, one does."""
    await _needs_condition(storage, bucket, "conditional_create")
    key = _key("create")
    stored = await storage.put(bucket, key, b"one", if_none_match=True)
    sentence = "put: ConflictError if there is such an object and if_none_match is given"
    await _raises(ConflictError, storage.put(bucket, key, b"two", if_none_match=True), sentence, bucket, key)
    found = await _read(storage, bucket, key)
    _require((found.body, found.version) == (b"one", stored.version), "put: on ConflictError nothing was written")
    await storage.delete(bucket, key)
    await storage.put(bucket, key, b"three", if_none_match=True)
    race = _key("create")
    await _one_wins([storage.put(bucket, race, b"%d" % one, if_none_match=True) for one in range(MANY)])


async def conditional_replace(storage: Storage, bucket: str) -> None:
    """Of those who replace an object as they saw it, one does."""
    await _needs_condition(storage, bucket, "conditional_replace")
    key = _key("replace")
    sentence = "put: ConflictError if there is no object with the ETag if_match"
    await _raises(ConflictError, storage.put(bucket, key, b"x", if_match='"0"'), sentence, bucket, key)
    await storage.put(bucket, key, b"one")
    first = (await _read(storage, bucket, key)).etag
    await storage.put(bucket, key, b"two", if_match=first)
    await _raises(ConflictError, storage.put(bucket, key, b"three", if_match=first), sentence, bucket, key)
    found = await _read(storage, bucket, key)
    _require(found.body == b"two", "put: on ConflictError nothing was written")
    await _one_wins([storage.put(bucket, key, b"3%d" % one, if_match=found.etag) for one in range(MANY)])
    last = (await _read(storage, bucket, key)).etag
    await storage.delete(bucket, key)
    await _raises(ConflictError, storage.put(bucket, key, b"four", if_match=last), sentence, bucket, key)


async def missing_bucket(storage: Storage, bucket: str) -> None:  # noqa: ARG001 - as all checks
    """A bucket that does not exist is said to be missing."""
    missing = f"mps3-missing-{secrets.token_hex(8)}"
    try:
        await storage.capabilities(missing)
    except ConfigurationError:
        pass
    else:
        raise Skipped("buckets need not be created")
    calls: tuple[tuple[Callable[[], Awaitable[object]], str], ...] = (
        (lambda: storage.get(missing, "key"), "get"),
        (lambda: storage.put(missing, "key", b""), "put"),
        (lambda: storage.versions(missing, "key"), "versions"),
        (lambda: storage.list(missing), "list"),
    )
    for call, name in calls:
        await _raises(
            ConfigurationError, call(), f"{name}: ConfigurationError for a bucket that does not exist", missing
        )


AWKWARD: Final = (
    *("..", ".", "../x", "a/../b", "/", "//", "/a", "a/", "a//b", "./a", "a/."),
    *(" ", " a ", "a b", "a+b", "a%2Fb", "a%2fb", "%", "%00", "a?b", "a#b", "a&b=c", "a\\b", "a:b", "a;b", "a@b"),
    *("'", '"', "<a>", "&amp;", "*", "~", "$a", "{a}", "[a]", "a|b", "a,b"),
    *("\u2028", "\ufeff", "é", "e\u0301", "E", "e", "日本語", "🦊", "👩‍👩‍👧", "\U0010ffff", "ﬁ", "null", "versions"),
)
"""Keys that stores have been seen to mangle."""
CONTROL: Final = ("\x01", "a\nb", "a\rb", "a\tb", "\x1f", "\x7f", "\x80")
"""Keys that XML cannot or does not always carry."""

CHECKS: Final[tuple[Check, ...]] = (
    round_trip,
    empty_body,
    large_body,
    absent,
    overwritten,
    unchanged,
    limited,
    checksum,
    newest_first,
    paged_versions,
    exact_key,
    old_versions,
    deleted,
    deleted_version,
    without_versions,
    awkward_keys,
    control_characters,
    listing,
    described,
    scanned,
    told_the_time,
    concurrent_puts,
    whole_puts,
    cancelled_puts,
    conditional_create,
    conditional_replace,
    missing_bucket,
    shared,  # the last one: if it fails, the storage is closed
)
"""Each takes an open storage and a bucket, raises `AssertionError` with the sentence of the
documentation that does not hold, or `Skipped` if it does not apply."""


# What they share ------------------------------------------------------------------------------------------------------


def _require(holds: bool, sentence: str) -> None:  # noqa: FBT001 - reads as assert does
    if not holds:
        raise AssertionError(f"Does not hold: {sentence}")


def _key(what: str) -> str:
    return f"mps3 conformance/{what}/{secrets.token_hex(8)}"


async def _read(
    storage: Storage, bucket: str, key: str, *, version: str | None = None, limit: int | None = None
) -> Object:
    found = await storage.get(bucket, key, version=version, limit=limit)
    if not isinstance(found, Object):
        raise AssertionError(f"Does not hold: get: read an object; {key!r} is {found.value} (version {version})")  # noqa: TRY004
    return found


async def _all_versions(
    storage: Storage, bucket: str, key: str, *, start: str | None = None, limit: int | None = None
) -> list[Version]:
    versions: list[Version] = []
    for _ in range(MOST_PAGES):
        page = await storage.versions(bucket, key, start=start, limit=limit)
        versions += page.versions
        start = page.next
        if start is None:
            return versions
    raise AssertionError("Does not hold: VersionPage.next is None when this is the last one")


async def _entries(storage: Storage, bucket: str, prefix: str) -> list[Entry]:
    entries: list[Entry] = []
    start: str | None = None
    for _ in range(MOST_PAGES):
        page = await storage.list(bucket, prefix, start=start)
        entries += page.entries
        start = page.next
        if start is None:
            return entries
    raise AssertionError("Does not hold: Page.next is None when this is the last one")


async def _raises(
    kind: type[MPS3Error], call: Awaitable[object], sentence: str, bucket: str, key: str | None = None
) -> None:
    try:
        result = await call
    except kind as error:
        _require(error.bucket == bucket, f"errors have the bucket in them ({error!r})")
        _require(key is None or error.key == key, f"errors have the key in them ({error!r})")
        _require(error.operation is not None, f"errors have the operation in them ({error!r})")
    except Exception as error:
        raise AssertionError(f"Does not hold: {sentence}; it was {error!r}") from error
    else:
        raise AssertionError(f"Does not hold: {sentence}; it was {result!r}")


async def _one_wins(puts: list[Awaitable[Stored]]) -> None:
    answers = await asyncio.gather(*puts, return_exceptions=True)
    won = [answer for answer in answers if isinstance(answer, Stored)]
    others = [answer for answer in answers if not isinstance(answer, Stored | ConflictError | UnavailableError)]
    _require(others == [], f"put: ConflictError if the condition did not hold, not {others!r}")
    # Some stores give up on a race with an error of their own, which leaves open who has won.
    doubtful = any(isinstance(answer, UnavailableError) for answer in answers)
    _require(
        len(won) == 1 or (won == [] and doubtful),
        f"put: one of many with the same condition succeeds, not {len(won)}",
    )


async def _has_versions(storage: Storage, bucket: str) -> bool:
    versioning = (await storage.capabilities(bucket)).versioning
    if versioning == "suspended":
        raise Skipped("versioning is suspended")
    return versioning == "enabled"


async def _needs_versions(storage: Storage, bucket: str) -> None:
    if not await _has_versions(storage, bucket):
        raise Skipped("the bucket has no versions")


async def _needs_condition(
    storage: Storage, bucket: str, name: Literal["conditional_create", "conditional_replace"]
) -> None:
    """Skip what the store does not enforce, unless it claims to."""
    claim = getattr(await storage.capabilities(bucket), name, None)
    reason = await _why_not_enforced(storage, bucket, name)
    if reason is not None:
        _require(not claim, f"Capabilities.{name} is claimed, but {reason}")
        raise Skipped(reason)


async def _why_not_enforced(storage: Storage, bucket: str, name: str) -> str | None:
    key = _key("condition")
    await storage.put(bucket, key, b"one")
    try:
        if name == "conditional_create":
            await storage.put(bucket, key, b"two", if_none_match=True)
        else:
            await storage.put(bucket, key, b"two", if_match='"0"')
    except ConflictError:
        pass
    except ConfigurationError as error:
        return str(error)
    else:
        return "the store ignores the condition"
    try:
        if name == "conditional_create":
            await storage.put(bucket, _key("condition"), b"one", if_none_match=True)
        else:
            await storage.put(bucket, key, b"two", if_match=(await _read(storage, bucket, key)).etag)
    except ConflictError:
        return "the store refuses the condition even if it holds"
    return None
