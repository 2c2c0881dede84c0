"""Objects: what was put can be read, under any key."""

from __future__ import annotations

import contextlib
import hashlib
import secrets
from typing import TYPE_CHECKING, Final

from ...errors import ConfigurationError, CorruptionError, MPS3Error
from ...storage.protocol import ABSENT, UNCHANGED, Object, Storage
from .helpers import ROUNDS, Skipped, all_entries, key_for, raises, read, require, versions_if_listed

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

AWKWARD: Final = (
    *("..", ".", "../x", "a/../b", "/", "//", "/a", "a/", "a//b", "./a", "a/."),
    *(" ", " a ", "a b", "a+b", "a%2Fb", "a%2fb", "%", "%00", "a?b", "a#b", "a&b=c", "a\\b", "a:b", "a;b", "a@b"),
    *("'", '"', "<a>", "&amp;", "*", "~", "$a", "{a}", "[a]", "a|b", "a,b"),
    *("\u2028", "\ufeff", "é", "e\u0301", "E", "e", "日本語", "🦊", "👩‍👩‍👧", "\U0010ffff", "ﬁ", "null", "versions"),
)
"""Keys that some stores change."""
CONTROL: Final = ("\x01", "a\nb", "a\rb", "a\tb", "\x1f", "\x7f", "\x80")
"""Keys that XML cannot represent, or not always."""


async def round_trip(storage: Storage, bucket: str) -> None:
    """What was put is read, byte for byte."""
    for body in (b"hello", bytes(range(256)), b"\r\n\r\n0\r\n\r\n", b"\x1f\x8b not gzip"):
        key = key_for("round trip")
        stored = await storage.put(bucket, key, body, sha256=hashlib.sha256(body).digest())
        found = await read(storage, bucket, key)
        require(found.body == body, f"get: read an object; got {found.body!r} after putting {body!r}")
        require(found.version == stored.version, "Object.version is the version that put returned, if it is the newest")


async def shared(storage: Storage, bucket: str) -> None:
    """Several clients can use one storage."""
    key = key_for("shared")
    await storage.open()
    await storage.put(bucket, key, b"x")
    await storage.aclose()
    try:
        found: object = await storage.get(bucket, key)
    except MPS3Error as error:
        found = repr(error)
    require(isinstance(found, Object), f"aclose: releases everything only when the last client does; {found!r}")


async def empty_body(storage: Storage, bucket: str) -> None:
    """An object may be empty."""
    key = key_for("empty")
    await storage.put(bucket, key, b"", sha256=hashlib.sha256(b"").digest())
    found = await read(storage, bucket, key, limit=0)
    require(found.body == b"", "an object may be empty")


async def large_body(storage: Storage, bucket: str) -> None:
    """An object may be large."""
    key, body = key_for("large"), secrets.token_bytes(1 << 20)
    await storage.put(bucket, key, body, sha256=hashlib.sha256(body).digest())
    require((await read(storage, bucket, key)).body == body, "an object may have 1 MiB")


async def absent(storage: Storage, bucket: str) -> None:
    """An object that does not exist is ABSENT, not an error."""
    key = key_for("absent")
    require(await storage.get(bucket, key) is ABSENT, "get: ABSENT if there is no such object")
    require(await storage.get(bucket, key, if_none_match='"0"') is ABSENT, "get: ABSENT whatever if_none_match says")
    require(not await versions_if_listed(storage, bucket, key), "versions: an object that never was has none")
    await storage.delete(bucket, key)
    require(await storage.get(bucket, key) is ABSENT, "delete: what does not exist is deleted already")


async def overwritten(storage: Storage, bucket: str) -> None:
    """The newest put wins, and is visible at once."""
    key = key_for("overwritten")
    for number in range(ROUNDS):
        body = b"%d" % number
        await storage.put(bucket, key, body)
        require((await read(storage, bucket, key)).body == body, "get: the newest if version is None")


