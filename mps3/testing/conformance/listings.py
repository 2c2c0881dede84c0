"""Versions and listings: complete, in order, page by page."""

from __future__ import annotations

from ...storage.protocol import ABSENT, Head, Storage, TellsTime
from .helpers import (
    MANY,
    ROUNDS,
    Skipped,
    all_entries,
    all_pages,
    all_versions,
    has_versions,
    key_for,
    needs_versions,
    read,
    require,
    versions_if_listed,
)


async def newest_first(storage: Storage, bucket: str) -> None:
    """Versions are listed newest first, with their sizes, times and ETags."""
    await needs_versions(storage, bucket)
    key = key_for("newest first")
    stored = [await storage.put(bucket, key, b"x" * number) for number in range(ROUNDS)]
    require(
        len({one.version for one in stored} - {None}) == ROUNDS,
        "Stored.version is the new version, where there are versions",
    )
    listed = await all_versions(storage, bucket, key)
    require(
        [one.version for one in listed] == [one.version for one in reversed(stored)],
        "versions: newest first, in the store's own order",
    )
    require([one.size for one in listed] == [*reversed(range(ROUNDS))], "Version.size is in bytes")
    require(not any(one.deleted for one in listed), "Version.deleted is only for delete markers")
    require(all(one.modified > 0 for one in listed), "Version.modified is in seconds since 1970")
    for one in listed:
        found = await read(storage, bucket, key, version=one.version)
        require(found.etag in {None, one.etag}, "Version.etag is the ETag as get gives it")
        require(
            found.modified is None or abs(found.modified - one.modified) <= 1,
            "Object.modified is the time stamp as versions lists it, to the second",
        )


async def paged_versions(storage: Storage, bucket: str) -> None:
    """Versions can be listed a few at a time, while new ones are written."""
    await needs_versions(storage, bucket)
    key = key_for("paged")
    stored = [(await storage.put(bucket, key, b"%d" % number)).version for number in range(7)]
    first = await storage.versions(bucket, key, limit=2)
    require(first.next is not None, "versions: limit bounds a page, and next says that more follow")
    require(len(first.versions) < len(stored), "versions: at most about limit")
    await storage.put(bucket, key, b"later")
    rest = await all_versions(storage, bucket, key, start=first.next, limit=2)
    require(
        [one.version for one in (*first.versions, *rest)] == stored[::-1],
        "versions: the pages together list each version once, whatever is written meanwhile",
    )


async def exact_key(storage: Storage, bucket: str) -> None:
    """The versions of a key are not those of keys that start with it."""
    key = key_for("exact")
    others = [key + "0", key + "/x", key + " ", key[:-1]]
    for one in (*others[:2], key, *others[2:], key):
        await storage.put(bucket, one, one.encode())
    expected = 2 if await has_versions(storage, bucket) else 1
    for limit in (None, 1):
        listed = await versions_if_listed(storage, bucket, key, limit=limit)
        require(listed is None or len(listed) == expected, "versions: of exactly this key; it is not a prefix")
    require(
        not await versions_if_listed(storage, bucket, key[:-2]), "versions: of exactly this key; it is not a prefix"
    )


async def old_versions(storage: Storage, bucket: str) -> None:
    """Old versions can be read when the object has been replaced or deleted."""
    await needs_versions(storage, bucket)
    key = key_for("old")
    first = await storage.put(bucket, key, b"one")
    second = await storage.put(bucket, key, b"two")
    await storage.delete(bucket, key)
    for stored, body in ((first, b"one"), (second, b"two")):
        found = await read(storage, bucket, key, version=stored.version)
        require(found.body == body, "get: version says which version is read")
        require(found.version == stored.version, "Object.version is the version read")
    other = key_for("old")
    await storage.put(bucket, other, b"other")
    require(
        await storage.get(bucket, other, version=first.version) is ABSENT,
        "get: ABSENT if the object has no such version, though another one has",
    )


async def deleted(storage: Storage, bucket: str) -> None:
    """A deleted object is absent; it leaves a delete marker, where there are versions."""
    key = key_for("deleted")
    stored = await storage.put(bucket, key, b"x")
    await storage.delete(bucket, key)
    require(await storage.get(bucket, key) is ABSENT, "get: ABSENT if its newest version is a delete marker")
    await storage.delete(bucket, key)
    listed = await versions_if_listed(storage, bucket, key)
    if listed is not None and await has_versions(storage, bucket):
        require(listed != [], "delete: without version, the old versions stay")
        marker = listed[0]
        require(marker.deleted and marker.etag is None, "delete: leaves a delete marker, listed first, without ETag")
        require(listed[-1].version == stored.version, "delete: without version, the old versions stay")
        require(await storage.get(bucket, key, version=marker.version) is ABSENT, "get: a delete marker is ABSENT")
    else:
        require(not listed, "delete: nothing stays where there are no versions")
    await storage.put(bucket, key, b"y")
    require((await read(storage, bucket, key)).body == b"y", "put: a deleted object can be written again")


async def deleted_version(storage: Storage, bucket: str) -> None:
    """A version is deleted permanently, and nothing else is."""
    await needs_versions(storage, bucket)
    key = key_for("deleted version")
    stored = [(await storage.put(bucket, key, b"%d" % number)).version for number in range(3)]
    for _ in range(2):
        await storage.delete(bucket, key, version=stored[1])
    require(await storage.get(bucket, key, version=stored[1]) is ABSENT, "delete: one version for good")
    listed = [one.version for one in await all_versions(storage, bucket, key)]
    require(listed == [stored[2], stored[0]], "delete: only the version that was named, and no marker")
    await storage.delete(bucket, key, version=stored[2])
    require((await read(storage, bucket, key)).body == b"0", "delete: without the newest version, the next is it")
    await storage.delete(bucket, key)
    listed_with_marker = await all_versions(storage, bucket, key)
    require(len(listed_with_marker) == 2, "delete: without version, leaves a delete marker")
    await storage.delete(bucket, key, version=listed_with_marker[0].version)
    require((await read(storage, bucket, key)).body == b"0", "delete: without its marker, an object is back")


