"""The headers that a store accepts with a PUT, which are detected from its refusals."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from typing import Any, Final

from botocore.exceptions import ClientError

from .errors import demands_checksum, refuses_checksum
from .vendors import GENERATION, Vendor

_LARGE: Final = 1 << 18
_SHA256: Final = "ChecksumSHA256"
_MD5: Final = "ContentMD5"


class PutDialect:
    """The dialect of one store: which checksum a PUT has.

    A bucket with object lock requires a checksum, so every PUT has one: SHA-256, or MD5 where the store refuses
    SHA-256 or requires MD5, or none where it refuses both. A PUT with a condition of Google's has MD5, because it can
    have no header of AWS.

    Args:
        checksums: Whether to send a checksum that the store does not require.
    """

    def __init__(self, *, checksums: bool) -> None:
        self._sha256 = checksums
        self._md5 = False

    async def put(self, client: Any, params: dict[str, Any], sha256: bytes | None, vendor: Vendor | None) -> Any:
        """Put an object, again with other headers if the store refuses some.

        ``sha256`` is the digest of the body, if it is known.

        Raises:
            ClientError: The store refuses it with all headers.
        """
        params = dict(params)
        md5_only = "IfNoneMatch" in params and vendor is not None and vendor.create_header == GENERATION
        if self._sha256 and not md5_only:
            params[_SHA256] = _text(sha256 or await _digest("sha256", params["Body"]))
        if self._md5 or (self._sha256 and md5_only):
            params[_MD5] = _text(await _digest("md5", params["Body"]))
        tried: set[str] = {name for name in (_SHA256, _MD5) if name in params}
        while True:
            try:
                response = await client.put_object(**params)
            except ClientError as error:
                if not await self._adapt(error, params, tried):
                    raise
            else:
                if not md5_only:
                    self._learn(params, tried)
                return response

    async def _adapt(self, error: ClientError, params: dict[str, Any], tried: set[str]) -> bool:
        """Change ``params`` for another attempt after a refusal; return whether there is another one."""
        if demands_checksum(error):
            missing = next((name for name in (_MD5, _SHA256) if name not in tried), None)
        elif refuses_checksum(error) and (_SHA256 in params or _MD5 in params):
            # The order is SHA-256, MD5, none.
            params.pop(_SHA256 if _SHA256 in params else _MD5)
            missing = None if _MD5 in tried else _MD5
            if missing is None:
                return True
        else:
            return False
        if missing is None:
            return False
        params[missing] = _text(await _digest("md5" if missing == _MD5 else "sha256", params["Body"]))
        tried.add(missing)
        return True

    def _learn(self, params: dict[str, Any], tried: set[str]) -> None:
        if _SHA256 in tried and _SHA256 not in params:
            self._sha256 = False
        if _MD5 in tried:
            self._md5 = _MD5 in params


def _text(digest: bytes) -> str:
    return base64.b64encode(digest).decode()


async def _digest(name: str, body: bytes) -> bytes:
    if len(body) <= _LARGE:
        return _hash(name, body)
    return await asyncio.to_thread(_hash, name, body)


def _hash(name: str, body: bytes) -> bytes:
    return hashlib.new(name, body, usedforsecurity=False).digest()