async def unchanged(storage: Storage, bucket: str) -> None:
    """An ETag tells whether an object has changed."""
    key = key_for("unchanged")
    stored = await storage.put(bucket, key, b"one")
    found = await read(storage, bucket, key)
    if found.etag is None:
        raise Skipped("the store sends no ETag")
    require(stored.etag in {None, found.etag}, "Stored.etag is the ETag as get gives it, if there is one")
    again = await storage.get(bucket, key, if_none_match=found.etag)
    require(again is UNCHANGED, "get: UNCHANGED if the object still has the ETag if_none_match")
    await storage.put(bucket, key, b"two")
    changed = await storage.get(bucket, key, if_none_match=found.etag)
    require(isinstance(changed, Object) and changed.body == b"two", "get: the object if it has another ETag")
    await storage.delete(bucket, key)
    require(await storage.get(bucket, key, if_none_match=found.etag) is ABSENT, "get: ABSENT once it is deleted")


async def limited(storage: Storage, bucket: str) -> None:
    """A reader can refuse large objects."""
    key = key_for("limited")
    await storage.put(bucket, key, b"12345")
    require((await read(storage, bucket, key, limit=5)).body == b"12345", "get: limit many bytes are not too many")
    await raises(
        CorruptionError,
        storage.get(bucket, key, limit=4),
        "get: CorruptionError if it is larger than limit",
        bucket,
        key,
    )


async def checksum(storage: Storage, bucket: str) -> None:
    """A body with another digest is refused, if the store verifies digests."""
    key = key_for("checksum")
    try:
        await storage.put(bucket, key, b"body", sha256=hashlib.sha256(b"another").digest())
    except MPS3Error:
        require(await storage.get(bucket, key) is ABSENT, "put: what is refused for its digest is not written")
    else:
        raise Skipped("the store does not verify digests")


async def awkward_keys(storage: Storage, bucket: str) -> None:
    """Keys are taken literally."""
    own = key_for("awkward")
    keys = [*AWKWARD, *(f"{own}/{key}" for key in AWKWARD), f"{own}/".ljust(1024, "k"), f"{own}/{'é' * 400}"]
    await _taken_literally(storage, bucket, own, keys)


async def control_characters(storage: Storage, bucket: str) -> None:
    """Keys are taken literally, with control characters too."""
    own = key_for("control")
    await _taken_literally(storage, bucket, own, [*CONTROL, *(f"{own}/{key}" for key in CONTROL)])


async def _taken_literally(storage: Storage, bucket: str, own: str, keys: list[str]) -> None:
    try:
        await _check_literally(storage, bucket, own, keys)
    finally:
        for key in keys:  # some stores cannot list a bucket with such a key
            with contextlib.suppress(MPS3Error):
                await storage.delete(bucket, key)


async def _check_literally(storage: Storage, bucket: str, own: str, keys: list[str]) -> None:
    bodies = {key: secrets.token_bytes(8) for key in keys}
    for key, body in bodies.items():
        await storage.put(bucket, key, body)
    for key, body in bodies.items():
        require((await read(storage, bucket, key)).body == body, f"get: the key, literally; {key!r} got mixed up")
        require(await versions_if_listed(storage, bucket, key) != [], f"versions: the key, literally; {key!r} has none")
    listed = {entry.key for entry in await all_entries(storage, bucket, f"{own}/")}
    expected = {key for key in keys if key.startswith(f"{own}/")}
    require(listed == expected, f"list: keys, literally; these differ: {sorted(listed ^ expected)}")
    for key in keys:
        await storage.delete(bucket, key)
        require(await storage.get(bucket, key) is ABSENT, f"delete: the key, literally; {key!r} is still there")


async def missing_bucket(storage: Storage, bucket: str) -> None:  # noqa: ARG001 - as all checks
    """A bucket that does not exist is a ConfigurationError."""
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
        await raises(
            ConfigurationError, call(), f"{name}: ConfigurationError for a bucket that does not exist", missing
        )
