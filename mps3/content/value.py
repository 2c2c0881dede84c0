"""The value of a write on its way to the store: into the commit, or into an object of its own."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import math
from typing import Any, Final

import orjson

from ..format.patches import REBASES
from ..format.schema import format_time
from ..types import Ref

MINTED: Final = "mps3-"
"""The prefix of the versions that this library generates, for buckets without versioning."""
LARGE: Final = 2**20
"""Bytes that are hashed in the event loop at the most. A thread hashes more."""


_NAMES = itertools.count()


class PendingValue:
    """The value of a pending write.

    Args:
        bucket: The bucket to store it in.
        key: The key to store it under.
        body: Its encoded bytes.
        manifests: The manifests that the write commits to.
        expires_in: Seconds until it expires, from when it is stored; ``None`` if it does not expire.
        until: Instead: when it expires, by the store's clock, in seconds since 1970, whenever it is stored.
            ``expires_in`` then is the time left until then, for the outbox.
        inline: Whether it becomes part of the commit, and is no object of its own.
        rebases: The version of what it is the value of already, and is only stored for; ``None`` if it is a new one.

    Attributes:
        digest: Its SHA-256, if it is stored with one.
        version: Its version, once it is stored, or ready to be committed.
        stored: When it was stored, by the store's clock, in seconds since 1970, if the store tells the time.
        stored_at: When the request began, by this client's monotonic clock.
        expires: When it expires, by the store's clock, in seconds since 1970, once it is stored; ``None`` if it
            does not expire.
        storing: The task that stores it.
    """

    __slots__ = (
        "_provisional",
        "body",
        "bucket",
        "digest",
        "expires",
        "expires_in",
        "inline",
        "key",
        "manifests",
        "rebases",
        "stored",
        "stored_at",
        "storing",
        "until",
        "version",
    )

    def __init__(
        self,
        bucket: str,
        key: str,
        body: bytes,
        manifests: tuple[Ref, ...] = (),
        expires_in: float | None = None,
        until: float | None = None,
        *,
        inline: bool = False,
        rebases: str | None = None,
    ) -> None:
        self.inline = inline
        self.rebases = rebases
        self._provisional = ""
        self.expires_in = expires_in
        self.until = until
        self.expires: float | None = None
        self.bucket = bucket
        self.key = key
        self.body = body
        self.digest: bytes | None = None
        self.version: str | None = None
        self.manifests = manifests
        self.stored: float | None = None
        self.stored_at = -math.inf
        self.storing: asyncio.Task[None] | None = None

    @property
    def name(self) -> str:
        """What to call it: its version, or until it has one a name that nothing else in this process has."""
        if self.version is not None:
            return self.version
        if not self._provisional:
            self._provisional = f"pending-{next(_NAMES)}"
        return self._provisional

    @property
    def patch(self) -> dict[str, Any]:
        """The change of the file that a commit records. A null removes a member of the previous file."""
        expires = {} if self.expires is None else {"expires": format_time(self.expires)}
        if self.inline:
            return {"value": orjson.loads(self.body), "size": len(self.body), "version": self.version, **expires}
        return {
            "version": self.version,
            "sha256": self.digest.hex() if self.digest else None,
            "size": len(self.body),
            **({} if self.rebases is None else {REBASES: self.rebases}),
            **expires,
        }


async def sha256_of(body: bytes) -> bytes:
    """Return the SHA-256 of some bytes, computed in a thread if there are many."""
    if len(body) <= LARGE:
        return hashlib.sha256(body).digest()
    return await asyncio.to_thread(lambda: hashlib.sha256(body).digest())
