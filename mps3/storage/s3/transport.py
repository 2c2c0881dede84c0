"""The HTTP transport: a request is sent once, redirects are not followed, and the size of a response is bounded."""

from __future__ import annotations

import copy
from collections.abc import AsyncIterator
from typing import Any, Final

import aiohttp
from aiobotocore.httpsession import AIOHTTPSession

from ..bypass import BYPASS
from ..failure import MalformedResponseError
from ..hold import HOLD, Hold

CHUNK: Final = 1 << 16
MAX_RESPONSE_BYTES: Final = 1 << 23
"""The most bytes of a response that is not an object. The longest is a listing: 1,000 encoded keys of 1,024 bytes."""
MAX_ERROR_BYTES: Final = 1 << 18
"""The most bytes of an error. Of a longer one, only the status and the headers are used."""
ERROR_HEAD_BYTES: Final = 1 << 10
"""Bytes of such an error that are kept. They show whether it comes from S3."""
MAX_TAGS: Final = 1 << 17
"""The most tags of a response. Parsing millions takes many seconds; a page of a listing has about 40,000."""
MAX_ENTITIES: Final = 1 << 19
"""The most entities of a response. Keys may have many where a store does not encode keys."""
MAX_ERROR_TAGS: Final = 1 << 12
"""The most tags, and the most entities, of an error."""


class _SingleSendSession(AIOHTTPSession):  # type: ignore[misc, unused-ignore]
    """A session that sends each request once, and follows no redirect."""

    async def _get_session(self, proxy_url: str | None) -> Any:
        session = await super()._get_session(proxy_url)
        # aiohttp repeats GET, PUT and DELETE by itself when a connection breaks, also after the store has
        # carried them out: a conditional PUT would then conflict with itself.
        session._retry_connection = False  # noqa: SLF001
        session._response_class = _BoundedResponse  # noqa: SLF001
        return _NoRedirectSession(session)


class HTTPSession(_SingleSendSession):
    """A session that uses a new connection for each request while `BYPASS` is set."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        given = {**(options.get("connector_args") or {}), "force_close": True}
        given.pop("keepalive_timeout", None)
        self._anew = _SingleSendSession(*args, **{**options, "connector_args": given})

    async def __aenter__(self) -> Any:
        await self._anew.__aenter__()
        return await super().__aenter__()

    async def __aexit__(self, *error: object) -> None:
        try:
            await self._anew.__aexit__(*error)
        finally:
            await super().__aexit__(*error)

    async def send(self, request: Any) -> Any:
        """Send a request, as the base class."""
        hold = HOLD.get()
        if hold is not None and isinstance(request.body, bytes | bytearray) and request.body:
            request = copy.copy(request)
            request.body = _held(bytes(request.body), hold)
        if BYPASS.get():
            return await self._anew.send(request)
        return await super().send(request)


async def _held(body: bytes, hold: Hold) -> AsyncIterator[bytes]:
    yield body[:-1]
    await hold.wait()
    yield body[-1:]


class _NoRedirectSession:
    """A session without redirects, because their target would receive the body and the token of the request."""

    def __init__(self, session: Any) -> None:
        self._session = session

    def request(self, method: str, **options: Any) -> Any:
        return self._session.request(method, **{**options, "allow_redirects": False})


class _BoundedResponse(aiohttp.ClientResponse):
    """A response whose body is read only up to a `ResponseLimit`."""

    async def read(self) -> bytes:
        if self._body is None:
            try:
                self._body = await self._read()
            except BaseException:
                self.close()
                raise
        return self._body

    async def _read(self) -> bytes:
        budget = ResponseLimit(self.status)
        chunks: list[bytes] = []
        async for chunk in self.content.iter_chunked(CHUNK):
            if not budget.accepts(chunk):
                self.close()
                return b"".join([*chunks, chunk])[:ERROR_HEAD_BYTES]
            chunks.append(chunk)
        self.release()
        return b"".join(chunks)


class ResponseLimit:
    """The remaining bytes, tags and entities of a response with this status that may be read and parsed."""

    def __init__(self, status: int) -> None:
        self._error = status >= 300
        self._bytes = MAX_ERROR_BYTES if self._error else MAX_RESPONSE_BYTES
        self._tags = MAX_ERROR_TAGS if self._error else MAX_TAGS
        self._entities = MAX_ERROR_TAGS if self._error else MAX_ENTITIES

    def accepts(self, chunk: bytes) -> bool:
        """Whether another chunk is within the limit. It raises `MalformedResponseError` if not, except for an error."""
        self._bytes -= len(chunk)
        self._tags -= chunk.count(b"<")
        self._entities -= chunk.count(b"&")
        if min(self._bytes, self._tags, self._entities) >= 0:
            return True
        if self._error:
            return False
        raise MalformedResponseError(
            f"it has more than {MAX_RESPONSE_BYTES} bytes"
            if self._bytes < 0
            else "it has more tags and entities than any listing"
        )
