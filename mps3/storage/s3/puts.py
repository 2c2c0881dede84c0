"""How a store wants its PUTs, which is found out from what it refuses."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from typing import Any, Final

from botocore.exceptions import ClientError

from .errors import demands_checksum, refuses_checksum, status_of

_LONG: Final = 1 << 18
_SHA256: Final = "ChecksumSHA256"
_MD5: Final = "ContentMD5"


class PutDialect:
    """What one store takes: which checksum a PUT has, and how an ETag is written in a condition.

    A bucket with object lock takes no PUT without a checksum, so every PUT has one: SHA-256, or MD5 where the
    store does not take that or insists on this, or none where it takes neither.

    Args:
        checksums: Whether to send a checksum also where the store does not insist on one.
    """

    def __init__(self, *, checksums: bool) -> None:
        self._sha256 = checksums
        self._md5 = False
        self._unquoted: bool | None = None  # not known yet

    async def put(self, client: Any, params: dict[str, Any], sha256: bytes | None) -> Any:
        """Put an object, again in other words where the store refuses some.

        Args:
            client: The SDK's client.
            params: Its arguments, without a checksum.
            sha256: The SHA-256 digest of the body, if it is known.

        Raises:
            ClientError: The store refuses it in any words.
        """
        params = dict(params)
        if self._sha256:
            params[_SHA256] = _text(sha256 or await _digest("sha256", params["Body"]))
        if self._md5:
            params[_MD5] = _text(await _digest("md5", params["Body"]))
        if_match = params.get("IfMatch", "")
        if self._unquoted and if_match:
            params["IfMatch"] = params["IfMatch"].strip('"')
        tried: set[str] = {name for name in (_SHA256, _MD5) if name in params}
        while True:
            try:
                response = await client.put_object(**params)
            except ClientError as error:
                if not await self._reworded(error, params, tried):
                    raise
            else:
                self._learn(params, tried, if_match)
                return response

    async def _reworded(self, error: ClientError, params: dict[str, Any], tried: set[str]) -> bool:
        """Whether a PUT that was refused can be made in other words, which are in ``params`` then."""
        if demands_checksum(error):
            missing = next((name for name in (_MD5, _SHA256) if name not in tried), None)
        elif refuses_checksum(error) and (_SHA256 in params or _MD5 in params):
            # After SHA-256 comes MD5, and then none.
            params.pop(_SHA256 if _SHA256 in params else _MD5)
            missing = None if _MD5 in tried else _MD5
            if missing is None:
                return True
        elif status_of(error) == 412 and self._unquoted is None and params.get("IfMatch", "").startswith('"'):
            # Ceph compares the ETag that it sends in quotes with the one it gets, quotes and all.
            params["IfMatch"] = params["IfMatch"].strip('"')
            return True
        else:
            return False
        if missing is None:
            return False
        params[missing] = _text(await _digest("md5" if missing == _MD5 else "sha256", params["Body"]))
        tried.add(missing)
        return True

    def _learn(self, params: dict[str, Any], tried: set[str], if_match: str) -> None:
        if _SHA256 in tried and _SHA256 not in params:
            self._sha256 = False
        if _MD5 in tried:
            self._md5 = _MD5 in params
        if if_match.startswith('"') and self._unquoted is None:
            self._unquoted = not params["IfMatch"].startswith('"')


def _text(digest: bytes) -> str:
    return base64.b64encode(digest).decode()


async def _digest(name: str, body: bytes) -> bytes:
    if len(body) <= _LONG:
        return _hash(name, body)
    return await asyncio.to_thread(_hash, name, body)


def _hash(name: str, body: bytes) -> bytes:
    return hashlib.new(name, body, usedforsecurity=False).digest()
