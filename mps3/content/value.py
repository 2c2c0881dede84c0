"""The value of a write on its way to the store."""

from __future__ import annotations

import asyncio
import hashlib
import math
from typing import Any, Final

from ..format.shape import format_time
from ..types import Ref

MINTED: Final = "mps3-"
"""What versions begin with that this library made up itself, for buckets that have none."""
LARGE: Final = 2**20
"""Hashing more bytes than this would hold up the event loop; a thread does it."""


class Content:
    """One value on its way to the store.

    Args:
        bucket: Where it goes.
        key: Where it goes.
        body: Its bytes.
        manifests: The manifests that it is written for.
        expires_in: Seconds that it is to be there after it was stored; ``None`` for ever.
        until: Instead: the store's clock when its time is over, in seconds since 1970, whenever it is stored.
            ``expires_in`` then is what is left of that, for those who keep it.

    Attributes:
        digest: Its SHA-256, once it is stored with one.
        version: Its version, once it is stored.
        stored: The store's clock when it was, in seconds since 1970, if the store tells.
        stored_at: This client's clock when that began.
        expires: The store's clock when its time is over, in seconds since 1970, once it is stored; ``None`` if
            it has no end.
    """

    __slots__ = (
        "body",
        "bucket",
        "digest",
        "expires",
        "expires_in",
        "key",
        "manifests",
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
    ) -> None:
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
    def patch(self) -> dict[str, Any]:
        """What a commit says of it. A null takes away what an older value had."""
        return {
            "version": self.version,
            "sha256": self.digest.hex() if self.digest else None,
            "size": len(self.body),
            **({} if self.expires is None else {"expires": format_time(self.expires)}),
        }


async def sha256_of(body: bytes) -> bytes:
    """Return the SHA-256 of some bytes: computed in a thread, if they are many."""
    if len(body) <= LARGE:
        return hashlib.sha256(body).digest()
    return await asyncio.to_thread(lambda: hashlib.sha256(body).digest())
