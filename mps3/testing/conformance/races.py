"""Concurrent puts, with conditions and without: one wins, and objects are written as a whole."""

from __future__ import annotations

import asyncio

from ...errors import ConflictError
from ...storage.protocol import ABSENT, Object, Storage
from .helpers import (
    MANY,
    ROUNDS,
    all_versions,
    has_versions,
    key_for,
    needs_conditional_create,
    one_wins,
    raises,
    read,
    require,
)


async def concurrent_puts(storage: Storage, bucket: str) -> None:
    """No put is lost to another one."""
    key = key_for("concurrent")
    bodies = [b"%d" % number for number in range(MANY)]
    stored = await asyncio.gather(*(storage.put(bucket, key, body) for body in bodies))
    require((await read(storage, bucket, key)).body in bodies, "put: an object, whole")
    if await has_versions(storage, bucket):
        listed = [one.version for one in await all_versions(storage, bucket, key)]
        require(
            len(listed) == MANY and set(listed) == {one.version for one in stored},
            "versions: lists each version that a put has returned, once",
        )
        found = await asyncio.gather(*(read(storage, bucket, key, version=one.version) for one in stored))
        require([one.body for one in found] == bodies, "Stored.version is the version of this put, not of another")


async def whole_puts(storage: Storage, bucket: str) -> None:
    """Readers see an object as a whole."""
    key = key_for("whole")
    await storage.put(bucket, key, b"0" * 200_000)

    async def write(letter: bytes) -> None:
        for _ in range(3):
            await storage.put(bucket, key, letter * 200_000)

    async def look() -> None:
        for _ in range(6):
            found = await read(storage, bucket, key)
            require(
                len(found.body) == 200_000 and len(set(found.body)) == 1,
                "put: write an object, whole or not at all",
            )

    await asyncio.gather(write(b"1"), write(b"2"), look(), look())


async def cancelled_puts(storage: Storage, bucket: str) -> None:
    """A call may be cancelled at any time."""
    key, body = key_for("cancelled"), b"x" * 10_000
    for number in range(ROUNDS):
        writing = asyncio.ensure_future(storage.put(bucket, key, body))
        for _ in range(number):
            await asyncio.sleep(0)
        writing.cancel()
        await asyncio.wait([writing])
        found = await storage.get(bucket, key)
        require(found is ABSENT or (isinstance(found, Object) and found.body == body), "put: whole or not at all")
    await storage.put(bucket, key_for("after"), body)


async def conditional_create(storage: Storage, bucket: str) -> None:
    """One of several clients that create an object succeeds."""
    await needs_conditional_create(storage, bucket)
    key = key_for("create")
    stored = await storage.put(bucket, key, b"one", if_none_match=True)
    sentence = "put: ConflictError if there is such an object and if_none_match is given"
    await raises(ConflictError, storage.put(bucket, key, b"two", if_none_match=True), sentence, bucket, key)
    found = await read(storage, bucket, key)
    require((found.body, found.version) == (b"one", stored.version), "put: on ConflictError nothing was written")
    await storage.delete(bucket, key)
    await storage.put(bucket, key, b"three", if_none_match=True)
    race = key_for("create")
    await one_wins([storage.put(bucket, race, b"%d" % one, if_none_match=True) for one in range(MANY)])