async def without_versions(storage: Storage, bucket: str) -> None:
    """Without versioning an object has one version, called null."""
    if await has_versions(storage, bucket):
        raise Skipped("the bucket has versions")
    key = key_for("without versions")
    await storage.put(bucket, key, b"one")
    stored = await storage.put(bucket, key, b"two!")
    require(stored.version is None, "Stored.version is None in a bucket without versions")
    require((await read(storage, bucket, key)).version is None, "Object.version is None in a bucket without versions")
    listed = await versions_if_listed(storage, bucket, key)
    require(
        listed is None or [(one.version, one.size, one.deleted) for one in listed] == [("null", 4, False)],
        "versions: without versions, the current object is listed as version null",
    )


async def listing(storage: Storage, bucket: str) -> None:
    """Current objects are listed by prefix."""
    own = key_for("listing")
    sizes = {f"{own}/a/{number}": number for number in range(3)} | {f"{own}/b": 3, f"{own}/a%": 4, f"{own}/a_": 5}
    for key, size in sizes.items():
        await storage.put(bucket, key, b"x" * size)
    await storage.put(bucket, f"{own}/a/gone", b"x")
    await storage.delete(bucket, f"{own}/a/gone")
    prefixes = (f"{own}/", f"{own}/a", f"{own}/a/", f"{own}/a%", f"{own}/a_", f"{own}/c")
    for prefix, limit in [*((prefix, None) for prefix in prefixes), (prefixes[0], 2)]:
        entries = await all_entries(storage, bucket, prefix, limit=limit)
        expected = {key: size for key, size in sizes.items() if key.startswith(prefix)}
        require(len(entries) == len({entry.key for entry in entries}), "list: each object once")
        require(
            {entry.key: entry.size for entry in entries} == expected,
            "list: current objects whose keys start with prefix, with their sizes",
        )
        require(all(entry.modified > 0 for entry in entries), "Entry.modified is in seconds since 1970")


async def described(storage: Storage, bucket: str) -> None:
    """The metadata given to put is returned by head."""
    key = key_for("described")
    metadata = {"mps3manifests": "bucket/a%2Cb,bucket/c", "mps3place": "0" * 64}
    stored = await storage.put(bucket, key, b"described", metadata=metadata)
    await storage.put(bucket, key_for("described"), b"of itself")
    for version in (None, stored.version):
        found = await storage.head(bucket, key, version=version)
        require(isinstance(found, Head), f"head: finds what was put; got {found!r}")
        if isinstance(found, Head):
            known = {name: found.metadata.get(name) for name in metadata}
            require(known == metadata, f"head: tells the metadata given to put; got {found.metadata!r}")
            require(found.size == len(b"described"), f"Head.size is in bytes; got {found.size}")
    await storage.put(bucket, key, b"again")
    found = await storage.head(bucket, key)
    require(isinstance(found, Head) and not found.metadata.get("mps3place"), "a put replaces the metadata, too")
    if stored.version is not None:
        found = await storage.head(bucket, key, version=stored.version)
        require(isinstance(found, Head) and "mps3place" in found.metadata, "head: each version has its own metadata")
        await storage.delete(bucket, key, version=stored.version)
        gone = await storage.head(bucket, key, version=stored.version)
        require(gone is ABSENT, f"head: returns ABSENT for a version that is deleted; got {gone!r}")
    gone = await storage.head(bucket, key_for("described"))
    require(gone is ABSENT, f"head: returns ABSENT when there is no such object; got {gone!r}")


async def scanned(storage: Storage, bucket: str) -> None:
    """All versions of many objects can be listed, with their delete markers."""
    await needs_versions(storage, bucket)
    prefix = key_for("scanned")
    put = []
    for number in range(MANY):
        key = f"{prefix}/{number // 3:02}"
        put.append((key, (await storage.put(bucket, key, b"x" * number)).version, number))
    await storage.delete(bucket, f"{prefix}/00")
    pages = await all_pages(lambda start: storage.scan(bucket, prefix, start=start))
    found = [one for page in pages for one in page.found]
    listed = sorted((one.key, one.version, one.size) for one in found if not one.deleted)
    require(
        listed == sorted((key, str(version), size) for key, version, size in put),
        f"scan: lists each version of each object once; got {listed!r} after putting {put!r}",
    )
    markers = [one.key for one in found if one.deleted]
    require(markers == [f"{prefix}/00"], f"scan: lists delete markers as such; got {markers!r}")


async def store_time(storage: Storage, bucket: str) -> None:
    """The store tells the time of the clock that stamps versions."""
    await needs_versions(storage, bucket)
    key = key_for("told the time")
    stored = await storage.put(bucket, key, b"x")
    page = await storage.versions(bucket, key)
    require(
        stored.modified is not None and page.answered is not None,
        "Stored.modified and VersionPage.answered say when the store answered; writers that slept are noticed by that",
    )
    for time in (stored.modified, page.answered):
        require(
            time is not None and abs(time - page.versions[0].modified) < 5,
            f"Stored.modified and VersionPage.answered are of the clock that stamps the versions; got {time} "
            f"where the version is of {page.versions[0].modified}",
        )
    if isinstance(storage, TellsTime):
        now = storage.clock()
        require(
            now is not None and abs(now - page.versions[0].modified) < 5,
            f"clock: is of the clock that stamps the versions; got {now} just after one of {page.versions[0].modified}",
        )
