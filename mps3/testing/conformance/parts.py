"""Parts of objects: a byte range returns what the object has there."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Final

from ...errors import CorruptionError
from ...storage.protocol import ABSENT, UNCHANGED, Object
from .helpers import Skipped, key_for, needs_versions, raises, read, require

if TYPE_CHECKING:
    from ...storage.protocol import Storage

BODY: Final = bytes(range(100, 110))
RANGES: Final = {
    "at the beginning": (0, 3),
    "in the middle": (3, 7),
    "at the end": (7, 10),
    "of one byte": (4, 5),
    "of the first byte": (0, 1),
    "of the last byte": (9, 10),
    "that is the whole object": (0, 10),
    "that ends one byte behind it": (7, 11),
    "that ends far behind it": (3, 10**12),
    "that begins at its end": (10, 12),
    "that begins behind it": (11, 12),
    "that begins far behind it": (10**12, 10**12 + 1),
}
"""What a range of ten bytes is called."""


async def parts(storage: Storage, bucket: str) -> None:
    """A byte range reads the part of an object that is there."""
    key = key_for("parts")
    stored = await storage.put(bucket, key, BODY)
    whole = await read(storage, bucket, key)
    require(not whole.partial, "Object.partial is false if the whole object was read")
    for name, (start, end) in RANGES.items():
        found = await _part(storage, bucket, key, start, end)
        expected = BODY[start:end]
        require(found.body == expected, f"get: the part {name}; got {found.body!r}, not {expected!r}")
        require(found.version == stored.version, f"Object.version is that of the whole object; not for the part {name}")
        require(found.etag == whole.etag, f"Object.etag is that of the whole object; not for the part {name}")


async def parts_of_nothing(storage: Storage, bucket: str) -> None:
    """A part of an empty object is empty, and a part of an absent one is ABSENT."""
    key = key_for("parts of nothing")
    for start, end in ((0, 1), (0, 100), (5, 6)):
        absent = await storage.get(bucket, key, byte_range=(start, end))
        require(absent is ABSENT, "get: ABSENT if there is no such object, whatever byte_range says")
    await storage.put(bucket, key, b"")
    for start, end in ((0, 1), (0, 100), (5, 6)):
        found = await _part(storage, bucket, key, start, end)
        require(found.body == b"", "get: an empty body where the object is not longer than the start of the range")
    await storage.delete(bucket, key)
    for start, end in ((0, 1), (5, 6)):
        deleted = await storage.get(bucket, key, byte_range=(start, end))
        require(deleted is ABSENT, "get: ABSENT once it is deleted, whatever byte_range says")


async def parts_of_versions(storage: Storage, bucket: str) -> None:
    """A byte range reads a part of an old version, too."""
    await needs_versions(storage, bucket)
    key = key_for("parts of versions")
    first = await storage.put(bucket, key, b"first one")
    await storage.put(bucket, key, b"second")
    for (start, end), expected in {(0, 5): b"first", (6, 9): b"one", (6, 99): b"one", (9, 12): b""}.items():
        found = await _part(storage, bucket, key, start, end, version=first.version)
        require(found.body == expected, f"get: a part of an old version; got {found.body!r}, not {expected!r}")
        require(found.version == first.version, "Object.version is the version of the part")
    newest = await _part(storage, bucket, key, 0, 99)
    require(newest.body == b"second", "get: a part of the newest version if version is None")


async def parts_unchanged(storage: Storage, bucket: str) -> None:
    """An ETag tells whether the object of a part has changed."""
    key = key_for("parts unchanged")
    await storage.put(bucket, key, BODY)
    etag = (await read(storage, bucket, key)).etag
    if etag is None:
        raise Skipped("the store sends no ETag")
    again = await storage.get(bucket, key, if_none_match=etag, byte_range=(2, 5))
    require(again is UNCHANGED, "get: UNCHANGED if the object of a part still has the ETag if_none_match")
    await storage.put(bucket, key, BODY[::-1])
    changed = await storage.get(bucket, key, if_none_match=etag, byte_range=(2, 5))
    require(
        isinstance(changed, Object) and changed.body == BODY[::-1][2:5],
        "get: the part if the object has another ETag",
    )


async def parts_limited(storage: Storage, bucket: str) -> None:
    """The limit is one of the part, not of the object."""
    key = key_for("parts limited")
    await storage.put(bucket, key, BODY)
    found = await _part(storage, bucket, key, 2, 5, limit=3)
    require(found.body == BODY[2:5], "get: limit many bytes of a part are not too many, however large the object is")
    found = await _part(storage, bucket, key, 8, 99, limit=2)
    require(found.body == BODY[8:], "get: only the bytes that are returned count for the limit")
    await raises(
        CorruptionError,
        storage.get(bucket, key, byte_range=(2, 5), limit=2),
        "get: CorruptionError if the part is larger than limit",
        bucket,
        key,
    )


async def parts_of_large(storage: Storage, bucket: str) -> None:
    """A byte range reads a part of a large object."""
    key, body = key_for("parts of large"), secrets.token_bytes(1 << 20)
    await storage.put(bucket, key, body)
    size = len(body)
    for start, end in ((0, 1 << 15), (1 << 19, (1 << 19) + 33_333), (123_457, 987_654), (size - 7, size + 7)):
        found = await _part(storage, bucket, key, start, end)
        require(found.body == body[start:end], f"get: bytes {start} to {end} of an object with {size} bytes")


async def _part(
    storage: Storage,
    bucket: str,
    key: str,
    start: int,
    end: int,
    *,
    version: str | None = None,
    limit: int | None = None,
) -> Object:
    found = await storage.get(bucket, key, version=version, limit=limit, byte_range=(start, end))
    if not isinstance(found, Object):
        raise AssertionError(f"Does not hold: get: read a part; {key!r} is {found.value} (version {version})")  # noqa: TRY004
    require(found.partial, "Object.partial is true if a byte_range was read")
    return found
